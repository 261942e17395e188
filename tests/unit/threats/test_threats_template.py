import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.template import DETECTOR

ask = asking(DETECTOR)

ATTACKS = (
    "{{7*7}}",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "{{7*'7'}}",
    "*{7*7}",
    "@(7*7)",
    "{7*7}",
    "[[${7*7}]]",
    "{{config}}",
    "{{config.items()}}",
    "{{''.__class__.__mro__[1].__subclasses__()}}",
    "{{request|attr('application')}}",
    "{{lipsum.__globals__['os'].popen('id').read()}}",
    "{% for x in ().__class__.__base__.__subclasses__() %}",
    "${T(java.lang.Runtime).getRuntime().exec('id')}",
    '<#assign ex="freemarker.template.utility.Execute"?new()> ${ ex("id") }',
    '{{_self.env.registerUndefinedFilterCallback("exec")}}',
    "{{['id']|filter('system')}}",
    "#set($x='') #set($rt=$x.class.forName('java.lang.Runtime'))",
    "%{(#_memberAccess=@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS)}",
    "${{<%[%'\"}}%\\",
    "<%= system('id') %>",
    "{{range.constructor(\"return global.process.mainModule.require('child_process')\")()}}",
    "__${T(java.lang.Runtime).getRuntime()}__::.x",
    "{{settings.SECRET_KEY}}",
)
HONEST = (
    "{{name}}",
    "Hello {{ user.first_name }}!",
    "{% if x %}hi{% endif %}",
    "{{#each items}}{{this}}{{/each}}",
    "${variable}",
    "{{ price | currency }}",
    "<%= name %>",
    "a{{bar}}b",
    "{{ foo.bar(1) }}",
    "const a = `${x}-${y}`",
    "{'a': 1, 'b': 2}",
    "[[1, 2], [3, 4]]",
    "#{title}",
    "{{ page.title | upcase }}",
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
        ("{{7*7}}", "template-arithmetic"),
        ("{{x.__class__}}", "template-reach"),
        ("#set($a=1) $a.class", "template-directive"),
        ("${{<%[%'\"}}%\\", "template-probe"),
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
