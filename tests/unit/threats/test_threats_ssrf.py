import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.ssrf import DETECTOR
from seawall.systems.threats.model import PlaceKind

ask = asking(DETECTOR)

ATTACKS = (
    "http://127.0.0.1",
    "http://localhost/admin",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://017700000001",
    "http://127.1/",
    "http://0/",
    "http://[::1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://localhost:11211/stat",
    "http://127.0.0.1.nip.io/",
    "http://x@127.0.0.1/",
    "http://127.0.0.1:80@evil.example",
    "http://example.com#@evil.example/",
    "http://192.168.0.1/",
    "http://10.0.0.5:8080/",
    "http://localhost:22",
    "//127.0.0.1/",
    "http:\\\\127.0.0.1",
    "ldap://127.0.0.1/x",
    "http://a.oastify.com",
    "http://kubernetes.default.svc/",
    "http://0.0.0.0:80",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://100.100.100.200/",
    "netdoc:///etc/passwd",
    "https://example.com/?u=http://169.254.169.254/x",
)
HONEST = (
    "https://example.com/a?b=c",
    "http://user@example.com/",
    "http://localhost:3000/callback?code=1",
    "see http://localhost:8000 in your browser to check the page",
    "https://1.1.1.1/dns-query",
    "10.2.3",
    "1.5",
    "0x1F",
    "2023",
    "12345678",
    "192.168.40.7",
    "127.0.0.1",
    "http://example.com:80/",
    "https://8.8.8.8/",
    "mailto:a@example.com",
    "//cdn.example.com/x.js",
    "http://12345678910",
    "localhost",
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
        ("http://127.0.0.1", "ssrf-address"),
        ("gopher://x/_", "ssrf-scheme"),
        ("http://a.example#@b.example/", "ssrf-confusion"),
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
        "http://127\u30020\u30020\u30021/",
        "http:127.0.0.1/x",
        "http:@10.0.0.1/",
        "////169.254.169.254/latest/",
        "/\\127.0.0.1/x",
        "http://%6c%6f%63alhost/",
        "http://127.0.0.1%2f.example.com/",
        "http://localhost:80x/",
        "http://[2002:a00:1::]/",
        "http://[64:ff9b::a00:1]/",
        "http://[0000::0001]:3000/",
        "http://[fe80::1%25eth0]/",
        "http://a.10.0.0.1.b.rebind.example/",
        "http://app-127-0-0-1.rebind.example/",
        "http://100.64.1.1/",
        "view-source:http://127.0.0.1/",
        "http://8.8.8.8 &@10.0.0.1# @9.9.9.9/",
        "http://127.0.0.1;example.com/",
        "unix:xxxxxxxx|http://example.com/",
        "http://unix:/run/some.sock:/v1",
        "http+unix://%2Frun%2Fsome.sock/v1",
        "ftp://example.com/%0d%0aSTOR x",
        "mongodb://127.0.0.1:27017/",
        "http://host.docker.internal/",
        "metadata.google.internal/computeMetadata/v1/",
    ],
)
def test_addresses_in_disguise_are_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize("text", ["http://redis:6379/", "http://vault:8200/v1/x", "http://10.2.3.4:3000/"])
def test_names_of_neighbours_are_found_where_something_is_fetched(text):
    assert ask(text)[1] >= 0.75


RECORDED = (
    "http://localhost:8080/metrics",
    "http://127.0.0.1:9100/metrics",
    "http://10.0.0.5:9100/metrics",
    "http://192.168.1.10:3000/d/abc",
    "http://ci.internal:8080/job/1",
    "http://elasticsearch:9200/_bulk",
    "http://host.docker.internal:8080/",
    "https://kubernetes.default.svc/api/v1/pods",
    "https://localhost/tabs/home",
    "10.0.0.5:9100",
    "127.0.0.1:52344",
    "169.254.169.254",
    "postgres://app@localhost/db",
    "redis://cache.internal:6379/0",
    "const r = new Redis('redis://:pw@localhost:6379')",
    "REDIS_URL=redis://localhost:6379",
    "https://192-168-1-5.abcdef.plex.direct:32400/",
    "ip-10-0-0-1.ec2.internal",
)


@pytest.mark.parametrize("text", RECORDED)
def test_records_of_a_network_are_let_through(text):
    assert asking(DETECTOR, PlaceKind.JSON)(text)[1] < 0.6


@pytest.mark.parametrize(
    "text",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://0x7f000001/",
        "//0xa.0.0.1/x",
        "http://localhost:6379/",
        "http://127.0.0.1:2375/containers/json",
        "http://a.example@10.0.0.1/",
        "gopher://10.0.0.1:6379/_x",
    ],
)
def test_what_no_record_has_is_found_in_documents_too(text):
    assert asking(DETECTOR, PlaceKind.JSON)(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text", ["http://localhost:3000", "http://192.168.1.5:8080/x", "http://10.0.0.1", "https://app.corp/a?b=1%0ac"]
)
def test_pages_on_a_network_of_one_s_own_are_honest_in_fields(text):
    assert asking(DETECTOR, PlaceKind.HEADER)(text)[1] < 0.5


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1:11211/%0d%0aset x 0 0 1", "http://[::ffff:10.0.0.1]/", "http://0x7f.1/", "url:http://127.0.0.1"],
)
def test_what_no_page_has_is_found_in_fields_too(text):
    assert asking(DETECTOR, PlaceKind.HEADER)(text)[1] >= 0.75


