"""The keys of a token issuer as the controller holds them: from a url, a file, or a shared secret in a file."""

import asyncio
import hashlib
import logging
from pathlib import Path

import msgspec

from seawall.core.clock import Clock
from seawall.core.errors import ConfigurationError, InvalidError, SeawallError, StateError
from seawall.core.system import ControllerContext
from seawall.core.tokens import KeysUnavailableError, OpenTokenKeys, TokenKeys
from seawall.state.store import StateStore
from seawall.systems.identity.schedule import RefreshSchedule
from seawall.systems.identity.settings import JwtSettings

__all__ = ["MAX_DOCUMENT_BYTES", "IssuerKeys", "KeyMaterial", "public_part", "read_key_file"]

MAX_DOCUMENT_BYTES = 262_144
_PREFIX = "identity/jwks/"
_KEPT = 30 * 86_400.0
"""Seconds that the store keeps a document after it was last seen."""
_REWRITE = 86_400.0
_PUBLIC = ("kty", "kid", "use", "key_ops", "alg", "crv", "x", "y", "n", "e")

_log = logging.getLogger("seawall.identity")


class KeyMaterial(msgspec.Struct, frozen=True):
    """What tokens are checked with.

    Attributes:
        jwks: JWK set as JSON, without private members; empty for none.
        secret: shared secret; empty for none.
        read: what is usable of them.
        fetched_at: seconds since the Unix epoch at which the set was seen last; 0 for a file.
    """

    jwks: bytes = b""
    secret: bytes = b""
    read: TokenKeys = TokenKeys()
    fetched_at: float = 0.0


class _Stored(msgspec.Struct, frozen=True):
    """A document as the store keeps it, so that a gateway can start while the issuer is away."""

    url: str
    fetched_at: float
    jwks: str


def public_part(document: bytes) -> bytes:
    """Return a JWK set with the public members of its keys only, in one spelling.

    Raises:
        InvalidError: it is not a JWK set.
    """
    try:
        value = msgspec.json.decode(document)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidError(f"the JWK set is not JSON: {error}") from error
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise InvalidError("the JWK set has no list under 'keys'")
    keys = [{name: entry[name] for name in _PUBLIC if name in entry} for entry in entries if isinstance(entry, dict)]
    return msgspec.json.encode({"keys": keys})


def read_key_file(settings: JwtSettings, open_keys: OpenTokenKeys) -> TokenKeys:
    """Return what is usable of the file that the settings name, as `IssuerKeys` reads it first.

    Raises:
        ConfigurationError: it cannot be used, or a package that is needed is not installed.
    """
    source = settings.jwks_file or settings.secret_file
    try:
        content, _ = _read(source, ())
        return _material(settings, content or b"", source, open_keys).read
    except (OSError, SeawallError) as error:
        raise _unusable(source, error) from error


