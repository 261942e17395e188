"""Shared counts in Redis: one script call a request, on the server's clock, pipelined with those of other requests."""

import asyncio
import logging
import random
from typing import Any

from seawall.adapters.batched_counts import Batch, BatchedCounts
from seawall.adapters.redis_address import parse_redis_url
from seawall.adapters.redis_wire import RedisReplyError, RedisWire, open_wire, pack
from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.counts import CountAsk, WindowAsk
from seawall.systems.ratelimit.model import Algorithm
from seawall.systems.ratelimit.shared_codec import decode_answers, encode_ask, encode_refund
from seawall.systems.ratelimit.shared_lua import SHARED_DIGEST, SHARED_SCRIPT

__all__ = ["KEYS", "RedisCounts"]

_log = logging.getLogger("seawall.ratelimit.counts")

KEYS = "ratelimit/counts/"
"""What follows the prefix in every key."""

_LOAD = pack(b"SCRIPT", b"LOAD", SHARED_SCRIPT.encode())
_PROBE = CountAsk("#probe", (WindowAsk(Algorithm.GCRA, 1e6, 1.0, 1e6, 1.0),))
"""It writes, because a replica, or a server without room, answers whatever only reads."""
_MAX_WAITING = 16_384
"""Replies that may be outstanding; far more than a server that answers in time ever leaves."""
_PARTING = 0.25
"""Seconds that a server has to take what was given back last."""
_UNUSABLE = frozenset(
    {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "MOVED", "NOAUTH", "NOPERM", "OOM", "READONLY"}
)
"""Codes of errors that say that the server cannot count now, whatever is asked."""


