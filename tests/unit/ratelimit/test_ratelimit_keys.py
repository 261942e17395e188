"""Keys: bounded, without secrets, and the same for the same client only."""

import pytest

from seawall.core.errors import InvalidError, SeawallError
from seawall.systems.ratelimit.keys import LimitContext, compile_key, network_of, parse_subject


@pytest.mark.parametrize(
    ("address", "v4", "v6", "network"),
    [
        ("192.0.2.7", 32, 64, "192.0.2.7"),
        ("192.0.2.7", 24, 64, "192.0.2.0/24"),
        ("192.0.2.7", 20, 64, "192.0.0.0/20"),
        ("2001:db8:1:2:aaaa::1", 32, 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::1", 24, 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", 32, 48, "2001:db8:1::/48"),
        ("2001:db8::1", 32, 128, "2001:db8::1"),
        ("fe80::1%eth0", 32, 64, "fe80::/64"),
        ("::ffff:192.0.2.7", 32, 64, "192.0.2.7"),
        ("::ffff:192.0.2.7", 24, 64, "192.0.2.0/24"),
        ("testclient", 24, 64, "testclient"),
        ("", 32, 64, ""),
    ],
)
def test_an_address_counts_as_its_network(address: str, v4: int, v6: int, network: str) -> None:
    assert network_of(address, v4, v6) == network


@pytest.mark.parametrize(
    ("parts", "context", "key"),
    [
        (["client"], LimitContext(client="192.0.2.7"), "client:192.0.2.7"),
        (["client"], LimitContext(client="2001:db8::1"), "client:2001:db8::/64"),
        (["client/24"], LimitContext(client="192.0.2.7"), "client/24:192.0.2.0/24"),
        (["client/24"], LimitContext(client="2001:db8::1"), "client/24:2001:db8::/64"),
        (["client/48"], LimitContext(client="192.0.2.7"), "client/48:192.0.2.7"),
        (["user"], LimitContext(user="alice", client="192.0.2.7"), "user:alice"),
        (["user"], LimitContext(client="192.0.2.7"), "client:192.0.2.7"),
        (["identity"], LimitContext(identifier="job-7", user="alice"), "identity:job-7"),
        (["identity"], LimitContext(user="alice", client="192.0.2.7"), "user:alice"),
        (["identity"], LimitContext(client="192.0.2.7"), "client:192.0.2.7"),
        (["tenant", "role"], LimitContext(tenant="acme", user="alice"), "tenant:acme|role:user"),
        (["role"], LimitContext(), "role:anonymous"),
        (["route", "header:X-Team"], LimitContext(route="r", headers={"x-team": "blue"}), "route:r|header:x-team:blue"),
        (["header:x-team"], LimitContext(headers={"x-team": ""}), "header:x-team:"),
        (["header:x-team"], LimitContext(client="192.0.2.7"), "client:192.0.2.7"),
        (["tenant"], LimitContext(client="2001:db8::1"), "client:2001:db8::/64"),
        (["tenant", "route"], LimitContext(client="192.0.2.7", route="r"), "client:192.0.2.7|route:r"),
        (["global"], LimitContext(user="alice"), "global"),
    ],
)
def test_parts_make_a_key(parts: list[str], context: LimitContext, key: str) -> None:
    assert compile_key(parts)(context) == key


@pytest.mark.parametrize("part", ["", "ip", "client/0", "client/129", "client/x", "header:", "user:alice"])
def test_a_part_that_is_none_is_refused(part: str) -> None:
    with pytest.raises(SeawallError, match="is no part of a key"):
        compile_key([part])


def test_a_key_needs_a_part() -> None:
    with pytest.raises(SeawallError, match="at least one part"):
        compile_key([])


@pytest.mark.parametrize("field", ["identifier", "user", "tenant", "role", "route", "client", "api_key"])
def test_absurd_values_are_hashed_to_a_short_key(field: str) -> None:
    part = {"identifier": "identity", "api_key": "api-key"}.get(field, field)
    build = compile_key([part])
    one, other = "x" * 1_000_000, "x" * 999_999 + "y"
    key = build(LimitContext(**{field: one}))
    assert len(key) < 60
    assert key == build(LimitContext(**{field: one}))
    assert key != build(LimitContext(**{field: other}))


def test_an_api_key_is_never_kept() -> None:
    context = LimitContext(api_key="sk-very-secret")
    key = compile_key(["api-key"])(context)
    assert "secret" not in key
    assert parse_subject("api-key:sk-very-secret") == key
    assert parse_subject(key) == key


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-Api-Key", "Api-Token", "X-Session-Id"])
def test_a_credential_in_a_field_is_never_kept(name: str) -> None:
    build = compile_key([f"header:{name}"])
    key = build(LimitContext(headers={name.lower(): "sk-very-secret"}))
    assert "secret" not in key
    assert key.startswith(f"header:{name.lower()}:#")
    assert key != build(LimitContext(headers={name.lower(): "sk-other"}))


def test_values_cannot_pretend_to_be_other_parts_or_digests() -> None:
    build = compile_key(["user", "tenant"])
    honest = build(LimitContext(user="a", tenant="b|tenant:c"))
    forged = build(LimitContext(user="a|tenant:b", tenant="c"))
    assert honest != forged
    digest = compile_key(["user"])(LimitContext(user="y" * 500)).removeprefix("user:")
    assert compile_key(["user"])(LimitContext(user=digest)) != f"user:{digest}"


def test_control_characters_do_not_reach_logs() -> None:
    assert compile_key(["user"])(LimitContext(user="a\nb\x1b[31m")).isprintable()
    assert compile_key(["user"])(LimitContext(user="\ud800")).isprintable()


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("user:alice", "user:alice"),
        ("client:192.0.2.7", "client:192.0.2.7"),
        ("client:2001:db8::7", "client:2001:db8::/64"),
        ("client:192.0.2.9/24", "client:192.0.2.0/24"),
        ("client:192.0.2.7/32", "client:192.0.2.7"),
        ("role:partner", "role:partner"),
        ("identity:a:b", "identity:a:b"),
    ],
)
def test_subjects_have_one_spelling(text: str, subject: str) -> None:
    assert parse_subject(text) == subject


@pytest.mark.parametrize("text", ["", "alice", "user:", "route:x", "client:192.0.2.0/33", "global"])
def test_what_is_no_subject_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_subject(text)
