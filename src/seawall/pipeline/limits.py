"""Rate limits as a stage: the request as the limiter wants it, shared counts asked where it must, the answer."""

import functools
from collections.abc import Callable, Sequence
from math import ceil, inf
from typing import Final

from seawall.core.principal import ANONYMOUS
from seawall.core.request import Request
from seawall.pipeline.loads import PoolLoads
from seawall.pipeline.passage import WAITING, Passage, Refusal, Verdict
from seawall.pipeline.stage import Stage
from seawall.pipeline.traits import Kind, Traits
from seawall.systems.ratelimit.answers import encoded_fields, refusal_of
from seawall.systems.ratelimit.asking import Ask
from seawall.systems.ratelimit.counts import CountAnswer, Counts, GiveBack
from seawall.systems.ratelimit.engine import Place, RateLimitEngine
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import LimitResult, Mode, RateLimitSnapshot
from seawall.systems.ratelimit.shared import undo
from seawall.systems.ratelimit.verdict import SLACK

__all__ = ["LimitStage"]

_USUAL: Final = ("ratelimit",)
_MAX_PLACES = 8192
"""Kinds of requests for which it is remembered what decides on them; some 300 bytes each."""
_FAMILIES: Final = {
    "ratelimit": frozenset({b"ratelimit", b"ratelimit-policy"}),
    "x-ratelimit": frozenset({b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"}),
}


Known = tuple[Place, bytes]
"""What decides on requests alike, and the template of their fields."""

Resume = Callable[[Passage, Callable[[], Verdict]], None]


class LimitStage(Stage):
    """Let requests pass within their limits.

    It fails open: a limiter that is broken must not take the service with it. What its rules do while shared counts are
    away is theirs to say (`on_store_failure`) and is no failure of the stage.

    Args:
        engine: decides.
        monotonic: monotonic seconds.
        route_name: names the route that takes a request; asked only where a rule wants to know.
        loads: tells how loaded pools are, for limits that follow it.
        counts: where shared counts are; None where there are none.

    The quota fields of an upstream that has limits of its own give way to ours: a client cannot heed two sets of them.

    Attributes:
        resume: continues a request that had to wait; set by whoever builds the pipeline.
    """

    name = "ratelimit"
    fails_open = True

    def __init__(
        self,
        engine: RateLimitEngine,
        monotonic: Callable[[], float],
        route_name: Callable[[Request], str],
        loads: PoolLoads,
        counts: Counts | None = None,
    ) -> None:
        super().__init__()
        self.resume: Resume = _nobody
        self._engine = engine
        self._monotonic = monotonic
        self._route_name = route_name
        self._loads = loads
        self._counts = counts
        self._context = LimitContext()
        self._traits = Traits((), (), route_name)
        self._families: tuple[str, ...] = ()
        self._usual = False
        """Whether the fields of responses are those that a template can write."""
        self._places: dict[tuple[str, str, str, Kind | None], Known] = {}
        """What decides on callers who proved nothing, by all that rules want to know of them."""
        self._seen: RateLimitSnapshot | None = None

    def refresh(self) -> None:
        """Look at the engine's snapshot: whether there is anything to check, and what rules look at."""
        snapshot = self._engine.snapshot
        before, self._seen = self._seen, snapshot
        rules = [rule for rule in snapshot.rules if rule.mode is not Mode.OFF]
        self.active = bool(rules or snapshot.blocks or snapshot.shedding)
        self._families = tuple(snapshot.headers)
        self.replaces = frozenset().union(*(_FAMILIES[family] for family in self._families if family in _FAMILIES))
        if before is None or before.rules != snapshot.rules or before.priorities != snapshot.priorities:
            self._traits = Traits(rules, snapshot.priorities, self._route_name)
            self._context = LimitContext()
        self._places.clear()
        self._usual = self._families == _USUAL

    def enter(self, passage: Passage) -> Verdict:
        """Decide; where shared counts have to be asked, wait for them."""
        now = self._monotonic()
        kind = None
        request = passage.request
        if self._usual and request.identity is ANONYMOUS:
            if not self._traits.none:
                kind = self._traits.of(request)
            known = self._places.get((request.client, request.method, passage.pool, kind))
            if known is not None and self._admits(passage, known, now):
                return None
        return self._decide(passage, now, kind)

    def expire(self, passage: Passage) -> None:
        """Decide as if the counts were away; their answer, should it still come, is given back."""
        ask = passage.ask
        if ask is not None:
            passage.ask = None
            self.resume(passage, lambda: self._settle(passage, ask, None))

    def leave(self, passage: Passage) -> None:
        """Release the permits of requests in flight."""
        result = passage.limit
        if result is not None and result.holds:
            self._engine.release(result, self._monotonic())
            self._return()

    def refund(self, passage: Passage) -> None:
        """Give back what the request took."""
        if passage.admission is not None:
            self._engine.refund_admission(passage.admission, self._monotonic())
        elif passage.limit is not None:
            self._engine.refund(passage.limit, self._monotonic())
        else:
            return
        self._return()

    def sweep(self) -> None:
        """Give back leases that expired unused, and what refunds left behind."""
        self._give_back(self._engine.sweep(self._monotonic()))

    def measure(self, lag: float) -> None:
        """Tell the engine how loaded the pools are and how late the event loop is."""
        self._engine.pools = self._loads.read()
        self._engine.lag = lag

    def close(self) -> None:
        """Give back every lease."""
        self._give_back(self._engine.sweep(inf))

    # inside

    def _admits(self, passage: Passage, known: Known, now: float) -> bool:
        admission = self._engine.admit(known[0], now)
        if admission is None:
            return False
        passage.admission = admission
        # As `FieldWriter.lines` does; what is admitted has numbers that are neither negative nor infinite.
        passage.fields += known[1] % (int(admission[5] + SLACK), ceil(admission[6] - 1e-6))
        return True

    def _decide(self, passage: Passage, now: float, kind: Kind | None) -> Verdict:
        context = self._context_of(passage)
        place = self._engine.find(context) if self._usual else None
        if place is not None:
            known = place, place[0].writer.template(place[2])
            if context is self._context and (kind is None or self._traits.worth(kind)):
                if len(self._places) >= _MAX_PLACES:
                    self._places.clear()
                self._places[context.client, context.method, context.pool, kind] = known
            if self._admits(passage, known, now):
                return None
        found = self._engine.begin(context, now)
        if isinstance(found, LimitResult):
            return self._take(passage, found)
        self._context = LimitContext()  # the other one is the question's now
        counts = self._counts
        if counts is None or not counts.available:
            return self._settle(passage, found, None)
        passage.ask = found
        counts.take(found.asks, functools.partial(self._answered, passage, found))
        return WAITING

    def _context_of(self, passage: Passage) -> LimitContext:
        """Return what the limiter wants to know.

        One object serves all requests that nobody is known of, since making one costs as much as deciding by it.
        """
        request = passage.request
        identity = request.identity
        if identity is ANONYMOUS:
            context = self._context
        else:
            context = LimitContext(
                user=identity.user, tenant=identity.tenant, api_key=identity.api_key, role=identity.role
            )
        context.client = request.client
        context.method = request.method
        context.pool = passage.pool
        self._traits.tell(context, request)
        return context

    def _answered(self, passage: Passage, ask: Ask, answers: tuple[CountAnswer, ...] | None) -> None:
        if passage.ask is not ask:  # it was decided without them
            if answers is not None:
                self._give_back(undo(ask.asks, answers))
            return
        passage.ask = None
        self.resume(passage, lambda: self._settle(passage, ask, answers))

    def _settle(self, passage: Passage, ask: Ask, answers: tuple[CountAnswer, ...] | None) -> Verdict:
        return self._take(passage, self._engine.settle(ask, answers, self._monotonic()))

    def _take(self, passage: Passage, result: LimitResult) -> Verdict:
        if not result.allowed:
            status, fields, body = refusal_of(result, self._families, request_id=passage.request.request_id)
            return Refusal(status, tuple(fields), body)
        passage.limit = result
        passage.fields += encoded_fields(result, self._families)
        if result.holds:
            passage.holds = True
        return None

    def _return(self) -> None:
        returns = self._engine.returns()
        if returns:
            self._give_back(returns)

    def _give_back(self, returns: Sequence[GiveBack]) -> None:
        if returns and self._counts is not None:
            self._counts.give_back(returns)


def _nobody(passage: Passage, finish: Callable[[], Verdict]) -> None:
    raise RuntimeError(f"{passage!r} has no pipeline to go on in, so {finish!r} is never asked")
