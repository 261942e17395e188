"""What follows for a subject that is reported again and again: each step ends by itself, bans grow."""

from enum import IntEnum

import msgspec

from seawall.core.errors import InvalidError
from seawall.systems.threats.model import Severity

__all__ = ["Response", "ResponseLadder", "ResponseLimits", "Step"]

_WEIGHTS = {Severity.LOW: 1.0, Severity.MEDIUM: 5.0, Severity.HIGH: 15.0, Severity.CRITICAL: 40.0}


class Step(IntEnum):
    """What is done to a subject; each is harder than the one before."""

    OBSERVE = 0
    THROTTLE = 1
    """Its rate limits fall."""
    CHALLENGE = 2
    """Its browser has to work for an answer."""
    BLOCK = 3
    """Refused, for a minute."""
    BAN = 4
    """Refused, for a time that doubles with each ban."""


class ResponseLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When each step is reached. A report weighs 1, 5, 15 or 40 by its severity, and its weight halves by and by.

    Attributes:
        half_life: seconds.
        throttle_at: sum of the weights at which a subject is throttled; the others alike.
        hold: seconds that a throttle, a challenge or a block lasts after the last report.
        ban: seconds of a first ban.
        longest_ban: seconds.
        forget: seconds without a report after which a subject's bans are forgotten.
        ban_on_critical: whether one critical report is enough for a ban, of a subject that is one client.
    """

    half_life: float = 120.0
    throttle_at: float = 5.0
    challenge_at: float = 15.0
    block_at: float = 30.0
    ban_at: float = 60.0
    hold: float = 60.0
    ban: float = 600.0
    longest_ban: float = 86_400.0
    forget: float = 86_400.0
    ban_on_critical: bool = True


class Response(msgspec.Struct, frozen=True):
    """What is done to a subject now.

    Attributes:
        subject: such as `client:192.0.2.7` or `account:alice`.
        step: what is done.
        until: seconds on the clock of the reports at which it ends.
        score: sum of the weights, decayed.
        bans: bans so far, this one included.
    """

    subject: str
    step: Step
    until: float
    score: float
    bans: int


class _Record(msgspec.Struct):
    """What is known of a subject."""

    score: float = 0.0
    at: float = 0.0
    step: Step = Step.OBSERVE
    until: float = 0.0
    bans: int = 0


class ResponseLadder:
    """Reports in, steps out.

    Args:
        limits: when each step is reached.
        max_subjects: subjects that are kept at most; those reported longest ago are dropped first.

    Raises:
        InvalidError: the steps do not ascend, or a time is not above 0.

    Pure; a report costs about 2 us. Not for concurrent use.
    """

    def __init__(self, limits: ResponseLimits | None = None, *, max_subjects: int = 65_536) -> None:
        self.limits = limits = limits or ResponseLimits()
        marks = (limits.throttle_at, limits.challenge_at, limits.block_at, limits.ban_at)
        if not 0.0 < marks[0] <= marks[1] <= marks[2] <= marks[3]:
            raise InvalidError("the steps of the response do not ascend", hint=f"They are {marks}; let each be higher.")
        if min(limits.half_life, limits.hold, limits.ban, limits.forget) <= 0.0 or limits.longest_ban < limits.ban:
            raise InvalidError(
                "the times of the response are not above 0, or the longest ban is shorter than the first",
                hint="Give times above 0.",
            )
        self._records: dict[str, _Record] = {}
        self._max_subjects = max_subjects

    def __len__(self) -> int:
        return len(self._records)

    def report(self, subject: str, severity: Severity, now: float, *, shared: bool = False) -> Response:
        """Take a report and return what is done to the subject from now on.

        Args:
            subject: whom it is about.
            severity: of what was seen.
            now: seconds; a clock that goes backwards lets nothing decay.
            shared: whether honest people may stand behind the subject: it is challenged at most, never refused.
        """
        limits = self.limits
        record = self._records.pop(subject, None) or _Record(at=now)
        self._records[subject] = record
        idle = max(now - record.at, 0.0)
        if idle > limits.forget:
            record.bans = 0
        record.score = record.score * 0.5 ** (idle / limits.half_life) + _WEIGHTS[severity]
        record.at = max(now, record.at)
        step = self._step(record.score, severity)
        if shared:
            step = min(step, Step.CHALLENGE)
        if now >= record.until:
            record.step = Step.OBSERVE
        if step is Step.BAN and record.step is not Step.BAN:
            record.bans += 1
            record.until = now + min(limits.ban * 2.0 ** min(record.bans - 1, 60), limits.longest_ban)
            record.step = step
        elif record.step is not Step.BAN:
            record.step = max(step, record.step)
            record.until = now + limits.hold
        self._make_room()
        return Response(subject, record.step, record.until, record.score, record.bans)

    def standing(self, subject: str, now: float) -> Response:
        """Return what is done to a subject now."""
        record = self._records.get(subject)
        if record is None:
            return Response(subject, Step.OBSERVE, now, 0.0, 0)
        score = record.score * 0.5 ** (max(now - record.at, 0.0) / self.limits.half_life)
        if now >= record.until:
            return Response(subject, Step.OBSERVE, now, score, record.bans)
        return Response(subject, record.step, record.until, score, record.bans)

    def restore(self, subject: str, bans: int, now: float) -> None:
        """Take note of bans from an earlier life, or by another gateway, so that the next one lasts longer."""
        record = self._records.setdefault(subject, _Record(at=now))
        record.bans = max(record.bans, bans)
        self._make_room()

    def forgive(self, subject: str) -> bool:
        """Forget all that is known of a subject; tell whether there was anything."""
        return self._records.pop(subject, None) is not None

    def _step(self, score: float, severity: Severity) -> Step:
        limits = self.limits
        if score >= limits.ban_at or (limits.ban_on_critical and severity is Severity.CRITICAL):
            return Step.BAN
        if score >= limits.block_at:
            return Step.BLOCK
        if score >= limits.challenge_at:
            return Step.CHALLENGE
        return Step.THROTTLE if score >= limits.throttle_at else Step.OBSERVE

    def _make_room(self) -> None:
        if len(self._records) > self._max_subjects:
            for oldest in list(self._records)[: max(self._max_subjects // 8, 1)]:
                del self._records[oldest]
