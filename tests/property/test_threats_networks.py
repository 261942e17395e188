import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seawall.core.errors import InvalidError
from seawall.systems.threats.networks import NOT_FOUND, NetworkTable, _plain_v6, pack, parse_network

# Few different bits, so that networks nest, touch and repeat, at both ends of the address space as well.
BYTE = st.sampled_from([0, 1, 2, 127, 128, 254, 255])
V4 = st.tuples(BYTE, BYTE, BYTE, BYTE).map(lambda parts: ".".join(map(str, parts)))
V6 = st.lists(st.sampled_from(["0", "1", "ffff", "8000"]), min_size=8, max_size=8).map(":".join)
NETWORK = st.one_of(
    st.tuples(V4, st.integers(0, 32)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    st.tuples(V6, st.integers(0, 128)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    V4,
    V6,
)


def narrowest(networks, address):
    """The obvious way: look at all of them."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 6 and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    found = {}
    for text, owner in networks:
        version, first, length = parse_network(text)
        network = (ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network)((first, length))
        if parsed.version == version and parsed in network:
            found[length] = owner
    return found[max(found)] if found else NOT_FOUND


@given(st.lists(NETWORK, max_size=30), st.lists(st.one_of(V4, V6), min_size=1, max_size=20))
def test_the_narrowest_network_owns_an_address(networks, addresses):
    owned = [(network, owner) for owner, network in enumerate(networks)]
    table = NetworkTable(pack(owned))
    edges = [str(parse_edge(network, last=last)) for network in networks for last in (False, True)]
    for address in [*addresses, *edges]:
        assert table.find(address) == narrowest(owned, address), address


def parse_edge(network, *, last):
    parsed = ipaddress.ip_network(network, strict=False)
    return parsed.broadcast_address if last else parsed.network_address


@given(st.text(max_size=50))
def test_any_text_can_be_looked_up(text):
    table = NetworkTable(pack([("0.0.0.0/0", 1), ("::/0", 2)]))
    try:
        expected = ipaddress.ip_address(text.partition("%")[0]).version
    except ValueError:
        expected = 0
    assert table.find(text) == {0: NOT_FOUND, 4: 1, 6: 2}[expected]


def test_an_ipv4_address_within_ipv6_is_looked_up_as_ipv4():
    table = NetworkTable(pack([("192.0.2.0/24", 7), ("::ffff:198.51.100.0/120", 8)]))
    assert table.find("::ffff:192.0.2.1") == 7
    assert table.find("198.51.100.9") == 8
    assert table.find("198.51.101.9") == NOT_FOUND


def test_quads_that_some_read_as_octal_are_no_addresses():
    table = NetworkTable(pack([("0.0.0.0/0", 0)]))
    for text in ("010.0.0.1", "1.2.3.4 ", "+1.2.3.4", "1.2.3", "1.2.3.256", "1.2.3.4.5", "\u0661.2.3.4", "1_0.2.3.4"):
        assert table.find(text) == NOT_FOUND


@pytest.mark.parametrize("text", ["", "example.com", "1.2.3.4/33", "1.2.3.4/-1", "::/129", "1.2.3.4/24/8", "1.2.3"])
def test_what_is_no_network_is_refused(text):
    with pytest.raises(InvalidError, match="neither an address nor a network"):
        pack([(text, 0)])


def test_a_hundred_thousand_networks_take_at_most_16_bytes_each():
    count = 100_000
    table = NetworkTable(pack((f"{n >> 16}.{n >> 8 & 255}.{n & 255}.128/25", n) for n in range(count)))
    assert table.nbytes <= 16 * count + 64
    assert table.find("0.1.2.200") == 0x0102
    assert table.find("0.1.2.100") == NOT_FOUND
    assert not NetworkTable(pack([]))


HEXTETS = st.lists(st.text("0123456789aF ", max_size=5), max_size=10).map(":".join)


@given(st.text("0123456789abcdefF: _+-.g%/", max_size=40) | V6.map(str) | HEXTETS)
@example(":::")
@example("00000: ::")
@example("1:2:3:4:5:6:7::")
@example("::ffff:c000:207")
def test_addresses_in_groups_are_read_as_the_standard_library_reads_them(text):
    number = _plain_v6(text)
    try:
        expected = int(ipaddress.IPv6Address(text))
    except ValueError:
        expected = None
    assert number == expected or (number is None and ("." in text or "%" in text))
