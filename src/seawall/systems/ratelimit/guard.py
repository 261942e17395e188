"""What comes before any quota: blocked subjects, and shedding by priority while the server is overloaded."""

import math
import zlib

from seawall.systems.ratelimit.keys import KeyBuilder, LimitContext, subject_builders
from seawall.systems.ratelimit.model import (
    DEFAULT_PRIORITY,
    PRIORITIES,
    Block,
    Factors,
    LimitResult,
    RateLimitSnapshot,
    Reason,
)
from seawall.systems.ratelimit.networks import NetworkMap
from seawall.systems.ratelimit.rules import Matcher, compile_condition
from seawall.systems.ratelimit.shedding import admits, cohort

__all__ = ["Guard", "blocked"]

_NO_FACTORS = Factors()
_RETRY_WHEN_SHED = 1.0
"""Seconds after which a shed request may try again; shares are computed anew many times until then."""

_TURN = 60.0
"""Seconds after which others' requests are shed first."""

_SLACK = 16.0
"""Requests by which a tier may be ahead of its share, or behind it, for the sake of whose turn it is."""


class Guard:
    """Blocks and admission by priority, compiled from a snapshot.

    Attributes:
        closed: whether there is anything to check.
        blocked: requests refused because a subject is blocked, cumulative.
        offered: requests by tier before any was shed, cumulative; counted while shedding is enabled.
        shed: requests refused by overload, by tier, cumulative.
    """

    __slots__ = (
        "_admission",
        "_blocks",
        "_counting",
        "_networks",
        "_owed",
        "_priorities",
        "_subjects",
        "blocked",
        "closed",
        "offered",
        "shed",
    )

    def __init__(self) -> None:
        self.closed = False
        self.blocked = 0
        self.shed = [0] * PRIORITIES
        self.offered = [0] * PRIORITIES
        self._counting = False
        self._blocks: dict[str, Block] = {}
        self._subjects: tuple[KeyBuilder, ...] = ()
        self._networks: NetworkMap[tuple[str, Block]] = NetworkMap({})
        self._priorities: tuple[tuple[Matcher | None, int], ...] = ()
        self._admission: tuple[float, ...] = (1.0,) * PRIORITIES
        self._owed = [0.0] * PRIORITIES
        """Requests that each tier's share has earned and that were not let in."""

    def apply(self, snapshot: RateLimitSnapshot, old: RateLimitSnapshot) -> None:
        """Take over what changed."""
        if snapshot.priorities is not old.priorities:
            self._priorities = tuple((compile_condition(one.match), one.tier) for one in snapshot.priorities)
        if snapshot.blocks is not old.blocks:
            self._blocks = snapshot.blocks
            self._subjects = subject_builders(snapshot.blocks)
            self._networks = NetworkMap(
                {
                    subject.removeprefix("client:"): (subject, block)
                    for subject, block in snapshot.blocks.items()
                    if subject.startswith("client:") and "/" in subject
                }
            )
        self._admission = snapshot.admission
        self._counting = snapshot.shedding
        self.closed = bool(snapshot.blocks) or snapshot.shedding

    def check(self, context: LimitContext, now: float, wall: float) -> LimitResult | None:
        """Return the refusal of a request, None when it may go on.

        Args:
            context: what is known of the request.
            now: monotonic seconds.
            wall: seconds since the Unix epoch.
        """
        if self._blocks:
            for build in self._subjects:
                subject = build(context)
                block = self._blocks.get(subject)
                if block is not None and wall < block.until:
                    self.blocked += 1
                    return blocked(block.until - wall, subject, block.reason)
            found = self._networks.find(context.client) if self._networks else None
            if found is not None and wall < found[1].until:
                self.blocked += 1
                return blocked(found[1].until - wall, found[0], found[1].reason)
        if not self._counting:
            return None
        tier = self.tier(context)
        self.offered[tier] += 1
        share = self._admission[tier]
        if share >= 1.0 or (share > 0.0 and self._has_turn(context, tier, share, now)):
            return None
        self.shed[tier] += 1
        return LimitResult(False, 0, math.inf, 0.0, _RETRY_WHEN_SHED, "", Reason.SHED, _NO_FACTORS)

    def _has_turn(self, context: LimitContext, tier: int, share: float, now: float) -> bool:
        """Tell whether a request is in a tier's share.

        The clients whose turn it is go first, so that some are served well and not all of them badly. Where they are
        few, though, or one is most of them, that would be all requests or none: then the share itself decides.
        """
        owed = self._owed[tier] + share
        least = 1.0 - _SLACK if admits(share, _place(context, now)) else _SLACK
        served = owed >= least
        self._owed[tier] = owed - 1.0 if served else owed
        return served

    def tier(self, context: LimitContext) -> int:
        """Return the priority of a request: its own, else that of the first condition that matches."""
        if context.priority is not None:
            return min(max(context.priority, 0), PRIORITIES - 1)
        for matches, tier in self._priorities:
            if matches is None or matches(context):
                return tier
        return DEFAULT_PRIORITY


def _place(context: LimitContext, now: float) -> int:
    """Return a client's place in the order of shedding, which changes every minute; the same in every process."""
    name = context.identifier or context.user or context.api_key or context.client
    return cohort(zlib.crc32(name.encode("utf-8", "surrogatepass")), int(now // _TURN))


def blocked(seconds: float, key: str, detail: str, rule: str = "") -> LimitResult:
    """Return the refusal of a blocked key for some seconds."""
    return LimitResult(False, 0, 0.0, seconds, seconds, rule, Reason.BLOCKED, _NO_FACTORS, key=key, detail=detail)
