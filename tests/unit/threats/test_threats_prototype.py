import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.prototype import DETECTOR

ask = asking(DETECTOR)

ATTACKS = (
    "__proto__[x]",
    "__proto__.x",
    "a[__proto__][b]=c",
    "constructor[prototype][x]",
    "constructor.prototype.admin",
    "__proto__",
    "x.__proto__.y",
    '{"__proto__":{"isAdmin":true}}',
    '{"constructor":{"prototype":{"a":1}}}',
    "__pro__proto__to__[a]",
    "conconstructorstructor[prototype][a]",
    'a["__proto__"]["b"]=1',
    "?__proto__[a]=b",
    "#__proto__[x]=y",
    "user[constructor][prototype][role]",
    "__defineGetter__",
    '{"a":1,"__proto__": {"b":2}}',
    "settings.constructor.prototype.x",
    "/__proto__/polluted",
    "/a/constructor/prototype/b",
    "/constructor/prototype",
    "Array.prototype.x=1",
    "Object.prototype['isAdmin'] = true",
)
HONEST = (
    "constructor",
    "prototype",
    "my.constructor.name",
    "Object.prototype.hasOwnProperty",
    "what does __proto__ mean",
    "use obj.__proto__ or prototype",
    "constructor, prototype",
    "Foo.prototype.bar = function",
    "class constructor of prototype",
    "/docs/constructor",
    "/js/prototype/intro",
    "Object.prototype.toString == x",
    "Object.prototype.toString.call(a)",
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


@pytest.mark.parametrize("text", ["__globals__", "__base__", "__mro__", "__subclasses__"])
def test_ways_out_of_objects_of_python_are_found(text):
    assert ask(text)[1] >= 0.8


@pytest.mark.parametrize("text", ["__init__", "__class__", "__name__", "the __globals__ of a function", "__builtins__"])
def test_what_programs_report_of_themselves_passes(text):
    assert ask(text)[1] < 0.5
