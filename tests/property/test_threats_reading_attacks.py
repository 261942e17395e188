"""Whatever the text, the detectors of attacks on pages, shells, paths and parsers never fail and stay within it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.systems.threats.detectors import (
    command,
    header,
    lookup,
    protocol,
    scanner,
    ssrf,
    template,
    traversal,
    webshell,
    xss,
    xxe,
)
from seawall.systems.threats.detectors.addresses import reach
from seawall.systems.threats.detectors.html_lexer import tags
from seawall.systems.threats.detectors.lookup import resolved
from seawall.systems.threats.detectors.shell_lexer import commands, reveal
from seawall.systems.threats.model import PlaceKind

DETECTORS = [
    module.DETECTOR
    for module in (command, header, lookup, protocol, scanner, ssrf, template, traversal, webshell, xss, xxe)
]
_WRITTEN = r"""
< > </ <script <img <svg <a <? <% <!-- <!DOCTYPE <!ENTITY " ' ` = / \ // ; | || & && $( ${ #{ {{ }} } ) ( [ ] [[ ::-
onload= onerror= href= style= javascript: data: alert( eval( document.cookie constructor. expression( /* */ ![]
cat ls id /etc/passwd ping curl $IFS $@ {cat,/x} c'a't c\at ../ ..\ .... %2e %00 %c0%ae 0x2e file: php:// http://
127.0.0.1 0x7f000001 [::1] @ # localhost .nip.io jndi: ldap: lower: env: __class__ 7*7 system( <?php $_GET[ .php
c99.php Set-Cookie: HTTP/1.1 sqlmap/ .git/ SYSTEM xi:include a b 1 -
"""
_OTHERS = [" ", "\n", "\r\n", "\t", "\x00", "\xa0", "\xe9", "\u560a", "\ud800", "\U0001f600", "\u0130", "\u017f"]
PIECES = st.sampled_from([*_WRITTEN.split(), *_OTHERS])
TEXTS = st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join))


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
@settings(max_examples=150)
@given(text=TEXTS, kind=st.sampled_from(PlaceKind))
def test_signals_stay_within_the_text_strongest_first(detector, text, kind):
    signals = detector.scan(text, kind)
    assert list(signals) == list(detector.scan(text, kind))
    assert len(signals) <= 8
    for signal in signals:
        assert signal.rule.startswith(f"{detector.name}-")
        assert 0 <= signal.start <= signal.end <= len(text)
        assert 0 < signal.confidence < 1
    assert [signal.confidence for signal in signals] == sorted((signal.confidence for signal in signals), reverse=True)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
@settings(max_examples=150)
@given(text=TEXTS)
def test_what_is_found_has_a_trigger(detector, text):
    triggered = any(re.search(trigger, text, re.IGNORECASE) for trigger in detector.triggers)
    sure = [signal for signal in detector.scan(text, PlaceKind.QUERY) if signal.confidence >= 0.9]
    assert triggered or not sure


@given(TEXTS)
def test_tags_are_in_order_and_within_the_text(text):
    starts = []
    for tag in tags(text):
        starts.append(tag.start)
        assert 0 <= tag.start < tag.end <= len(text)
        assert text[tag.start] == "<"
        assert all(tag.start < attribute.start <= attribute.end <= len(text) for attribute in tag.attributes)
    assert starts == sorted(starts)


@given(TEXTS)
def test_reading_shell_text_never_lengthens_it_and_ends(text):
    plain, tricks = reveal(text)
    assert len(plain) <= len(text) + tricks
    assert (tricks == 0) == (plain == text) or tricks > 0
    for part in commands(plain):
        assert 0 <= part.start <= part.end <= len(plain)


@given(TEXTS)
def test_carrying_out_lookups_ends_and_never_lengthens(text):
    plain, hidden = resolved(text)
    assert len(plain) <= len(text)
    assert hidden >= 0
    assert resolved(plain)[0] == plain


@given(
    st.ip_addresses(v=4),
    st.sampled_from(["{a}.{b}.{c}.{d}", "{n}", "0x{n:x}", "0{n:o}", "{a}.{m}", "0x{a:x}.0{b:o}.{c}.{d}"]),
)
def test_an_address_leads_to_the_same_in_every_spelling(address, form):
    number = int(address)
    a, b, c, d = address.packed
    spelled = form.format(n=number, a=a, b=b, c=c, d=d, m=number & 0xFFFFFF)
    assert reach(spelled) == reach(str(address))
    assert reach(f"[::ffff:{address}]") == reach(str(address))
