"""Session affinity: a cookie names the instance, signed so that a client cannot choose one itself."""

import hashlib
import hmac
from collections.abc import Iterable

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance
from seawall.systems.balancing.model import AffinitySnapshot, InstanceState

__all__ = ["Affinity"]

_TAG_HEX = 16
_SIGNATURE_HEX = 32
_VALUE_BYTES = _TAG_HEX + 1 + _SIGNATURE_HEX
"""A cookie value is exactly `<64-bit tag>.<128-bit signature>` in lower-case hexadecimal."""
_NOBODY = b"0" * _SIGNATURE_HEX


class Affinity:
    """The bound sessions of one pool.

    The tag is a keyed hash of pool and instance id, so it tells a client nothing about the pool; the signature is
    HMAC-SHA256 over the tag, truncated to 128 bit (RFC 2104 section 5). Both are computed when a snapshot arrives; a
    request costs one cookie lookup and one constant-time comparison.

    Args:
        snapshot: cookie name, key and attributes.
        pool: the pool's name.
    """

    __slots__ = ("_by_tag", "_cookies", "_name", "_pool", "snapshot")

    def __init__(self, snapshot: AffinitySnapshot, pool: str) -> None:
        self.snapshot = snapshot
        self._name = snapshot.cookie.encode()
        self._pool = pool.encode()
        self._cookies: dict[str, tuple[bytes, bytes, bytes]] = {}
        self._by_tag: dict[bytes, tuple[bytes, Instance]] = {}

    def prepare(self, instances: Iterable[Instance], candidates: Iterable[Instance]) -> None:
        """Say who may keep its sessions: the candidates, and those that drain."""
        keep = set(candidates)
        cookies = {}
        by_tag = {}
        for instance in instances:
            cookies[instance.id] = known = self._cookies.get(instance.id) or self._cookie(instance.id)
            if instance in keep or instance.snapshot.state is InstanceState.DRAINING:
                by_tag[known[0]] = (known[1], instance)
        self._cookies = cookies
        self._by_tag = by_tag

    def bound(self, request: Request) -> Instance | None:
        """Return the instance to which this client's session is bound, if it may still serve it."""
        value = request.cookie(self._name)
        if value is None or len(value) != _VALUE_BYTES:
            return None
        signature, instance = self._by_tag.get(value[:_TAG_HEX], (_NOBODY, None))
        return instance if hmac.compare_digest(signature, value[_TAG_HEX + 1 :]) else None

    def cookie(self, request: Request, instance: Instance) -> bytes | None:
        """Return the `Set-Cookie` value that binds this client to `instance`; None when it already is, or it left."""
        known = self._cookies.get(instance.id)
        if known is None or self.bound(request) is instance:
            return None
        return known[2]

    def _cookie(self, instance_id: str) -> tuple[bytes, bytes, bytes]:
        key = self.snapshot.key
        subject = self._pool + b"\0" + instance_id.encode()
        tag = hmac.digest(key, b"tag\0" + subject, hashlib.sha256).hex()[:_TAG_HEX].encode()
        signature = (
            hmac.digest(key, b"signature\0" + subject + b"\0" + tag, hashlib.sha256).hex()[:_SIGNATURE_HEX].encode()
        )
        attributes = b"; Path=/; HttpOnly; SameSite=Lax"
        if self.snapshot.max_age:
            attributes += b"; Max-Age=%d" % self.snapshot.max_age
        if self.snapshot.secure:
            attributes += b"; Secure"
        return tag, signature, self._name + b"=" + tag + b"." + signature + attributes
