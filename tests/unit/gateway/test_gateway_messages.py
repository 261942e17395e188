"""The parts that decide about bytes and touch none of them: heads, paths, problems."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.request import Request
from seawall.gateway.forwarding import response_head
from seawall.gateway.framing import (
    CHUNKED,
    NO_BODY,
    RequestHead,
    connection_tokens,
    read_request_head,
    routing_path,
)
from seawall.gateway.problem import Problem, problem_response
from seawall.gateway.upstream import UNTIL_CLOSE


@pytest.mark.parametrize(
    ("path", "routed"),
    [
        (b"/", b"/"),
        (b"/a/b", b"/a/b"),
        (b"/a/b/", b"/a/b/"),
        (b"/a/./b", b"/a/b"),
        (b"/a/../b", b"/b"),
        (b"/public/../admin", b"/admin"),
        (b"/public/%2e%2e/admin", b"/admin"),
        (b"/public/%2E./admin", b"/admin"),
        (b"/../../etc", b"/etc"),
        (b"//admin", b"/admin"),
        (b"/a//b", b"/a/b"),
        (b"/a/..", b"/"),
        (b"/a/b/..", b"/a/"),
        (b"/a/.", b"/a/"),
        (b"/a/.hidden", b"/a/.hidden"),
        (b"/a/...", b"/a/..."),
        (b"/%41", b"/A"),
        (b"/%61dmin", b"/admin"),
        (b"/a%2Fb%2fc", b"/a%2Fb%2fc"),
        (b"/%2561", b"/%2561"),
        (b"/a%20%c3%bc%00", b"/a%20%c3%bc%00"),
        (b"/%7Ex%2D%5f%2e", b"/~x-_."),
        (b"/%zz%6", b"/%zz%6"),
        (b"/%%36%31", b"/%%361"),
        (b"/%6%31%61", b"/%6%31a"),
        (b"/%6%%31%61", b"/%6%%31a"),
        (b"/x/%2E%2e/%61", b"/a"),
    ],
)
def test_routes_are_matched_on_the_resolved_path(path, routed):
    assert routing_path(path) == routed


@given(st.binary(max_size=30) | st.text("%/.123679aAeEfFgz", max_size=30).map(str.encode))
def test_any_path_can_be_resolved_and_resolving_again_changes_nothing(path):
    resolved = routing_path(path)
    assert routing_path(resolved) == resolved


def test_exactly_the_unreserved_characters_are_decoded():
    unreserved = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
    for code in range(256):
        for escape in (b"%%%02x" % code, b"%%%02X" % code):
            assert routing_path(b"/a" + escape) == b"/a" + (bytes([code]) if code in unreserved else escape)


@given(st.lists(st.sampled_from([b"a", b".", b"..", b"%2e", b"%2E%2e", b"", b"..."]), max_size=8))
def test_a_resolved_path_has_no_dots_left_and_resolving_again_changes_nothing(segments):
    resolved = routing_path(b"/" + b"/".join(segments))
    assert not {b".", b".."} & set(resolved.split(b"/"))
    assert b"//" not in resolved
    assert routing_path(resolved) == resolved


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        (b"close", set()),
        (b" Keep-Alive ", set()),
        (b"X-A, close,x-b ,", {b"x-a", b"x-b"}),
        (b"", set()),
    ],
)
def test_connection_names_fields(value, tokens):
    assert connection_tokens(value) == tokens


@pytest.mark.parametrize(
    "authority", [b"a", b"a.test:80", b"127.0.0.1", b"[::1]:8080", b"[::ffff:1.2.3.4]", b"xn--a.test", b"a_b", b""]
)
def test_an_authority_that_is_one(authority):
    head = read_request_head("GET", b"/", "1.1", [(b"host", authority)])
    assert isinstance(head, RequestHead)
    assert head.host == authority


@pytest.mark.parametrize(
    "authority",
    [b"a/b", b"a b", b"a@b", b"a:b", b"a:", b"a:123456", b"[::1", b"::1", b"[x]", b'a"', b"\xe4", b"a" * 300],
)
def test_an_authority_that_is_none(authority):
    assert isinstance(read_request_head("GET", b"/", "1.1", [(b"host", authority)]), Problem)


def test_a_head_says_what_follows_it():
    host = (b"host", b"A.test")
    plain = read_request_head("GET", b"/", "1.1", [host])
    sized = read_request_head("PUT", b"/", "1.1", [host, (b"content-length", b"12"), (b"expect", b"100-Continue")])
    coded = read_request_head("PUT", b"/", "1.1", [host, (b"transfer-encoding", b"Chunked"), (b"connection", b"x, y")])
    old = read_request_head("PUT", b"/", "1.0", [(b"expect", b"100-continue")])
    assert isinstance(plain, RequestHead)
    assert isinstance(sized, RequestHead)
    assert isinstance(coded, RequestHead)
    assert isinstance(old, RequestHead)
    assert (plain.length, plain.host, plain.dropped, plain.expects_continue) == (NO_BODY, b"a.test", set(), False)
    assert (sized.length, sized.expects_continue) == (12, True)
    assert (coded.length, coded.dropped) == (CHUNKED, {b"x", b"y"})
    assert (old.host, old.expects_continue) == (b"", False)  # RFC 9110 section 10.1.1: ignored from HTTP/1.0


@given(st.text(max_size=60), st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_a_problem_is_one_whole_response_whatever_it_says(detail, request_id):
    response = problem_response(Problem(503, "busy", detail, 7), request_id, close=True)
    head, _, body = response.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 503 Service Unavailable"
    assert b"content-length: %d" % len(body) in lines
    assert b"retry-after: 7" in lines
    assert b"connection: close" in lines
    assert (b"x-request-id: " + request_id.encode() in lines) is bool(request_id)
    decoded = msgspec.json.decode(body)
    assert decoded["detail"] == detail
    assert decoded["request_id"] == request_id


@pytest.mark.parametrize(
    ("status", "length", "modern", "bodiless", "framing"),
    [
        (200, 5, True, False, b"content-length: 5"),
        (200, 0, True, False, b"content-length: 0"),
        (200, CHUNKED, True, False, b"transfer-encoding: chunked"),
        (200, UNTIL_CLOSE, True, False, b"transfer-encoding: chunked"),
        (200, CHUNKED, False, False, b""),
        (200, UNTIL_CLOSE, False, False, b""),
        (200, 5, True, True, b"content-length: 5"),
        (200, UNTIL_CLOSE, True, True, b""),
        (204, 0, True, True, b""),
        (204, CHUNKED, True, True, b""),
        (304, 5, True, True, b"content-length: 5"),
        (304, UNTIL_CLOSE, True, True, b""),
    ],
)
def test_a_response_is_framed_in_one_way(status, length, modern, bodiless, framing):
    head, load = response_head(status, [(b"X", b"y")], length, b"", modern=modern, bodiless=bodiless)
    lines = head.split(b"\r\n")[1:-2]
    assert lines == [b"X: y", *([framing] if framing else [])]
    assert load is None


def test_a_request_is_what_a_router_can_match():
    assert Request("GET", b"/a?b", host=b"a.test").path == b"/a"
