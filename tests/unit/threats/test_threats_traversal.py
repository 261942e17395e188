import pytest
from asking import asking
from attack_mutations import paths_mutated
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.traversal import DETECTOR
from seawall.systems.threats.detectors.traversal_files import globbed
from seawall.systems.threats.inspection.decoding import views
from seawall.systems.threats.model import PlaceKind

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


@pytest.mark.parametrize(
    "text",
    [
        "0x2e0x2e0x5c0x2e0x2e0x5cx.ini",
        "/0x2ex2e0x2ex2e/{file}",
        "..%c0%zz..%c0%zza/b",
        "..%bg%qf..%bg%qfx",
        "%f8%80%80%80%ae%f8%80%80%80%ae/x",
        "..%uefc8..%uefc8x",
        "%%32%65%%32%65%%32%66x",
        "..,/..,/etc/group",
        "..&/..&/..&/x",
        "////////{FILE}",
        "/./.{filename}",
        "/aaaa{file}",
        "/" + "a" * 300,
        "/" + "x" * 200 + "/../../y",
        "/" * 9 + "etc/hosts",
        "..;x=1/..;y=2/web-inf/x.xml",
        "/docs/../private/x.dat",
        "../.env",
        ".x/../.env.local",
    ],
)
def test_steps_in_any_spelling_are_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        "/etc/some/thing.conf",
        "/etc/anything",
        "/proc/modules",
        "/root/x.txt",
        "/opt/some/app.ini",
        "/var/spool/cron/root",
        "/var/www/html/config.php",
        "C:\\Windows\\System32\\drivers\\etc\\hosts",
        "c:/inetpub/wwwroot/x.asp",
        "c:\\windows\\repair\\sam",
        "d:\\xampp\\php\\x.log",
        "C:\\ProgramData\\X\\x.ini",
        "BOOT-INF/classes/a.yml",
        "/srv/x/.env",
        "/.env.production",
        "/.hg/store/x",
        "/.idea/x.xml",
        "/x/.git-credentials",
        "/x.php.old",
        "/inc/db.php~",
        "/.x.php.swp",
        "/users.sql.gz",
        "/tls/x.pem",
        "/e?c/p*wd",
        "/???/shadow",
        "/etc/pass*",
        "/actuator/heapdump",
        "a.aspx::$DATA",
        "aux:.png",
        "/abc*~1*/.aspx",
        "\\\\198.51.100.7\\a\\b.txt",
        "\\\\x.example@80\\a",
        "\\\\anything\\admin$",
        "data://text/plain,x",
        "file:////etc/x",
        "http://x.example/a.gif?.php",
        "http://198.51.100.7/a.php",
        "https://x.example/raw/abc?",
        "https://x.example/?a=ftp://y.example/b.txt?",
        "https://x.example/?a=/usr/local/apache2/conf/httpd.conf",
    ],
)
def test_files_that_nobody_links_to_are_found(text):
    assert ask(text)[1] >= 0.75


TOLD = (
    "/var/log/nginx/access.log",
    "/var/log/syslog",
    "/var/www/html/index.php",
    "/usr/local/lib/python3.11/site-packages/a/b.py",
    "/bin/bash",
    "/etc/localtime",
    "/etc/prometheus",
    "/opt/app/a.conf",
    "C:\\Windows\\System32\\svchost.exe",
    "C:\\Windows\\System32\\config",
    "C:\\inetpub\\wwwroot\\index.html",
    "\\\\fileserver\\share\\a.docx",
    "../../../node_modules/react/index.js",
    "../../../../src/a.tsx?4b5c",
    "../assets/logo.svg",
    "import { a } from '../../../shared/a.js';",
    "import x from '../../lib/x'",
    "const c = require('../config/database.yml')",
    '@import url("../../base.css");',
    '<img src="../../img/a.png">',
    "webpack:///../src/a.js",
    "webpack:///./node_modules/../../src/a.ts?4b5c",
    "file:///app/dist/server.js:10:5",
    "file:///C:/x/src/index.html",
    ".env.example",
    ".vscode/settings.json",
    "config/database.yml.example",
    "/paths/~1users/get",
    "/files/{file}",
    "/v1/{filename}",
)


@pytest.mark.parametrize("text", TOLD)
def test_records_of_a_machine_and_links_between_sources_are_let_through(text):
    assert asking(DETECTOR, PlaceKind.JSON)(text)[1] <= 0.6


@pytest.mark.parametrize(
    "text", ["/etc/passwd", "/.env", "/etc/x.conf", "..\\..\\..\\x", "\\windows\\win.ini", "/x.php.bak"]
)
def test_what_no_record_has_is_found_in_documents_too(text):
    assert asking(DETECTOR, PlaceKind.JSON)(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        "/a/b/../c.png",
        "wait.../or not",
        "link=more...&region=main",
        "/api/*",
        "**/*.ts",
        "/{file}",
        "/docs/{file}",
        "con: too slow",
        "file~1.txt",
        "/" + "a" * 40,
        "c:\\windows",
        "/home/anna/app.conf",
        "/proc",
        "what is /etc for",
        "/.well-known/security.txt",
        "http://example.com/logo.gif?v=1",
        "https://example.com/a.php?x=1",
    ],
)
def test_ordinary_paths_are_let_through(text):
    assert ask(text)[1] < 0.6


