import pytest
from asking import asking
from attack_mutations import paths_mutated
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.traversal import DETECTOR
from seawall.systems.threats.inspection.decoding import views

ask = asking(DETECTOR)

ATTACKS = (
    "../../../etc/passwd",
    "../../../../windows/win.ini",
    "../../../../../etc/shadow",
    "/../../../etc/hosts",
    "../../boot.ini",
    "../../../../var/log/apache2/access.log",
    "../../../secret.txt",
    "..\\..\\..\\windows\\win.ini",
    "....//....//etc/passwd",
    "..;/..;/manager/html",
    "/etc/passwd",
    "file:///etc/passwd",
    "c:\\windows\\win.ini",
    "/proc/self/environ",
    "/WEB-INF/web.xml",
    "php://filter/convert.base64-encode/resource=index",
    "php://input",
    "expect://id",
    "data://text/plain;base64,PD9waHAgcGhwaW5mbygpOz8+",
    "phar://x.phar/a",
    "..%c0%af..%c0%afetc/passwd",
    "/././././././etc/passwd",
    "0x2e0x2e0x2f0x2e0x2e0x2fetc/passwd",
    "page.php%00.jpg",
    "\\\\?\\c:\\windows\\win.ini",
    "http://evil.example/shell.txt?",
    "../../../../../../etc/passwd%00",
    "/..\\../..\\../etc/passwd",
    ".git/../../../.ssh/id_rsa",
    "C:/boot.ini",
)
WRITTEN_OTHERWISE = ATTACKS[:7]
HONEST = (
    "../docs/readme.md",
    "./style.css",
    "/var/log/app.log",
    "/home/anna/notes.txt",
    "see /etc/hosts for the names that we use",
    "and so on...",
    "...",
    "1/2",
    "a/b/c",
    "https://example.com/a/../b",
    "C:\\Users\\Anna\\file.txt",
    "import x from '../../lib/x' in a longer sentence with words",
    "https://example.com/?q=1",
    "file.txt",
    "2021/05/06",
    "What is data: and file: for?",
    "http://example.com/page?",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_are_found(text):
    assert ask(text)[1] >= 0.65


@pytest.mark.parametrize("text", HONEST)
def test_what_only_looks_like_one_is_let_through(text):
    assert ask(text)[1] < 0.5


@pytest.mark.parametrize("attack", WRITTEN_OTHERWISE)
def test_attacks_written_otherwise_are_found_in_some_view(attack):
    missed = []
    for seed in range(80):
        text = paths_mutated(attack, seed)
        if max(ask(view)[1] for view, _ in views(text)) < 0.75 and text != attack:
            missed.append(text)
    assert missed == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("../../../etc/passwd", "traversal-climb"),
        ("/etc/passwd", "traversal-file"),
        ("php://input", "traversal-wrapper"),
        ("http://evil.example/c99.txt?", "traversal-remote"),
        ("x.php%00", "traversal-null"),
        ("/./././././a", "traversal-still"),
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
