"""Passive outlier detection: the traffic itself tells which instance is broken; pure, over counts and a given time.

The rules follow Envoy's outlier detection: consecutive gateway errors, and error rates that lie a number of standard
deviations above those of the others; each further ejection lasts longer; never more than a share of the pool is out.
"""

import math
from collections.abc import Iterable

import msgspec

__all__ = ["Ejected", "EjectionReason", "OutlierChange", "OutlierDetector", "OutlierPolicy", "Returned"]

EjectionReason = str
"""`consecutive-errors` or `error-rate`."""

_MIN_EXCESS = 0.05
"""An error rate within this of the others' mean is never an outlier: among perfect peers one error in a thousand lies
many standard deviations out and means nothing."""
_MEMORY = 600.0
"""Seconds that the history of an instance which left is kept for its return."""


class OutlierPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When to eject and for how long; times in seconds.

    Attributes:
        consecutive_errors: gateway errors in a row that eject at once; 0 turns this rule off.
        error_rate_deviation: standard deviations above the mean error rate that eject; 0 turns this rule off.
        min_requests: requests within an interval that an instance needs to be judged by its error rate.
        min_instances: instances with enough requests that a pool needs for error rates to be compared.
        interval: length of the window over which error rates are compared.
        base_ejection: the first ejection; the n-th in a row lasts n times as long.
        max_ejection: no ejection lasts longer.
        max_ejected: share 0..1 of a pool that may be out at one time, rounded down.
    """

    enabled: bool = True
    consecutive_errors: int = 5
    error_rate_deviation: float = 1.9
    min_requests: int = 100
    min_instances: int = 3
    interval: float = 10.0
    base_ejection: float = 30.0
    max_ejection: float = 300.0
    max_ejected: float = 0.5


class Ejected(msgspec.Struct, frozen=True):
    """An instance was taken out until `until` (monotonic seconds); `count` is its number of ejections in a row."""

    instance_id: str
    reason: EjectionReason
    until: float
    count: int


class Returned(msgspec.Struct, frozen=True):
    """An instance's ejection ended."""

    instance_id: str


OutlierChange = Ejected | Returned


class _Track:
    __slots__ = (
        "clean_since",
        "count",
        "errors_since_return",
        "left_at",
        "run",
        "until",
        "window_errors",
        "window_total",
    )

    def __init__(self, now: float) -> None:
        self.run = 0
        self.errors_since_return = 0
        self.count = 0
        self.until = 0.0  # 0 when not ejected
        self.clean_since = now
        self.window_total = 0
        self.window_errors = 0
        self.left_at = -1.0  # -1 while a member


