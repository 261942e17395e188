"""Where log lines go: to standard error, each with the process that wrote it."""

import logging
import os
import sys
from enum import StrEnum

__all__ = ["LogLevel", "configure_logging"]


class LogLevel(StrEnum):
    """Severities that can be asked for."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def configure_logging(level: str, process: str) -> None:
    """Send this process's log to standard error, from `level` (a `LogLevel`) on."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format=f"%(asctime)s %(levelname)-7s {process}[{os.getpid()}] %(name)s: %(message)s",
        force=True,
    )
    # Uvicorn tells at "info" that it starts and ends, which the lines of ours tell better.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger().level))
