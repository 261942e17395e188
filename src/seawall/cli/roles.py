"""The child processes of `seawall serve`: reads the argv that `cli/command.py` makes and runs one role to its end."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from seawall.cli.logs import configure_logging
from seawall.control.child import ChildDescriptors
from seawall.control.runtime import RuntimeDirectory
from seawall.control.supervisor import EXIT_CONFIGURATION, EXIT_START
from seawall.core.errors import ConfigurationError, SeawallError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one child process of `seawall serve` and return its exit status."""
    parser = argparse.ArgumentParser(prog="seawall-role", description="A child process of seawall serve.")
    parser.add_argument("role", choices=["control", "worker"])
    parser.add_argument("name")
    parser.add_argument("runtime", type=Path)
    for option in ("--lifeline", "--status", "--listener"):
        parser.add_argument(option, type=int, required=True)
    parser.add_argument("--admin", default="")
    given = parser.parse_args(argv)
    runtime = RuntimeDirectory(given.runtime)
    descriptors = ChildDescriptors(given.lifeline, given.status, given.listener)
    try:
        launch = runtime.read_launch()
        configure_logging(launch.log_level, given.name)
        # Each role imports what it needs only: a worker is as small as the data plane.
        if given.role == "control":
            from seawall.cli.control_process import run_control  # noqa: PLC0415

            run_control(runtime, launch, descriptors, given.admin)
        else:
            from seawall.cli.worker_process import run_worker  # noqa: PLC0415

            run_worker(runtime, launch, descriptors, given.name)
    except ConfigurationError as error:
        sys.stderr.write(f"seawall: {error}\n")
        return EXIT_CONFIGURATION
    except SeawallError as error:
        sys.stderr.write(f"seawall: {error}\n")
        return EXIT_START
    return 0


if __name__ == "__main__":
    sys.exit(main())
