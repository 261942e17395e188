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
    "<%: 6*7 %>",
    "{{= 9*9 }}",
    "{%= 3*3 %}",
    "$(6*7)",
    "{'abc'*9}",
    "{{1/0}}",
    "${'a'+'b'}",
    "{{ 'x' ~ 'y' }}",
    '${"ab".length()}',
    "{{'ab'.toUpperCase()}}",
    "<%= 'ab'.reverse() %>",
    "{{x['__cl'+'ass__']}}",
    "{%set p=dict(po=a,p=a)|join%}{{x[p]}}",
    "{user.__init__.__globals__[app]}",
    "{0.__class__}",
    "${facesContext.externalContext}",
    "${pageContext.request.getSession()}",
    "${@env.getProperty('a')}",
    "${requestScope}",
    "${.data_model?keys}",
    "<#list .globals?keys as k>${k}</#list>",
    "#include('/etc/hosts')",
    '#parse("../x.vm")',
    "$request.getSession()",
    '{@math key="2" method="add" operand="3"/}',
    "{eval var='x'}",
    "{include file='/etc/hosts'}",
    '{fetch file="php://filter"}',
    "{$a|@passthru}",
    '{{ .Exec "id" }}',
    '{{call .System "id"}}',
    '{{ env "DB_PASSWORD" }}',
    "{{ app()->version() }}",
    "{{ messages.storages.0.signer.key }}",
    "[% PERL %]1[% END %]",
    '@System.IO.File.ReadAllText("x")',
    "\\immediate\\write18{id}",
    "\\input{/etc/hosts}",
    "settings[view options][outputFunctionName]",
    "{% load log %}{% get_admin_log 5 as l %}",
    "{!! 6*6 !!}",
    "{{! 3*9 }}",
    "{=5*5}",
    "#8*8#",
    "{{'3'*'3'}}",
    "${8/4}",
    "{{6*-2}}",
    "{{2.5*4}}",
    "{% set n = 12*12 %}{{n}}",
    "{var $n = 4*4}{$n}",
    "{{ 9 | times: 9 }}",
    "{{ 'ab'|reverse }}",
    '${"ab"?upper_case}',
    "${3?c}",
    '{{ upper("ab") }}',
    '{{ printf "%s" "ab" }}',
    "${.version}",
    "[#assign x='freemarker.template.utility.Execute'?new()]",
    '{{ get_env(name="HOME") }}',
    "{{ __tera_context }}",
    "{{ handler.settings }}",
    "{{ 'id'|shell }}",
    "{{ _context|join }}",
    "{{constructor.name}}",
    "{{#with (lookup this 'constructor')}}x{{/with}}",
    "{{process.env}}",
    "{{ x.GetType().Assembly }}",
    "@(System.Environment.OSVersion)",
    "@{ var n = 3*3; }@n",
    "<%= Rails.application.secrets %>",
    "#{session.setAttribute('a','b')}",
    "<& /etc/hosts &>",
    "<cfexecute name='id'>",
    "% import os",
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
    "Hello {{ first_name }}, your code is {{ code }}",
    "{{ new Date().getFullYear() }}",
    "{{ items.filter(i => i.ok).length }}",
    "{{ item.price * 2 }}",
    "{{ user.name.toUpperCase() }}",
    "{{ 'HOME.TITLE' | translate }}",
    '{{ "now"|date("Y") }}',
    "{{ $t('menu.home') }}",
    "{{ .Values.image.repository | quote }}",
    '{{ env "HOME" }}',
    '{{- include "chart.name" . | nindent 4 }}',
    "${{ secrets.DEPLOY }}",
    "`${a.map(x => x * 2).join(',')}`",
    "<#list items as i>${i.name}</#list>",
    '{include file="header.tpl"}',
    '#parse("header.vm")',
    "{$name|escape}",
    "{{#if items.length}}{{#each items}}{{name}}{{/each}}{{/if}}",
    "{% csrf_token %}{% load static %}",
    "@media (max-width:600px){.a{color:red}}",
    "me@system.com and @request.user",
    "Contact @System.Admin about it",
    "\\input{chapters/intro}",
    "*|FNAME|* %%first_name%% {{contact.FIRSTNAME}}",
    "{{ 'products.title' | t }}",
    '{{ "logo.png" | asset_url | img_tag }}',
    "{{ .Version }} {{ .now }}",
    '{{ printf "%s-%s" .Release.Name .Chart.Name }}',
    "{% assign total = product.price | times: 2 %}",
    "{% set total = 0 %}",
    '{{ "%.2f"|format(total) }}',
    "{{ 100 | money }}",
    "{!! nl2br(e($text)) !!}",
    "{{ session.get('x') }}",
    "{{ environment.name }} {{ system.version }}",
    "${process.env.API_URL}",
    "color: #336699; width: {10/2}",
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


@pytest.mark.parametrize(
    "text",
    [
        "<h1>{{ config.site_name }}</h1><p>{{ page.title }}</p>",
        "<a href=\"{{ url_for('login') }}\">{{ _('Sign in') }}</a>",
        "Page: {{ request.args.page }} of {{ pages }}",
        '{% extends "base.html" %}{% block body %}x{% endblock %}',
        '{% include "header.html" %}',
        "@{Name='x'; Expression={$_.Length}}",
    ],
)
def test_templates_as_their_authors_save_them_stay_in_doubt(text):
    assert ask(text)[1] < 0.7


@pytest.mark.parametrize(
    "text",
    [
        "{{=8*8=}}",
        "[[8*8]]",
        "[(8*8)]",
        "$[8*8]",
        "{#8*8#}",
        "{% print 8*8 %}",
        "<#if 8*8==64>x</#if>",
        "{%with a=config%}{{a}}{%endwith%}",
        "{% set r = request %}{{r}}",
        "{%if lipsum%}a{%endif%}",
        "{{__proto__}}",
        "{var $f='passthru'}{$f('id')}",
        "{='id'|exec}",
        "{include '/etc/hosts'}",
        "T(com.example.Tool).run(1)",
        "(#a=#request['x']).(#b=#a['y'])",
        "(#r=@com.example.Context@getRequest())",
        '${user.getAttribute("a").class.module}',
        "${this.env}",
        "{{ lookup('pipe','id') }}",
        "{{ query('env','HOME') }}",
        "{{salt['cmd.run']('id')}}",
        '{{ exec "id" }}',
        "<%= ENV %>",
        "${.data_model.keySet()}",
        "#foreach($i in [1..9])$i#end",
        "{{a=Object}}{{b=new a}}",
        "{% debug %}",
        "{{dict(x=1)|list|first}}",
    ],
)
def test_more_engines_are_read(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        "[[Main Page]] and [[File:a.png]]",
        "[(2*3)+1]",
        "{% if user %}Hi{% endif %}",
        "{% set x = 5 %}",
        '{include file="header.tpl"}',
        '{assign var="x" value=$y}',
        "{$user.name|escape}",
        "Let T(n) = 2T(n/2) + n",
        "T(com.example) stands for it",
        "#tag = #other",
        "lookup('name', x)",
        "${this.name} is here",
    ],
)
def test_what_other_templates_and_people_write_stays_in_doubt(text):
    assert ask(text)[1] < 0.7