class RedisCounts(BatchedCounts):
    """Counts of every process that uses the same server, database and prefix.

    One server, or a primary with replicas; not a cluster, since a request's keys are counted in one call. Counts are
    lost with the server's memory; what a process does meanwhile each rule says (`on_store_failure`).

    Args:
        url: as `state.url` takes it, or `unix:///path/to/socket`.
        budget: seconds that a request waits for its answer.
        connect_timeout: seconds that connecting and logging in may take.
        rng: for the jitter of retries.

    Raises:
        ConfigurationError: the URL names no Redis server.

    For one event loop. A request with one ask costs this process some 10 us where many are asked in one turn of the
    loop, 40 us alone, and the server some 10 us.
    """

    def __init__(
        self,
        url: str,
        *,
        budget: float = 0.005,
        connect_timeout: float = 1.0,
        rng: random.Random | None = None,
    ) -> None:
        self._address = parse_redis_url(url)
        super().__init__(self._address.shown, budget=budget, rng=rng)
        self._prefix = (self._address.prefix + KEYS).encode()
        self._connect_timeout = connect_timeout
        self._wire: RedisWire | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._probe_timer: asyncio.TimerHandle | None = None
        self._under_way: dict[Batch, None] = {}
        self._heads: dict[int, bytes] = {}
        key, word = encode_ask(self._prefix, _PROBE)
        self._probe_call = pack(b"EVALSHA", SHARED_DIGEST.encode(), b"1", key, word)
        self._loading = False

    def _send(self, batch: Batch) -> None:
        wire = self._wire
        if wire is None or len(wire.waiting) > _MAX_WAITING:
            self._give_up(batch)
            return
        waiting = wire.waiting
        parts: list[bytes] = []
        if batch.refunds:
            waiting.append((self._on_refunded, None, 0))
            parts.append(self._refunding(batch))
        for index, asks in enumerate(batch.requests):
            parts.append(self._asking(batch, index, len(asks)))
            waiting.append((self._on_answer, batch, index))
        if batch.requests:
            self._under_way[batch] = None
        wire.write(b"".join(parts))

    def _asking(self, batch: Batch, index: int, count: int) -> bytes:
        """Return the call that decides on one request."""
        if count == 1:  # nearly always
            key, word = encode_ask(self._prefix, batch.requests[index][0])
            return b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n" % (self._head(1), len(key), key, len(word), word)
        encoded = [encode_ask(self._prefix, ask) for ask in batch.requests[index]]
        words = [*(key for key, _ in encoded), *(word for _, word in encoded)]
        return self._head(count) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])

    def _refunding(self, batch: Batch) -> bytes:
        encoded = [encode_refund(self._prefix, refund) for refund in batch.refunds]
        words = [*(key for key, _ in encoded), *(word for _, word in encoded)]
        return self._head(len(encoded)) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])

    def _head(self, keys: int) -> bytes:
        head = self._heads.get(keys)
        if head is None:
            digest = SHARED_DIGEST.encode()
            count = b"%d" % keys
            head = b"*%d\r\n$7\r\nEVALSHA\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
                3 + 2 * keys,
                len(digest),
                digest,
                len(count),
                count,
            )
            self._heads[keys] = head
        return head

    def _on_answer(self, reply: Any, batch: Batch, index: int) -> None:  # noqa: ANN401 - whatever a server says
        if type(reply) is bytes:
            try:
                answers = decode_answers(reply, tuple([len(ask.windows) for ask in batch.requests[index]]))
            except SeawallError as error:
                self._refused(batch, index, error.message)
            else:
                self._answered(batch, index, answers)
        else:
            self._on_error(reply, batch, index)
        if index == len(batch.requests) - 1:  # replies keep their order; one that is asked again looks after itself
            self._under_way.pop(batch, None)

    def _on_error(self, reply: Any, batch: Batch, index: int) -> None:  # noqa: ANN401 - as above
        code = str(reply).partition(" ")[0] if isinstance(reply, RedisReplyError) else ""
        if code == "NOSCRIPT" and batch.replies[index] is not None:
            self._ask_again(batch, index)
        elif code in _UNUSABLE and self._wire is not None:
            self._wire.abort(f"it cannot count now: {reply}")
        elif batch.replies[index] is not None:
            self._refused(batch, index, str(reply)[:200])

    def _ask_again(self, batch: Batch, index: int) -> None:
        """Load the script that the server does not know, since it was flushed; nothing has run, so ask again."""
        wire = self._wire
        if wire is None:
            return
        if not self._loading:
            self._loading = True
            wire.waiting.append((self._on_loaded, None, 0))
            wire.write(_LOAD)
        wire.waiting.append((self._on_second_answer, batch, index))
        wire.write(self._asking(batch, index, len(batch.requests[index])))

    def _on_second_answer(self, reply: Any, batch: Batch, index: int) -> None:  # noqa: ANN401 - as above
        if isinstance(reply, RedisReplyError) and str(reply).startswith("NOSCRIPT"):
            if batch.replies[index] is not None:
                self._refused(batch, index, "it does not keep the script that it was given")
            return
        self._on_answer(reply, batch, index)

    def _on_loaded(self, reply: Any, _context: None, _index: int) -> None:  # noqa: ANN401 - as above
        self._loading = False
        if isinstance(reply, RedisReplyError):
            self._complain("script", f"Redis at {self.name} does not take the script of shared counts: {reply}")

    def _on_refunded(self, reply: Any, _context: None, _index: int) -> None:  # noqa: ANN401 - as above
        if isinstance(reply, RedisReplyError) and not str(reply).startswith("NOSCRIPT"):
            self.failed += 1
            self._complain("refunds", f"Redis at {self.name} does not take back what was not used: {str(reply)[:200]}")

    # -- finding out whether it is there -------------------------------------------------------------------------------

    def _probe(self) -> None:
        loop = self._loop
        if loop is None:
            return
        if self._wire is None:
            self._connecting = loop.create_task(self._connect(), name="seawall-counts-connect")
            return
        self._wire.waiting.append((self._on_probed, loop.time(), 0))
        self._wire.write(self._probe_call)
        self._probe_timer = loop.call_later(self._connect_timeout, self._wire.abort, "it does not answer a probe")

    def _on_probed(self, reply: Any, sent_at: float, _index: int) -> None:  # noqa: ANN401 - as above
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        took = self._now() - sent_at
        if isinstance(reply, RedisReplyError):
            if self._wire is not None:
                self._wire.abort(f"it cannot count now: {str(reply)[:200]}")
        elif took > self.budget:
            self._probe_ended(f"it answers after {took * 1000:.1f} ms")
        else:
            self._probe_ended("")

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout):
                wire = await open_wire(self._address, self._on_wire_lost, _LOAD, self._probe_call)
        except TimeoutError:
            self._probe_ended(f"no connection within {self._connect_timeout:g} s")
        except (OSError, UnicodeError) as error:  # the latter for names that no resolver takes
            self._probe_ended(f"no connection: {error}")
        except SeawallError as error:
            self._probe_ended(error.message)
        except Exception as error:  # noqa: BLE001 - logged; a probe that never ends would be the last one
            _log.exception("connecting to the shared counts at %s failed", self.name)
            self._probe_ended(f"no connection: {error!r}")
        else:
            self._wire = wire
            self._loading = False
            self._probe_ended("")

    def _on_wire_lost(self, wire: RedisWire, reason: str) -> None:
        if wire is not self._wire:
            return
        self._wire = None
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        under_way = list(self._under_way)
        self._under_way.clear()
        self._lost(reason, under_way)

    async def _disconnect(self) -> None:
        if self._connecting is not None and not self._connecting.done():
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        wire, self._wire = self._wire, None
        for batch in list(self._under_way):
            self._give_up(batch)
        self._under_way.clear()
        if wire is not None:
            await wire.close(_PARTING)
