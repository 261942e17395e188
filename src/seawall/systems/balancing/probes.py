"""The pool of probe answers that Prequal chooses from.

Wydrowski, Kleinberg, Rumble, Archer: "Load is not what you should balance: introducing Prequal" (NSDI 2024).
"""

import math
import random
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence

from seawall.systems.balancing.counters import Instance

__all__ = ["ProbePool"]

_CAPACITY = 16
_MAX_AGE = 1.0
_QUANTILE = 0.84
"""An answer with more requests in flight than this quantile of recent answers is hot (the paper's 2**-0.25)."""
_HISTORY = 128
_REMOVAL_RATE = 1.0
_NET_RATE = 1.0
"""The paper's delta: how many more answers should come in than are used up."""


class _Answer:
    __slots__ = ("at", "in_flight", "instance", "latency", "uses")

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.at = 0.0
        self.in_flight = 0.0
        self.latency = 0.0
        self.uses = 0


class ProbePool:
    """At most 16 answers, one per instance, none older than 1 s, each good for a few uses.

    Requests in flight and latency are taken relative to the instance's weight and doubled per consecutive error, so
    that a newcomer is spared and an instance that fails fast does not draw traffic by being idle. O(16) per choice.

    Args:
        clock: monotonic seconds.
        rng: source of randomness.
    """

    __slots__ = (
        "_answers",
        "_by_instance",
        "_clock",
        "_credit",
        "_drop_oldest",
        "_history",
        "_members",
        "_random",
        "_sorted",
        "_targets",
        "_threshold",
        "_uses",
    )

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock = clock
        self._random = rng.random
        self._targets: list[Instance] = []
        self._members: set[Instance] = set()
        self._answers: list[_Answer] = []  # oldest first
        self._by_instance: dict[Instance, _Answer] = {}
        self._history: deque[float] = deque()
        self._sorted: list[float] = []
        self._threshold = math.inf
        self._credit = 0.0
        self._uses = 1
        self._drop_oldest = False

    def prepare(self, candidates: Sequence[Instance], probe_rate: float) -> None:
        """Probe these from now on; answers of others are dropped."""
        self._targets = list(candidates)
        self._members = set(candidates)
        self._answers = [answer for answer in self._answers if answer.instance in self._members]
        self._by_instance = {answer.instance: answer for answer in self._answers}
        self._uses = _reuse_budget(len(candidates), probe_rate)

    def targets(self, probe_rate: float) -> list[Instance]:
        """Return whom to probe on behalf of one request: `probe_rate` instances on average, without repeats.

        One answer is given up as well, the worst and the oldest in turn: since the best are used up, what stays behind
        would otherwise be worse than the fleet.
        """
        if len(self._answers) > _CAPACITY // 2:
            self._remove(self._answers[0] if self._drop_oldest else self._worst())
            self._drop_oldest = not self._drop_oldest
        targets = self._targets
        size = len(targets)
        self._credit += min(probe_rate, size)
        count = int(self._credit)
        self._credit -= count
        for index in range(count):
            # The head of a Fisher-Yates shuffle, in place.
            other = index + int(self._random() * (size - index))
            targets[index], targets[other] = targets[other], targets[index]
        return targets[:count]

    def add(self, instance: Instance, in_flight: int, latency: float) -> None:
        """Take an answer; a newer one of the same instance replaces the older. Nonsense and strangers are dropped."""
        if instance not in self._members or in_flight < 0 or not 0.0 <= latency < math.inf:
            return
        answer = self._by_instance.get(instance)
        if answer is not None:
            self._answers.remove(answer)
        else:
            if len(self._answers) >= _CAPACITY:
                self._remove(self._answers[0])
            answer = _Answer(instance)
            self._by_instance[instance] = answer
        answer.at = self._clock()
        # The request to come is counted in, so that a handicap weighs on an idle instance too.
        answer.in_flight = (in_flight + 1) * instance.handicap
        answer.latency = latency * instance.handicap
        answer.uses = self._uses
        self._answers.append(answer)
        self._learn(answer.in_flight)

    def choose(self, tried: Sequence[Instance]) -> Instance | None:
        """Return the best instance by a fresh answer: the fastest cold one, else the hot one of least in flight.

        None when fewer than two answers (or one in a pool of one) are fresh.
        """
        answers = self._answers
        oldest = self._clock() - _MAX_AGE
        while answers and answers[0].at < oldest:
            self._remove(answers[0])
        if len(answers) < 2 and len(self._targets) > 1:
            return None
        threshold = self._threshold
        best = None
        lowest = math.inf
        for answer in answers:
            if answer.in_flight <= threshold and answer.latency < lowest and answer.instance not in tried:
                best = answer
                lowest = answer.latency
        if best is None:
            for answer in answers:
                if answer.in_flight < lowest and answer.instance not in tried:
                    best = answer
                    lowest = answer.in_flight
            if best is None:
                return None
        instance = best.instance
        best.in_flight += instance.handicap
        best.uses -= 1
        if best.uses <= 0:
            self._remove(best)
        return instance

    def _remove(self, answer: _Answer) -> None:
        self._answers.remove(answer)
        del self._by_instance[answer.instance]

    def _worst(self) -> _Answer:
        most = max(self._answers, key=lambda answer: answer.in_flight)
        return most if most.in_flight > self._threshold else max(self._answers, key=lambda answer: answer.latency)

    def _learn(self, in_flight: float) -> None:
        if len(self._history) >= _HISTORY:
            gone = self._history.popleft()
            del self._sorted[bisect_left(self._sorted, gone)]
        self._history.append(in_flight)
        insort(self._sorted, in_flight)
        self._threshold = self._sorted[int(_QUANTILE * (len(self._sorted) - 1))]


def _reuse_budget(instances: int, probe_rate: float) -> int:
    # Equation 1 of the paper, rounded up. It assumes a fleet much larger than the pool of answers; with one answer per
    # instance a small fleet behaves like a pool of half its size.
    pool = min(_CAPACITY, instances / 2.0)
    surplus = (1.0 - pool / instances) * probe_rate - _REMOVAL_RATE if instances else 0.0
    if surplus <= 0.0:
        return _CAPACITY
    return min(max(math.ceil((1.0 + _NET_RATE) / surplus), 1), _CAPACITY)
