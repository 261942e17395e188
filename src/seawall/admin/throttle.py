"""A bounded brake on failed authentications."""

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable

from seawall.core.clock import Clock

__all__ = ["FailureThrottle", "network_of"]


class FailureThrottle:
    """Token buckets of failures, one per key, least recently failed forgotten first.

    Args:
        clock: monotonic time.
        burst: failures that are taken at once.
        period: seconds in which one failure is forgiven.
        capacity: keys remembered; a bucket costs about 200 bytes.

    Not thread-safe; every call is O(1).
    """

    def __init__(self, clock: Clock, *, burst: int = 10, period: float = 6.0, capacity: int = 4096) -> None:
        self._clock = clock
        self._burst = burst
        self._period = period
        self._capacity = capacity
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, key: Hashable) -> float:
        """Return the seconds until this key may try again; 0 when it may now."""
        level = self._level(key)
        return 0.0 if level >= 1.0 else (1.0 - level) * self._period

    def fail(self, key: Hashable) -> None:
        """Take note of a failure."""
        level = self._level(key)
        self._buckets[key] = (max(level - 1.0, 0.0), self._clock.monotonic())
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)

    def _level(self, key: Hashable) -> float:
        bucket = self._buckets.get(key)
        if bucket is None:
            return float(self._burst)
        level, at = bucket
        return min(level + (self._clock.monotonic() - at) / self._period, float(self._burst))


def network_of(address: str) -> str:
    """Return what counts as one caller: an IPv4 address, an IPv6 /64 (a host owns all of it), else the text itself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
