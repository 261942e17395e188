"""How the supervisor starts its children: the argv, kept apart so that it need not import what they do."""

import sys
from collections.abc import Sequence

from seawall.control.child import ChildDescriptors
from seawall.control.runtime import RuntimeDirectory

__all__ = ["child_command"]


def child_command(
    runtime: RuntimeDirectory, role: str, name: str, descriptors: ChildDescriptors, admin: str
) -> Sequence[str]:
    """Return the argv of a child process, for `cli/roles.py`; nothing secret is in it."""
    return [
        sys.executable,
        "-P",  # never import from the working directory
        "-m",
        "seawall.cli.roles",
        role,
        name,
        str(runtime.path),
        f"--lifeline={descriptors.lifeline}",
        f"--status={descriptors.status}",
        f"--listener={descriptors.listener}",
        f"--admin={admin}",
    ]