class OutlierDetector:
    """Judge the instances of one pool.

    Not safe to call concurrently; `observe` is O(1), `step` O(ejected), and O(instances) once an interval.
    """

    def __init__(self, policy: OutlierPolicy, members: Iterable[str] = (), *, now: float = 0.0) -> None:
        self._policy = policy
        self._tracks: dict[str, _Track] = {}
        self._ejected: dict[str, _Track] = {}
        self._suspects: dict[str, None] = {}
        self._members = 0
        self._interval_ends = now + policy.interval
        self.set_members(members, now)

    @property
    def ejected(self) -> dict[str, float]:
        """Return the members that are out, with the monotonic second at which each returns."""
        return {instance_id: track.until for instance_id, track in self._ejected.items() if track.left_at < 0.0}

    def is_ejected(self, instance_id: str) -> bool:
        """Return whether an instance is out."""
        return instance_id in self._ejected

    def set_policy(self, policy: OutlierPolicy) -> None:
        """Use other limits from now on; ejections under way keep their end unless detection is turned off."""
        self._policy = policy

    def set_members(self, members: Iterable[str], now: float) -> None:
        """Say who belongs to the pool; one that leaves is remembered for ten minutes in case it returns."""
        present = set(members)
        self._members = len(present)
        for instance_id in present:
            track = self._tracks.get(instance_id)
            if track is None:
                self._tracks[instance_id] = _Track(now)
            else:
                track.left_at = -1.0
        for instance_id in [known for known in self._tracks if known not in present]:
            track = self._tracks[instance_id]
            if track.left_at < 0.0:
                track.left_at = now
                self._suspects.pop(instance_id, None)
            elif now - track.left_at > _MEMORY:
                del self._tracks[instance_id]
                self._ejected.pop(instance_id, None)

    def observe(
        self, now: float, instance_id: str, successes: int, gateway_errors: int, consecutive_errors: int = 0
    ) -> None:
        """Take what happened on an instance since the last call.

        Args:
            now: monotonic seconds.
            instance_id: a member; anything else is ignored, and so is what arrives while the instance is ejected.
            successes: attempts in this batch that ended well.
            gateway_errors: attempts in this batch that ended in a 5xx, a failed connect, a reset or a timeout.
            consecutive_errors: errors since the last success as the reporting worker counts them, over all batches.
        """
        track = self._tracks.get(instance_id)
        if track is None or track.left_at >= 0.0 or not self._policy.enabled:
            return
        if track.until > 0.0 and now < track.until:
            return
        track.window_total += successes + gateway_errors
        track.window_errors += gateway_errors
        if successes:
            # Which came last within a batch is known only to the worker, and only through its own count.
            track.run = min(consecutive_errors, gateway_errors)
        else:
            track.run += gateway_errors
        if not gateway_errors:
            return
        track.errors_since_return += gateway_errors
        # A worker's count goes on through an ejection; only errors seen since the return are held against the instance.
        run = max(track.run, min(consecutive_errors, track.errors_since_return))
        if 0 < self._policy.consecutive_errors <= run:
            self._suspects[instance_id] = None

    def step(self, now: float) -> list[OutlierChange]:
        """Return who comes back and who goes out now; call it after each batch of reports and when time passes."""
        changes: list[OutlierChange] = []
        self._return_served(now, changes)
        if not self._policy.enabled:
            self._suspects.clear()
            return changes
        for instance_id in self._suspects:
            self._eject(instance_id, "consecutive-errors", now, changes)
        self._suspects.clear()
        if now >= self._interval_ends:
            self._interval_ends = now + self._policy.interval
            self._compare_rates(now, changes)
            self._decay(now)
        return changes

    def _return_served(self, now: float, changes: list[OutlierChange]) -> None:
        served = [
            instance_id
            for instance_id, track in self._ejected.items()
            if now >= track.until or not self._policy.enabled
        ]
        for instance_id in served:
            track = self._ejected.pop(instance_id)
            track.until = 0.0
            track.run = track.errors_since_return = track.window_total = track.window_errors = 0
            track.clean_since = now
            if track.left_at < 0.0:
                changes.append(Returned(instance_id))

    def _eject(self, instance_id: str, reason: EjectionReason, now: float, changes: list[OutlierChange]) -> None:
        track = self._tracks[instance_id]
        out = sum(1 for other in self._ejected.values() if other.left_at < 0.0)
        if instance_id in self._ejected or out + 1 > self._policy.max_ejected * self._members:
            # A suspect that cannot be ejected now is judged again upon its next error.
            return
        track.count += 1
        track.until = now + min(self._policy.base_ejection * track.count, self._policy.max_ejection)
        self._ejected[instance_id] = track
        changes.append(Ejected(instance_id, reason, track.until, track.count))

    def _compare_rates(self, now: float, changes: list[OutlierChange]) -> None:
        policy = self._policy
        judged: list[tuple[float, int, str]] = []
        for instance_id, track in self._tracks.items():
            if track.left_at < 0.0 and track.until == 0.0 and track.window_total >= max(policy.min_requests, 1):
                judged.append((track.window_errors / track.window_total, track.window_total, instance_id))
            track.window_total = track.window_errors = 0
        if policy.error_rate_deviation <= 0.0 or len(judged) < max(policy.min_instances, 2):
            return
        others = len(judged) - 1
        total = sum(rate for rate, _, _ in judged)
        squares = sum(rate * rate for rate, _, _ in judged)
        for rate, requests, instance_id in sorted(judged, reverse=True):
            # An instance is held against the others, not against a mean it is part of: one among n can lie at most
            # sqrt(n - 1) standard deviations from the common mean, so a small pool would never see its broken member.
            mean = (total - rate) / others
            spread = max((squares - rate * rate) / others - mean * mean, 0.0)
            chance = mean * (1.0 - mean) / requests  # the variance that so few requests have by themselves
            if rate > mean + max(policy.error_rate_deviation * math.sqrt(spread + chance), _MIN_EXCESS):
                self._eject(instance_id, "error-rate", now, changes)

    def _decay(self, now: float) -> None:
        """Forget one ejection for each base ejection time without a further one."""
        for track in self._tracks.values():
            if track.count and track.until == 0.0 and now - track.clean_since >= self._policy.base_ejection:
                track.count -= 1
                track.clean_since = now
