"""Leases: requests of a busy key that shared counts were paid for in advance, so that they are decided without asking.

A lease is asked for along with a request whose key was asked for a short time ago. Its size is what the key needs here
in `_SPAN` seconds at its present rate, grown from small, and never above the process's part of half the burst: all
processes together hold half a burst at most. What a lease holds is used within `LIFETIME`, or handed back.

Only busy keys cost anything: a key that was asked for once is forgotten after `LIFETIME`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from seawall.systems.ratelimit.counts import CountAnswer, GiveBack, WindowAsk
from seawall.systems.ratelimit.model import Algorithm, Factors, WindowSnapshot
from seawall.systems.ratelimit.verdict import SLACK, Verdict

__all__ = ["BYTES_PER_KEY", "LIFETIME", "Claim", "Lease", "LeaseTable", "Lot", "most_tokens", "window_asks"]

LIFETIME = 0.3
"""Seconds that a lease lasts at most; never longer than the shortest window."""

BYTES_PER_KEY = 800
"""Bound on the bytes of a watched key, its text and its lease included; measured in tests/unit/ratelimit."""

_HOT = 0.6
"""Seconds within which a key must be asked for again to be busy: longer than a lease lasts."""
_SPAN = 0.15
"""Seconds that a lease should suffice for."""
_PATIENCE = 0.05
"""Seconds in which no second lease is asked for a key while the first is on its way."""
_FIRST = 4.0
"""Requests of a key's first lease at most; each further one may hold twice as many and this."""
_PART = 0.5
"""Share of the burst that all processes together may hold in leases."""


class Claim:
    """What was taken from shared counts: what it takes to give it back.

    Attributes:
        key: as in `CountAsk`.
        windows: of the rule that took it.
        limits: effective limits at which it was taken.
        at: seconds on the clock of the counts.
        lease: the lease that it is part of, while that is held.
    """

    __slots__ = ("at", "key", "lease", "limits", "windows")

    def __init__(self, key: str, windows: tuple[WindowSnapshot, ...], limits: tuple[float, ...], at: float) -> None:
        self.key = key
        self.windows = windows
        self.limits = limits
        self.at = at
        self.lease: Lease | None = None

    def give_back(self, cost: float, permits: float = 0.0) -> GiveBack:
        """Return what hands back `cost` requests and some permits of requests in flight; negative takes more."""
        return GiveBack(self.key, window_asks(self.windows, self.limits, cost, permits), self.at)


class Lease:
    """One key's lease, and how busy the key is; of the engine alone.

    Attributes:
        claim: what was taken; None while there is no lease.
        tokens: requests of cost 1 that are left.
        since: when the lease was granted, in monotonic seconds.
        until: when it ends; always over while there is none.
        watched: until when the key is watched.
        factors: what the limits were made with.
        limit: effective limit of the window to report, the one with the smallest share left at the grant.
        left: what was left in that window beside the lease.
        reset: seconds until that window was whole again.
        index: of that window.
    """

    __slots__ = (
        "asked",
        "claim",
        "extra",
        "factors",
        "granted",
        "index",
        "left",
        "limit",
        "limits",
        "pending",
        "reset",
        "since",
        "size",
        "tokens",
        "until",
        "verdicts",
        "watched",
    )

    def __init__(self, now: float, watched: float) -> None:
        self.claim: Claim | None = None
        self.tokens = 0.0
        self.since = self.until = -math.inf
        self.watched = watched
        self.asked = now
        self.extra = 0.0
        """Cost that was asked for one by one since `asked`."""
        self.granted = 0.0
        """Tokens at `asked`, or of the grant since."""
        self.size = 0.0
        """Tokens of the last lease that was asked for."""
        self.pending = -math.inf
        """Until when no further lease is asked for."""
        self.factors = Factors()
        self.limits: tuple[float, ...] = ()
        self.limit = self.left = self.reset = 0.0
        self.index = 0
        self.verdicts: tuple[Verdict[Any], ...] = ()

    def drop(self) -> GiveBack | None:
        """End the lease; return what hands back the rest of it."""
        self.until = -math.inf
        claim, self.claim = self.claim, None
        tokens, self.tokens = self.tokens, 0.0
        self.granted -= tokens
        if claim is None:
            return None
        claim.lease = None
        return claim.give_back(tokens) if tokens > 0.0 else None

    def told(self) -> tuple[Verdict[Any], ...]:
        """Return the verdicts of a request that the lease has just paid for, with what the lease still holds."""
        tokens = self.tokens
        claim = self.claim
        windows = claim.windows if claim is not None else ()
        return tuple(
            [
                (True, claim, verdict[2] + tokens * window.cost, verdict[3], 0.0)
                for verdict, window in zip(self.verdicts, windows, strict=True)
            ]
        )


Lot = dict[str, Lease]
"""Leases by key, those asked for last at the end; all with the same factors of role and endpoint."""


