"""When an issuer's keys are fetched again: as it says, within bounds, sooner when a token names an unknown key."""

import random

__all__ = ["RefreshSchedule"]

_MIN_AGE, _MAX_AGE = 60.0, 86_400.0
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0
_JITTER = 0.1


class RefreshSchedule:
    """The time of the next fetch; it never reads a clock.

    Args:
        rng: spreads the fetches of many gateways.
        refresh: seconds that keys are kept where the issuer does not say.
        min_interval: seconds between two fetches that unknown keys may cause.
        now: monotonic seconds; the first fetch is due at once.
    """

    def __init__(self, rng: random.Random, *, refresh: float, min_interval: float, now: float) -> None:
        self._rng = rng
        self._refresh = refresh
        self._min_interval = min_interval
        self._begun = -min_interval + now
        self._due = now
        self._pause = _FIRST_RETRY

    def due(self, now: float) -> bool:
        """Return whether it is time."""
        return now >= self._due

    def begun(self, now: float) -> None:
        """Take note that a fetch begins; nothing is due until it ends."""
        self._begun = now
        self._due = float("inf")

    def succeeded(self, now: float, max_age: float | None) -> None:
        """Take note of keys that may be kept for `max_age` seconds, None where the issuer does not say.

        What it says is taken between a minute and a day.
        """
        age = self._refresh if max_age is None else min(max(max_age, _MIN_AGE), _MAX_AGE)
        self._due = now + max(age, self._min_interval) * (1 - _JITTER * self._rng.random())
        self._pause = _FIRST_RETRY

    def failed(self, now: float) -> None:
        """Take note of a failed fetch: another one follows after 1 s, then twice as long each time, up to a minute."""
        self._due = now + self._pause * (1 + _JITTER * self._rng.random())
        self._pause = min(self._pause * 2, _LAST_RETRY)

    def asked(self, now: float) -> None:
        """Take note of a token that names an unknown key: fetch as soon as the last fetch is old enough."""
        self._due = min(self._due, max(now, self._begun + self._min_interval))
