"""Names to addresses, on a schedule of their own: a slow or failing resolver costs freshness, never an instance."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address

__all__ = ["NameWatch", "Resolve", "resolve_name"]

_log = logging.getLogger("seawall.balancing.dns")

_TIME_LIMIT = 5.0
_CONCURRENCY = 8

Addresses = tuple[str, ...]
Resolve = Callable[[str], Iterable[str]]
"""Blocking look-up of a name; raises OSError when it has no answer. Called on a thread."""


def resolve_name(name: str) -> list[str]:
    """Ask the system's resolver for every address of a name."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class NameWatch:
    """Resolve a changing set of names every `interval` seconds; keep the last good answer of each.

    Args:
        resolve: the blocking look-up; it runs on a daemon thread with a limit of 5 s, one at a time for each name.
        on_change: called with a name when its answer has changed.
        interval: seconds between two look-ups of a name.
    """

    def __init__(self, resolve: Resolve, on_change: Callable[[str], None], *, interval: float) -> None:
        self._resolve = resolve
        self._on_change = on_change
        self._interval = interval
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._answers: dict[str, Addresses] = {}
        self._failures: dict[str, str] = {}
        self._news = asyncio.Event()
        self._slots = asyncio.Semaphore(_CONCURRENCY)

    @property
    def failures(self) -> Mapping[str, str]:
        """Return names whose last look-up failed, with the reason."""
        return self._failures

    def addresses(self, name: str) -> Addresses:
        """Return the last good answer, IPv4 first, then in numeric order; empty before the first."""
        return self._answers.get(name, ())

    def set_interval(self, interval: float) -> None:
        """Use another interval from the next look-up on."""
        self._interval = interval

    def seed(self, name: str, addresses: Iterable[str]) -> None:
        """Take an answer from an earlier life of this process, until the first look-up."""
        self._answers[name] = _in_order(addresses)

    def watch(self, names: Iterable[str]) -> None:
        """Replace the set of names; new ones are looked up at once."""
        wanted = set(names)
        for gone in [name for name in self._tasks if name not in wanted]:
            self._tasks.pop(gone).cancel()
            self._answers.pop(gone, None)
            self._failures.pop(gone, None)
        for name in wanted - self._tasks.keys():
            self._tasks[name] = asyncio.get_running_loop().create_task(self._follow(name), name=f"seawall-dns-{name}")

    async def first_answers(self, limit: float) -> None:
        """Wait until every name has an answer or a failure, at most `limit` seconds."""
        try:
            async with asyncio.timeout(limit):
                while self._unsettled():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            _log.warning("no answer yet for %s; going on without", ", ".join(self._unsettled()))

    def _unsettled(self) -> list[str]:
        return sorted(name for name in self._tasks if name not in self._answers and name not in self._failures)

    async def stop(self) -> None:
        """End every look-up; a thread that is stuck in the resolver ends by itself."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, name: str) -> None:
        while True:
            async with self._slots:
                lookup = _on_thread(self._resolve, name)
                try:
                    async with asyncio.timeout(_TIME_LIMIT):  # 3.11's wait_for can swallow a cancellation
                        addresses = _in_order(await asyncio.shield(lookup))
                except TimeoutError:
                    self._failed(name, f"no answer within {_TIME_LIMIT:g} s")
                except (OSError, ValueError) as error:
                    self._failed(name, str(getattr(error, "strerror", None) or error))
                else:
                    self._answered(name, addresses)
            if not lookup.done():
                # Another look-up of the same name would only tie up another thread.
                await asyncio.wait((lookup,))
                lookup.exception()
            await asyncio.sleep(self._interval)

    def _answered(self, name: str, addresses: Addresses) -> None:
        if not addresses:
            self._failed(name, "the name has no address")
            return
        if self._failures.pop(name, None):
            _log.info("name %s is resolved again", name)
        if self._answers.get(name) != addresses:
            self._answers[name] = addresses
            self._news.set()
            self._on_change(name)

    def _failed(self, name: str, reason: str) -> None:
        if name not in self._failures:
            kept = "its last answer is kept" if name in self._answers else "there is no earlier answer"
            _log.warning("name %s is not resolved: %s; %s", name, reason, kept)
        self._failures[name] = reason
        self._news.set()


def _in_order(addresses: Iterable[str]) -> Addresses:
    # Resolvers rotate their answers; an order of its own keeps an unchanged answer from looking like a change.
    unique = {ip_address(address.partition("%")[0]): address for address in addresses}
    return tuple(unique[key] for key in sorted(unique, key=lambda address: (address.version, int(address))))


def _on_thread(resolve: Resolve, name: str) -> "asyncio.Future[list[str]]":
    """Run a look-up on a daemon thread: unlike an executor's, it cannot hold up the end of the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[str]] = loop.create_future()

    def settle(answer: list[str] | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answer or [])

    def run() -> None:
        answer: list[str] | None = None
        failure: Exception | None = None
        try:
            answer = list(resolve(name))
        except Exception as error:  # noqa: BLE001 - handed to the waiting task, which knows what to make of it
            failure = error
        if not loop.is_closed():
            try:
                loop.call_soon_threadsafe(settle, answer, failure)
            except RuntimeError:  # the loop was closed in between: nobody waits any more
                return

    threading.Thread(target=run, name=f"seawall-dns-{name}", daemon=True).start()
    return future
