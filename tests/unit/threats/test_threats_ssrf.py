import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.ssrf import DETECTOR

ask = asking(DETECTOR)

ATTACKS = (
    "http://127.0.0.1",
    "http://localhost/admin",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://017700000001",
    "http://127.1/",
    "http://0/",
    "http://[::1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://localhost:11211/stat",
    "http://127.0.0.1.nip.io/",
    "http://x@127.0.0.1/",
    "http://127.0.0.1:80@evil.example",
    "http://example.com#@evil.example/",
    "http://192.168.0.1/",
    "http://10.0.0.5:8080/",
    "http://localhost:22",
    "//127.0.0.1/",
    "http:\\\\127.0.0.1",
    "ldap://127.0.0.1/x",
    "http://a.oastify.com",
    "http://kubernetes.default.svc/",
    "http://0.0.0.0:80",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://100.100.100.200/",
    "netdoc:///etc/passwd",
    "https://example.com/?u=http://169.254.169.254/x",
)
HONEST = (
    "https://example.com/a?b=c",
    "http://user@example.com/",
    "http://localhost:3000/callback?code=1",
    "see http://localhost:8000 in your browser to check the page",
    "https://1.1.1.1/dns-query",
    "10.2.3",
    "1.5",
    "0x1F",
    "2023",
    "12345678",
    "192.168.0.1",
    "http://example.com:80/",
    "https://8.8.8.8/",
    "mailto:a@example.com",
    "//cdn.example.com/x.js",
    "http://12345678910",
    "localhost",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_are_found(text):
    assert ask(text)[1] >= 0.85


@pytest.mark.parametrize("text", HONEST)
def test_what_only_looks_like_one_is_let_through(text):
    assert ask(text)[1] < 0.5


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("http://127.0.0.1", "ssrf-address"),
        ("gopher://x/_", "ssrf-scheme"),
        ("http://a.example#@b.example/", "ssrf-confusion"),
    ],
)
def test_each_kind_of_attack_has_a_rule(text, rule):
    assert ask(text)[0] == rule


def test_honest_values_are_not_even_ambiguous():
    assert [text for text in PLAIN if ask(text)[1] >= 0.5] == []


def test_pasted_statements_stay_below_sure():
    assert [text for text in AMBIGUOUS if ask(text)[1] >= 0.9] == []


def test_generated_honest_values_are_not_suspected():
    suspected = [text for text in generated(1500, seed=4) if ask(text)[1] >= 0.7]
    assert suspected == []
