"""The identity controller: the truth about API keys and issuers' keys."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

import msgspec

from seawall.core.errors import ConflictError, NotFoundError, StateError
from seawall.core.instruments import Sample
from seawall.core.system import ControllerContext, WorkerId
from seawall.core.tasks import end_tasks
from seawall.core.totals import CumulativeTotals
from seawall.systems.identity.actions import Action, ActionResult, CreateKey, RevokeKey
from seawall.systems.identity.instruments import API_KEYS, KEY_FETCHES, REFUSALS, REQUESTS, SIGNATURE_KEYS
from seawall.systems.identity.issuer import IssuerKeys, KeyMaterial
from seawall.systems.identity.model import (
    SOURCES,
    HeadersSnapshot,
    IdentityReport,
    IdentitySnapshot,
    JwtSnapshot,
    RefusalReason,
)
from seawall.systems.identity.records import KEY_PREFIX, KeyBook, KeyRecord, create_key, revoke_key
from seawall.systems.identity.settings import ANY_AUDIENCE, IdentitySettings
from seawall.systems.identity.status import ApiKeysStatus, IdentityStatus, issuer_status, key_status
from seawall.systems.identity.usage import KeyUsage

__all__ = ["IdentityController"]

_log = logging.getLogger("seawall.identity")

_COALESCE = 0.02
"""Seconds that changes are gathered before a snapshot is published."""
_TICK = 0.25
_FILES = 5.0
"""Seconds between looks at the key file."""
_USAGE = 30.0
"""Seconds between two rounds of writing down when keys were used."""
_FIRST_KEYS = 2.0
"""Seconds that the start waits for the issuer when there are no keys to begin with."""
_REASONS = tuple(reason.value for reason in RefusalReason)


class IdentityController:
    """Keep API keys and issuers' keys fresh and tell the engines; implements `seawall.core.system.Controller`.

    Args:
        context: settings, store, clocks, where to publish, how keys are opened and fetched.
    """

    def __init__(self, context: ControllerContext) -> None:
        self._context = context
        self._clock = context.clock
        self._settings: IdentitySettings = context.settings
        self._book = KeyBook(context.store, self._soon)
        self._usage = KeyUsage(context.store)
        self._issuer: IssuerKeys | None = None
        self._totals = CumulativeTotals()
        self._fetches = {"ok": 0, "failed": 0}
        self._resumed: IdentitySnapshot | None = None
        self._published: IdentitySnapshot | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False
        self._files_at = 0.0

    # -- life ----------------------------------------------------------------------------------------------------------

    def resume(self, snapshot: IdentitySnapshot) -> None:
        """Take the last known snapshot before `start`, which then does without the store until it is back."""
        self._resumed = snapshot

    async def start(self) -> None:
        """Read the store and the issuer's keys, publish the first snapshot and start the loops.

        An issuer that is away delays the start by at most 2 s, and only when no earlier keys of it are known.

        Raises:
            StateUnavailableError: the store cannot be reached and there is no last known snapshot to go on with.
            ConfigurationError: a file with keys cannot be used, or a package that is needed is missing.
        """
        issuer = await self._provision(self._settings)
        try:
            await self._book.load()
            await self._usage.load()
        except StateError as error:
            if self._resumed is None:
                raise
            self._book.troubled(error)
        self._running = True
        await self._take_issuer(issuer)
        self._book.start()
        self._publish()
        self._spawn(self._tick(), "seawall-identity-tick")
        self._spawn(self._write_usage(), "seawall-identity-usage")

    async def stop(self) -> None:
        """End the loops; the last snapshot stays in force in the workers."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await end_tasks(list(self._tasks))
        await self._book.stop()
        if not self._book.trouble:
            await self._usage.flush()

    async def reconfigure(self, settings: IdentitySettings) -> None:
        """Take another settings section; raise before anything changes when it cannot be provisioned."""
        if settings.jwt != self._settings.jwt:
            await self._take_issuer(await self._provision(settings))
        self._settings = settings
        self._publish()

    async def _provision(self, settings: IdentitySettings) -> IssuerKeys | None:
        if not settings.jwt.enabled:
            return None
        issuer = IssuerKeys(self._context, settings.jwt, self._fetches)
        await issuer.provision()
        old = self._issuer
        last = self._resumed.jwt if self._resumed is not None else None
        if old is not None and old.settings.jwks_url == settings.jwt.jwks_url:
            issuer.resume(old.material.jwks)
        elif last is not None and last.issuer == settings.jwt.issuer:
            issuer.resume(last.jwks)
        return issuer

    async def _take_issuer(self, issuer: IssuerKeys | None) -> None:
        """Put an issuer in force once it has keys, or after 2 s without; until then the one before it stays."""
        first: asyncio.Task[None] | None = None
        if issuer is not None and issuer.schedule is not None and not issuer.material.read.keys:
            first = self._spawn(self._fetched(issuer), "seawall-identity-first-fetch")
            await asyncio.wait([first], timeout=_FIRST_KEYS)
        if self._fetching is not None:
            self._fetching.cancel()
        self._issuer, self._fetching = issuer, first

    # -- what comes in -------------------------------------------------------------------------------------------------

    def on_report(self, worker: WorkerId, report: IdentityReport) -> None:
        """Take one worker's report; never blocks."""
        self._totals.update(worker, "callers", report.callers)
        self._totals.update(worker, "refusals", report.refusals)
        unknown = self._totals.update(worker, "unknown", [report.unknown_signers])[0]
        if unknown and self._issuer is not None and self._issuer.schedule is not None:
            self._issuer.schedule.asked(self._clock.monotonic())
        for key_id, at in report.used:
            if key_id in self._book.records:
                self._usage.note(key_id, at)

    def on_worker_gone(self, worker: WorkerId) -> None:
        """Forget a worker; its counts stay in the totals."""
        self._totals.forget_source(worker)

    # -- what goes out -------------------------------------------------------------------------------------------------

    def _soon(self) -> None:
        if self._timer is None and self._running:
            self._timer = asyncio.get_running_loop().call_later(_COALESCE, self._publish)

    def _publish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        snapshot = self._snapshot()
        last = self._published
        if last is not None and msgspec.structs.replace(snapshot, version=last.version) == last:
            return
        floor = max((known.version for known in (last, self._resumed) if known is not None), default=0)
        self._published = msgspec.structs.replace(snapshot, version=max(floor + 1, int(self._clock.wall() * 1000)))
        self._context.publish(self._published)

    def _snapshot(self) -> IdentitySnapshot:
        settings = self._settings
        spoken = settings.trusted_headers
        keys = tuple(record.snapshot() for _, record in sorted(self._book.records.items()))
        if not self._book.loaded and self._resumed is not None:
            keys = self._resumed.keys
        return IdentitySnapshot(
            version=0,
            required=settings.required,
            forward_credentials=settings.forward_credentials,
            forward_identity=settings.forward_identity,
            key_field=settings.api_keys.header if settings.api_keys.enabled else "",
            keys=keys if settings.api_keys.enabled else (),
            jwt=_jwt_snapshot(self._issuer),
            headers=HeadersSnapshot(spoken.user, spoken.tenant, spoken.role) if spoken.enabled else None,
        )

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self._look_at_issuer(self._clock.monotonic())
            except Exception:  # noqa: BLE001 - logged; keys that are never fetched again refuse everybody one day
                _log.exception("looking at the issuer's keys failed")

    async def _look_at_issuer(self, now: float) -> None:
        issuer = self._issuer
        if issuer is None:
            return
        if issuer.schedule is not None:
            if issuer.schedule.due(now):
                self._fetch(issuer)
        elif now >= self._files_at:
            self._files_at = now + _FILES
            if await issuer.reread():
                _log.info("the keys in %s changed", issuer.source)
                self._soon()

    def _fetch(self, issuer: IssuerKeys) -> asyncio.Task[None]:
        """Fetch the issuer's keys in a task of its own, one at a time."""
        if self._fetching is None or self._fetching.done():
            self._fetching = self._spawn(self._fetched(issuer), "seawall-identity-fetch")
        return self._fetching

    async def _fetched(self, issuer: IssuerKeys) -> None:
        if await issuer.fetch():
            _log.info("%s publishes %d keys that can be used", issuer.source, len(issuer.material.read.keys))
            self._soon()

    async def _write_usage(self) -> None:
        while True:
            await asyncio.sleep(_USAGE)
            self._usage.keep(set(self._book.records))
            if not self._book.trouble:
                await self._usage.flush()

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s ended by an error inside Seawall: %s", task.get_name(), error, exc_info=error)

    # -- what is shown and asked ---------------------------------------------------------------------------------------

    def samples(self) -> Iterable[Sample]:
        """Yield every series for a scrape."""
        for source, count in self._counts("callers", SOURCES).items():
            yield Sample(REQUESTS, (source,), count)
        for reason, count in self._counts("refusals", _REASONS).items():
            yield Sample(REFUSALS, (reason,), count)
        yield Sample(API_KEYS, (), len(self._book.records))
        yield Sample(SIGNATURE_KEYS, (), len(self._issuer.material.read.keys) if self._issuer is not None else 0)
        for result, count in self._fetches.items():
            yield Sample(KEY_FETCHES, (result,), count)

    def health(self) -> dict[str, str]:
        """Return findings that an operator should see; empty when all is well."""
        found: dict[str, str] = {}
        if self._book.trouble:
            found["state"] = f"going on with the last known API keys: {self._book.trouble}"
        for key, reason in self._book.unreadable.items():
            found[f"key:{key.removeprefix(KEY_PREFIX)}"] = f"this record cannot be read and lets nobody in: {reason}"
        issuer = self._issuer
        if issuer is not None:
            if issuer.trouble:
                kept = "the last ones stay in force" if issuer.material.read.keys else "no token can be checked"
                found["issuer"] = f"{issuer.trouble}; {kept}"
            if issuer.material.read.left_out:
                found["issuer-keys"] = "not used: " + "; ".join(issuer.material.read.left_out[:5])
        return found

    def status(self, limit: int = 100) -> IdentityStatus:
        """Return what is known of callers, with at most `limit` API keys."""
        settings, now = self._settings, self._clock.wall()
        records = sorted(self._book.records.values(), key=lambda record: (record.created_at, record.id))
        spoken = settings.trusted_headers
        return IdentityStatus(
            version=self._published.version if self._published is not None else 0,
            required=settings.required,
            findings=self.health(),
            requests=self._counts("callers", SOURCES),
            refusals=self._counts("refusals", _REASONS),
            api_keys=ApiKeysStatus(
                enabled=settings.api_keys.enabled,
                header=settings.api_keys.header,
                total=len(records),
                keys=[key_status(record, now, self._usage.last(record.id)) for record in records[:limit]],
            ),
            jwt=issuer_status(self._issuer) if self._issuer is not None else None,
            trusted_headers=[name for name in (spoken.user, spoken.tenant, spoken.role) if name],
        )

    def describe(self, key_id: str) -> dict[str, object] | None:
        """Return a key as the audit trail shows it, or None."""
        record = self._book.records.get(key_id)
        if record is None:
            return None
        return {
            "name": record.name,
            "user": record.user,
            "tenant": record.tenant,
            "role": record.role,
            "expires_at": record.expires_at,
        }

    async def perform(self, action: Action, caller: str) -> ActionResult:
        """Carry out one action; what it changed is in the next snapshot, within 20 ms.

        Args:
            action: what to do.
            caller: who asks, for the record.

        Raises:
            NotFoundError: there is no such key.
            ConflictError: there are too many keys, or there is no url to fetch keys from.
            InvalidError: a name is not acceptable.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        now = self._clock.wall()
        if isinstance(action, CreateKey):
            expires_at = None if action.expires_days is None else now + action.expires_days * 86_400.0
            record, secret = await create_key(
                self._context.store,
                name=action.name,
                now=now,
                created_by=caller,
                user=action.user,
                tenant=action.tenant,
                role=action.role,
                expires_at=expires_at,
            )
            self._book.take(KEY_PREFIX + record.id, msgspec.json.encode(record))
            return ActionResult(action=action.action, key=key_status(record, now, None), secret=secret)
        if isinstance(action, RevokeKey):
            record = await self._revoked(action.id)
            return ActionResult(action=action.action, key=key_status(record, now, self._usage.last(record.id)))
        issuer = self._issuer
        if issuer is None or issuer.schedule is None:
            raise ConflictError(
                "there is no url to fetch keys from", hint="set identity.jwt.enabled and identity.jwt.jwks_url"
            )
        await asyncio.wait([self._fetch(issuer)])
        if issuer.trouble:
            raise ConflictError(f"the issuer's keys stay as they are: {issuer.trouble}")
        return ActionResult(action=action.action, key=None)

    async def _revoked(self, key_id: str) -> KeyRecord:
        known = self._book.records.get(key_id)
        record = await revoke_key(self._context.store, key_id) or known
        self._book.take(KEY_PREFIX + key_id, None)
        if record is None:
            raise NotFoundError(
                f"there is no API key {key_id!r} that can be read", hint="GET /api/system/identity lists the keys"
            )
        await self._usage.forget(key_id)
        return record

    def _counts(self, row: str, names: tuple[str, ...]) -> dict[str, int]:
        return dict(zip(names, self._totals.total(row) or [0] * len(names), strict=True))


def _jwt_snapshot(issuer: IssuerKeys | None) -> JwtSnapshot | None:
    if issuer is None:
        return None
    settings = issuer.settings
    material: KeyMaterial = issuer.material
    return JwtSnapshot(
        issuer=settings.issuer,
        audiences=() if ANY_AUDIENCE in settings.audience else settings.audience,
        algorithms=settings.algorithms,
        jwks=material.jwks,
        secret=material.secret,
        user_claim=settings.user_claim,
        tenant_claim=settings.tenant_claim,
        role_claim=settings.role_claim,
        roles=tuple(settings.roles.items()),
        leeway=settings.leeway_ms / 1000,
        cookie=settings.cookie,
    )