@pytest.mark.parametrize("path", ["/blog/boot.ini-explained", "/proc/info", "/root/x", "/con/x", "/files/etc/"])
def test_ordinary_paths_of_requests_are_let_through(path):
    assert asking(DETECTOR, PlaceKind.PATH)(path)[1] < 0.6


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("/etc/passwd*", True),
        ("/e[a-z]c/p?ss*", True),
        ("/*/passwd", True),
        ("/*/*", False),
        ("/etc/*", False),
        ("/???/??????", False),
        ("/e*/pas/swd", False),
        ("/" + "*a" * 12 + "/" + "*a" * 12, False),
    ],
)
def test_wildcards_are_matched_as_a_shell_does(text, is_one):
    assert globbed(text) is is_one


@pytest.mark.parametrize("path", ["/src/a/../b.vue?vue&type=style", "/assets/../x.css"])
def test_steps_between_sources_of_a_page_are_let_through(path):
    assert asking(DETECTOR, PlaceKind.PATH)(path)[1] <= 0.5


@pytest.mark.parametrize(
    "text",
    ["/run/docker.sock:/var/run/docker.sock", "/etc/localtime:/etc/localtime:ro", "C:\\inetpub\\logs"],
)
def test_what_is_shared_with_containers_is_below_sure(text):
    assert asking(DETECTOR, PlaceKind.JSON)(text)[1] < 0.6


def test_an_owner_edits_files_of_a_site():
    assert asking(DETECTOR, PlaceKind.FORM)(".htaccess")[1] < 0.5
    assert asking(DETECTOR, PlaceKind.QUERY)(".htaccess")[1] >= 0.75


def test_an_escaped_quote_after_dots_is_no_step():
    assert asking(DETECTOR, PlaceKind.BODY)('{"a":"it said \\"wait...\\" and","b":"inetpub/x"}')[1] < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "/.;/private",
        "/a/;x=1/b",
        "././etc/hosts",
        ".//.//proc/self/maps",
        "../settings.yml",
        "../secrets",
        "../*",
        "docs/../secret.php",
        "C:\\DOCUME~1\\x",
        "D:/PROGRA~2/a.exe",
        "//files.example/d$/x",
        "//files.example/admin$",
        "classpath:application-prod.yml",
        "classpath*:*.xml",
        "war:file:///a.war!/x",
        "vfs:/deploy/x",
        "file:./a",
        "file:///srv/a/main.ts",
        "file:///code/settings.py",
        "/usr/share/app/readme",
        "/tmp/sess_0a1b2c3d4e",
        "/flag.txt",
        "/dump.sql",
    ],
)
def test_ways_around_a_prefix_and_to_what_lies_beside_are_found(text):
    assert asking(DETECTOR, PlaceKind.QUERY)(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        "../index.php",
        "../images/a.png",
        "/shop/a;color=red/b",
        "a;/b/;c",
        "https://a.example/b/../c",
        "file:///C:/Users/anna/page.html",
        "C:\\Users\\anna\\a.docx",
        "//cdn.example/a$/x.js",
        "classpath",
        "report~1",
        "/usr/local",
        "/config",
        "settings.ini",
    ],
)
def test_paths_of_pages_and_of_people_are_let_through(text):
    assert asking(DETECTOR, PlaceKind.QUERY)(text)[1] < 0.6


@pytest.mark.parametrize(
    "text", ["classpath:db/migration", "../settings.yml", "/tmp/sess_0a1b2c3d4e", "file:///code/a.py", "x;/;/y"]
)
def test_programs_tell_of_such_paths(text):
    assert asking(DETECTOR, PlaceKind.JSON)(text)[1] < 0.6


@pytest.mark.parametrize("text", ["../settings.yml", "docs/../b.py"])
def test_people_write_of_relative_paths_in_forms(text):
    assert asking(DETECTOR, PlaceKind.FORM)(text)[1] < 0.6


def test_a_device_is_found_in_documents_by_what_it_leads_to():
    ask = asking(DETECTOR, PlaceKind.JSON)
    assert ask("\\\\.\\D:\\boot.ini")[1] >= 0.75
    assert ask("\\\\?\\Volume{1}\\a")[1] < 0.6


def test_a_wrapper_of_a_name_and_a_known_shell_are_no_page():
    ask = asking(DETECTOR, PlaceKind.HEADER)
    assert ask("file://config")[1] >= 0.75
    assert ask("http://a.example/c99.txt")[1] >= 0.75
    assert ask("file:///C:/a/index.html")[1] < 0.5
    assert ask("https://a.example/id.php?x=1")[1] < 0.5
