"""Counts that several processes share: what one request's asks do to them, as a pure transition.

Nothing in here knows where the counts are. The control process applies it to a table of its own
(`seawall.systems.ratelimit.embedded`); on Redis its twin in Lua does (`seawall.systems.ratelimit.shared_lua`), and a
property test proves both equal, bit by bit.

**All or nothing.** The binding asks of a request are granted when each has room, else none takes anything. What does
not bind (a rule in shadow mode) takes by itself when it has room.

**Leases.** After the request itself, further requests are paid in advance as far as there is room: at most half of what
remains, so that one process cannot lease away what the others need.

**When a rule changes.** The algorithms and lengths of an ask's windows are part of the place under which it is counted,
so processes with different versions of a rule never misread each other's state; they count apart until they agree.

**When the clock jumps** each algorithm does as it says for itself: a key waits for its own price or its own window at
most, never for the clock to catch up.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from seawall.systems.ratelimit.concurrency import Concurrency
from seawall.systems.ratelimit.counts import CountAnswer, CountAsk, GiveBack, WindowAnswer, WindowAsk
from seawall.systems.ratelimit.fixed import FixedWindow
from seawall.systems.ratelimit.gcra import IDLE, Gcra
from seawall.systems.ratelimit.model import Algorithm
from seawall.systems.ratelimit.shared_bounds import MIN_LIMIT
from seawall.systems.ratelimit.sliding import SlidingWindow
from seawall.systems.ratelimit.verdict import Verdict

__all__ = ["LEASED_SHARE", "Change", "States", "StatesOf", "give_back", "place_of", "take", "undo"]

LEASED_SHARE = 0.5
"""How much of what remains may be leased at once."""

States = tuple[Any, ...]
"""One state per window: a float for `gcra`, else the algorithm's own tuple of floats."""

StatesOf = Callable[[str], States | None]
"""Gives what is kept at a place; None for nothing."""

_LETTERS = {
    Algorithm.GCRA: "g",
    Algorithm.SLIDING_WINDOW: "s",
    Algorithm.FIXED_WINDOW: "f",
    Algorithm.CONCURRENCY: "c",
}


class Change(NamedTuple):
    """What is to be kept from now on.

    Attributes:
        place: where.
        states: one per window.
        lasts: seconds after which they are as good as none.
    """

    place: str
    states: States
    lasts: float


class _Trial(NamedTuple):
    ask: CountAsk
    place: str
    states: States | None
    verdicts: list[Verdict[Any]]
    allowed: bool


def place_of(key: str, windows: Sequence[WindowAsk]) -> str:
    """Return where a key's counts are kept: its windows' algorithms and lengths, then the key."""
    shape = "".join([f"{_LETTERS[window.algorithm]}{window.window:.17g}" for window in windows])
    return f"{shape}:{key}"


def take(states_of: StatesOf, asks: Sequence[CountAsk], now: float) -> tuple[tuple[CountAnswer, ...], list[Change]]:
    """Decide on a request's asks, all or nothing; see the module.

    Args:
        states_of: gives what is kept at a place of `place_of`.
        asks: within their bounds, and each of another key.
        now: seconds on the clock that wrote the states.

    Returns:
        The answers in the order of the asks, and what has changed; nothing has changed where it is not told.
    """
    trials = [_try(states_of, ask, now) for ask in asks]
    granted = all(trial.allowed for trial in trials if trial.ask.binding)
    answers: list[CountAnswer] = []
    changes: list[Change] = []
    for trial in trials:
        ask, verdicts, lease = trial.ask, trial.verdicts, 0.0
        if trial.allowed and (granted or not ask.binding):
            if ask.lease:
                lease, verdicts = _lease(ask, verdicts, now)
            changes.append(_change(trial.place, verdicts))
        else:
            # Where there was room, the verdict has taken the cost; a look, which costs nothing, gives it without.
            verdicts = [
                _check(window, state, now, 0.0) if verdict[0] else verdict
                for window, state, verdict in zip(
                    ask.windows, trial.states or (None,) * len(verdicts), verdicts, strict=True
                )
            ]
            # A key that was never seen stays so; another's state changes where time has passed or gone back.
            if trial.states is not None and trial.states != tuple([verdict[1] for verdict in verdicts]):
                changes.append(_change(trial.place, verdicts))
        told = tuple([WindowAnswer(verdict[0], verdict[2], verdict[3], verdict[4]) for verdict in verdicts])
        answers.append(CountAnswer(trial.allowed, told, lease, now))
    return tuple(answers), changes


