import pytest

from seawall.core.request import Request


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"/a?b=c", b"/a", b"b=c"),
        (b"/a?", b"/a", b""),
        (b"/a?b?c", b"/a", b"b?c"),
        (b"*", b"*", b""),
    ],
)
def test_the_target_is_split_at_its_first_question_mark(target, path, query):
    request = Request("GET", target)
    assert (request.target, request.path, request.query) == (target, path, query)


def test_the_first_field_of_a_name_is_returned():
    request = Request("GET", b"/", [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert request.header(b"a") == b"1"
    assert request.header(b"c") is None


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ([b"a=1; sid=x; b=2"], b"x"),
        ([b"sid=x"], b"x"),
        ([b" sid = x "], b"x"),
        ([b"a=1", b"sid=y"], b"y"),
        ([b"sid=x; sid=y"], b"x"),
        ([b"sid=a=b"], b"a=b"),
        ([b"sid="], b""),
        ([b"sid"], None),
        ([b"xsid=1; sidx=2"], None),
        ([], None),
    ],
)
def test_a_cookie_is_found_by_its_name(fields, value):
    assert Request("GET", b"/", [(b"cookie", field) for field in fields]).cookie(b"sid") == value


def test_the_client_is_the_peer_unless_told_otherwise():
    assert Request("GET", b"/", peer="192.0.2.1").client == "192.0.2.1"
    assert Request("GET", b"/", peer="192.0.2.1", client="203.0.113.9").client == "203.0.113.9"
    assert Request("GET", b"/").client == ""
