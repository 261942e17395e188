"""The location lookup over a real MaxMind DB file, written here byte by byte (MaxMind DB file format 2.0)."""

import ipaddress
import struct
import sys

import pytest

from seawall.adapters.geoip import open_locations
from seawall.core.errors import ConfigurationError

_TYPES = {"double": 3, "uint16": 5, "uint32": 6, "map": 7, "uint64": 9, "array": 11}


def encode(value, kind=None):
    """Encode one value of the format's data section."""
    if isinstance(value, dict):
        fields = b"".join(encode(key) + encode(*field) for key, field in value.items())
        return bytes([7 << 5 | len(value)]) + fields
    if isinstance(value, str):
        text = value.encode()
        assert len(text) < 29
        return bytes([2 << 5 | len(text)]) + text
    if isinstance(value, list):
        return bytes([len(value), _TYPES["array"] - 7]) + b"".join(encode(item) for item in value)
    if kind == "double":
        return bytes([3 << 5 | 8]) + struct.pack(">d", value)
    width = {"uint16": 2, "uint32": 4, "uint64": 8}[kind]
    number = _TYPES[kind]
    head = bytes([number << 5 | width]) if number < 8 else bytes([width, number - 7])
    return head + value.to_bytes(width)


def write_database(path, networks, ip_version):
    """Write a database of {network: record}; the search tree has 24-bit records."""
    bits = 32 if ip_version == 4 else 128
    nodes = [[None, None]]
    for text in networks:
        network = ipaddress.ip_network(text)
        number = int(network.network_address)
        length = network.prefixlen
        if network.version == 4 and ip_version == 6:
            length += 96
        node = 0
        for depth in range(length):
            side = number >> (bits - 1 - depth) & 1
            if depth == length - 1:
                nodes[node][side] = text
            else:
                if nodes[node][side] is None:
                    nodes.append([None, None])
                    nodes[node][side] = len(nodes) - 1
                node = nodes[node][side]
    offsets = {}
    section = b""
    for text, record in networks.items():
        offsets[text] = len(section)
        section += encode(record)

    def pointer(child):
        if child is None:
            return len(nodes)
        return child if isinstance(child, int) else len(nodes) + 16 + offsets[child]

    tree = b"".join(pointer(child).to_bytes(3) for node in nodes for child in node)
    metadata = {
        "node_count": (len(nodes), "uint32"),
        "record_size": (24, "uint16"),
        "ip_version": (ip_version, "uint16"),
        "database_type": ("Test-City",),
        "binary_format_major_version": (2, "uint16"),
        "binary_format_minor_version": (0, "uint16"),
        "languages": (["en"],),
        "description": ({"en": ("test",)},),
        "build_epoch": (1_700_000_000, "uint64"),
    }
    path.write_bytes(tree + bytes(16) + section + b"\xab\xcd\xefMaxMind.com" + encode(metadata))
    return str(path)


def place(latitude, longitude):
    return {"location": ({"latitude": (latitude, "double"), "longitude": (longitude, "double")},)}


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def database(request, tmp_path):
    networks = {
        "192.0.2.0/24": place(52.5, 13.4),
        "198.51.100.0/25": {"location": ({"latitude": (1.0, "double")},)},
        "203.0.113.7/32": {"country": ("DE",)},
    }
    if request.param == 6:
        networks["2001:db8::/32"] = place(35.7, 139.7)
    return request.param, write_database(tmp_path / "city.mmdb", networks, request.param)


def test_addresses_are_placed(database):
    version, path = database
    locate = open_locations(path)
    assert locate("192.0.2.77") == (52.5, 13.4)
    assert locate("2001:db8::1") == ((35.7, 139.7) if version == 6 else None)


@pytest.mark.parametrize(
    "address", ["192.0.3.1", "198.51.100.1", "203.0.113.7", "", "localhost", "192.0.2.77:80", "::1"]
)
def test_what_has_no_place(database, address):
    assert open_locations(database[1])(address) is None


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="absent") as refusal:
        open_locations(str(tmp_path / "absent.mmdb"))
    assert "geoip_database" in refusal.value.hint


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "text.mmdb"
    path.write_text("hello")
    with pytest.raises(ConfigurationError, match="text"):
        open_locations(str(path))


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    with pytest.raises(ConfigurationError, match="maxminddb") as refusal:
        open_locations(str(tmp_path / "city.mmdb"))
    assert "seawall[geoip]" in refusal.value.hint
