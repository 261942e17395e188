import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.scanner import DETECTOR
from seawall.systems.threats.model import PlaceKind

header = asking(DETECTOR, PlaceKind.HEADER)
path = asking(DETECTOR, PlaceKind.PATH)
query = asking(DETECTOR)


@pytest.mark.parametrize(
    "agent",
    [
        "sqlmap/1.7.2#stable (https://sqlmap.org)",
        "Mozilla/5.00 (Nikto/2.1.6) (Evasions:None) (Test:Port Check)",
        "Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)",
        "gobuster/3.1.0",
        "masscan/1.3",
        "Nuclei - Open-source project (github.com/projectdiscovery/nuclei)",
        "WPScan v3.8.22",
        "feroxbuster/2.7.0",
        "Mozilla/5.0 zgrab/0.x",
        "ZmEu",
    ],
)
def test_tools_are_known_by_the_name_they_give(agent):
    assert header(agent) == ("scanner-agent", 0.93)


@pytest.mark.parametrize(
    "value",
    [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
        "python-httpx/0.27.0",
        "curl/8.5.0",
        "Googlebot/2.1 (+http://www.google.com/bot.html)",
        "https://blog.example.com/sqlmap/tutorial",
        "https://example.com/hydra",
        "en-US,en;q=0.5",
        "",
    ],
)
def test_browsers_libraries_and_pages_about_tools_are_let_through(value):
    assert header(value)[1] < 0.5


@pytest.mark.parametrize(
    "target",
    [
        "/.git/config",
        "/.env",
        "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
        "/boaform/admin/formLogin",
        "/.aws/credentials",
    ],
)
def test_paths_that_nobody_links_to_are_found(target):
    assert path(target)[1] >= 0.85


@pytest.mark.parametrize("target", ["/phpmyadmin/", "/phpinfo.php", "/backup.zip", "/server-status"])
def test_paths_that_some_sites_have_are_ambiguous(target):
    assert 0.5 <= path(target)[1] < 0.7


@pytest.mark.parametrize(
    "target", ["/", "/index.html", "/blog/tags/shell", "/script.js", "/environment", "/docs/git/config-guide"]
)
def test_ordinary_paths_are_let_through(target):
    assert path(target) == ("", 0.0)


def test_a_mark_is_found_in_any_value():
    assert query("http://testasp.example/acunetix_wvs_security_test") == ("scanner-mark", 0.9)


def test_words_about_tools_are_no_tools():
    assert [
        text for text in [*PLAIN, *AMBIGUOUS, "sqlmap tutorial", "how do I use nikto?"] if query(text)[1] >= 0.5
    ] == []


def test_generated_honest_values_are_not_suspected():
    assert [text for text in generated(1500, seed=4) if query(text)[1] >= 0.5] == []
