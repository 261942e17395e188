"""Write a real MaxMind DB file byte by byte (MaxMind DB file format 2.0)."""

import ipaddress
import struct

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
