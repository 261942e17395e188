"""Who a request counts for: key parts compiled to one string per request, of bounded length and without secrets.

| part | value | when it is absent |
|---|---|---|
| `identity` | the identifier given to the limiter, else the user, else the API key, else the address | |
| `client` | address: IPv4 as it is, IPv6 by /64 | empty, shared by all without one |
| `client/N` | IPv4 by /N for N up to 32 (IPv6 by /64), IPv6 by /N above (IPv4 as it is) | empty |
| `user`, `tenant`, `api-key` | name of the user or tenant; digest of the API key | the client's address |
| `header:NAME` | as it is; a digest where the name tells of a credential | the client's address |
| `role`, `route` | as it is | `user` or `anonymous`; empty |
| `global` | one count for everybody | |

An IPv6 host has a /64 to itself (RFC 6177), so a count by whole address would be no limit at all. What a caller may
leave out counts by address then: in one count for all who leave it out, one of them could use up everybody's quota.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

import msgspec

from seawall.core.errors import InvalidError, SeawallError
from seawall.systems.ratelimit.condition import KEY_FORMS, MAX_VALUE, check_key_part
from seawall.systems.ratelimit.model import ANONYMOUS

__all__ = [
    "SUBJECT_FORMS",
    "SUBJECT_KINDS",
    "KeyBuilder",
    "LimitContext",
    "compile_key",
    "network_of",
    "parse_subject",
    "subject_builders",
]

_DIGEST = 16
_IPV6_PREFIX = 64

SUBJECT_KINDS = frozenset({"identity", "user", "tenant", "api-key", "client", "role"})

SUBJECT_FORMS = "identity:NAME, user:NAME, tenant:NAME, api-key:KEY, role:NAME, client:ADDRESS or client:NETWORK"

_DIGEST_FORM = re.compile(r"#[0-9a-f]{32}")

_CREDENTIAL = re.compile(r"auth|cookie|credential|key|passw|secret|session|signature|token")
"""Found in names of fields whose value may let its reader in as somebody: keys stand in logs, stores and on screens."""

KeyBuilder = Callable[["LimitContext"], str]


class LimitContext(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is known of a request that asks to pass; leave out what is not known.

    Attributes:
        identifier: who the caller is in the application's own words.
        client: address of the client, after trusted proxies are taken off (`seawall.core.identity.TrustedProxies`).
        user: name of the authenticated user.
        tenant: name of the authenticated tenant.
        api_key: the API key, or its id; only a digest is kept.
        role: role of the caller; by default `user` where there is an identifier, user or API key, else `anonymous`.
        route: name of the route.
        method: upper case.
        path: without the query, as received.
        headers: lower-case names to values.
        pool: where the request would go, for a load factor of its own.
        cost: requests that this one counts for; 0 only looks.
        priority: tier from 0, critical, to 5, background; None lets the rules say.
    """

    identifier: str = ""
    client: str = ""
    user: str = ""
    tenant: str = ""
    api_key: str = ""
    role: str = ""
    route: str = ""
    method: str = ""
    path: str = ""
    headers: Mapping[str, str] = {}
    pool: str = ""
    cost: float = 1.0
    priority: int | None = None

    @property
    def effective_role(self) -> str:
        """The role, with its default."""
        return self.role or ("user" if self.identifier or self.user or self.api_key else ANONYMOUS)


def compile_key(parts: Sequence[str]) -> KeyBuilder:
    """Return the function from a context to the key of its count.

    Raises:
        SeawallError: a part is none, or there is none.
    """
    if not parts:
        raise SeawallError("a key needs at least one part", hint=f"Parts are {KEY_FORMS}.")
    builders = [_compile_part(part) for part in parts]
    if len(builders) == 1:
        return builders[0]
    return lambda context: "|".join([build(context) for build in builders])


def network_of(address: str, v4: int = 32, v6: int = _IPV6_PREFIX) -> str:
    """Return the network of an address under the prefix of its version, the address itself when it stands alone.

    What is no address (a Unix socket's peer, a test client) stands for itself.
    """
    if len(address) > MAX_VALUE or (v4 == 32 and ":" not in address):
        return _bounded(address)
    return _network(address, v4, v6)