def give_back(states_of: StatesOf, refund: GiveBack, now: float) -> Change | None:
    """Hand back what was taken and not used, or take unasked what a request cost beyond that.

    Args:
        states_of: gives what is kept at a place of `place_of`.
        refund: within its bounds.
        now: seconds on the clock that wrote the states.

    Returns:
        What has changed; None when there is nothing to give it back to.
    """
    place = place_of(refund.key, refund.windows)
    if any(window.cost == math.inf for window in refund.windows):
        return Change(place, (), 0.0)
    states = states_of(place)
    if states is None and all(window.cost >= 0.0 for window in refund.windows):
        return None
    if states is None:
        states = (None,) * len(refund.windows)
    after: list[Verdict[Any]] = []
    for window, state in zip(refund.windows, states, strict=True):
        changed = state
        if window.limit >= MIN_LIMIT and window.cost < 0.0:
            changed = _charge(window, state, now)
        elif window.limit >= MIN_LIMIT and state is not None:
            changed = _refund(window, state, refund.at, now)
        after.append(_check(window, changed, now, 0.0))
    return _change(place, after)


def undo(asks: Sequence[CountAsk], answers: Sequence[CountAnswer]) -> list[GiveBack]:
    """Return what gives back all that a request has taken, lease included; for an answer that nobody waits for."""
    granted = all(answer.allowed for ask, answer in zip(asks, answers, strict=True) if ask.binding)
    refunds = []
    for ask, answer in zip(asks, answers, strict=True):
        if answer.allowed and (granted or not ask.binding):
            windows = tuple(
                [
                    WindowAsk(one.algorithm, one.limit, one.window, one.burst, one.cost * (1.0 + answer.lease))
                    for one in ask.windows
                ]
            )
            refunds.append(GiveBack(ask.key, windows, answer.at))
    return refunds


def _try(states_of: StatesOf, ask: CountAsk, now: float) -> _Trial:
    place = place_of(ask.key, ask.windows)
    states = states_of(place)
    verdicts = [
        _check(window, state, now, window.cost)
        for window, state in zip(ask.windows, states or (None,) * len(ask.windows), strict=True)
    ]
    return _Trial(ask, place, states, verdicts, all(verdict[0] for verdict in verdicts))


def _check(window: WindowAsk, state: Any, now: float, cost: float) -> Verdict[Any]:  # noqa: ANN401 - an algorithm's own
    algorithm, limit = window.algorithm, window.limit
    if limit < MIN_LIMIT and cost:
        _, state, _, reset, _ = _check(window, state, now, 0.0)
        return False, state, 0.0, reset, math.inf
    if algorithm is Algorithm.GCRA:
        interval = window.window / max(limit, MIN_LIMIT)
        return Gcra.check(IDLE if state is None else state, now, interval, window.burst, cost)
    if algorithm is Algorithm.SLIDING_WINDOW:
        return SlidingWindow.check(state, now, limit, window.window, cost)
    if algorithm is Algorithm.FIXED_WINDOW:
        return FixedWindow.check(state, now, limit, window.window, cost)
    return Concurrency.acquire(state, now, limit, window.window, cost)


def _lease(ask: CountAsk, verdicts: list[Verdict[Any]], now: float) -> tuple[float, list[Verdict[Any]]]:
    """Return how many further requests are paid in advance, and the verdicts with their cost taken."""
    room = ask.lease
    for window, verdict in zip(ask.windows, verdicts, strict=True):
        if window.cost > 0.0:
            room = min(room, LEASED_SHARE * verdict[2] / window.cost)
    lease = math.floor(room)
    if lease < 1:
        return 0.0, verdicts
    after = [
        _check(window, verdict[1], now, lease * window.cost)
        for window, verdict in zip(ask.windows, verdicts, strict=True)
    ]
    if not all(verdict[0] for verdict in after):  # rounding, at the very edge of what doubles can tell apart
        return 0.0, verdicts
    return float(lease), after


def _change(place: str, verdicts: Sequence[Verdict[Any]]) -> Change:
    return Change(place, tuple([verdict[1] for verdict in verdicts]), max([verdict[3] for verdict in verdicts]))


def _refund(window: WindowAsk, state: Any, at: float, now: float) -> Any:  # noqa: ANN401 - an algorithm's own
    algorithm, cost = window.algorithm, window.cost
    if algorithm is Algorithm.GCRA:
        return Gcra.refund(state, now, window.window / window.limit, cost)
    if algorithm is Algorithm.SLIDING_WINDOW:
        return SlidingWindow.refund(state, at, window.window, cost)
    if algorithm is Algorithm.FIXED_WINDOW:
        return FixedWindow.refund(state, at, cost)
    return Concurrency.release(state, at, now, window.window, cost)


def _charge(window: WindowAsk, state: Any, now: float) -> Any:  # noqa: ANN401 - an algorithm's own
    algorithm, cost = window.algorithm, -window.cost
    if algorithm is Algorithm.GCRA:
        interval = window.window / window.limit
        return Gcra.charge(IDLE if state is None else state, now, interval, window.burst, cost)
    if algorithm is Algorithm.SLIDING_WINDOW:
        return SlidingWindow.check(state, now, math.inf, window.window, cost)[1]
    if algorithm is Algorithm.FIXED_WINDOW:
        return FixedWindow.check(state, now, math.inf, window.window, cost)[1]
    return Concurrency.acquire(state, now, math.inf, window.window, cost)[1]
