"""Threat events in Redis: one hash of bodies and one sorted set by time, written together."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
import redis.asyncio
from redis.exceptions import RedisError

from seawall.core.errors import StateUnavailableError
from seawall.systems.threats.events import MAX_PAGE, EventPage, EventQuery, ThreatEvent

__all__ = ["RedisEvents"]

_BATCH = 500
_MAX_LOOKED_AT = 100_000
"""Events that one search reads at most: Redis knows only their times."""

_APPEND = """
for i = 1, #ARGV, 3 do
  redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i])
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
end
"""
_PRUNE = """
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[3])
local room = tonumber(ARGV[3]) - #old
local surplus = redis.call('ZCARD', KEYS[1]) - #old - tonumber(ARGV[2])
if surplus > 0 and room > 0 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[1], #old, #old + math.min(surplus, room) - 1)) do old[#old + 1] = id end
end
for _, id in ipairs(old) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
return #old
"""


class RedisEvents:
    """Events in Redis, shared by all gateways that use it.

    Args:
        url: of the server.
        shown_url: the same without secrets, for messages.
        prefix: that all keys begin with.
        timeout: seconds that one call may take.
    """

    def __init__(self, url: str, *, shown_url: str, prefix: str = "seawall:", timeout: float = 1.0) -> None:
        self._client = redis.asyncio.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        self._shown = shown_url
        self._times = f"{prefix}threats/events/times"
        self._bodies = f"{prefix}threats/events/bodies"
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(ThreatEvent)

    @classmethod
    def open(cls, url: str, *, shown_url: str) -> Self:
        """Return the events in the Redis of a state URL, under its prefix; see `seawall.state.open_store`."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        prefix = query.pop("prefix", "seawall:")
        return cls(urlunsplit(parts._replace(query=urlencode(query))), shown_url=shown_url, prefix=prefix)

    async def append(self, events: Sequence[ThreatEvent]) -> None:
        """Keep events; one that is there already is replaced."""
        for first in range(0, len(events), _BATCH):
            batch = events[first : first + _BATCH]
            arguments = [part for event in batch for part in (event.id, repr(event.at), self._encoder.encode(event))]
            await self._call(self._eval(_APPEND, *arguments))

    async def get(self, event_id: str) -> ThreatEvent | None:
        """Return one event."""
        body = await self._call(self._client.hget(self._bodies, event_id))
        return self._decoder.decode(body) if body is not None else None

    async def search(self, query: EventQuery) -> EventPage:
        """Return what is looked for, newest first; it looks at no more than 100,000 events."""
        limit = min(max(query.limit, 1), MAX_PAGE)
        found: list[ThreatEvent] = []
        async for event in self._newest_first(query):
            if query.admits(event) and (not query.before or event.id < query.before):
                found.append(event)
                if len(found) > limit:
                    break
        return EventPage(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else "")

    async def judge(self, event_id: str, *, false_positive: bool) -> bool:
        """Write down what an operator says of an event; tell whether it is there."""
        event = await self.get(event_id)
        if event is None:
            return False
        await self.append([msgspec.structs.replace(event, false_positive=false_positive)])
        return True

    async def prune(self, *, older_than: float, keep: int) -> int:
        """Drop events from before a time and all but the newest `keep`; return how many were dropped."""
        dropped = 0
        while count := await self._call(self._eval(_PRUNE, repr(older_than), keep, _BATCH)):
            dropped += count
        return dropped

    async def count(self) -> int:
        """Return how many are kept."""
        return int(await self._call(self._client.zcard(self._times)))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _newest_first(self, query: EventQuery) -> AsyncIterator[ThreatEvent]:
        highest = f"({query.until!r}" if query.until != float("inf") else "+inf"
        if query.before:
            at = await self._call(self._client.zscore(self._times, query.before))
            highest = repr(min(at, query.until)) if at is not None else highest
        for first in range(0, _MAX_LOOKED_AT, _BATCH):
            ids = await self._call(
                self._client.zrange(
                    self._times,
                    highest,
                    repr(query.since),
                    desc=True,
                    byscore=True,
                    offset=first,
                    num=_BATCH,
                )
            )
            if not ids:
                return
            for body in await self._call(self._client.hmget(self._bodies, ids)):
                if body is not None:
                    yield self._decoder.decode(body)

    def _eval(self, script: str, *arguments: Any) -> Awaitable[Any]:  # noqa: ANN401 - what Redis takes and gives
        return self._client.eval(script, 2, self._times, self._bodies, *arguments)

    async def _call(self, command: Any) -> Any:  # noqa: ANN401 - the client's commands are typed for both its forms
        try:
            return await command
        except (RedisError, OSError) as error:
            raise StateUnavailableError(
                f"the events in {self._shown} cannot be reached: {error}", hint="start the server, or see its address"
            ) from error
