"""What goes on to the upstream: spoofed claims taken off, credentials kept back, the caller told."""

import pytest

from identity_tokens import asking
from seawall.core.identity import TrustedProxies
from seawall.core.principal import Identity
from seawall.systems.identity.engine import IdentityEngine
from seawall.systems.identity.model import HeadersSnapshot, IdentitySnapshot, JwtSnapshot

PROXY = "10.0.0.7"
JWT = JwtSnapshot(issuer="i", audiences=("a",), algorithms=("RS256",), cookie="session")


def engine_with(**snapshot) -> IdentityEngine:
    engine = IdentityEngine()
    engine.trusted = TrustedProxies([PROXY])
    engine.apply(IdentitySnapshot(version=1, **snapshot))
    return engine


def sent(engine: IdentityEngine, *fields, peer: str = "203.0.113.9", identity: Identity | None = None):
    """Return the fields of a request as the upstream would see them."""
    request = asking(*fields, peer=peer)
    if identity is not None:
        request.identity = identity
    dropped, added = engine.upstream_fields(request)
    return [field for field in request.headers if field[0] not in dropped] + list(added)


def test_nothing_is_changed_unless_asked():
    engine = engine_with(key_field="x-api-key", jwt=JWT)
    assert not engine.rewrites
    fields = (("x-api-key", "k"), ("authorization", "Bearer t"), ("cookie", "session=t"))
    assert len(sent(engine, *fields)) == 4


def test_a_claim_of_identity_is_taken_off_unless_a_trusted_proxy_made_it():
    engine = engine_with(headers=HeadersSnapshot("x-user", "", "x-role"))
    assert engine.rewrites
    fields = (("x-user", "root"), ("x-role", "admin"), ("x-user-agent", "y"))
    assert sent(engine, *fields) == [(b"host", b"shop.example"), (b"x-user-agent", b"y")]
    assert (b"x-user", b"root") in sent(engine, *fields, peer=PROXY)


@pytest.mark.parametrize("peer", [PROXY, "203.0.113.9"])
@pytest.mark.parametrize("name", ["x_user", "x-seawall_user", "x_seawall_user", "x_seawall-role"])
def test_a_name_that_cgi_would_take_for_it_is_taken_off(peer, name):
    engine = engine_with(headers=HeadersSnapshot("x-user"), forward_identity=True)
    assert sent(engine, (name, "root"), peer=peer) == [(b"host", b"shop.example")]


def test_the_upstream_is_told_who_calls_by_nobody_else():
    engine = engine_with(forward_identity=True)
    assert engine.rewrites
    spoofed = (("x-seawall-user", "root"), ("x-seawall-role", "admin"), ("x-seawall-identity", "jwt"))
    assert sent(engine, *spoofed) == [(b"host", b"shop.example")]
    assert sent(engine, *spoofed, peer=PROXY) == [(b"host", b"shop.example")]
    told = sent(engine, *spoofed, identity=Identity("jörg", "acme", "user", "0123456789ab", "api-key"))
    assert told[1:] == [
        (b"x-seawall-user", "jörg".encode()),
        (b"x-seawall-tenant", b"acme"),
        (b"x-seawall-role", b"user"),
        (b"x-seawall-api-key-id", b"0123456789ab"),
        (b"x-seawall-identity", b"api-key"),
    ]


def test_credentials_can_be_kept_back():
    engine = engine_with(key_field="x-api-key", jwt=JWT, forward_credentials=False)
    left = sent(engine, ("x-api-key", "k"), ("x_api_key", "k"), ("authorization", "bearer t"), ("cookie", "session=t"))
    assert left == [(b"host", b"shop.example")]
    left = sent(engine, ("authorization", "Basic t"), ("cookie", "a=1; session=t; b=2"))
    assert left == [(b"host", b"shop.example"), (b"authorization", b"Basic t"), (b"cookie", b"a=1; b=2")]
