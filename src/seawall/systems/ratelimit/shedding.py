"""Load shedding by priority: who is turned away when the upstreams cannot serve all, whatever anyone's quota.

Requests carry a tier, 0 (critical) to 5 (background). Two controllers say which share of all requests must go:

- `QueueController`, after Uber's Cinnamon ("PID Controller for Cinnamon", 2023): keeps the requests in flight at what
  the upstreams bear, from the seconds of excess in flight (integral) and the growth of it (proportional).
- `AdaptiveThrottle`, of Google's SRE book, chapter "Handling Overload": turns away what the upstreams would refuse
anyway.

`Shedder` takes the larger of the two and turns it into the share admitted of each tier, from the lowest tier upwards;
at most one tier is admitted in part. Which requests of that tier is decided by a hash, so that the requests of one
client fare alike, whatever the worker, and a larger share admits all whom a smaller one admits.
"""

import math
from collections import deque
from collections.abc import Sequence

import msgspec

from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.verdict import require_positive

__all__ = [
    "TIERS",
    "AdaptiveThrottle",
    "QueueController",
    "ShedSample",
    "Shedder",
    "admits",
    "cohort",
    "tier_shares",
]

TIERS = 6
"""0 critical, 1 to 4, 5 background."""

_LONGEST_STEP = 0.5
"""Seconds that one step may account for, whatever the clock says."""
_SLOTS = 10
_MIX_WINDOW = 1.0
"""Seconds over which the mix of tiers is averaged."""
_MOST_THROTTLED = 0.99
"""The throttle leaves one request in a hundred, so that it hears when the upstreams are back."""
_ALL = 1 << 32


