"""State in Redis, for many machines; the only module that imports the client."""

import asyncio
import contextlib
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoScriptError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from seawall.core.errors import ConfigurationError, StateError, StateTimeoutError, StateUnavailableError
from seawall.state.breaker import Breaker, GuardedCalls
from seawall.state.feed import ChangeFeed
from seawall.state.limits import PREFIX_END, check_key, check_prefix
from seawall.state.redis_lua import REAP_BODY, SCAN_BODY, channel_prefix, encode_arguments, key_prefix, wrap
from seawall.state.script import Script, ScriptValue
from seawall.state.store import Change, Entry
from seawall.state.transition import check_call
from seawall.state.writes import ScriptedWrites

__all__ = ["RedisStore"]

_LOGGER = logging.getLogger("seawall.state")

_MAX_CONNECTIONS = 16
_PAGE_KEYS = 256
_PAGE_BYTES = 1024 * 1024
_LISTEN_SECONDS = 0.1
"""How long one wait for a message lasts; new watches and expired keys are looked after in between."""
_REAP_INTERVAL = 0.25
_REAP_LIMIT = 256
_SILENCE_SECONDS = 1.0
"""After this long without a message the server is asked for one, and after as long again it is given up."""
_RECONNECT_SECONDS = 0.25

_LUA_NOISE = re.compile(r"^user_script:[0-9]+: | script: [0-9a-f]{40}, on @user_script:[0-9]+\.$")
_GLOB = re.compile(r"([\\*?\[\]])")


