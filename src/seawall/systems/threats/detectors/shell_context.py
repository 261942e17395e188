"""What stands before a command: the honest start of a value that it breaks out of, or a script that it is part of."""

import re

from seawall.systems.threats.detectors.shell_vocabulary import KINDS
from seawall.systems.threats.detectors.shell_words import quality


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


__all__ = ["is_blob", "is_script", "is_value"]

_TOOLS = _words(
    """
npm npx yarn pnpm bun deno node pip pip3 pipx poetry uv conda python python3 ruby bundle rake rails gem php
composer artisan docker docker-compose podman kubectl helm minikube terraform ansible ansible-playbook vagrant
packer aws gcloud az gh git svn hg make cmake ninja cargo rustc rustup go mvn gradle gradlew ant sbt dotnet
msbuild java javac kotlinc swift flutter dart apt apt-get apk yum dnf pacman brew choco snap dpkg rpm systemctl
service journalctl sudo cd mkdir ls cat cp mv rm ln chmod chown tar unzip curl wget ssh scp rsync grep egrep sed
awk tail head sort export source echo printf touch tee xargs env ps df du openssl psql mysql mysqldump redis-cli
mongo pg_dump sqlite3 jq yq tsc vite webpack eslint jest vitest pytest mypy ruff tox next nuxt ng rollup esbuild
prettier mocha turbo lerna nx cypress playwright cross-env rimraf nodemon ts-node tsx husky ipconfig ping
nslookup dir copy del type set powershell cmd get-childitem get-content set-location write-host write-output
alembic flask django-admin gunicorn uvicorn celery supervisorctl nginx certbot ufw crontab which man vim nano
code less date for while if until case
"""
)
"""What people's command lines begin with."""
_ALONE = _words(
    """
tsc vite webpack eslint jest vitest pytest mypy ruff tox rimraf yarn pnpm prettier mocha make ls
"""
)
"""Those that are run without arguments, too."""
_HEAD = re.compile(
    r"[\s\"'(]*(?:[+-](?!\s*-)\s*)?(?:(?:[$#>%]|PS\s[A-Z]:[^>\n]{0,80}>|[\w.-]{1,32}@[\w.-]{1,64}[:~/\w.-]{0,64}[$#]"
    r"|(?:RUN|CMD|run:|script:|command:|-)(?=\s)|(?:\w{1,32}=\S{0,64})(?=\s)|sudo(?=\s+\w))\s*){0,4}"
    r"(?:\$\(|`)?(?:[\w.~-]{0,32}/){0,6}(?P<word>[a-z][\w-]{0,32})(?:\.exe|\.sh)?(?P<rest>(?:\s[^\n]{0,200})?$|\s[^\n;|&]{0,200})",
    re.IGNORECASE | re.ASCII,
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_MIXED = re.compile(r"[a-z](?=[A-Z])|[0-9](?=[A-Za-z])|[A-Za-z](?=[0-9])")
MANY = 5
"""Kinds of punctuation, and changes of case, around a word that no command line has so near to one another."""
_TAG = re.compile(r"<[a-z][^<>]{0,80}>(?=[^<>]*$)", re.IGNORECASE)
_OPTIONS = re.compile(r"(?:\s[\w./:@=-]{1,64}){0,4}\s--?[a-z]", re.IGNORECASE | re.ASCII)
_VALUE = re.compile(
    r"(?![A-Za-z][\w-]{1,24}:\s|#!)[\"'(\[{\s]*[^\s\"'`;|&(){}\[\]<>]{0,60}(?:\s[\w.@:/+~%?=,-]{1,30}){0,2}[\"')\]};|&\\\s#%-]*$",
    re.ASCII,
)


def is_blob(text: str, index: int) -> bool:
    """Tell whether bytes at random surround an index, in which short words are an accident."""
    near = text[max(0, index - 40) : index + 40]
    if _CONTROL.search(near) is not None:
        return True
    if near.count(" ") > 2 or len(_MIXED.findall(near)) < MANY:
        return False
    return len({character for character in near if not character.isalnum()}) > MANY


def is_script(before: str) -> bool:
    """Tell whether what stands before a separator is a command line itself, as people write and paste them."""
    line = before[before.rfind("\n", 0, len(before.rstrip())) + 1 :]
    if "<" in line:
        tag = _TAG.search(line)
        line = line[tag.end() :] if tag else line
    head = _HEAD.match(line)
    if head is None:
        return False
    word, rest = head["word"].lower(), head["rest"]
    if word in _ALONE:
        return True
    if not rest.strip(" \t;|&"):
        return False
    if word in KINDS and word not in _TOOLS:
        return quality(word, rest) >= 2
    return word in _TOOLS or _OPTIONS.match(rest) is not None


def is_value(before: str) -> bool:
    """Tell whether what stands before a separator is a short honest value, quotes and brackets closed after it."""
    return _VALUE.match(before) is not None
