"""Slow start and reported load: the two factors that turn a configured weight into an effective one."""

from collections.abc import Iterable

__all__ = ["FLOOR", "LoadFactors", "ramp"]

FLOOR = 0.1
"""Share of its weight that a newcomer starts with; enough to warm up, too little to hurt when it is cold."""

_GAIN = 0.3
"""Share of the error corrected a step; below 1, because a load reading lags behind the weight that caused it."""
_LOWEST, _HIGHEST = 0.1, 10.0
_NOISE_FLOOR = 0.05
"""Loads below this say nothing: 1 % against 3 % is not a threefold difference worth acting on."""
_DEAD_BAND = 0.02


def ramp(elapsed: float, duration: float, aggression: float = 1.0) -> float:
    """Return the share 0.1..1 of its weight that an instance gets `elapsed` seconds after it came (back).

    The shape is Envoy's: `(elapsed / duration) ** (1 / aggression)`; 1 is linear, above 1 rises faster at first.
    """
    if elapsed >= duration:
        return 1.0
    if elapsed <= 0.0:
        return FLOOR
    return float(max(FLOOR, (elapsed / duration) ** (1.0 / aggression)))


class LoadFactors:
    """Weight factors that level the load which the instances of one pool report about themselves.

    The target is the pool's mean. Each step multiplies an instance's factor by a part of `target / load`, so the
    factors settle where every load equals the mean, whatever the capacities are. (Setting `target / load` outright
    oscillates, since the load follows the weight.) An instance that reports nothing drifts back to 1. Not safe to call
    concurrently.
    """

    def __init__(self) -> None:
        self._factors: dict[str, float] = {}

    def factor(self, instance_id: str) -> float:
        """Return the factor 0.1..10 of an instance; 1 when nothing is known."""
        return self._factors.get(instance_id, 1.0)

    def step(self, loads: Iterable[tuple[str, float]]) -> bool:
        """Take the newest load of each instance (0..1 and above) once a second; return whether any factor moved."""
        readings = {instance_id: max(load, _NOISE_FLOOR) for instance_id, load in loads if load >= 0.0}
        moved = False
        for instance_id in [known for known in self._factors if known not in readings]:
            relaxed = self._factors[instance_id] ** (1.0 - _GAIN)
            moved = True
            if abs(relaxed - 1.0) < _DEAD_BAND:
                del self._factors[instance_id]
            else:
                self._factors[instance_id] = relaxed
        if len(readings) < 2:
            return moved
        target = sum(readings.values()) / len(readings)
        for instance_id, load in readings.items():
            ratio = target / load
            if abs(ratio - 1.0) < _DEAD_BAND:
                continue
            now = self._factors.get(instance_id, 1.0)
            then = min(max(now * ratio**_GAIN, _LOWEST), _HIGHEST)
            if then != now:
                self._factors[instance_id] = then
                moved = True
        return moved

    def forget(self, instance_id: str) -> None:
        """Drop what is known of an instance that is gone."""
        self._factors.pop(instance_id, None)
