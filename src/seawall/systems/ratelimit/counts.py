"""What an engine asks of counts that several processes share, and what it is answered."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from seawall.systems.ratelimit.model import Algorithm

__all__ = ["CountAnswer", "CountAsk", "Counts", "GiveBack", "Reply", "WindowAnswer", "WindowAsk"]


class WindowAsk(msgspec.Struct, frozen=True, array_like=True):
    """One window of a key, with what factors made of its limit.

    Attributes:
        algorithm: how it counts.
        limit: effective limit, requests per window; for `concurrency` requests in flight.
        window: seconds.
        burst: for `gcra` the requests that an idle key may make at once, at least 1; else 0.
        cost: what the request takes; always 1 for `concurrency`.
    """

    algorithm: Algorithm
    limit: float
    window: float
    burst: float
    cost: float


class CountAsk(msgspec.Struct, frozen=True, array_like=True):
    """One rule's count for one request; the asks of a request are granted all or nothing.

    Attributes:
        key: the rule's id, a line feed, and the key as in `LimitResult.key`.
        windows: in order.
        lease: further requests, of the same cost each, to be paid in advance where there is room for all windows; the
            grant may be smaller. 0 for none.
        binding: whether a refusal here refuses the request; rules in shadow mode take by themselves.
    """

    key: str
    windows: tuple[WindowAsk, ...]
    lease: float = 0.0
    binding: bool = True


class WindowAnswer(msgspec.Struct, frozen=True, array_like=True):
    """One window after the decision.

    Attributes:
        allowed: whether this window had room.
        remaining: requests of cost 1 that would pass now, those leased not among them.
        reset_after: seconds until the quota is whole again.
        retry_after: seconds until the same request would pass; 0 when it has; infinite when it never can.
    """

    allowed: bool
    remaining: float
    reset_after: float
    retry_after: float


class CountAnswer(msgspec.Struct, frozen=True, array_like=True):
    """The answer to one `CountAsk`.

    Attributes:
        allowed: whether its windows had room; what was taken depends on the other binding asks as well.
        windows: in the order of the ask.
        lease: requests that were paid in advance; 0 for none.
        at: seconds on the clock of the counts at the decision; to be handed back with `GiveBack`.
    """

    allowed: bool
    windows: tuple[WindowAnswer, ...]
    lease: float
    at: float


class GiveBack(msgspec.Struct, frozen=True, array_like=True):
    """What was taken and not used: an expired lease, a refund, the permit of a request that has ended.

    Attributes:
        key: as in the ask.
        windows: those of the ask, with the amount that comes back as `cost`; negative to take more, unasked; infinite
            to forget the key.
        at: as in the answer.
    """

    key: str
    windows: tuple[WindowAsk, ...]
    at: float


Reply = Callable[[tuple[CountAnswer, ...] | None], None]
"""Takes the answers, in the order of the asks; None when the counts are away or did not answer within the budget."""


class Counts(Protocol):
    """Counts outside of this process; used from one event loop."""

    @property
    def available(self) -> bool:
        """Whether asking makes sense now; False while a breaker is open."""
        ...

    def take(self, asks: tuple[CountAsk, ...], reply: Reply) -> None:
        """Take what a request costs, all or nothing over its binding asks.

        `reply` is called exactly once, from the event loop and never from within this call, at the latest when the
        budget is over. An answer that comes later than that is given back by whoever implements this.
        """
        ...

    def give_back(self, refunds: Sequence[GiveBack]) -> None:
        """Hand back what was taken and not used; lost when the counts are away, since all of it expires anyway."""
        ...
