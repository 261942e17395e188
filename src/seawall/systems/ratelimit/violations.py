"""The keys that went on after they were refused, and what each has earned: the ladder over bounded state."""

import heapq
import math
from collections.abc import Callable

import msgspec

from seawall.systems.ratelimit.keyed import KeyedStates, keyed_states
from seawall.systems.ratelimit.ladder import CLEAN, Conduct, Ladder, Standing, Step
from seawall.systems.ratelimit.model import Penalty

__all__ = ["Escalation", "Offender", "Violations"]

_IDLE = 3600.0
_SHORTEST = 1.0
"""Seconds that a penalty lasts at least, so that a score that only just reached a step is felt."""


class Escalation(msgspec.Struct, frozen=True):
    """A key went up a step.

    Attributes:
        key: such as `client:192.0.2.7`.
        step: `warn`, `throttle`, `block` or `report`.
        rule: id of the rule that was violated last.
        seconds: until the step is over if nothing more happens.
        score: violations that led to it, decayed.
    """

    key: str
    step: str
    rule: str
    seconds: float
    score: float


class Offender(msgspec.Struct, frozen=True):
    """A key on the ladder now; as in `Escalation`, with the number of blocks in a row."""

    key: str
    step: str
    seconds: float
    score: float
    blocks: int


class Violations:
    """Conduct by key, and the penalties that follow from it.

    Args:
        ladder: the steps.
        penalise: told the penalty of a key, or None when it has none any more.
        max_keys: keys whose conduct is kept at most.
    """

    def __init__(self, ladder: Ladder, penalise: Callable[[str, Penalty | None], None], max_keys: int) -> None:
        self.ladder = ladder
        self._penalise = penalise
        self._conducts: KeyedStates[Conduct] = keyed_states(max_keys, _IDLE, self._counts)
        self._ends: list[tuple[float, str]] = []
        self._seen = -math.inf
        self._until: dict[str, float] = {}
        """The end of each key's penalty; an entry of `_ends` that says otherwise has been overtaken."""

    def violate(self, key: str, rule: str, now: float, *, weight: float = 1.0) -> Escalation | None:
        """Count `weight` refused requests; return the step that they led to, None where they led to none."""
        known = self._conducts.get(key) or CLEAN
        conduct, step = self.ladder.violate(known, now, weight)
        self._conducts.put(key, conduct, now)
        if step is None:
            return None
        standing = self.ladder.standing(conduct, now)
        if step >= Step.THROTTLE:
            self._impose(key, standing, now)
        # What led here, not where a block leaves the score: below the very threshold that it passed.
        score = self.ladder.standing(known, now).score + weight
        return Escalation(key, step.name.lower(), rule, max(standing.expires_in, _SHORTEST), score)

    def advance(self, now: float) -> None:
        """Renew or lift the penalties whose time is up; a block is followed by a throttle, a throttle by nothing.

        Where the clock went backwards every penalty is looked at again, so that none lasts longer than it was to.
        """
        if now < self._seen:
            for key in list(self._until):
                conduct = self._conducts.get(key)
                if conduct is not None:
                    self._conducts.put(key, self.ladder.violate(conduct, now, 0.0)[0], now)
                self._review(key, now)
        self._seen = now
        while self._ends and self._ends[0][0] <= now:
            until, key = heapq.heappop(self._ends)
            if self._until.get(key) == until:
                self._review(key, now)

    def _review(self, key: str, now: float) -> None:
        conduct = self._conducts.get(key)
        standing = self.ladder.standing(conduct, now) if conduct is not None else None
        if standing is None or standing.step < Step.THROTTLE:
            del self._until[key]
            self._penalise(key, None)
        else:
            self._impose(key, standing, now)

    def forgive(self, key: str, now: float) -> bool:
        """Forget a key's conduct and lift its penalty; tell whether there was any."""
        conduct = self._conducts.get(key)
        self._conducts.remove(key)
        self._until.pop(key, None)
        self._penalise(key, None)
        return conduct is not None and not self.ladder.forgotten(conduct, now)

    def offenders(self, now: float) -> list[Offender]:
        """Return the keys on any step, worst first; linear in the keys whose conduct is kept."""
        found = []
        for key, conduct in self._conducts:
            standing = self.ladder.standing(conduct, now)
            if standing.step is not Step.NONE:
                step = standing.step.name.lower()
                found.append(Offender(key, step, standing.expires_in, standing.score, conduct.blocks))
        return sorted(found, key=lambda one: (-Step[one.step.upper()], -one.score, one.key))

    def _impose(self, key: str, standing: Standing, now: float) -> None:
        until = now + max(standing.expires_in, _SHORTEST)
        self._until[key] = until
        self._penalise(key, Penalty(standing.factor, until))
        heapq.heappush(self._ends, (until, key))

    def _counts(self, conduct: Conduct, now: float) -> bool:
        return self.ladder.standing(conduct, now).step >= Step.THROTTLE
