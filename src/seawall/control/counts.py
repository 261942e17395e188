"""Shared counts as a worker reaches them: in the control process through the channel, or in Redis."""

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from seawall.adapters.batched_counts import Batch, BatchedCounts
from seawall.control.channel import OnAnswer
from seawall.core.errors import ConfigurationError
from seawall.state.open import redact_url
from seawall.systems.ratelimit.counts import CountAnswer
from seawall.systems.ratelimit.embedded import CountsBatch, decode_answer_batch, encode_batch

__all__ = ["RATELIMIT", "ChannelCounts", "CountsLine", "open_counts"]

RATELIMIT = "ratelimit"
"""The system that a channel is asked for counts."""

_PROBE = encode_batch(CountsBatch(()))
_PROBE_TIMEOUT = 1.0
_LAST_RETRY = 0.25
"""Seconds; whether the channel is connected costs nothing to see."""


class CountsLine(Protocol):
    """Who carries questions to the control process: a `ChannelClient` or a `LocalChannel`."""

    @property
    def connected(self) -> bool:
        """Return whether asking makes sense."""
        ...

    def ask(self, system: str, payload: bytes, on_answer: OnAnswer) -> bool:
        """Ask; see `ChannelClient.ask`."""
        ...


def open_counts(
    url: str, line: CountsLine | None, *, budget: float = 0.005, rng: random.Random | None = None
) -> BatchedCounts | None:
    """Return the shared counts that go with a state store; touches no network before `start`.

    Call `await counts.start()` on the loop that uses them. It waits for the first try to connect, a second at most, and
    never raises for counts that are away. Then hand them to the limiter as `Counts`: `available`, `take`,
    `give_back`; `reason` says why they are away. At the end `await counts.close()`.

    Args:
        url: `settings.state.url`. `redis://` and `rediss://` (and `unix://`) count on that server, for all gateways
            that share it; with any other the control process counts for its own workers.
        line: the worker's channel; None where there is no control process to ask.
        budget: seconds that a request waits for an answer.
        rng: for the jitter of retries.

    Returns:
        None when there is neither a server nor a channel: each process counts alone.

    Raises:
        ConfigurationError: the URL names no Redis server that can be used, or its client is not installed.
    """
    if urlsplit(url).scheme in {"redis", "rediss", "unix"}:
        try:
            from seawall.adapters.redis_counts import RedisCounts  # noqa: PLC0415 - redis is an extra
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "hiredis":
                raise
            raise ConfigurationError(
                f"counting in {redact_url(url)!r} needs the package 'hiredis', which is not installed",
                hint="install seawall with its extra: seawall[redis]",
            ) from error
        return RedisCounts(url, budget=budget, rng=rng)
    return None if line is None else ChannelCounts(line, budget=budget, rng=rng)


class ChannelCounts(BatchedCounts):
    """Counts in the control process, one for all its workers; they begin anew when that process does.

    Args:
        line: the way there.
        budget: seconds that a request waits for its answer.
        rng: for the jitter of retries.

    For one event loop. A request with one ask costs some 5 us here and 6 us in the control process where many are asked
    in one turn of the loop, ten times that alone.
    """

    def __init__(self, line: CountsLine, *, budget: float = 0.005, rng: random.Random | None = None) -> None:
        super().__init__("the control process", budget=budget, last_retry=_LAST_RETRY, rng=rng)
        self._line = line
        self._under_way: dict[Batch, None] = {}
        self._probe_timer: asyncio.TimerHandle | None = None
        self._probe_sent = 0.0

    def _send(self, batch: Batch) -> None:
        payload = encode_batch(CountsBatch(tuple(batch.requests), tuple(batch.refunds)))
        self._under_way[batch] = None
        if not self._line.ask(RATELIMIT, payload, partial(self._on_answer, batch)):
            self._lose("it is not connected")

    def _on_answer(self, batch: Batch, payload: bytes | None) -> None:
        if payload is None:
            self._lose("the connection ended")
            return
        self._under_way.pop(batch, None)
        answers = _decoded(payload)
        for index in range(len(batch.requests)):
            if answers is None or len(answers) != len(batch.requests):
                self._refused(batch, index, "it failed to answer, see its log")
            else:
                self._answered(batch, index, answers[index])

    def _lose(self, reason: str) -> None:
        under_way = list(self._under_way)
        self._under_way.clear()
        self._lost(reason, under_way)

    def _probe(self) -> None:
        loop = self._loop
        if loop is None:
            return
        sent_at = self._probe_sent = loop.time()
        self._probe_timer = loop.call_later(_PROBE_TIMEOUT, self._probe_ended, "it does not answer a probe")
        if not self._line.connected or not self._line.ask(RATELIMIT, _PROBE, partial(self._on_probed, sent_at)):
            self._probe_timer.cancel()
            self._probe_ended("it is not connected")

    def _on_probed(self, sent_at: float, payload: bytes | None) -> None:
        if sent_at != self._probe_sent:  # an earlier probe's, given up since
            return
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        took = self._now() - sent_at
        if payload is None or _decoded(payload) is None:
            self._probe_ended("it failed to answer")
        else:
            self._probe_ended(f"it answers after {took * 1000:.1f} ms" if took > self.budget else "")

    async def _disconnect(self) -> None:
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        self._probe_sent = 0.0
        for batch in list(self._under_way):
            self._give_up(batch)
        self._under_way.clear()


def _decoded(payload: bytes) -> Sequence[tuple[CountAnswer, ...]] | None:
    try:
        return decode_answer_batch(payload)
    except msgspec.MsgspecError:
        return None