def subject_builders(subjects: Iterable[str]) -> tuple[KeyBuilder, ...]:
    """Return what tells a request's subjects, of the kinds that are among these; networks are looked up apart."""
    kinds = {subject.partition(":")[0] for subject in subjects if "|" not in subject}
    return tuple(_BUILDERS[kind] for kind in sorted(kinds & SUBJECT_KINDS))


def parse_subject(text: str) -> str:
    """Return the canonical form of what an operator names: `KIND:VALUE`, such as `user:alice` or `client:192.0.2.0/24`.

    Raises:
        InvalidError: it is none.
    """
    kind, separator, value = text.partition(":")
    if not separator or not value or kind not in SUBJECT_KINDS:
        raise InvalidError(f"{text[:80]!r} names no subject", hint=f"Give {SUBJECT_FORMS}.")
    if kind == "api-key":
        return text if _DIGEST_FORM.fullmatch(value) else f"api-key:{_digest(value)}"
    if kind != "client":
        return text if _DIGEST_FORM.fullmatch(value) else f"{kind}:{_bounded(value)}"
    if "/" not in value:
        return f"client:{network_of(value)}"
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise InvalidError(f"{value[:80]!r} is no network", hint="Give client:192.0.2.0/24 or such.") from error
    return f"client:{network}" if network.num_addresses > 1 else f"client:{network.network_address}"


def _compile_part(text: str) -> KeyBuilder:
    try:
        part = check_key_part(text)
    except ValueError as error:
        raise SeawallError(f"{text!r} is no part of a key", hint=f"Parts are {error}.") from error
    if part.startswith("header:"):
        return _header_builder(part, part.removeprefix("header:"))
    if part.startswith("client/"):
        prefix = int(part.removeprefix("client/"))
        v4, v6 = (prefix, _IPV6_PREFIX) if prefix <= 32 else (32, prefix)
        return lambda context: f"{part}:{network_of(context.client, v4, v6)}"
    return _BUILDERS[part]


def _header_builder(part: str, name: str) -> KeyBuilder:
    shown = _digest if _CREDENTIAL.search(name) else _bounded

    def build(context: LimitContext) -> str:
        value = context.headers.get(name)
        return _client(context) if value is None else f"{part}:{shown(value)}"

    return build


def _identity(context: LimitContext) -> str:
    if context.identifier:
        return f"identity:{_bounded(context.identifier)}"
    if context.user:
        return f"user:{_bounded(context.user)}"
    if context.api_key:
        return f"api-key:{_digest(context.api_key)}"
    address = context.client
    return f"client:{address}" if len(address) <= 15 and ":" not in address else f"client:{network_of(address)}"


def _client(context: LimitContext) -> str:
    address = context.client
    # Every IPv4 address goes the first way, which must be fast.
    return f"client:{address}" if len(address) <= 15 and ":" not in address else f"client:{network_of(address)}"


def _user(context: LimitContext) -> str:
    return f"user:{_bounded(context.user)}" if context.user else _client(context)


def _tenant(context: LimitContext) -> str:
    return f"tenant:{_bounded(context.tenant)}" if context.tenant else _client(context)


def _api_key(context: LimitContext) -> str:
    return f"api-key:{_digest(context.api_key)}" if context.api_key else _client(context)


_BUILDERS: dict[str, KeyBuilder] = {
    "identity": _identity,
    "client": _client,
    "user": _user,
    "api-key": _api_key,
    "tenant": _tenant,
    "role": lambda context: f"role:{_bounded(context.effective_role)}",
    "route": lambda context: f"route:{_bounded(context.route)}",
    "global": lambda _: "global",
}


def _bounded(value: str) -> str:
    """Return a value that is short and safe to print; `|` joins parts, so it cannot stand within one."""
    if len(value) <= MAX_VALUE and value.isprintable() and "|" not in value and "#" not in value[:1]:
        return value
    return _digest(value)


def _digest(value: str) -> str:
    # `#` marks a digest, and no kept value starts with it: nobody can name another's digest.
    return "#" + blake2b(value.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).hexdigest()


@lru_cache(maxsize=8192)
def _network(address: str, v4: int, v6: int) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _bounded(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    prefix = v4 if parsed.version == 4 else v6
    if prefix >= parsed.max_prefixlen:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, prefix), strict=False))
