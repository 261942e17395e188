"""Addresses as they may be written."""

import pytest

from seawall.config.address import ListenAddress, check_host_pattern, check_network, check_upstream_url, parse_listen


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:8080", ListenAddress("127.0.0.1", 8080)),
        ("Localhost:0", ListenAddress("localhost", 0)),
        ("[::1]:65535", ListenAddress("::1", 65535)),
        ("unix:/run/sea wall.sock", ListenAddress("", 0, "/run/sea wall.sock")),
        ("unix:///run/x", ListenAddress("", 0, "/run/x")),
    ],
)
def test_listen(text: str, parts: ListenAddress) -> None:
    assert parse_listen(text) == parts


@pytest.mark.parametrize(
    "text",
    ["", ":", "8080", "host", "host:", "host:-1", "host:1x", "host:٣", "::1:80", "[127.0.0.1]:80", "a..b:80",
     "-a:80", "1.2.3:80", "1.2.3.400:80", "http://a:80", "unix:", "unix:\0", "unix:/" + "x" * 107, "a" * 64 + ":1"],
)  # fmt: skip
def test_listen_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_listen(text)


@pytest.mark.parametrize(
    "text",
    ["", "h", "//h", "http:h", "http:///x", "http://h:", "http://:80", "http://[::1", "http://[h]:80", "http://h:1:2",
     "http://h:80 ", "http://h\n", "http://münchen", "http://h#", "http://h/?", "http://@h", "http://h\\x",
     "http://300.1.1.1", "ws://h", "unix://run", "http://h%41"],
)  # fmt: skip
def test_an_upstream_that_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        check_upstream_url(text)


def test_hosts() -> None:
    assert check_host_pattern("") == ""
    assert check_host_pattern("A_b.Example.org") == "a_b.example.org"
    assert check_host_pattern("[::1]") == "[::1]"
    for text in ("*", "a.*.b", "a:80", "http://a", "*.", " a", "[x]"):
        with pytest.raises(ValueError, match="a host name without port"):
            check_host_pattern(text)


def test_networks() -> None:
    assert check_network("::0001") == "::1"
    assert check_network("10.0.0.0/8") == "10.0.0.0/8"
