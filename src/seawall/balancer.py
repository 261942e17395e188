"""The balancer inside an application: one thread-safe class, in one file, over the engine and its health checks."""

import asyncio
import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from pydantic import ValidationError

from seawall.config.loader import load
from seawall.config.problems import Translator
from seawall.control.tree import Settings
from seawall.core.clock import Clock, SystemClock
from seawall.core.errors import ConfigurationError, NotFoundError, SeawallError
from seawall.core.request import Request
from seawall.systems.balancing.checker import HealthChecker
from seawall.systems.balancing.counters import Instance, Pool
from seawall.systems.balancing.dns import NameWatch, Resolve, resolve_name
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.fleet import Fleet
from seawall.systems.balancing.health import CheckPolicy, CheckResult
from seawall.systems.balancing.membership import TlsContexts, check_plans, members_of, names_of
from seawall.systems.balancing.model import BalancingSnapshot, InstanceSnapshot, Outcome, PoolSnapshot
from seawall.systems.balancing.plan import PoolPlan, plan_pools, plan_routes
from seawall.systems.balancing.settings import BalancingSettings
from seawall.systems.balancing.status import PoolStatus, pool_status

__all__ = ["Attempt", "DynamicLoadBalancer", "NoInstanceError", "SelectedInstance"]

Config = BalancingSettings | Mapping[str, Any] | Sequence[str] | str | Path

_SYNC_INTERVAL = 0.1
"""Seconds between two looks at what was reported, unless an attempt fails."""
_FIRST_NAMES = 2.0
_UNCHECKED = CheckPolicy(kind="none")


class NoInstanceError(SeawallError):
    """The pool has no instance to offer, or none that was not excluded."""

    code = "no-instance"


class SelectedInstance(msgspec.Struct, frozen=True):
    """An instance that was chosen.

    Attributes:
        id: its name within the pool.
        url: `http://host:port`, `https://host:port` or `unix:/path`.
        pool: the pool's name.
        addresses: resolved addresses, empty when its url holds an address or nothing was resolved.
    """

    id: str
    url: str
    pool: str
    addresses: tuple[str, ...] = ()


class Attempt:
    """One use of an instance, from `DynamicLoadBalancer.use` or `begin`; ends once.

    Attributes:
        instance: what was chosen; `id` and `url` are here as well.
        status: set it to the HTTP status of the response, so that a 5xx counts as an error and a 4xx does not.
    """

    __slots__ = ("_ended", "_finish", "_started", "id", "instance", "status", "url")

    def __init__(
        self, instance: SelectedInstance, started: float, finish: Callable[["Attempt", float, Outcome], None]
    ) -> None:
        self.instance = instance
        self.id = instance.id
        self.url = instance.url
        self.status = 0
        self._started = started
        self._finish = finish
        self._ended = False

    def end(self, outcome: Outcome | None = None) -> None:
        """Count the attempt as ended; without an outcome the status decides. A second call does nothing."""
        if self._ended:
            return
        self._ended = True
        if outcome is None:
            outcome = Outcome.SERVER_ERROR if self.status >= 500 else Outcome.SUCCESS
        self._finish(self, self._started, outcome)


