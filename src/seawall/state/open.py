"""Choose a backend by URL."""

import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from seawall.core.clock import Clock, SystemClock
from seawall.core.errors import ConfigurationError
from seawall.state.breaker import Breaker
from seawall.state.store import StateStore

__all__ = ["open_store", "redact_url"]

_ACCEPTED = (
    "use memory://, sqlite:////absolute/path, sqlite:///relative/path, or redis://[user:password@]host[:port][/database][?prefix=seawall:]"
    " (rediss:// for TLS)"
)
_DEFAULT_PREFIX = "seawall:"
_PREFIX = re.compile(r"[A-Za-z0-9_.:{}/-]{1,64}")
_DATABASE = re.compile(r"(/[0-9]{0,5})?")
_REDIS_PARAMETERS = frozenset(
    {
        "client_name",
        "password",
        "prefix",
        "ssl_ca_certs",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
        "ssl_password",
        "username",
    }
)
_SECRET_PARAMETERS = frozenset({"password", "ssl_password"})


def open_store(
    url: str,
    *,
    timeout: float = 0.25,
    breaker_failures: int = 5,
    breaker_reset: float = 1.0,
    clock: Clock | None = None,
) -> StateStore:
    """Return the store that the URL names; touches neither disk nor network, so call `ping` to find out early.

    Args:
        url: `memory://`, `sqlite:////absolute/path`, `sqlite:///relative/path`, `redis://host:6379/0?prefix=seawall:`
            or `rediss://...`; paths, user names and passwords are percent-decoded.
        timeout: seconds that one call may take.
        breaker_failures: failed calls in a row after which further ones are refused at once.
        breaker_reset: seconds after which a refused store is tried again.
        clock: the machine's unless given; on Redis the server's clock decides when keys expire.

    Raises:
        ConfigurationError: the URL names no backend, or the backend's package is not installed.
    """
    clock = clock or SystemClock()
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        if url != "memory://":
            raise ConfigurationError(f"state URL {redact_url(url)!r} has more than 'memory://'", hint=_ACCEPTED)
        return _open_memory(clock)
    breaker = Breaker(failures=breaker_failures, reset=breaker_reset, clock=clock)
    if scheme == "sqlite":
        return _open_sqlite(url, timeout=timeout, breaker=breaker, clock=clock)
    if scheme in {"redis", "rediss"}:
        return _open_redis(url, timeout=timeout, breaker=breaker)
    raise ConfigurationError(f"state URL {redact_url(url)!r} names no state backend", hint=_ACCEPTED)


def redact_url(url: str) -> str:
    """Return the URL with `***` in place of a password, in the authority or in the query."""
    parts = urlsplit(url)
    netloc = parts.netloc
    credentials, at, host = netloc.rpartition("@")
    if at:
        user, colon, _password = credentials.partition(":")
        netloc = f"{user}{colon}***@{host}" if colon else netloc
    query = "&".join(
        f"{quote(name)}={'***' if name in _SECRET_PARAMETERS else quote(value, safe=':/{}')}"
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    # Not urlunsplit: it drops an empty authority for schemes that it does not know.
    head = f"{parts.scheme}://" if parts.scheme else ""
    return f"{head}{netloc}{parts.path}{'?' if query else ''}{query}"


def _open_memory(clock: Clock) -> StateStore:
    from seawall.state.memory import MemoryStore  # noqa: PLC0415 - only the chosen backend is loaded

    return MemoryStore(clock=clock)


def _open_sqlite(url: str, *, timeout: float, breaker: Breaker, clock: Clock) -> StateStore:
    from seawall.state.sqlite import SQLiteStore  # noqa: PLC0415 - only the chosen backend is loaded

    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or parts.query or parts.fragment or not path or path.endswith("/"):
        raise ConfigurationError(f"state URL {url!r} names no SQLite file", hint=_ACCEPTED)
    if path == ":memory:":
        raise ConfigurationError(f"state URL {url!r} would not outlive its connection", hint="use memory://")
    return SQLiteStore(path, url=url, timeout=timeout, breaker=breaker, clock=clock)


def _open_redis(url: str, *, timeout: float, breaker: Breaker) -> StateStore:
    try:
        from seawall.state.redis import RedisStore  # noqa: PLC0415 - redis is an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        raise ConfigurationError(
            f"state URL {redact_url(url)!r} needs the package 'redis', which is not installed",
            hint="install seawall with its extra: seawall[redis]",
        ) from error
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(query) - _REDIS_PARAMETERS):
        raise ConfigurationError(
            f"state URL {redact_url(url)!r} has unknown parameters: {', '.join(unknown)}",
            hint=f"accepted are {', '.join(sorted(_REDIS_PARAMETERS))}",
        )
    if _DATABASE.fullmatch(parts.path) is None:
        raise ConfigurationError(
            f"state URL {redact_url(url)!r} has {parts.path!r} where the number of a database is expected",
            hint=_ACCEPTED,
        )
    prefix = query.pop("prefix", _DEFAULT_PREFIX)
    if _PREFIX.fullmatch(prefix) is None:
        raise ConfigurationError(
            f"state URL {redact_url(url)!r} has the prefix {prefix!r}",
            hint="use 1 to 64 letters, digits and any of _ . : { } / -",
        )
    return RedisStore(
        urlunsplit(parts._replace(query=urlencode(query))),
        shown_url=redact_url(url),
        prefix=prefix,
        timeout=timeout,
        breaker=breaker,
    )
