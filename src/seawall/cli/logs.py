"""Where log lines go: to standard error, each with the process that wrote it."""

import logging
import os
import sys

__all__ = ["LEVELS", "configure_logging"]

LEVELS = ("debug", "info", "warning", "error")


def configure_logging(level: str, process: str) -> None:
    """Send this process's log to standard error from `level` (one of `LEVELS`) on."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format=f"%(asctime)s %(levelname)-7s {process}[{os.getpid()}] %(name)s: %(message)s",
        force=True,
    )
