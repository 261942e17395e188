import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.ldap import DETECTOR

ask = asking(DETECTOR)

ATTACKS = (
    "*)(uid=*))(|(uid=*",
    "admin)(&)",
    "*)(objectClass=*",
    "x)(|(password=*))",
    "*(|(mail=*))",
    "*(|(objectclass=*))",
    "admin)(!(&(1=0",
    "*))\x00",
    "*))%00",
    "x)(cn=*",
    "*)(&",
    "*)(|(&",
    "admin)(|(password=*)",
    "*)((|userPassword=*)",
    "admin*)((|userpassword=*)",
    "*)(|(mail=*))",
    "*)(|(objectclass=*))",
    "foo)(sn=100",
    "*)(mail=a*",
    "a)(department=*)(|(x=y)",
    "pwd)(&))",
    "*)(userPassword:2.5.13.18:=\\xx",
    "admin)(\n|(password=*)",
    "*)(zone=public)",
    "*)(loginShell>=a",
    "*)(customAttr=1",
    "(&(cn=*)(|",
    "(&(objectClass=person)(!(&(|",
    "(&(uid=*)(userPassword=*))",
    "(unicodePwd=a*)",
    "\\2a\\29\\28mail=\\2a",
    "x\\29\\28|\\28cn=\\2a",
    "*()|&",
    "z)(gidNumber<=0",
    "*)(1=1",
    "*)(2=*))(&(2=2",
    "&(uid=*)",
    "|(cn=*)(mail=*)",
    ",dc=evil,dc=example",
)
HONEST = (
    "f(x)(y=1)",
    ":-) (see a=b)",
    "(a)(b=c)",
    "call(a)(b)",
    "foo (bar)(baz=1)",
    "sin(x)(x=2)",
    "a) b=1 (c)",
    "1) (a=5) 2)",
    "x*)",
    "(*)",
    "f(*)",
    "list(map(lambda x: x*2, a))",
    "mail=foo@bar.com (home)",
    "c) (d) e=f",
    "Smith (John)(name=foo)",
    "print(f(a=1)(b=2))",
    "!@#$%^&*()",
    "$%^&*()_+{}|",
    "(.*)(x=1)",
    "(char *)(p=1)",
    "(cn=Smith \\28Sales\\29)",
    "()=>{a||b&&c}",
    "fn(id=1, kind=",
    "f(a=1)(b=",
    "uid=admin,ou=users,dc=example",
    "!(a=b)",
    "f(*)(1)",
    "2*(3=3)",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_are_found(text):
    assert ask(text)[1] >= 0.75


def test_honest_values_stay_below_ambiguous():
    assert [text for text in HONEST + PLAIN if ask(text)[1] >= 0.6] == []


def test_what_people_paste_stays_below_sure():
    assert [text for text in AMBIGUOUS if ask(text)[1] >= 0.75] == []


def test_honest_values_as_they_come_are_not_flagged():
    assert [text for text in generated(1_000, seed=5) if ask(text)[1] >= 0.6] == []


@pytest.mark.parametrize(
    "text",
    [
        "(&(objectClass=person)(cn=Smith))",
        "(&(objectClass=user)(|(sn=Smith*)(mail=s*)))",
        "https://dir.example/find?filter=(&(objectClass=person)(cn=Smith))",
        "(|(uid=a)(uid=b))",
    ],
)
def test_whole_filters_as_consoles_send_them_stay_in_doubt(text):
    assert ask(text)[1] < 0.7