class DynamicLoadBalancer:
    """Choose instances with the gateway's own engine; needs no process, no loop and no store around it.

    Outlier ejection, slow start and every strategy work from what is reported. Active health checks, and names that
    stand for several addresses, need a running loop: enter the balancer with `async with`.

    Args:
        config: urls of one pool named `default`; or a `[balancing]` table as a mapping; or its settings; or the path of
            a `seawall.toml`, read with the environment as the gateway reads it.
        strategy: for a list of urls, how to choose among them.
        clock: time; the machine's by default.
        rng: randomness; seed it in tests.
        resolve: blocking name look-up, used on a thread within `async with` only.

    Raises:
        ConfigurationError: the configuration is refused.

    Safe to call from several threads; one selection costs some microseconds.
    """

    def __init__(
        self,
        config: Config,
        *,
        strategy: str = "round-robin",
        clock: Clock | None = None,
        rng: random.Random | None = None,
        resolve: Resolve = resolve_name,
    ) -> None:
        settings = _settings(config, strategy)
        self._clock: Clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret
        self._lock = threading.RLock()
        self._worker = ("in-app", os.getpid())
        self._plans: dict[str, PoolPlan] = plan_pools(settings)
        self._routes = plan_routes(settings)
        self._version = 0
        self._applied: list[tuple[InstanceSnapshot, ...]] = []
        self._due = 0.0
        self._contexts = TlsContexts()
        self._resolve = resolve
        self._dns_interval = settings.dns_interval_ms / 1000
        self._names: NameWatch | None = None
        self._checker: HealthChecker | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._fleet = Fleet()
        self._engine = BalancingEngine(self._clock.monotonic, self._rng, _open_locations)
        self._set_policies(checked=False)
        self._set_members()
        self._apply(self._clock.monotonic())

    # -- choosing ------------------------------------------------------------------------------------------------------

    def select_instance(
        self,
        request: Request | None = None,
        *,
        pool: str | None = None,
        key: str | None = None,
        exclude: Iterable[str | SelectedInstance] = (),
    ) -> SelectedInstance:
        """Choose an instance; tell how it went with `report`, or use `use` to have both.

        Args:
            request: what is to be sent, for routes, affinity and strategies that look at it.
            pool: the pool to choose from; by default the request's route decides, or there is only one.
            key: for `consistent-hash` without a request: what to hash.
            exclude: instances, or their ids, that were tried already.

        Raises:
            NoInstanceError: there is none to offer.
            NotFoundError: there is no such pool, or no route takes the request.
        """
        with self._lock:
            return _selected(self._pick(request, pool, key, exclude))

    def begin(
        self,
        request: Request | None = None,
        *,
        pool: str | None = None,
        key: str | None = None,
        exclude: Iterable[str | SelectedInstance] = (),
    ) -> Attempt:
        """Choose an instance and count a request in flight on it until the attempt's `end`; as `select_instance`."""
        with self._lock:
            excluded = tuple(exclude)
            instance = self._pick(request, pool, key, excluded)
            if not excluded:
                self._engine.count_request(instance.pool)
            self._engine.start(instance)
        return Attempt(_selected(instance), self._clock.monotonic(), lambda *end: self._finish(instance, *end))

    @contextmanager
    def use(
        self,
        request: Request | None = None,
        *,
        pool: str | None = None,
        key: str | None = None,
        exclude: Iterable[str | SelectedInstance] = (),
    ) -> Iterator[Attempt]:
        """Choose an instance for the length of a `with` block, and count how the block ended.

        An exception counts as an error of the instance (time-outs and refused connections as such), unless `status` was
        set before: then the status counts. Cancellation and the end of the process count as neither good nor bad.
        """
        attempt = self.begin(request, pool=pool, key=key, exclude=exclude)
        try:
            yield attempt
        except BaseException as error:
            attempt.end(None if attempt.status and isinstance(error, Exception) else _outcome_of(error))
            raise
        attempt.end()

    def report(
        self, instance: SelectedInstance, seconds: float, *, ok: bool = True, outcome: Outcome | None = None
    ) -> None:
        """Tell how a request on a selected instance went.

        Args:
            instance: from `select_instance`.
            seconds: how long it took.
            ok: whether it succeeded; a failure counts as a server error.
            outcome: what exactly happened, instead of `ok`.
        """
        with self._lock:
            pool = self._engine.pools.get(instance.pool)
            known = pool.by_id.get(instance.id) if pool is not None else None
            if known is None:  # it left the pool meanwhile
                return
            self._engine.count_request(known.pool)
            self._engine.start(known)
            self._engine.finish(known, seconds, outcome or (Outcome.SUCCESS if ok else Outcome.SERVER_ERROR))
            self._observe(known)

    def may_retry(self, pool: str | None = None) -> bool:
        """Take one retry from the pool's budget; false when it is used up."""
        with self._lock:
            return self._engine.may_retry(self._pool(None, pool))

    def pool(self, name: str | None = None) -> PoolSnapshot:
        """Return a pool as it is in force: its instances with their states, its limits and times (seconds)."""
        with self._lock:
            return self._pool(None, name).snapshot

    def status(self) -> list[PoolStatus]:
        """Return every pool with its instances, as the gateway's admin API shows them."""
        with self._lock:
            self._synchronise(self._clock.monotonic())
            return [pool_status(plan.template, self._fleet, self._clock, {}) for plan in self._plans.values()]

    def _pick(
        self, request: Request | None, pool: str | None, key: str | None, exclude: Iterable[str | SelectedInstance]
    ) -> Instance:
        now = self._clock.monotonic()
        if now >= self._due:
            self._synchronise(now)
        chosen = self._pool(request, pool)
        ids = {item if isinstance(item, str) else item.id for item in exclude}
        tried = [chosen.by_id[instance_id] for instance_id in ids if instance_id in chosen.by_id]
        instance = self._engine.pick(chosen, request or _request(chosen.snapshot.hash_key, key), tried)
        if instance is None:
            if tried and chosen.candidates:
                raise NoInstanceError(f"every usable instance of pool {chosen.name!r} was tried")
            resolving = not chosen.instances and self._plans[chosen.name].dns
            raise NoInstanceError(
                f"none of the {len(chosen.instances)} instances of pool {chosen.name!r} can be used",
                hint="enter the balancer with `async with`, so that it resolves names" if resolving else "",
            )
        return instance

    def _pool(self, request: Request | None, name: str | None) -> Pool:
        pools = self._engine.pools
        if name is not None:
            if name not in pools:
                raise NotFoundError(f"there is no pool {name!r}", hint=f"pools: {', '.join(pools)}")
            return pools[name]
        if request is not None:
            routed = self._engine.route(request)
            if routed is None:
                raise NotFoundError(f"no route takes {request.method} {request.path.decode('latin-1')}")
            return routed
        if len(pools) == 1:
            return next(iter(pools.values()))
        if "default" in pools:
            return pools["default"]
        raise NotFoundError("there are several pools and none is named", hint=f"pools: {', '.join(pools)}")

    # -- learning ------------------------------------------------------------------------------------------------------

    def _finish(self, instance: Instance, attempt: Attempt, started: float, outcome: Outcome) -> None:
        with self._lock:
            self._engine.finish(instance, self._clock.monotonic() - started, outcome, attempt.status)
            self._observe(instance)

    def _observe(self, instance: Instance) -> None:
        if instance.consecutive_errors:
            self._synchronise(self._clock.monotonic())

    def _synchronise(self, now: float) -> None:
        """Let the detector see what the engine counted, and the engine what the detector decided."""
        self._due = now + _SYNC_INTERVAL
        report = self._engine.report(full=False)
        if report is not None:
            self._fleet.on_report(self._worker, report, now)
        self._fleet.step(now)
        self._apply(now)

    def _apply(self, now: float) -> None:
        rosters = [self._fleet.rosters[name].snapshot(now) for name in self._plans]
        if len(rosters) == len(self._applied) and all(a is b for a, b in zip(rosters, self._applied, strict=True)):
            return
        self._version += 1
        pools = tuple(
            msgspec.structs.replace(plan.template, instances=instances)
            for plan, instances in zip(self._plans.values(), rosters, strict=True)
        )
        self._engine.apply(BalancingSnapshot(version=self._version, pools=pools, routes=self._routes))
        self._applied = rosters

    def _set_policies(self, *, checked: bool) -> None:
        replace = msgspec.structs.replace
        policies = {
            name: plan.policy if checked else replace(plan.policy, check=_UNCHECKED)
            for name, plan in self._plans.items()
        }
        self._fleet.set_pools(policies, self._clock.monotonic())

    def _set_members(self) -> None:
        addresses = self._names.addresses if self._names is not None else lambda _: ()
        for name, plan in self._plans.items():
            members, _ = members_of(plan, (), {}, addresses)
            self._fleet.set_members(name, members, self._clock.monotonic())

    # -- active health checks and names, on a running loop -------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start active health checks and name look-ups; instances are believed healthy until a check says otherwise."""
        for plan in self._plans.values():
            if plan.template.tls_ca_file:
                self._contexts.get(plan.template.tls_ca_file)
        self._names = NameWatch(self._resolve, self._on_name, interval=self._dns_interval)
        self._checker = HealthChecker(self._on_check, clock=self._clock, rng=self._rng)
        self._names.watch(names_of(self._plans.values(), self._fleet))
        await self._names.first_answers(_FIRST_NAMES)
        with self._lock:
            self._set_policies(checked=True)
        self._on_name("")
        self._checker.start()
        self._ticker = asyncio.get_running_loop().create_task(self._tick(), name="seawall-balancer-tick")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop them; selection goes on without."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        if self._checker is not None:
            await self._checker.stop()
        if self._names is not None:
            await self._names.stop()
        self._ticker = self._checker = None
        with self._lock:
            self._set_policies(checked=False)
            self._apply(self._clock.monotonic())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_SYNC_INTERVAL)
            with self._lock:
                self._synchronise(self._clock.monotonic())

    def _on_check(self, pool: str, instance_id: str, result: CheckResult) -> None:
        with self._lock:
            now = self._clock.monotonic()
            if self._fleet.rosters[pool].record_check(instance_id, result, now=now, wall=self._clock.wall()):
                self._apply(now)

    def _on_name(self, _name: str) -> None:
        with self._lock:
            self._set_members()
            if self._checker is not None:
                self._checker.plan(check_plans(self._plans, self._fleet, self._contexts))
            self._apply(self._clock.monotonic())


