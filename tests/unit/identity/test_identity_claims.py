"""Where names are found in claims, and how roles are mapped."""

import pytest

from identity_tokens import AUDIENCE, ISSUER, claims
from seawall.systems.identity.claims import MAX_NAME, is_name, standing_of, value_at
from seawall.systems.identity.model import CredentialError, JwtSnapshot


def rules(**changes) -> JwtSnapshot:
    return JwtSnapshot(issuer=ISSUER, audiences=(AUDIENCE,), algorithms=("RS256",), **changes)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sub", "bob"),
        ("nothing", None),
        ("realm_access.roles", ["viewer", "admin"]),
        ("orgs.id", "o1"),
        ("orgs.owner.name", "eve"),
        ("https://example.org/role", "clerk"),
        ("sub.further", None),
        ("empty.id", None),
        ("realm_access..roles", None),
        ("", None),
    ],
)
def test_a_path_leads_into_tables_and_the_first_of_a_list(path, value):
    given = claims(
        realm_access={"roles": ["viewer", "admin"]},
        orgs=[{"id": "o1", "owner": {"name": "eve"}}, {"id": "o2"}],
        empty=[],
        **{"https://example.org/role": "clerk"},
    )
    assert value_at(given, path) == value


def test_tenant_and_role_are_taken_where_they_are_told():
    given = claims(org={"id": 42}, roles=["clerk", "admin"])
    identity = standing_of(given, rules(tenant_claim="org.id", role_claim="roles")).identity
    assert (identity.user, identity.tenant, identity.role) == ("bob", "42", "clerk")
    identity = standing_of(claims(), rules(tenant_claim="org.id", role_claim="roles")).identity
    assert (identity.tenant, identity.role) == ("", "")
    assert standing_of(claims(roles=[]), rules(role_claim="roles")).identity.role == ""


def test_no_user_need_be_named_where_none_is_asked_for():
    assert standing_of(claims(sub=None), rules(user_claim="")).identity.user == ""


@pytest.mark.parametrize(
    ("given", "role"),
    [
        (["offline_access", "shop-user", "shop-admin"], "admin"),
        (["shop-user"], "user"),
        ("shop-admin", "admin"),
        (["something"], ""),
        ("admin", ""),
        ([], ""),
        (None, ""),
        ([{"shop-admin": 1}, 5], ""),
        ({"shop-admin": True}, ""),
    ],
)
def test_the_first_line_of_the_table_that_applies_gives_the_role(given, role):
    table = (("shop-admin", "admin"), ("shop-user", "user"))
    found = standing_of(claims(groups=given), rules(role_claim="groups", roles=table))
    assert found.identity.role == role


@pytest.mark.parametrize("bad", [1.5, {"a": 1}, [["x"]], "a\nb", "\u200b", "x" * (MAX_NAME + 1), 2**64])
def test_what_is_no_name_is_refused_and_not_cut(bad):
    with pytest.raises(CredentialError):
        standing_of(claims(tenant=bad), rules(tenant_claim="tenant"))


def test_names_are_bounded_and_printable():
    assert is_name("x" * MAX_NAME)
    assert is_name("Jörg Müller-Ω")
    assert not is_name("")
    assert not is_name("x" * (MAX_NAME + 1))
    assert not is_name("a\r\nb")
