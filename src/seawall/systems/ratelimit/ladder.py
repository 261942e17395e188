"""What follows repeated violations: warn, throttle, block for longer each time, report; each step ends by itself.

A violation adds its weight to a score that halves every `half_life`. While the score is at or above a threshold, that
step is on: it ends when the score has decayed, with nothing to run. Reaching `block_at` blocks until a fixed time,
longer by `growth` with each block in a row, and puts the score back to halfway between `throttle_at` and `block_at`
(their geometric mean): a new block takes new violations, and the time after one is spent throttled, for half as long as
a score takes to fall from the one threshold to the other. Blocks in a row are forgotten one by one, each after
`forgiven_after` without a new one.

While a client is blocked its attempts do not count, so a client that merely goes on retrying gets out.

**When the clock jumps.** Backwards: scores decay on from the earlier time, no block lasts longer than its length from
then, and one that has been seen to end does not come back. Forwards: steps end early.
"""

import math
from enum import IntEnum
from typing import NamedTuple

import msgspec

from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.verdict import CostError, require_positive

__all__ = ["CLEAN", "Conduct", "Ladder", "LadderLimits", "Standing", "Step"]


_NEGLIGIBLE = 0.5


class Step(IntEnum):
    """How far up a client is; a higher step includes what the lower ones do."""

    NONE = 0
    WARN = 1
    """Violations are reported to operators."""
    THROTTLE = 2
    """The limit is multiplied by `throttle_factor`."""
    BLOCK = 3
    """Nothing passes until the block ends."""
    REPORT = 4
    """Blocked, and told to threat detection."""


class LadderLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the steps are; times in seconds, scores in violations.

    Attributes:
        half_life: time in which the score halves.
        throttle_factor: multiplies the limit of a throttled client, above 0 and at most 1.
        block: length of the first block.
        growth: each block in a row is longer by this factor, 1 or more.
        longest_block: bound on a block's length.
        report_at: blocks in a row from which on threat detection is told.
        forgiven_after: time after a block's end in which one block in a row is forgotten.
    """

    half_life: float = 60.0
    warn_at: float = 3.0
    throttle_at: float = 10.0
    block_at: float = 30.0
    throttle_factor: float = 0.5
    block: float = 60.0
    growth: float = 2.0
    longest_block: float = 3600.0
    report_at: int = 2
    forgiven_after: float = 3600.0


class Conduct(NamedTuple):
    """A client's state: five numbers.

    Attributes:
        score: decayed violations at `at`.
        at: when the score was last brought up to date.
        blocks: blocks in a row.
        until: when the last block ends or ended.
        length: how long it was to be.
    """

    score: float = 0.0
    at: float = 0.0
    blocks: int = 0
    until: float = 0.0
    length: float = 0.0


CLEAN = Conduct()
"""The state of a client that never offended."""


class Standing(NamedTuple):
    """What to do with a client now.

    Attributes:
        factor: multiplies its limit: 1, the throttle's factor, or 0 while blocked.
        expires_in: seconds until this step is over if nothing more happens; 0 when there is none.
        score: decayed violations.
    """

    step: Step
    factor: float
    expires_in: float
    score: float


class Ladder:
    """The rules of one ladder over the states of any number of clients; pure, constant time.

    Raises:
        SeawallError: the limits contradict one another; says which.
    """

    __slots__ = ("_after_block", "_limits")

    def __init__(self, limits: LadderLimits) -> None:
        require_positive(
            half_life=limits.half_life,
            warn_at=limits.warn_at,
            throttle_factor=limits.throttle_factor,
            block=limits.block,
            growth=limits.growth,
            longest_block=limits.longest_block,
            report_at=limits.report_at,
            forgiven_after=limits.forgiven_after,
            block_at=limits.block_at,
        )
        if not limits.warn_at <= limits.throttle_at < limits.block_at:
            raise SeawallError(
                f"the steps of a ladder do not rise: warn at {limits.warn_at}, throttle at {limits.throttle_at},"
                f" block at {limits.block_at}",
                hint="Let warn_at <= throttle_at < block_at.",
            )
        if limits.throttle_factor > 1 or limits.growth < 1 or limits.longest_block < limits.block:
            raise SeawallError(
                "a ladder must not get milder upwards",
                hint="Let throttle_factor be at most 1, growth at least 1 and longest_block at least block.",
            )
        self._limits = limits
        self._after_block = math.sqrt(limits.throttle_at) * math.sqrt(limits.block_at)

    def violate(self, conduct: Conduct, now: float, weight: float = 1.0) -> tuple[Conduct, Step | None]:
        """Count a violation; return the new state and the step that it led to, None where it led to none.

        Raises:
            CostError: the weight is negative, infinite or not a number.
        """
        if not 0.0 <= weight < math.inf:
            raise CostError(weight)
        before = self.standing(conduct, now)
        conduct = self._refresh(conduct, now)
        if before.step >= Step.BLOCK:
            return conduct, None
        limits = self._limits
        score = conduct.score + weight
        if score >= limits.block_at:
            blocks = conduct.blocks + 1
            length = self._length(blocks)
            after = Conduct(self._after_block, now, blocks, now + length, length)
            return after, Step.REPORT if blocks >= limits.report_at else Step.BLOCK
        after = conduct._replace(score=score)
        step = self._step(score)
        return after, step if step > before.step else None

    def standing(self, conduct: Conduct, now: float) -> Standing:
        """Return what to do with a client at `now`; looking changes nothing."""
        conduct = self._refresh(conduct, now)
        if conduct.until > now:
            step = Step.REPORT if conduct.blocks >= self._limits.report_at else Step.BLOCK
            return Standing(step, 0.0, conduct.until - now, conduct.score)
        step = self._step(conduct.score)
        factor = self._limits.throttle_factor if step is Step.THROTTLE else 1.0
        return Standing(step, factor, self._expires_in(step, conduct.score), conduct.score)

    def forgotten(self, conduct: Conduct, now: float) -> bool:
        """Return whether the state may be dropped: no block is remembered and less than half a violation is left."""
        conduct = self._refresh(conduct, now)
        return conduct.until <= now and not conduct.blocks and conduct.score < _NEGLIGIBLE

    def _length(self, blocks: int) -> float:
        limits = self._limits
        if limits.growth == 1.0:
            return limits.block
        # Compared as logarithms, because the power of many blocks overflows.
        if blocks - 1 >= math.log(limits.longest_block / limits.block) / math.log(limits.growth):
            return limits.longest_block
        return limits.block * limits.growth ** (blocks - 1)

    def _step(self, score: float) -> Step:
        if score >= self._limits.throttle_at:
            return Step.THROTTLE
        return Step.WARN if score >= self._limits.warn_at else Step.NONE

    def _expires_in(self, step: Step, score: float) -> float:
        """Return when the score will have decayed below the step's threshold."""
        if step is Step.NONE:
            return 0.0
        threshold = self._limits.throttle_at if step is Step.THROTTLE else self._limits.warn_at
        return self._limits.half_life * math.log2(score / threshold)

    def _refresh(self, conduct: Conduct, now: float) -> Conduct:
        """Bring a state up to `now`: decay the score, forget old blocks, bound a block after a jump of the clock."""
        score, at, blocks, until, length = conduct
        at = min(at, now)
        until = min(until, now + length) if until > now else until
        if until > now:
            # The score rests while its client is blocked, so that throttling follows every block.
            return Conduct(score, at, blocks, until, length)
        score *= math.exp2(-(now - max(at, until)) / self._limits.half_life)
        if blocks:
            forgiven = min(int((now - until) / self._limits.forgiven_after), blocks)
            blocks -= forgiven
            until += forgiven * self._limits.forgiven_after
        return Conduct(score, now, blocks, until, 0.0)
