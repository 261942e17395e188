import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.identity import TrustedProxies, forwarded_chain


def xff(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value.encode("latin-1")) for value in values]


def test_without_proxies_the_peer_is_the_client():
    nobody = TrustedProxies()
    assert not nobody
    assert not nobody.trusts("127.0.0.1")
    assert not nobody.trusts("")
    assert nobody.client("203.0.113.9", xff("6.6.6.6")) == "203.0.113.9"


@pytest.mark.parametrize(
    ("network", "address", "trusted"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),  # an IPv4 peer on a dual-stack socket
        ("10.0.0.0/8", "::ffff:11.0.0.1", False),
        ("2001:db8::/32", "2001:db8:1::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("10.0.0.0/8", "not an address", False),
        ("unix:", "", True),
        ("10.0.0.0/8", "", False),
        ("unix:", "10.0.0.1", False),
    ],
)
def test_who_is_trusted(network, address, trusted):
    proxies = TrustedProxies([network])
    assert bool(proxies)
    assert proxies.trusts(address) is trusted
    assert proxies.trusts(address) is trusted  # from its memory


def test_an_entry_that_is_no_network_is_refused():
    with pytest.raises(ValueError, match="proxy"):
        TrustedProxies(["proxy.test"])


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),  # what the client wrote itself stands on the left
        ("6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),  # all trusted: the one furthest away
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("unknown", "10.0.0.1"),
        ("203.0.113.9, unknown, 10.0.0.2", "10.0.0.2"),  # nothing beyond a gap is known
        ("203.0.113.9, _hidden", "10.0.0.1"),
        ("", "10.0.0.1"),
        (",,,", "10.0.0.1"),
        ("203.0.113.9, ", "10.0.0.1"),
        ("999.1.1.1", "10.0.0.1"),
    ],
)
def test_the_chain_is_read_from_right_to_left_over_trusted_hops(chain, client):
    assert TrustedProxies(["10.0.0.0/8"]).client("10.0.0.1", xff(chain)) == client


def test_repeated_fields_are_one_chain():
    proxies = TrustedProxies(["10.0.0.0/8"])
    assert proxies.client("10.0.0.1", xff("6.6.6.6", "203.0.113.9", "10.0.0.2")) == "203.0.113.9"


def test_an_untrusted_peers_word_counts_nothing():
    assert TrustedProxies(["10.0.0.0/8"]).client("192.0.2.1", xff("203.0.113.9")) == "192.0.2.1"


def test_a_peer_on_a_unix_socket_may_be_trusted():
    assert TrustedProxies(["unix:"]).client("", xff("203.0.113.9")) == "203.0.113.9"
    assert TrustedProxies(["10.0.0.0/8"]).client("", xff("203.0.113.9")) == ""


def test_a_long_chain_costs_a_bounded_number_of_hops():
    chain = ", ".join(["203.0.113.9"] + ["10.0.0.2"] * 100)
    assert TrustedProxies(["10.0.0.0/8"]).client("10.0.0.1", xff(chain)) == "10.0.0.2"


def test_the_memory_of_known_addresses_is_bounded():
    proxies = TrustedProxies(["10.0.0.0/8"])
    for number in range(5000):
        proxies.trusts(f"192.0.{number // 250}.{number % 250}")
    assert len(proxies._known) <= 4096


@pytest.mark.parametrize(
    ("value", "chain"),
    [
        (b"for=192.0.2.60;proto=http;by=203.0.113.43", ["192.0.2.60"]),
        (b"FOR=192.0.2.43, for=198.51.100.17", ["192.0.2.43", "198.51.100.17"]),
        (b'For="[2001:db8:cafe::17]:4711"', ["[2001:db8:cafe::17]:4711"]),
        (b"proto=https", ["unknown"]),
        (b"for=unknown, for=_secret", ["unknown", "_secret"]),
        (b'for=192.0.2.1;host="a,for=6.6.6.6;b=";proto=http, for=10.0.0.7', ["192.0.2.1", "10.0.0.7"]),
        (b'for="a\\"b, c", for=10.0.0.7', ['a"b, c', "10.0.0.7"]),
        (b'for=6.6.6.6;x=", for=192.0.2.1;host="h"', ["unknown"]),
        (b'for="', ["unknown"]),
        (b"for=192.0.2.1,, for=192.0.2.2", ["192.0.2.1", "192.0.2.2"]),
        (b"", ["unknown"]),
    ],
)
def test_forwarded_is_read(value, chain):
    assert forwarded_chain([(b"forwarded", value)], b"forwarded") == chain


def test_only_the_field_that_the_proxies_maintain_is_believed():
    """A proxy that knows one of the two fields passes on whatever a client put into the other."""
    headers = [(b"forwarded", b"for=6.6.6.6"), (b"x-forwarded-for", b"203.0.113.9")]
    assert TrustedProxies(["10.0.0.0/8"]).client("10.0.0.1", headers) == "203.0.113.9"
    assert TrustedProxies(["10.0.0.0/8"], source="forwarded").client("10.0.0.1", headers) == "6.6.6.6"
    assert TrustedProxies(["10.0.0.0/8"], source="forwarded").client("10.0.0.1", headers[1:]) == "10.0.0.1"


@pytest.mark.parametrize(
    ("values", "proto"),
    [
        ([b"for=192.0.2.1;proto=a, for=10.0.0.7;proto=b"], "a"),
        ([b"for=6.6.6.6;proto=forged, for=192.0.2.1;proto=a, for=10.0.0.7;proto=b"], "a"),
        ([b"for=6.6.6.6;proto=forged", b"for=_hidden;proto=a, for=10.0.0.7;proto=b"], "a"),
        ([b"for=10.0.0.8;proto=a", b"for=10.0.0.7;proto=b"], "a"),
        ([b"for=192.0.2.1, for=10.0.0.7;proto=b"], None),
        ([], None),
    ],
)
def test_the_element_that_tells_of_the_client_is_the_first_that_a_trusted_proxy_wrote(values, proto):
    headers = [(b"forwarded", value) for value in values]
    assert TrustedProxies(["10.0.0.0/8"], source="forwarded").client_element(headers).get("proto") == proto


@pytest.mark.parametrize("source", ["forwarded", "x-forwarded-for"])
@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from([b"forwarded", b"x-forwarded-for"]),
            st.binary(max_size=60) | st.text('for=";,\\1.:', max_size=40).map(str.encode),
        ),
        max_size=4,
    )
)
def test_no_value_can_do_harm(source, headers):
    client = TrustedProxies(["10.0.0.0/8"], source=source).client("10.0.0.1", headers)
    assert client
    assert set(client) <= set("0123456789abcdef.:")


def test_a_scope_cannot_carry_text():
    """`fe80::1%...` may be followed by anything that a field value allows; none of it may get further."""
    proxies = TrustedProxies(["10.0.0.0/8"])
    assert proxies.client("10.0.0.1", xff('fe80::1%", for=evil')) == "10.0.0.1"
    assert proxies.client("10.0.0.1", xff("[fe80::1%a b]")) == "10.0.0.1"
