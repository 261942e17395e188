"""Proof that what guards are about to be told can be put in force, found in the control process before any is told."""

import threading
from collections.abc import Callable

import msgspec

from seawall.core.errors import ConfigurationError, InvalidError
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.guard import ThreatGuard
from seawall.systems.threats.inspection.policy import Exclusion, Policy
from seawall.systems.threats.inspection.prefilter import CompileGroups
from seawall.systems.threats.messages import ThreatSnapshot

__all__ = ["Proof"]

_MAX_KNOWN = 10_000


class Proof:
    """Tries snapshots and exclusions on an engine of its own.

    Args:
        compile_groups: as guards have it; its first call on a machine takes seconds.
        random: as `os.urandom`.

    Safe to call from several threads, one of which works at a time.
    """

    def __init__(self, compile_groups: CompileGroups, random: Callable[[int], bytes]) -> None:
        self._compile = compile_groups
        self._random = random
        self._lock = threading.Lock()
        self._known: dict[Exclusion, str] = {}

    def check(self, snapshot: ThreatSnapshot) -> None:
        """Put a snapshot in force where it does no harm.

        Raises:
            SeawallError: a guard would refuse it.
        """
        with self._lock:
            guard = ThreatGuard(lambda: 0.0, lambda: 0.0, self._random, self._compile)
            guard.apply(msgspec.structs.replace(snapshot, version=max(snapshot.version, 0)))

    def prove(self, exclusion: Exclusion) -> None:
        """Make sure that an exclusion leaves out what it says.

        Raises:
            InvalidError: its example is not found where it is meant.
        """
        why = self.refusal(exclusion)
        if why:
            raise InvalidError(
                f'the exclusion has no effect: "{exclusion.rule}" does not find its example', hint=f"{why}."
            )

    def refusal(self, exclusion: Exclusion) -> str:
        """Return why an exclusion has no effect; empty when it has one."""
        known = self._known.get(exclusion)
        if known is None:
            with self._lock:
                try:
                    ThreatEngine(Policy(exclusions=(exclusion,)), self._compile)
                except ConfigurationError as error:
                    known = error.hint or error.message
                else:
                    known = ""
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[exclusion] = known
        return known
