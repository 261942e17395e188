"""`seawall inspect`: JSON lines in, a verdict a line out."""

import base64
import json
import os
import subprocess
import sys

import pytest

from seawall.cli.inspect import answers
from seawall.core.request import Request
from seawall.systems.threats.model import Action, Finding, Level, Place, PlaceKind, Severity, ThreatClass, Verdict

CLEAN = Verdict(action=Action.ALLOW, level=Level.NONE, score=0.0)


def asked(*lines):
    """Return what is answered, and the requests that were asked about."""
    seen: list[tuple[Request, bytes]] = []

    def inspect(request, body):
        seen.append((request, body))
        return CLEAN

    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return [json.loads(answer) for answer in answers(encoded, inspect)], seen


@pytest.mark.parametrize(
    ("url", "target", "host"),
    [
        ("/a?b=c", b"/a?b=c", b""),
        ("http://Shop.example/a?b=c", b"/a?b=c", b"shop.example"),
        ("HTTPS://shop.example:8443/a", b"/a", b"shop.example:8443"),
        ("http://shop.example?b=c", b"/?b=c", b"shop.example"),
        ("http://shop.example", b"/", b"shop.example"),
        ("/é 'or'#x", "/é 'or'#x".encode(), b""),
        ("", b"", b""),
        ("/r?to=http://other.example/", b"/r?to=http://other.example/", b""),
    ],
)
def test_urls_become_targets(url, target, host):
    _, [(request, _)] = asked({"url": url})
    assert (request.target, request.host) == (target, host)


def test_the_rest_of_a_request():
    line = {
        "method": "post",
        "url": "/",
        "headers": {"X-A": ["1", " 2 "], "Host": "H.example"},
        "body": "é",
        "label": 1,
    }
    _, [(request, body)] = asked(line)
    assert request.method == "POST"
    assert list(request.headers) == [(b"x-a", b"1"), (b"x-a", b"2"), (b"host", b"H.example")]
    assert (request.host, body) == (b"h.example", "é".encode())


def test_a_body_of_bytes():
    _, [(_, body)] = asked({"url": "/", "body": {"base64": base64.b64encode(b"\x00\xff").decode()}})
    assert body == b"\x00\xff"


@pytest.mark.parametrize("body", [None, ""])
def test_no_body(body):
    _, [(request, given)] = asked({"body": body})
    assert (request.method, request.target, given) == ("GET", b"/", b"")


@pytest.mark.parametrize(
    "line",
    [b"nonsense", b"[]", b"7", b'{"url": 7}', b'{"headers": []}', b'{"body": {"base64": "!"}}', b'{"body": {"x": ""}}',
     b'{"url": "\\ud800"}', b'{"url": "/"', b"\xff\xfe", b"[" * 100_000],
)  # fmt: skip
def test_a_line_that_is_no_request_is_answered_and_the_rest_goes_on(line):
    answered, seen = asked({"url": "/a"}, line, {"url": "/b"})
    assert list(answered[1]) == ["error"]
    assert answered[1]["error"]
    assert [request.target for request, _ in seen] == [b"/a", b"/b"]


def test_empty_lines_are_passed_over():
    assert asked(b"", b"  ", b"\r")[0] == []


def test_an_answer_shows_all_of_a_verdict():
    finding = Finding(
        rule="xss-tag",
        category=ThreatClass.XSS,
        owasp="A03:2021",
        severity=Severity.HIGH,
        confidence=0.91234,
        place=Place(PlaceKind.JSON, "user.tags[2]"),
        span="<script \ud800",
        chain=("percent", "html"),
    )
    verdict = Verdict(action=Action.BLOCK, level=Level.HIGH, score=6.5, findings=(finding,), partial="bytes")
    (answer,) = answers([b'{"url": "/"}'], lambda request, body: verdict)
    assert json.loads(answer) == {
        "action": "block",
        "severity": "high",
        "score": 6.5,
        "findings": [
            {
                "rule": "xss-tag",
                "class": "xss",
                "owasp": "A03:2021",
                "severity": "high",
                "confidence": 0.912,
                "place": {"kind": "json", "name": "user.tags[2]"},
                "span": "<script ?",
                "chain": ["percent", "html"],
            }
        ],
        "partial": "bytes",
    }


def _command(tmp_path):
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    environ.pop("SEAWALL_CONFIG", None)
    return {"args": [sys.executable, "-m", "seawall.cli", "inspect"], "cwd": tmp_path, "env": environ}


def test_lines_in_order_and_the_exit_code(tmp_path):
    lines = [json.dumps({"url": f"/?n={number}"}) for number in range(2000)]
    done = subprocess.run(**_command(tmp_path), input="\n".join(lines), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    answered = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answered) == 2000
    assert answered[0] == {"action": "allow", "severity": "none", "score": 0.0, "findings": []}
    done = subprocess.run(
        **_command(tmp_path), input="nonsense\n" + lines[0] + "\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "1 line is no request" in done.stderr
    assert list(map(json.loads, done.stdout.splitlines()))[1] == answered[0]


def test_configuration_holds_and_is_checked(tmp_path):
    (tmp_path / "seawall.toml").write_text(
        '[threats]\nenabled = false\n[[threats.exclusions]]\nrule = "x-*"\nexample = "e"\n'
    )
    done = subprocess.run(**_command(tmp_path), input="", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "threats.exclusions[0] has no effect" in done.stderr


def test_one_who_writes_a_line_and_waits_gets_its_answer(tmp_path):
    with subprocess.Popen(**_command(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for number in range(3):
            process.stdin.write(b'{"url": "/%d"}\n' % number)
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["action"] == "allow"
        process.stdin.close()
        assert process.wait(timeout=20) == 0
