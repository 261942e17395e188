import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.nosql import DETECTOR

ask = asking(DETECTOR)

ATTACKS = (
    "user[$ne]",
    "password[$ne]=1",
    "username[$regex]=.*",
    "login[$gt]",
    "login[$nin][]=admin",
    "pass[$exists]=true",
    "$where",
    "$ne",
    "$regex",
    "a[$where]",
    "token[$lt]=~",
    '{"$gt":""}',
    '{"$ne":null}',
    '{"$where":"1==1"}',
    '{$gt: ""}',
    "{ $ne: 1 }",
    "true, $where: '1 == 1'",
    ", $where: '1 == 1'",
    "$where: '1 == 1'",
    "', $where: '1 == 1",
    "1, $where: '1 == 1'",
    "', $or: [ {}, { 'a':'a",
    "' } ], $comment:'successful MongoDB injection'",
    "db.injection.insert({success:1});",
    "db.injection.insert({success:1});return 1;db.stores.mapReduce(function() { { emit(1,1",
    "' && this.password.match(/.*/)//",
    "' && this.passwordzz.match(/.*/)//+%00",
    "|| 1==1; return true; //",
    "'; return '' == '",
    "';return true;var x='",
    "0;return true",
    "1'; return this.a != 'x' + '",
    "' || this.password != 'a",
    '"; return true; var foo = "',
    "'; sleep(5000); return true; '",
    '"} , {"password":{"$ne":"',
    "admin', $or: [ {}, {'a': 'a",
    '{"username":{"$regex":"^a"}}',
    '[{"$lookup":{"from":"users"}}]',
    "a[$eval]",
    '{"selector":{"_id":{"$gt":null}}}',
)
HONEST = (
    '{"$type": "button"}',
    '{"age": {"$gt": 18}}',
    "price[$gte]",
    "filters[name][$eq]=x",
    "$limit",
    "$skip",
    "$sort[createdAt]",
    "$5.00",
    "US$ 10: cheap",
    '{"$ref":"#/a"}',
    "this.state.foo is undefined",
    "return this.x;",
    "function f() { return this.name; }",
    "I'd return it; can't",
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
