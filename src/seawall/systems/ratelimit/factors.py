"""Two numbers that scale limits: how loaded the upstreams are, and how much of a threat a client is.

Both are 1 when all is well and fall towards a floor. They are stepped about every 100 ms, outside of the request path,
and are sent to the engines as plain numbers.

**Load.** Four signals are each divided by what is tolerated of them, and the largest is the pressure: latency against
its own long-term mean (the gradient of Netflix's Gradient2), requests in flight against capacity, the error rate, and
the event loop's lag. Pressure above 1 lowers the factor and pressure below `release` raises it, slowly at first and
faster the longer all is well; in between it rests, which is the hysteresis.

How fast it falls for latency follows from what latency is: seconds of queue. They grow by (arrivals / capacity - 1) a
second, so their growth says by which share the arrivals must fall (proportional), and their excess how much queue
there is to work off (integral). A measured latency tells of when its request arrived; where the numbers of requests in
flight and ended are known, growth and excess are taken from these, which tell of now (Little's law), and else the gain
falls with the latency: `min(gain, 0.5 / latency)`. The slope is relative to the factor, so the loop is the same for a
limit of twice the capacity and for one of five times.

The long-term latency follows good times within `baseline` seconds and bad times ten times slower, so that an overload
does not become the new normal, but a change that stays does.
"""

import math

import msgspec

from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.verdict import require_positive

__all__ = ["LoadController", "LoadSample", "LoadTolerances", "ThreatFactors"]

_LONGEST_STEP = 0.5
"""Seconds that one step may account for, whatever the clock says."""
_SLOW_BASELINE = 10.0
"""How much slower the long-term latency follows bad times, and how much faster it follows a fall."""


class LoadSample(msgspec.Struct, frozen=True, kw_only=True):
    """What the pools looked like over the last interval.

    Attributes:
        at: when it was taken, monotonic seconds.
        latency: mean of the requests that ended in it, seconds; 0 when none did.
        in_flight: requests in flight at its end.
        ended: requests that ended in it; 0 when unknown.
        capacity: requests in flight that the pools can bear; 0 when unknown.
        error_rate: share 0..1 of the requests that failed for the upstream's sake.
        loop_lag: how late the event loop runs, seconds.
    """

    at: float
    latency: float = 0.0
    in_flight: float = 0.0
    ended: int = 0
    capacity: float = 0.0
    error_rate: float = 0.0
    loop_lag: float = 0.0