class IssuerKeys:
    """Hold the keys that `[identity.jwt]` names, and keep them fresh.

    Args:
        context: opens and fetches keys, keeps documents, tells the time.
        settings: must be enabled.
        fetches: counts how fetches ended, `ok` and `failed`; whoever made it goes on with it at the next settings.

    Attributes:
        material: what is in force; keys stay while their source is away or answers with rubbish.
        trouble: why the source cannot be read right now; empty when it can.
        schedule: when the next fetch is due; None for a file.
    """

    def __init__(self, context: ControllerContext, settings: JwtSettings, fetches: dict[str, int]) -> None:
        self._context = context
        self._clock: Clock = context.clock
        self._store: StateStore = context.store
        self.settings = settings
        self.material = KeyMaterial()
        self.trouble = ""
        self._fetches = fetches
        self._stamp: tuple[int, ...] = ()
        self._kept_at = 0.0
        self._kept = b""
        self.schedule: RefreshSchedule | None = None
        if settings.jwks_url:
            self.schedule = RefreshSchedule(
                context.rng,
                refresh=settings.jwks_refresh_ms / 1000,
                min_interval=settings.jwks_min_interval_ms / 1000,
                now=context.clock.monotonic(),
            )

    @property
    def source(self) -> str:
        """Return where the keys come from, without what may be secret."""
        jwt = self.settings
        return jwt.jwks_url.partition("?")[0] or jwt.jwks_file or jwt.secret_file

    async def provision(self) -> None:
        """Read the file, or what the store remembers of the url; the url itself is not asked.

        Raises:
            ConfigurationError: the file cannot be used, or a package that is needed is not installed.
        """
        self._opener(b"", b"", self.settings.algorithms)  # so that a package that is missing is named now
        if self.schedule is None:
            await self.reread(first=True)
            return
        if self._context.fetch_keys is None:
            raise ConfigurationError("keys cannot be fetched here", hint="use jwks_file")
        try:
            value = await self._store.get(self._key)
            stored = None if value is None else msgspec.json.decode(value, type=_Stored)
            if stored is not None:
                self._take(stored.jwks.encode(), min(max(stored.fetched_at, 0.0), self._clock.wall()))
                self._kept, self._kept_at = self.material.jwks, self.material.fetched_at
        except (SeawallError, msgspec.MsgspecError) as error:
            _log.info("there are no remembered keys of %s to begin with: %s", self.source, error)

    def resume(self, jwks: bytes) -> None:
        """Begin with the keys of the last known snapshot where there are no others."""
        if self.schedule is not None and not self.material.jwks and jwks:
            try:
                self._take(jwks, 0.0)
            except SeawallError as error:
                _log.info("the last known keys of %s cannot be used: %s", self.source, error)

    async def reread(self, *, first: bool = False) -> bool:
        """Read the file again when it changed; return whether the keys did.

        Raises:
            ConfigurationError: it cannot be used; only the first time, later the keys stay and `trouble` tells.
        """
        before = (self.material.jwks, self.material.secret)
        try:
            content, stamp = await asyncio.to_thread(_read, self.source, self._stamp)
            if content is not None:
                self._stamp = stamp
                self.material = _material(self.settings, content, self.source, self._opener)
                self._recovered()
        except (OSError, SeawallError) as error:
            if first:
                raise _unusable(self.source, error) from error
            self._troubled(error.message if isinstance(error, SeawallError) else str(error))
        return before != (self.material.jwks, self.material.secret)

    async def fetch(self) -> bool:
        """Ask the url once; return whether the keys changed. Never raises for what comes back."""
        schedule, fetch = self.schedule, self._context.fetch_keys
        if schedule is None or fetch is None:
            return False
        before = self.material.jwks
        jwt = self.settings
        schedule.begun(self._clock.monotonic())
        try:
            fetched = await fetch(
                jwt.jwks_url,
                timeout=jwt.jwks_timeout_ms / 1000,
                max_bytes=MAX_DOCUMENT_BYTES,
                ca_file=jwt.jwks_ca_file,
            )
            self._take(fetched.document, self._clock.wall())
        except SeawallError as error:
            self._fetches["failed"] += 1
            schedule.failed(self._clock.monotonic())
            self._troubled(error.message)
            return False
        except BaseException:  # cancelled, or a defect: the next one is due all the same
            schedule.failed(self._clock.monotonic())
            raise
        self._fetches["ok"] += 1
        schedule.succeeded(self._clock.monotonic(), fetched.max_age)
        self._recovered()
        await self._remember()
        return before != self.material.jwks

    def _take(self, document: bytes, fetched_at: float) -> None:
        self.material = _published(self.settings, document, self.source, self._opener, fetched_at)

    @property
    def _opener(self) -> OpenTokenKeys:
        if self._context.token_keys is None:
            raise ConfigurationError("tokens cannot be checked here", hint="set identity.jwt.enabled = false")
        return self._context.token_keys

    @property
    def _key(self) -> str:
        return _PREFIX + hashlib.blake2b(self.settings.jwks_url.encode(), digest_size=16).hexdigest()

    async def _remember(self) -> None:
        material = self.material
        if material.jwks == self._kept and material.fetched_at - self._kept_at < _REWRITE:
            return
        stored = _Stored(self.settings.jwks_url, material.fetched_at, material.jwks.decode())
        try:
            await self._store.put(self._key, msgspec.json.encode(stored), ttl=_KEPT)
        except StateError as error:
            _log.info("the keys of %s are not remembered for now: %s", self.source, error.message)
        else:
            self._kept, self._kept_at = material.jwks, material.fetched_at

    def _troubled(self, reason: str) -> None:
        if reason != self.trouble:
            kept = "the last ones stay in force" if self.material.read.keys else "no token can be checked"
            _log.warning("%s; %s", reason, kept)
        self.trouble = reason

    def _recovered(self) -> None:
        if self.trouble:
            _log.info("the keys of %s can be read again", self.source)
        self.trouble = ""


def _material(settings: JwtSettings, content: bytes, source: str, open_keys: OpenTokenKeys) -> KeyMaterial:
    """Return what a file holds.

    Raises:
        SeawallError: it cannot be used.
    """
    if not settings.secret_file:
        return _published(settings, content, source, open_keys)
    secret = content.rstrip(b"\r\n")
    return KeyMaterial(b"", secret, open_keys(b"", secret, settings.algorithms))


def _published(
    settings: JwtSettings, document: bytes, source: str, open_keys: OpenTokenKeys, fetched_at: float = 0.0
) -> KeyMaterial:
    jwks = public_part(document)
    read = open_keys(jwks, b"", settings.algorithms)
    if not read.keys:
        reasons = "; ".join(read.left_out[:3]) or "it is empty"
        raise KeysUnavailableError(f"no key of {source} can be used: {reasons}")
    return KeyMaterial(jwks, b"", read, fetched_at)


def _unusable(source: str, error: OSError | SeawallError) -> ConfigurationError:
    reason = error.message if isinstance(error, SeawallError) else str(error)
    return ConfigurationError(f"the keys in {source} cannot be used: {reason}", hint=getattr(error, "hint", ""))


def _read(path: str, stamp: tuple[int, ...]) -> tuple[bytes | None, tuple[int, ...]]:
    """Return a file's content and stamp; no content when the stamp is the same."""
    file = Path(path).expanduser()
    status = file.stat()
    now = (status.st_mtime_ns, status.st_size, status.st_ino)
    if now == stamp:
        return None, stamp
    limit = MAX_DOCUMENT_BYTES
    if status.st_size > limit:
        raise InvalidError(f"it has {status.st_size} bytes, at most {limit} are read")
    with file.open("rb") as opened:
        return opened.read(limit), now
