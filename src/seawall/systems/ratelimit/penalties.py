"""What keys have earned by going on after they were refused: this gateway's ladder, as penalties for its workers."""

from collections.abc import Callable

from seawall.core.clock import Clock
from seawall.systems.ratelimit.ladder import Ladder, LadderLimits
from seawall.systems.ratelimit.model import Offence, Penalty, PenaltySnapshot
from seawall.systems.ratelimit.violations import Escalation, Offender, Violations

__all__ = ["MAX_PENALTIES", "Penalties"]

MAX_PENALTIES = 10_000
"""Keys with a penalty at once; past it the one imposed first is let off, and the workers' limits go on holding it."""
_MAX_KEYS = 65_536
"""Keys whose conduct is kept; those that have not offended of late are forgotten first."""


class Penalties:
    """Offences in, penalties out.

    Args:
        ladder: None when violations are not acted on.
        clock: time.
        on_escalation: told each step that a key goes up.

    Attributes:
        current: penalties by key, until wall-clock seconds; those that are over may still be there.
        changed: whether `current` differs from when this was last set to False.
        let_off: penalties that were dropped because there were too many.
    """

    def __init__(self, ladder: LadderLimits | None, clock: Clock, on_escalation: Callable[[Escalation], None]) -> None:
        self.current: dict[str, PenaltySnapshot] = {}
        self.changed = False
        self.let_off = 0
        self._clock = clock
        self._on_escalation = on_escalation
        self._limits = ladder
        self._violations = self._made(ladder)

    def configure(self, ladder: LadderLimits | None) -> None:
        """Take other steps; conduct under the old ones is forgotten."""
        if ladder == self._limits:
            return
        self._limits = ladder
        self._violations = self._made(ladder)
        self.changed = self.changed or bool(self.current)
        self.current = {}

    def take(self, offence: Offence, now: float) -> None:
        """Count the refusals of one key; those that are not certain do not count."""
        certain = offence.count - offence.error
        if self._violations is None or certain <= 0:
            return
        escalation = self._violations.violate(offence.key, offence.rule, now, weight=float(certain))
        if escalation is not None:
            self._on_escalation(escalation)

    def step(self, now: float) -> None:
        """End or renew the penalties whose time is up."""
        if self._violations is not None:
            self._violations.advance(now)

    def forgive(self, key: str, now: float) -> bool:
        """Forget a key's conduct and lift its penalty; tell whether there was any."""
        return self._violations is not None and self._violations.forgive(key, now)

    def offenders(self, now: float) -> list[Offender]:
        """Return the keys on any step, worst first."""
        return [] if self._violations is None else self._violations.offenders(now)

    def _made(self, ladder: LadderLimits | None) -> Violations | None:
        return None if ladder is None else Violations(Ladder(ladder), self._penalise, _MAX_KEYS)

    def _penalise(self, key: str, penalty: Penalty | None) -> None:
        known = self.current.pop(key, None)
        if penalty is None:
            self.changed = self.changed or known is not None
            return
        if len(self.current) >= MAX_PENALTIES:
            del self.current[next(iter(self.current))]
            self.let_off += 1
        until = self._clock.wall() + penalty.until - self._clock.monotonic()
        self.current[key] = PenaltySnapshot(penalty.factor, until)
        self.changed = True