class LeaseTable:
    """The leases of one rule.

    Requests of one key that different factors of role or endpoint apply to have a lease each, since what they took is
    worth differently. Factors that change with time do so in steps of 100 ms, and a lease does not last much longer.

    Args:
        lifetime: seconds that a lease lasts.
        max_keys: keys that are watched at most, at `BYTES_PER_KEY` each; further keys have no lease.
    """

    __slots__ = ("_lots", "_watched", "closed", "lifetime", "max_keys")

    def __init__(self, lifetime: float, max_keys: int) -> None:
        self.lifetime = lifetime
        self.max_keys = max_keys
        self.closed = False
        self._lots: dict[float, Lot] = {}
        self._watched = 0

    def __len__(self) -> int:
        return self._watched

    def lot(self, factor: float) -> Lot:
        """Return the leases for requests with a factor of role and endpoint."""
        return self._lots.setdefault(factor, {})

    def held(self) -> float:
        """Return the tokens of all leases; linear in the keys watched."""
        return sum(lease.tokens for lot in self._lots.values() for lease in lot.values())

    def want(self, lot: Lot, key: str, cost: float, most: float, now: float) -> tuple[float, GiveBack | None]:
        """Note that a key is asked for; return the further requests of this cost to lease, and what is handed back.

        Args:
            lot: the key's.
            key: as in `LimitResult.key`.
            cost: of the request.
            most: tokens that the lease may hold.
            now: monotonic seconds.
        """
        lease = lot.get(key)
        if lease is None:
            if self._watched < self.max_keys:
                lot[key] = lease = Lease(now, now + self.lifetime)
                lease.extra = cost
                self._watched += 1
            return 0.0, None
        if lease.pending - _PATIENCE <= now < lease.pending:
            lease.extra += cost
            return 0.0, None
        del lot[key]
        lot[key] = lease
        back = None if lease.since <= now < lease.until else lease.drop()
        elapsed = now - lease.asked
        used = lease.granted - lease.tokens + lease.extra
        lease.asked = now
        lease.extra = cost
        lease.granted = lease.tokens
        lease.watched = now + self.lifetime
        if not 0.0 <= elapsed < _HOT:
            lease.size = 0.0
            return 0.0, back
        # Below a millisecond the rate is a guess, which the growth by steps keeps small.
        rate = used / max(elapsed, 0.001)
        size = min(rate * _SPAN, 2.0 * lease.size + _FIRST, most)
        if not cost or size < cost:
            return 0.0, back
        requests = math.floor(size / cost)
        lease.size = requests * cost
        lease.pending = now + _PATIENCE
        return float(requests), back

    def grant(
        self, lot: Lot, key: str, claim: Claim, factors: Factors, answer: CountAnswer, cost: float, now: float
    ) -> GiveBack | None:
        """Put away what an answer granted, if anything; return what is handed back for it."""
        lease = lot.get(key)
        if lease is not None:
            lease.pending = -math.inf
        if answer.lease <= 0.0:
            return None
        tokens = answer.lease * cost
        if self.closed:
            return claim.give_back(tokens)
        if lease is None:
            if self._watched >= self.max_keys:
                return claim.give_back(tokens)
            lot[key] = lease = Lease(now, now)
            self._watched += 1
        back = lease.drop()
        shares = [window.remaining / limit for window, limit in zip(answer.windows, claim.limits, strict=True)]
        index = shares.index(min(shares))
        claim.lease = lease
        lease.claim = claim
        lease.tokens = tokens
        lease.granted += tokens
        lease.since = now
        lease.until = lease.watched = now + self.lifetime
        lease.factors = factors
        lease.limits = claim.limits
        lease.index = index
        lease.limit = claim.limits[index]
        lease.left = answer.windows[index].remaining
        lease.reset = answer.windows[index].reset_after
        lease.verdicts = tuple((True, claim, one.remaining, one.reset_after, 0.0) for one in answer.windows)
        return back

    def sweep(self, now: float, give_back: Callable[[GiveBack], None]) -> None:
        """Hand back leases that are over, and forget keys that were not asked for; linear in those."""
        for lot in self._lots.values():
            while lot:
                key = next(iter(lot))
                lease = lot[key]
                if lease.watched - self.lifetime <= now < lease.watched:
                    break
                del lot[key]
                if lease.tokens < lease.granted and lease.claim is not None:
                    lot[key] = lease  # it was used, so the key is watched for some more time
                    lease.watched = now + self.lifetime
                else:
                    self._watched -= 1
                back = lease.drop()
                if back is not None:
                    give_back(back)

    def forget(self, key: str) -> bool:
        """Drop what is held for a key, without handing it back; tell whether anything was."""
        found = [lot.pop(key) for lot in self._lots.values() if key in lot]
        held = any(lease.claim is not None for lease in found)
        for lease in found:
            lease.drop()
        self._watched -= len(found)
        return held

    def close(self, give_back: Callable[[GiveBack], None]) -> None:
        """Hand back everything, and whatever is granted from now on."""
        self.closed = True
        for lot in self._lots.values():
            for lease in lot.values():
                back = lease.drop()
                if back is not None:
                    give_back(back)
            lot.clear()
        self._watched = 0


def window_asks(
    windows: Sequence[WindowSnapshot], limits: Sequence[float], cost: float, permits: float = 1.0
) -> tuple[WindowAsk, ...]:
    """Return windows as shared counts are asked for them, by a request of some cost."""
    return tuple(
        [
            WindowAsk(
                window.algorithm,
                limit,
                window.window,
                max(limit * window.burst_share, 1.0) if window.algorithm is Algorithm.GCRA else 0.0,
                permits if window.algorithm is Algorithm.CONCURRENCY else cost * window.cost,
            )
            for window, limit in zip(windows, limits, strict=True)
        ]
    )


def most_tokens(windows: Sequence[WindowSnapshot], limits: Sequence[float], share: float) -> float:
    """Return the tokens that this process may hold of a key at once, when it has some share of the limit."""
    room = math.inf
    for window, limit in zip(windows, limits, strict=True):
        burst = limit * window.burst_share if window.algorithm is Algorithm.GCRA else limit
        if window.cost > 0.0:
            room = min(room, burst / window.cost)
    return _PART * share * room + SLACK if room < math.inf else 0.0