class RedisStore(ScriptedWrites):
    """State shared by every process that uses the same server, database and prefix.

    One server, or a primary with replicas; not a cluster, since scripts keep an index beside the keys. Give it a
    server that does not evict (`maxmemory-policy noeviction`). Nothing is sent twice by itself: a write whose answer
    is lost is reported, not repeated.

    Args:
        url: for the client, with credentials.
        shown_url: for people, without.
        prefix: before every key and channel.
        timeout: seconds that one call may take, connecting included.
    """

    def __init__(self, url: str, *, shown_url: str, prefix: str, timeout: float, breaker: Breaker) -> None:
        self.url = shown_url
        self._calls = GuardedCalls(shown_url, timeout=timeout, breaker=breaker)
        self._background_timeout = max(timeout, _SILENCE_SECONDS)
        try:
            self._client = _connect(url, max_connections=_MAX_CONNECTIONS, timeout=timeout)
            self._listening_client = _connect(url, max_connections=1, timeout=self._background_timeout)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"state URL {shown_url!r} is not understood: {error}") from error
        database = int(self._client.connection_pool.connection_kwargs.get("db") or 0)
        self._prefix = prefix
        self._database = database
        self._key_prefix = key_prefix(prefix)
        self._channel_prefix = channel_prefix(prefix, database).encode()
        self._sources: dict[str, tuple[str, str]] = {}
        """A script's own Lua to (SHA-1, complete Lua)."""
        self._feed = ChangeFeed()
        self._listener: asyncio.Task[None] | None = None
        self._closed = False

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None when absent or expired."""
        check_key(key)
        value = await self._call(f"get {key!r}", "GET", self._key_prefix + key)
        if value is None or isinstance(value, bytes):
            return value
        raise StateError(
            f"state key {key!r} holds {type(value).__name__} in {self.url}", hint="did something else write it?"
        )

    async def scan(self, prefix: str) -> AsyncIterator[Entry]:
        """Yield every live entry under the prefix, in key order; costs what the prefix holds and no more."""
        check_prefix(prefix)
        start, end = b"[" + prefix.encode(), b"(" + (prefix + PREFIX_END).encode()
        last_page = False
        while not last_page:
            page = await self._evaluate(f"scan {prefix!r}", SCAN_BODY, (), (start, end, _PAGE_KEYS, _PAGE_BYTES))
            done, last_key, *flat = page
            for key, value in zip(flat[::2], flat[1::2], strict=True):
                yield Entry(key.decode("ascii"), value)
            last_page = done == 1
            if last_key is not None:
                start = b"(" + last_key

    def watch(self, prefix: str) -> AsyncIterator[Change]:
        """Yield changes under the prefix from now on; waits outages out, a change with an empty key follows them."""
        check_prefix(prefix)
        subscription = self._feed.subscribe(prefix)
        if self._listener is None or self._listener.done():
            self._listener = asyncio.get_running_loop().create_task(self._listen(), name="seawall-state-listener")
        return subscription

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
        """Run a script's Lua form on the server."""
        keys, args = check_call(script, keys, args)
        result: ScriptValue = await self._evaluate(f"run script {script.name!r}", script.lua, keys, args)
        return result

    async def ping(self) -> None:
        """Raise `StateUnavailableError` when the server cannot be reached within the time budget."""
        await self._call("ping", "PING")

    async def close(self) -> None:
        """End the watchers and close the connections."""
        self._closed = True
        self._feed.close(self._closed_error())
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
        await self._client.aclose(close_connection_pool=True)
        await self._listening_client.aclose(close_connection_pool=True)

    def _closed_error(self) -> StateUnavailableError:
        return StateUnavailableError(f"the state store {self.url} was closed")

    def _source(self, body: str) -> tuple[str, str]:
        source = self._sources.get(body)
        if source is None:
            lua = wrap(body, prefix=self._prefix, database=self._database)
            digest = hashlib.sha1(lua.encode(), usedforsecurity=False).hexdigest()
            source = self._sources[body] = (digest, lua)
        return source

    async def _evaluate(
        self, verb: str, body: str, keys: Sequence[str], args: Sequence[ScriptValue], *, budget: float | None = None
    ) -> Any:  # noqa: ANN401 - what Lua returns
        """Run Lua by its digest, and send it whole when the server does not know it (a new server, or SCRIPT FLUSH)."""
        digest, lua = self._source(body)
        rest: list[str | bytes | int] = [len(keys), *(self._key_prefix + key for key in keys), *encode_arguments(args)]
        try:
            return await self._call(verb, "EVALSHA", digest, *rest, budget=budget)
        except _UnknownScriptError:
            return await self._call(verb, "EVAL", lua, *rest, budget=budget)

    async def _call(self, verb: str, *command: str | bytes | int, budget: float | None = None) -> Any:  # noqa: ANN401 - a reply
        if self._closed:
            raise self._closed_error()

        async def execute() -> Any:  # noqa: ANN401 - any reply
            try:
                return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]
            except (RedisError, OSError) as error:
                raise self._translate(verb, error) from error

        return await self._calls.call(verb, execute, budget=budget)

    def _translate(self, verb: str, error: Exception) -> StateError:
        if isinstance(error, NoScriptError):
            return _UnknownScriptError(str(error))
        where = f"cannot {verb}: state store {self.url}"
        if isinstance(error, RedisTimeoutError | TimeoutError):
            return StateTimeoutError(f"{where} did not answer in time", hint="see to the store's load and network")
        if isinstance(error, AuthenticationError | AuthorizationError):
            return StateUnavailableError(f"{where} refuses us: {error}", hint="set user and password in state.url")
        if isinstance(error, RedisConnectionError | ReadOnlyError | OSError):
            return StateUnavailableError(
                f"{where} cannot be used: {error}", hint="is Redis up, and is state.url right?"
            )
        # Lua's own words, without the position in the wrapped script and its digest.
        return StateError(f"{where} answered: {_LUA_NOISE.sub('', str(error))}")

    async def _listen(self) -> None:
        """Follow the changes while anybody watches, through as many connections as it takes."""
        away = False
        while self._feed:
            pubsub = self._listening_client.pubsub()
            try:
                async for _ in self._follow(pubsub):
                    if away:
                        away = False
                        _LOGGER.info("state store %s is back", self.url)
            except (RedisError, StateError, OSError) as error:
                if not away:
                    away = True
                    _LOGGER.warning("changes of state store %s cannot be followed for now: %s", self.url, error)
                await asyncio.sleep(_RECONNECT_SECONDS)
            finally:
                await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _follow(self, pubsub: PubSub) -> AsyncIterator[None]:
        """Follow the changes over one connection; yields each time that the server has shown to be there."""
        loop = asyncio.get_running_loop()
        asked: dict[bytes, str] = {}
        """Pattern to watched prefix."""
        confirmed: set[str] = set()
        heard_at, reap_at, pinged = loop.time(), 0.0, False
        while self._feed:
            await self._ask(pubsub, asked, confirmed)
            now = loop.time()
            if now >= reap_at:
                reap_at = now + _REAP_INTERVAL
                await self._evaluate("expire keys", REAP_BODY, (), (_REAP_LIMIT,), budget=self._background_timeout)
                yield
            if now - heard_at > 2 * _SILENCE_SECONDS:
                raise RedisConnectionError(f"no message for {now - heard_at:.1f} s")
            if now - heard_at > _SILENCE_SECONDS and not pinged:
                pinged = True
                await pubsub.ping()
            message = await pubsub.get_message(timeout=_LISTEN_SECONDS)
            if message is None:
                continue
            heard_at, pinged = loop.time(), False
            if message["type"] == "psubscribe" and message["channel"] in asked:
                confirmed.add(asked[message["channel"]])
                self._feed.resync(asked[message["channel"]])
            elif message["type"] == "pmessage" and message["pattern"] in asked:
                key = message["channel"].removeprefix(self._channel_prefix).decode("ascii")
                flag, value = message["data"][:1], message["data"][1:]
                self._feed.publish(key, value if flag == b"=" else None, watched=asked[message["pattern"]])

    async def _ask(self, pubsub: PubSub, asked: dict[bytes, str], confirmed: set[str]) -> None:
        """Make the server's patterns those that are watched now; it filters, so that we hear of nothing else."""
        wanted = self._feed.prefixes
        for pattern, prefix in list(asked.items()):
            if prefix not in wanted:
                del asked[pattern]
                confirmed.discard(prefix)
                await pubsub.punsubscribe(pattern)
        for prefix in wanted - set(asked.values()):
            pattern = _GLOB.sub(r"\\\1", self._channel_prefix.decode() + prefix).encode() + b"*"
            asked[pattern] = prefix
            async with asyncio.timeout(self._background_timeout):
                await pubsub.psubscribe(pattern)
        self._feed.put_in_force(confirmed)


class _UnknownScriptError(StateError):
    """The server has not seen this script."""


def _connect(url: str, *, max_connections: int, timeout: float) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        protocol=2,
        retry=Retry(NoBackoff(), 0),  # a script that ran and whose answer was lost must not run again
    )
    # Connects to nothing, but finds parameters that the client does not know.
    pool.make_connection()  # type: ignore[no-untyped-call]
    return Redis.from_pool(pool)
