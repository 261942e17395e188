"""A second opinion on clients: whose conduct is unlike that of all others, by a model that learns as it goes.

It lowers limits and tells people, and never refuses anybody: what is rare need not be wrong.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from math import log1p
from typing import Protocol

import msgspec

from seawall.systems.threats.deeds import ClientDeeds
from seawall.systems.threats.networks import subject_of_address

__all__ = ["FEATURES", "ClientOddity", "ClientScores", "ClientWatch", "threshold_of"]

FEATURES = ("rate", "errors", "paths", "size", "unsafe")
"""Each 0 to 1: requests/s and bytes of a body on a logarithmic scale up to 1000 and 1 MB; shares of errors, of
different paths and of requests that change something."""

_WINDOW = 10.0
_ENOUGH = 20
"""Requests within a window without which shares say little."""
_MAX_CLIENTS = 5000
_MAX_JUDGED = 1000
"""Clients of one window that are judged, the busiest."""
_AT_ONCE = 40
"""Clients that are judged in one step: 250 us each."""
_QUIET = 600.0
_MAX_TOLD = 10_000
_MAX_PATHS = 256


class ClientScores(Protocol):
    """A model of conduct (`seawall.adapters.anomaly`)."""

    def score(self, features: Mapping[str, float]) -> float:
        """Return how unusual something is, 0 to 1; 0 while too little is known."""
        ...

    def learn(self, features: Mapping[str, float]) -> None:
        """Take it for usual."""
        ...


class ClientOddity(msgspec.Struct, frozen=True):
    """A client behaves unlike all others."""

    client: str
    score: float
    detail: str


class _Window(msgspec.Struct):
    client: str
    requests: int = 0
    errors: int = 0
    unsafe: int = 0
    bytes: int = 0
    paths: set[int] = msgspec.field(default_factory=set)


class ClientWatch:
    """Judge clients over windows of ten seconds. Not for concurrent use; bounded.

    Args:
        scores: the model.
        threshold: score from which on a client is odd; what is odd is not learned.

    Attributes:
        judged: clients, once a window.
        odd: of them, those that were odd.
    """

    def __init__(self, scores: ClientScores, threshold: float) -> None:
        self.threshold = threshold
        self.judged = 0
        self.odd = 0
        self._scores = scores
        self._clients: dict[str, _Window] = {}
        self._waiting: deque[tuple[_Window, float]] = deque()
        self._since: float | None = None
        self._told: dict[str, float] = {}

    def take(self, deeds: Iterable[ClientDeeds]) -> None:
        """Take what a guard saw; what one worker saw and another is added up."""
        for one in deeds:
            subject = subject_of_address(one.client)
            window = self._clients.get(subject)
            if window is None:
                if len(self._clients) >= _MAX_CLIENTS or not one.client:
                    continue
                window = self._clients[subject] = _Window(one.client)
            window.requests += one.requests
            window.errors += one.errors
            window.unsafe += one.unsafe
            window.bytes += one.bytes
            if len(window.paths) < _MAX_PATHS:
                window.paths.update(one.paths)

    def step(self, now: float) -> Iterator[ClientOddity]:
        """Judge some, and yield those that are odd, each once in ten minutes.

        Args:
            now: monotonic seconds; a clock that goes backwards begins a new window.
        """
        since = self._since
        if since is None or now < since:
            self._since, self._clients = now, {}
        elif now - since >= _WINDOW:
            self._since = now
            clients, self._clients = self._clients, {}
            busy = sorted((one for one in clients.values() if one.requests >= _ENOUGH), key=lambda one: -one.requests)
            self._waiting = deque((one, now - since) for one in busy[:_MAX_JUDGED])
        for _ in range(min(_AT_ONCE, len(self._waiting))):
            oddity = self._judge(*self._waiting.popleft(), now)
            if oddity is not None:
                yield oddity

    def _judge(self, window: _Window, seconds: float, now: float) -> ClientOddity | None:
        features = features_of(window, seconds)
        score = self._scores.score(features)
        self.judged += 1
        if score < self.threshold:
            self._scores.learn(features)
            return None
        self.odd += 1
        subject = subject_of_address(window.client)
        told = self._told.pop(subject, None)
        if told is not None and 0.0 <= now - told < _QUIET:
            self._told[subject] = told
            return None
        self._told[subject] = now
        if len(self._told) > _MAX_TOLD:
            del self._told[next(iter(self._told))]
        count = window.requests
        detail = (
            f"unlike other clients, score {score:.2f}: {count / seconds:.3g} requests/s,"
            f" {window.errors / count:.0%} errors, {len(window.paths)} paths,"
            f" {window.unsafe / count:.0%} that change something, {window.bytes / count:.0f} bytes a body"
        )
        return ClientOddity(window.client, score, detail)


def features_of(window: _Window, seconds: float) -> dict[str, float]:
    """Return what the model sees of a client."""
    count = window.requests
    values = (
        log1p(count / seconds) / log1p(1000.0),
        window.errors / count,
        len(window.paths) / min(count, _MAX_PATHS),
        log1p(window.bytes / count) / log1p(1e6),
        window.unsafe / count,
    )
    return {name: min(max(value, 0.0), 1.0) for name, value in zip(FEATURES, values, strict=True)}


def threshold_of(sensitivity: float) -> float:
    """Return the score that counts as odd for `threats.anomaly_threshold`: 0.8 at 0, 0.9 in the middle, never at 1."""
    return 0.8 + 0.2 * sensitivity if sensitivity < 1.0 else float("inf")
