"""What a client is told of its quota: RateLimit fields, their older X- forms, Retry-After, and the problem types.

Source: draft-ietf-httpapi-ratelimit-headers-10 over RFC 9651 (structured fields), RFC 9110 section 10.2.3
    (Retry-After),
RFC 9457 (problem details). Limits are rounded down and waits up, so a client that believes them is never refused for
it.
"""

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from seawall.core.structured_fields import Item, serialise_item
from seawall.systems.ratelimit.verdict import SLACK

__all__ = [
    "FieldWriter",
    "Problem",
    "Unit",
    "retry_after",
    "x_fields",
]

_MAX_INTEGER = 999_999_999_999_999
"""The largest Integer of RFC 9651."""
_MAX_KNOWN = 1024
"""Policies of a rule that are remembered."""

Field = tuple[bytes, bytes]


class Problem(StrEnum):
    """The draft's problem types, to go with the status in the comment of each."""

    QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
    """429: a quota is used up."""
    ABNORMAL_USAGE = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
    """429: the client's behaviour, not its quota, is the reason."""
    REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
    """503: load is shed, whatever the client's quota."""


class Unit(StrEnum):
    """What a quota counts; `qu` of the draft."""

    REQUESTS = "requests"
    CONTENT_BYTES = "content-bytes"
    CONCURRENT_REQUESTS = "concurrent-requests"


class _Policy(NamedTuple):
    name: str
    tail: str


class FieldWriter:
    """Writes the fields of one rule; what does not change between requests is written once, here.

    Args:
        windows: (name, seconds) of each window; a window of 0 s leaves `w` out, as suits a limit on requests in flight.
        units: what each window counts; requests when left out.
        partition_key: `pk`, bytes that tell which partition of the quota the client is in; empty leaves it out.

    Raises:
        StructuredFieldError: a name is not printable ASCII.
    """

    __slots__ = ("_known", "_line", "_partition", "_policies")

    def __init__(
        self, windows: Sequence[tuple[str, float]], units: Sequence[Unit] = (), partition_key: bytes = b""
    ) -> None:
        units = units or (Unit.REQUESTS,) * len(windows)
        # A parameter alone is written by writing an item and dropping the item's own characters.
        partition = serialise_item(Item(0, {"pk": partition_key}))[1:] if partition_key else ""
        self._partition = partition
        self._policies = [
            _Policy(
                serialise_item(Item(name)),
                (f';qu="{unit}"' if unit is not Unit.REQUESTS else "")
                + (f";w={_up(seconds, least=1)}" if seconds > 0 else "")
                + partition,
            )
            for (name, seconds), unit in zip(windows, units, strict=True)
        ]
        # With `%` of bytes: a name may hold any printable character.
        names = [policy.name.replace("%", "%%").encode("ascii") for policy in self._policies]
        states = [b"%b;r=%%d;t=%%d%b" % (name, partition.encode()) for name in names]
        self._line = b"ratelimit: %b\r\n" % b", ".join(states)
        self._known: dict[Sequence[float], bytes] = {}

    def policy(self, limits: Sequence[float]) -> str:
        """Return the value of `RateLimit-Policy`, such as `"burst";q=100;w=60`; `limits` are the effective ones."""
        return ", ".join(
            f"{policy.name};q={_down(limit)}{policy.tail}" for policy, limit in zip(self._policies, limits, strict=True)
        )

    def state(self, remaining: Sequence[float], reset_after: Sequence[float]) -> str:
        """Return the value of `RateLimit`, such as `"burst";r=50;t=30`; an infinite reset leaves `t` out."""
        return ", ".join(
            f"{policy.name};r={_down(left)}" + (f";t={_up(reset)}" if reset < math.inf else "") + self._partition
            for policy, left, reset in zip(self._policies, remaining, reset_after, strict=True)
        )

    def lines(self, limits: tuple[float, ...], remaining: float, reset_after: float) -> bytes:
        """Return both fields of a rule with one window as they are sent, ends of line included; costs some 0.5 us."""
        if 0.0 <= remaining < _MAX_INTEGER and 0.0 <= reset_after < _MAX_INTEGER:
            return self.template(limits) % (int(remaining + SLACK), math.ceil(reset_after - 1e-6))
        return b"".join([b"%b: %b\r\n" % field for field in self.fields(limits, (remaining,), (reset_after,))])

    def all_lines(self, limits: tuple[float, ...], states: Iterable[tuple[float, float]]) -> bytes:
        """Return both fields of a rule with any number of windows, as `lines` does for one.

        Args:
            limits: the effective ones.
            states: (requests that remain, seconds until the reset) of each window.
        """
        states = list(states)
        numbers: list[int] = []
        for remaining, reset_after in states:
            if not (0.0 <= remaining < _MAX_INTEGER and 0.0 <= reset_after < _MAX_INTEGER):
                fields = self.fields(limits, [one[0] for one in states], [one[1] for one in states])
                return b"".join([b"%b: %b\r\n" % field for field in fields])
            numbers += (int(remaining + SLACK), math.ceil(reset_after - 1e-6))
        return self.template(limits) % tuple(numbers)

    def template(self, limits: tuple[float, ...]) -> bytes:
        """Return `lines` with two places a window for whole numbers: requests that remain, seconds until the reset.

        They go on every response, so they are remembered: as many as combinations of factors.
        """
        template = self._known.get(limits)
        if template is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            policy = self.policy(limits).replace("%", "%%").encode("ascii")
            template = self._known[limits] = b"ratelimit-policy: %b\r\n%b" % (policy, self._line)
        return template

    def fields(self, limits: Sequence[float], remaining: Sequence[float], reset_after: Sequence[float]) -> list[Field]:
        """Return both fields, names in lower case, ready to be sent."""
        return [
            (b"ratelimit-policy", self.policy(limits).encode("ascii")),
            (b"ratelimit", self.state(remaining, reset_after).encode("ascii")),
        ]


def x_fields(limit: float, remaining: float, reset_after: float, *, wall: float | None = None) -> list[Field]:
    """Return the older `X-RateLimit-*` fields of one window, the decisive one.

    Args:
        limit: the effective limit.
        remaining: requests left.
        reset_after: seconds until the quota is whole; infinite leaves `X-RateLimit-Reset` out.
        wall: Unix time now, for clients that expect the reset as a time, as GitHub gives it; None gives seconds from
            now.
    """
    fields = [(b"x-ratelimit-limit", b"%d" % _down(limit)), (b"x-ratelimit-remaining", b"%d" % _down(remaining))]
    if reset_after < math.inf:
        reset = _up(reset_after) if wall is None else _up(wall + reset_after)
        fields.append((b"x-ratelimit-reset", b"%d" % reset))
    return fields


def retry_after(seconds: float, *, longest: int = 86_400) -> int:
    """Return the value of `Retry-After`: whole seconds, rounded up, at least 1.

    A wait that is infinite or not a number gives `longest`, as does any above it: a client that may never succeed is
    told to stay away, not to come back at once.
    """
    return _up(seconds, least=1, most=longest)


def _down(number: float) -> int:
    """Round down to what an Integer holds, rounding errors forgiven; nothing that is no number becomes a quota."""
    if not number > 0.0:
        return 0
    return math.floor(number + SLACK) if number < _MAX_INTEGER else _MAX_INTEGER


def _up(seconds: float, *, least: int = 0, most: int = _MAX_INTEGER) -> int:
    if seconds <= least:
        return least
    # A microsecond of rounding must not become a second.
    return max(math.ceil(seconds - 1e-6), least) if seconds < most else most