@pytest.mark.parametrize("text", ["1.0.168.192.in-addr.arpa", "http://v1.2.3.4.example.com/", "http://a&b.example/"])
def test_numbers_in_names_are_no_addresses(text):
    assert ask(text)[1] < 0.5


NEAR = (
    "http://127.0.0.1:8000/",
    "http://127.0.0.1:65616/",
    "http://localhost:5000/private",
    "http://[::1]:9000/",
    "http://[fec0::2]/",
    "http://239.1.2.3/",
    "http://10.9.8.7/login",
    "http://build-admin.local/",
    "https://vault.corp/ui",
    "http://billing.internal:8081/",
    "http://printer.lan/",
    "http://metadata.azure.internal/metadata",
    "http://aws-metadata/latest",
    "http://dockerhost/",
    "http://kubernetes/api",
    "http://host.lima.internal:8080/",
    "http://internal-api/",
    "http://kafka-1:9092/",
    "http://tools:3000/x",
    "http://172-16-9-9.names.example/",
    "http://7f000002.names.example/",
    "http://0a010203.08080808.names.example/",
    "http://localhost.names.example/",
    "http://a.rebind.names.example/",
    "http://x.ssrf.names.example/",
    "http://a.burp.names.example/",
    "http://a@b.example@c.example/",
    "http://a.example#?@b.example/",
    "http://[10.0.0.1]/",
    "http://0000000000000000000000000012.1.1.1/",
    "http://\t10.0.0.1/",
    "ht\r\ntp://127.0.0.1/",
    "http://10.0.\n0.1/",
    "http://10\u200b.0.0.1/",
    "http://\u24d4\u24e5\u24d8\u24db.example/",
    "http:///localhost:3000/",
    "hTtp://localhost:3000/",
    "https://news.example/go/http://10.0.0.1/",
    "\\\\10.0.0.1",
    "10.0.0.3",
    "192.168.1.77",
    "127.0.0.1:9999",
    "172.16.0.9/status",
    "localhost:4000",
    "localhost/x",
    "0177.0.0.9",
    "127.1:80",
    "[::1]:6379",
    "mysql:3306",
    "crm.internal:8080",
    "db.internal",
    "host.docker.internal",
    "metadata.google.internal",
    "@10.0.0.1",
    "x@localhost:81",
    "gopher:127.0.0.1:70",
    "gophers://names.example/",
    "imaps://10.0.0.1/",
    "mqtt://localhost:1883",
    "scp://127.0.0.1/x",
)


@pytest.mark.parametrize("kind", [PlaceKind.QUERY, PlaceKind.FORM, PlaceKind.COOKIE])
@pytest.mark.parametrize("text", NEAR)
def test_addresses_within_are_found_where_something_is_fetched(text, kind):
    assert asking(DETECTOR, kind)(text)[1] >= 0.75


FAR = (
    "http://127.0.0.1:51234/",
    "http://localhost:4200/login",
    "http://192.168.1.9:8123/?auth_callback=1",
    "https://portal.corp/home",
    "https://192-168-1-5.abcdef.plex.direct:32400/x",
    "https://0a1b2c3d.review.example/",
    "https://unbinding.example/",
    "https://toast.example/",
    "https://medium.example/@anna/x",
    "http://www\u3002example\u3002com/",
    "https://b\u00fccher.example/",
    "http://a.example\nhttp://b.example",
    "note:\nhttps://a.example",
    "mqtt://broker.example:1883",
    "git://a.example/b",
    "10.4.2.1",
    "10.0.19041.1",
    "10.0.0.0/8",
    "192.168.1.0/24",
    "0.0.0.0",
    "203.0.113.7",
    "127.1",
    "10.5/10",
    "10.5:30",
    "c:/10.0/1",
    "root@localhost",
    "a@10minutes.example",
    "metadata/a.json",
    "messages.local",
    "0x" + "0a1b2c3d" * 8,
    "0x" + "0a1b2c3d" * 5,
    "item:6379",
    "2001:db8::1",
)


@pytest.mark.parametrize("text", FAR)
def test_what_is_no_way_into_a_network_is_let_through(text):
    assert asking(DETECTOR, PlaceKind.QUERY)(text)[1] <= 0.6


@pytest.mark.parametrize(
    "text",
    [
        "http://LOCALHOST/",
        "http://a.localhost/",
        "http:/localhost/",
        "http://127.0.0.1:443/",
        "http://db.internal:6379/",
    ],
)
def test_what_no_program_writes_is_found_in_documents(text):
    assert asking(DETECTOR, PlaceKind.JSON)(text)[1] >= 0.75


@pytest.mark.parametrize("text", ["http://tauri.localhost/", "http:\\/\\/localhost:3000", "127.0.0.1:6379", "10.0.0.3"])
def test_pages_in_a_shell_and_records_are_let_through(text):
    assert asking(DETECTOR, PlaceKind.JSON)(text)[1] < 0.6


@pytest.mark.parametrize("text", ["http://10.0.0.1:6379/", "http://localhost:3306", "http://a.ssrf.names.example/x"])
def test_no_page_is_at_the_port_of_a_store(text):
    assert asking(DETECTOR, PlaceKind.HEADER)(text)[1] >= 0.75