def _settings(config: Config, strategy: str) -> BalancingSettings:
    if isinstance(config, BalancingSettings):
        return config
    if isinstance(config, str | Path):
        return load(Settings, file=Path(config), environ=os.environ, overrides={}).settings.balancing
    urls = {"strategy": strategy, "pools": {"default": {"instances": config}}}
    table = config if isinstance(config, Mapping) else urls
    try:
        return BalancingSettings.model_validate(table)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in problem.path)}: {problem.text}"
            for problem in Translator(BalancingSettings).problems(error)
        ]
        raise ConfigurationError(
            f"the balancer's configuration is refused: {len(problems)} problem(s)",
            hint="correct each line below",
            problems=tuple(problems),
        ) from error


def _open_locations(path: str) -> Callable[[str], tuple[float, float] | None]:
    from seawall.adapters.geoip import open_locations  # noqa: PLC0415 - needed only with a location database

    return open_locations(path)


def _request(hash_key: str, key: str | None) -> Request:
    """Return a request that carries the key where the pool's strategy looks for it."""
    if key is None:
        return Request("GET", b"/")
    kind, _, name = hash_key.partition(":")
    if kind == "header":
        return Request("GET", b"/", [(name.encode(), key.encode())])
    if kind == "cookie":
        return Request("GET", b"/", [(b"cookie", f"{name}={key}".encode())])
    return Request("GET", b"/", client=key)


def _selected(instance: Instance) -> SelectedInstance:
    return SelectedInstance(instance.id, instance.url, instance.pool.name, instance.snapshot.addresses)


def _outcome_of(error: BaseException) -> Outcome:
    if isinstance(error, TimeoutError):
        return Outcome.TIMEOUT
    if isinstance(error, ConnectionRefusedError):
        return Outcome.CONNECT_FAILED
    if isinstance(error, Exception) and not isinstance(error, asyncio.CancelledError):
        return Outcome.RESET
    return Outcome.CANCELLED
