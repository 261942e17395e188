"""`round-robin`: everyone in turn, by weight, interleaved."""

import math
import random
from collections.abc import Sequence

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance, Pool

__all__ = ["RoundRobin", "integer_weights", "smooth_schedule"]

_MAX_TURNS = 8192
_TURNS_PER_INSTANCE = 32
_MAX_DENOMINATOR = 100
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def integer_weights(weights: Sequence[float], limit: int) -> list[int]:
    """Return whole numbers in the ratio of `weights`: exact if they fit `limit` in sum, else rounded, at least 1."""
    for scale in range(1, _MAX_DENOMINATOR + 1):
        scaled = [weight * scale for weight in weights]
        if sum(scaled) > limit:
            break
        rounded = [round(value) for value in scaled]
        if all(low and abs(value - low) <= 1e-9 * value for value, low in zip(scaled, rounded, strict=True)):
            return _reduced(rounded)
    total = sum(weights)
    return _reduced([max(1, round(weight * limit / total)) for weight in weights])


def smooth_schedule(turns: Sequence[int]) -> list[int]:
    """Return indices such that index i appears `turns[i]` times, spread as evenly as its share allows.

    The k-th turn of an instance with t turns is due at (k + phase) / t of the cycle, so that up to any place in it
    everyone has had his share to within one turn. Phases are multiples of the golden ratio, which keeps those of equal
    weight apart. The result is as smooth as nginx's algorithm, in O(T log T) once instead of O(n) per pick.
    """
    due = sorted(
        ((k + index * _GOLDEN % 1.0) / count, index) for index, count in enumerate(turns) for k in range(count)
    )
    return [index for _, index in due]


class RoundRobin:
    """Smooth weighted round-robin over a precomputed cycle: O(1) per pick, exact shares over each cycle.

    The cycle holds at most 8192 turns (32 per instance up to 256 instances, 8 in a pool of 1000), so a weight that is
    no simple ratio is resolved to about 1/32 of the mean. A worker starts at a random place so that many workers do not
    march in step.
    """

    __slots__ = ("_cursor", "_length", "_schedule")

    def __init__(self, rng: random.Random) -> None:
        self._schedule: list[Instance] = []
        self._length = 0
        self._cursor = rng.randrange(_MAX_TURNS)

    def prepare(self, pool: Pool) -> None:
        """Build the cycle for the current candidates and weights."""
        candidates = pool.candidates
        if len({instance.weight for instance in candidates}) <= 1:
            self._schedule = candidates
        else:
            limit = min(_MAX_TURNS, _TURNS_PER_INSTANCE * len(candidates))
            turns = integer_weights([instance.weight for instance in candidates], limit)
            self._schedule = [candidates[index] for index in smooth_schedule(turns)]
        self._length = len(self._schedule)
        self._cursor = self._cursor % self._length if self._length else 0

    def pick(self, pool: Pool, request: Request, tried: Sequence[Instance]) -> Instance | None:  # noqa: ARG002 - the Protocol
        """Return the next in turn that was not tried."""
        schedule = self._schedule
        for _ in range(self._length) if tried else (0,):
            cursor = self._cursor
            instance = schedule[cursor]
            cursor += 1
            self._cursor = cursor if cursor < self._length else 0
            if instance not in tried:
                return instance
        return None


def _reduced(numbers: list[int]) -> list[int]:
    divisor = math.gcd(*numbers)
    return [number // divisor for number in numbers]