class LoadTolerances(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is tolerated, and how fast the factor moves.

    Attributes:
        latency: ratio to the long-term latency, above 1.
        error_rate: share 0..1.
        loop_lag: seconds.
        release: pressure 0..1 below which the factor rises.
        floor: the factor never falls below it; above 0, at most 1.
        gain: relative slope per second for a latency that grows by a second a second; for 1 s of excess its square / 4.
        fall: relative slope per second for a pressure of 2 from another signal than latency; half of it for 1.5.
        steepest: bound on the relative slope per second downwards; upwards it is a third of it.
        rise: relative slope per second when all has just become well; doubles with each second that it stays so.
        baseline: seconds of the long-term latency.
        stale_after: age of a sample, in seconds, from which on it is ignored.
    """

    latency: float = 2.0
    error_rate: float = 0.1
    loop_lag: float = 0.05
    release: float = 0.85
    floor: float = 0.1
    gain: float = 4.0
    fall: float = 1.0
    steepest: float = 6.0
    rise: float = 0.15
    baseline: float = 60.0
    stale_after: float = 1.0


class LoadController:
    """The load factor of one pool, or of all; not for concurrent use.

    Raises:
        SeawallError: a tolerance is out of range; says which.
    """

    __slots__ = (
        "_at",
        "_baseline",
        "_factor",
        "_in_flight",
        "_latency",
        "_pressure",
        "_seen",
        "_tolerances",
        "_well_since",
    )

    def __init__(self, tolerances: LoadTolerances | None = None) -> None:
        tolerances = tolerances or LoadTolerances()
        require_positive(**{name: getattr(tolerances, name) for name in tolerances.__struct_fields__})
        if tolerances.latency <= 1 or tolerances.release >= 1 or tolerances.floor > 1:
            raise SeawallError(
                f"load tolerances are out of range: latency {tolerances.latency}, release {tolerances.release},"
                f" floor {tolerances.floor}",
                hint="Let latency be above 1, release below 1 and floor at most 1.",
            )
        self._tolerances = tolerances
        self._factor = 1.0
        self._pressure = 0.0
        self._baseline = 0.0
        self._latency = 0.0
        self._in_flight = 0.0
        self._at: float | None = None
        self._seen = -math.inf
        self._well_since: float | None = None

    @property
    def factor(self) -> float:
        """The present factor, `floor`..1."""
        return self._factor

    @property
    def pressure(self) -> float:
        """The largest signal of the last sample, divided by what is tolerated of it; above 1 is overload."""
        return self._pressure

    def step(self, now: float, sample: LoadSample | None) -> float:
        """Take a sample and return the factor; a sample that is missing, old or already seen changes nothing.

        Args:
            now: monotonic seconds; call about every 100 ms.
            sample: the newest one.
        """
        elapsed = 0.0 if self._at is None else min(max(now - self._at, 0.0), _LONGEST_STEP)
        self._at = now
        if sample is None or sample.at == self._seen or not now - sample.at <= self._tolerances.stale_after:
            self._well_since = None
            return self._factor
        passed = min(max(sample.at - self._seen, 0.0), _LONGEST_STEP)
        self._seen = sample.at
        others = self._others(sample)
        by_latency, slope = self._by_latency(sample, passed)
        self._pressure = pressure = max(others, by_latency)
        if pressure > 1.0:
            self._well_since = None
            self._move(min(0.0, slope, self._tolerances.fall * (1.0 - others)), elapsed)
        elif pressure < self._tolerances.release:
            if self._well_since is None:
                self._well_since = now
            rise = self._tolerances.rise * math.exp2(min(now - self._well_since, 60.0))
            self._move(max(0.0, rise + min(0.0, slope)), elapsed)
        else:
            self._well_since = None
        return self._factor

    def _move(self, slope: float, elapsed: float) -> None:
        steepest = self._tolerances.steepest
        slope = max(-steepest, min(steepest / 3.0, slope))
        self._factor = max(self._tolerances.floor, min(1.0, self._factor * math.exp(slope * elapsed)))

    def _others(self, sample: LoadSample) -> float:
        """Return the pressure of all signals but latency; one that is no number says nothing."""
        signals = [sample.error_rate / self._tolerances.error_rate, sample.loop_lag / self._tolerances.loop_lag]
        if sample.capacity > 0.0:
            signals.append(sample.in_flight / sample.capacity)
        return max((signal for signal in signals if 0.0 <= signal < math.inf), default=0.0)

    def _by_latency(self, sample: LoadSample, passed: float) -> tuple[float, float]:
        """Return the pressure of a latency, and the slope of the factor that it asks for."""
        latency = sample.latency
        grown = sample.in_flight - self._in_flight
        self._in_flight = sample.in_flight
        if not 0.0 < latency < math.inf:
            self._latency = 0.0
            return 0.0, 0.0
        if not self._baseline:
            self._baseline = latency
        tolerated = self._baseline * self._tolerances.latency
        pressure = latency / tolerated
        gain = self._tolerances.gain
        if sample.ended > 0 and sample.in_flight > 0.0 and passed:
            growth = grown / sample.ended
            excess = sample.in_flight * passed / sample.ended - tolerated
        else:
            gain = min(gain, 0.5 / latency)
            growth = (latency - self._latency) / passed if self._latency and passed else 0.0
            excess = latency - tolerated
        self._latency = latency
        window = self._tolerances.baseline
        if latency < self._baseline:
            window /= _SLOW_BASELINE
        elif pressure > 1.0:
            window *= _SLOW_BASELINE
        self._baseline += (latency - self._baseline) * -math.expm1(-passed / window)
        return pressure, -gain * growth - gain * gain / 4.0 * excess


class ThreatFactors:
    """How much of a threat each identity, address or network is; not for concurrent use.

    A report raises a key's level towards 1, a second one by the same share of what is left; levels halve every
    `half_life`. The factor is 1 at level 0 and `floor` at level 1. The key `""` stands for everyone.

    Args:
        half_life: seconds.
        floor: factor of the worst, above 0, at most 1.
        max_keys: keys remembered; when there are more, the smallest level is forgotten.

    Raises:
        SeawallError: a number is out of range.
    """

    __slots__ = ("_floor", "_half_life", "_levels", "_max_keys")

    def __init__(self, *, half_life: float = 300.0, floor: float = 0.1, max_keys: int = 10_000) -> None:
        require_positive(half_life=half_life, floor=floor, max_keys=max_keys)
        if floor > 1.0:
            raise SeawallError(f"a threat factor cannot have a floor of {floor}", hint="Let it be at most 1.")
        self._half_life = half_life
        self._floor = floor
        self._max_keys = max_keys
        self._levels: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._levels)

    def report(self, now: float, key: str, severity: float) -> None:
        """Take a report; a severity beyond 0..1 counts as 0 or 1, one that is no number as nothing."""
        if not severity > 0.0:
            return
        level = self._level(now, key)
        self._levels[key] = (1.0 - (1.0 - level) * (1.0 - min(severity, 1.0)), now)
        if len(self._levels) > self._max_keys:
            self._forget(now)

    def pardon(self, key: str) -> None:
        """Forget a key at once."""
        self._levels.pop(key, None)

    def factor(self, now: float, key: str) -> float:
        """Return a key's factor, `floor`..1."""
        return max(self._floor, 1.0 - self._level(now, key) * (1.0 - self._floor))

    def step(self, now: float) -> dict[str, float]:
        """Return the factors that differ from 1 by a hundredth or more, and forget the others."""
        factors = {key: self.factor(now, key) for key in self._levels}
        for key, factor in factors.items():
            if factor > 0.99:
                del self._levels[key]
        return {key: factor for key, factor in factors.items() if factor <= 0.99}

    def _level(self, now: float, key: str) -> float:
        level, at = self._levels.get(key, (0.0, now))
        return level * math.exp2(-max(now - at, 0.0) / self._half_life)

    def _forget(self, now: float) -> None:
        """Forget a tenth at once, so that a flood of reports does not sort for each of them."""
        ranked = sorted(self._levels, key=lambda key: self._level(now, key))
        for key in ranked[: max(len(ranked) // 10, len(ranked) - self._max_keys)]:
            del self._levels[key]