class ShedSample(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen over the last interval, over all workers.

    Attributes:
        at: when it was taken, monotonic seconds.
        offered: requests that arrived, by tier, before any were shed.
        ended: requests that ended at the upstreams.
        accepted: those of them that the upstreams served: no 429, 503, timeout or reset.
        in_flight: requests at the upstreams now.
        capacity: requests in flight that the upstreams bear, such as `Gradient2` finds; 0 when unknown. Where it is
            set by hand, twice the number at work at once keeps chance crowds from being taken for an overload.
    """

    at: float
    offered: tuple[int, ...]
    ended: int
    accepted: int
    in_flight: float
    capacity: float = 0.0


class QueueController:
    """The share of requests to admit so that as many are in flight as the upstreams bear; not for concurrent use.

    The slope of the share is relative to the share, so the loop's gain does not depend on how large the overload is.
    The default gains give a critically damped loop that settles within about 2 s.

    Args:
        gain: relative slope per second for each unit of growth: (admitted - ended) / ended.
        queue_gain: relative slope per second for each second of excess: (in flight - capacity) / ended per second.
        steepest: bound on the relative slope per second downwards; upwards it is a third of it.
        rise: relative slope per second when the capacity is unknown and refusals have just ended; doubles every second.
        band: excess within this share of the capacity counts as none, as do fewer refusals for each request served; the
            hysteresis.
        floor: the share never falls below it, so that there is something to learn from.

    Raises:
        SeawallError: a number is not finite and above 0.
    """

    __slots__ = ("_band", "_floor", "_gain", "_in_flight", "_queue_gain", "_rise", "_share", "_steepest", "_well")

    def __init__(
        self,
        *,
        gain: float = 4.0,
        queue_gain: float = 4.0,
        steepest: float = 9.0,
        rise: float = 0.15,
        band: float = 0.05,
        floor: float = 0.01,
    ) -> None:
        require_positive(gain=gain, queue_gain=queue_gain, steepest=steepest, rise=rise, band=band, floor=floor)
        self._gain = gain
        self._queue_gain = queue_gain
        self._steepest = steepest
        self._rise = rise
        self._band = band
        self._floor = floor
        self._share = 1.0
        self._well = 0.0
        """Seconds since the upstreams refused."""
        self._in_flight: float | None = None

    @property
    def share(self) -> float:
        """The share of requests to admit, `floor`..1."""
        return self._share

    def step(self, elapsed: float, ended: int, refused: int, in_flight: float, capacity: float) -> float:
        """Take what was seen in the last `elapsed` seconds and return the share to admit.

        Args:
            elapsed: seconds.
            ended: requests that ended at the upstreams, the refused included.
            refused: those that the upstreams turned away, so that they are not in flight, though they were too many.
            in_flight: requests at the upstreams now.
            capacity: as many as they bear; 0 when unknown, so that refusals alone lower the share, and their absence
                raises it, slowly at first.
        """
        if not elapsed > 0.0 or not in_flight >= 0.0:
            return self._share
        # Growth is read off the requests in flight, so no request is missed that was admitted otherwise.
        growth = refused + (0.0 if self._in_flight is None else in_flight - self._in_flight)
        self._in_flight = in_flight
        served = max(ended - refused, 1)
        troubled = refused > self._band * served
        slope = -self._gain * growth / served
        if capacity > 0.0:
            excess = in_flight - capacity
            if excess > self._band * capacity or (excess < -self._band * capacity and not troubled):
                slope -= self._queue_gain * excess * elapsed / served
            free = excess < 0.0
        else:
            slope += 0.0 if troubled else self._rise * math.exp2(min(self._well, 60.0))
            free = True
        self._well = 0.0 if troubled else self._well + elapsed
        if free and not troubled:
            # Growth into free room is what room is for.
            slope = max(slope, 0.0)
        slope = max(-self._steepest, min(self._steepest / 3.0, slope))
        self._share = max(self._floor, min(1.0, self._share * math.exp(slope * elapsed)))
        return self._share


class AdaptiveThrottle:
    """The share of requests that the upstreams would refuse anyway; not for concurrent use.

    With `requests` and `accepts` of the last `window` seconds it is `max(0, (requests - k * accepts) / (requests +
    1))`.

    Args:
        k: requests sent on for each one accepted; lower sheds earlier, above 1.
        window: seconds; the book has 120, which recovers slowly.

    Raises:
        SeawallError: a number is out of range.
    """

    __slots__ = ("_k", "_slot", "_slots")

    def __init__(self, *, k: float = 2.0, window: float = 5.0) -> None:
        require_positive(window=window)
        if not 1.0 < k < math.inf:
            raise SeawallError(f"an adaptive throttle cannot have k = {k}", hint="Let k be above 1; 2 is usual.")
        self._k = k
        self._slot = window / _SLOTS
        self._slots: deque[tuple[int, int, int]] = deque(maxlen=_SLOTS)

    def record(self, now: float, requests: int, accepts: int) -> None:
        """Count requests, shed ones included, and what of them the upstreams accepted; constant space."""
        number = math.floor(now / self._slot)
        if self._slots and number <= self._slots[-1][0]:
            number, counted, accepted = self._slots.pop()
            self._slots.append((number, counted + requests, accepted + accepts))
        else:
            self._slots.append((number, requests, accepts))

    def rejection(self, now: float) -> float:
        """Return the share 0..1 of requests to turn away."""
        oldest = math.floor(now / self._slot) - _SLOTS
        if self._slots and self._slots[-1][0] > oldest + _SLOTS:
            self._slots.clear()  # the clock went back: what is counted belongs to no time
        requests = sum(slot[1] for slot in self._slots if slot[0] > oldest)
        accepts = sum(slot[2] for slot in self._slots if slot[0] > oldest)
        return max(0.0, (requests - self._k * accepts) / (requests + 1.0))


class Shedder:
    """The share to admit of each tier; not for concurrent use.

    Args:
        queue: keeps the requests in flight at capacity.
        throttle: follows the upstreams' own refusals. It is told only of requests that the queue controller let
            through: what that one sheds would look like refusals.
        steepest: bound on the change per second of the share that the throttle asks for.
        stale_after: age of a sample, in seconds, from which on it is ignored.

    Raises:
        SeawallError: a number is not finite and above 0.
    """

    __slots__ = ("_at", "_mix", "_queue", "_seen", "_shares", "_stale_after", "_steepest", "_throttle", "_throttled")

    def __init__(
        self,
        queue: QueueController | None = None,
        throttle: AdaptiveThrottle | None = None,
        *,
        steepest: float = 1.0,
        stale_after: float = 1.0,
    ) -> None:
        require_positive(steepest=steepest, stale_after=stale_after)
        self._queue = queue or QueueController()
        self._throttle = throttle or AdaptiveThrottle()
        self._steepest = steepest
        self._stale_after = stale_after
        self._throttled = 0.0
        self._mix = [0.0] * TIERS
        self._shares = (1.0,) * TIERS
        self._at: float | None = None
        self._seen = -math.inf

    @property
    def shares(self) -> tuple[float, ...]:
        """The share 0..1 to admit of each tier."""
        return self._shares

    def step(self, now: float, sample: ShedSample | None) -> tuple[float, ...]:
        """Take a sample and return the shares; a sample that is missing, old or already seen changes nothing.

        Args:
            now: monotonic seconds; call about every 100 ms.
            sample: the newest one.

        Raises:
            SeawallError: the sample does not have six tiers.
        """
        elapsed = 0.0 if self._at is None else min(max(now - self._at, 0.0), _LONGEST_STEP)
        self._at = now
        if sample is None or sample.at == self._seen or not now - sample.at <= self._stale_after:
            return self._shares
        if len(sample.offered) != TIERS:
            raise SeawallError(f"a sample has {len(sample.offered)} tiers instead of {TIERS}")
        self._seen = sample.at
        refused = sample.ended - sample.accepted
        share = self._queue.step(elapsed, sample.ended, refused, sample.in_flight, sample.capacity)
        self._throttle.record(now, round(sample.ended / (1.0 - self._throttled)), sample.accepted)
        reach = self._steepest * elapsed
        wanted = min(self._throttle.rejection(now), _MOST_THROTTLED)
        self._throttled += max(-reach, min(reach, wanted - self._throttled))
        weight = -math.expm1(-elapsed / _MIX_WINDOW)
        self._mix = [mean + (new - mean) * weight for mean, new in zip(self._mix, sample.offered, strict=True)]
        self._shares = tier_shares(max(1.0 - share, self._throttled), self._mix)
        return self._shares


def tier_shares(rejection: float, mix: Sequence[float]) -> tuple[float, ...]:
    """Return the share to admit of each tier so that `rejection` (0..1) of all requests goes, the lowest tiers first.

    Args:
        rejection: share of all requests to turn away.
        mix: how many requests each tier has; a tier without any is admitted while the ones below it are.
    """
    excess = max(0.0, min(1.0, rejection)) * sum(mix)
    shares = [1.0] * len(mix)
    for tier in range(len(mix) - 1, -1, -1):
        if excess <= 0.0:
            break
        turned_away = min(mix[tier], excess)
        shares[tier] = 1.0 - turned_away / mix[tier] if mix[tier] > 0.0 else 0.0
        excess -= turned_away
    return tuple(shares)


def cohort(key: int, epoch: int = 0) -> int:
    """Return a client's place 0..2**32-1 in the order in which clients are shed.

    Args:
        key: any integer that stands for the client, such as the hash of its identity.
        epoch: changes whose turn it is; the same for all workers, such as the number of the minute.
    """
    # The finaliser of MurmurHash3: every bit of the input changes half of the output's.
    mixed = (key ^ key >> 32 ^ epoch * 0x9E3779B1) & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return mixed ^ mixed >> 16


def admits(share: float, place: int) -> bool:
    """Return whether a client at this place (see `cohort`) is among the `share` 0..1 to admit."""
    return place < share * _ALL
