"""The same SQL injection, written otherwise: what an attacker tries when the plain form is refused."""

# ruff: noqa: E501 - a table of attacks, several a line.

import random
import re
from collections.abc import Callable

__all__ = ["KNOWN", "mutated"]

KNOWN = (
    "1' or '1'='1", "' or 1=1--", "' or 1=1#", "') or ('a'='a", '" or ""="', "admin'--", "admin' #", "admin'/*", "1 or 1=1", "-1 or 17-7=10",
    "1) or (1=1", "1' and 1=2-- -", "x' and userid is null; --", "1' or 2 between 1 and 3-- ", "1' or 'a' like 'a", "1 or 5 in (5)--",
    "1' or not false-- ", "' or true--", "1 and ascii(substring(user(),1,1))>64", "1' and length(database())=5#", "' or exists(select 1)--",
    "1 union select 1,2,3", "-1' union all select null,null,version()-- ", "1) union select username,password from users--",
    "1' union select @@version,null#", "1 union distinct select load_file(0x2f6574632f706173737764),1", "' union select name from sqlite_master--",
    "1; drop table users--", "1'; exec master..xp_cmdshell 'dir'--", "1; insert into users values (1,'x')--", "'; shutdown with nowait--",
    "1'; update users set admin=1 where id=5--", "1;declare @x varchar(99);set @x=0x41;exec(@x)--", "'; copy t to program 'id'--",
    "1 and sleep(5)", "1' and sleep(5)-- ", "1; waitfor delay '0:0:5'--", "1' waitfor delay '0:0:5'--", "1;select pg_sleep(5)--",
    "1' and 1=(select 1 from pg_sleep(5))--", "1 or benchmark(9999999,md5(1))#", "1' or dbms_pipe.receive_message('a',5)=1--",
    "1 and extractvalue(1,concat(0x7e,version()))", "1' and updatexml(1,concat(0x7e,user()),1)#", "1 and exp(~(select * from (select 1)x))",
    "1' and 1=convert(int,@@version)--", "1 and 1=cast((select password from users limit 1) as int)", "1 and 1=utl_inaddr.get_host_name('x')",
    "1 order by 10--", "1' order by 3#", "1' group by 1 having 1=1--", "1 having 1=1", "1 into outfile '/tmp/x'", "1' into dumpfile '/tmp/x'#",
    "1 and (select count(*) from information_schema.tables)>0", "1'||(select password from users)||'", "1-(case when 1=1 then 1 else 0 end)",
    "1' and (select substr(password,1,1) from users where id=1)='a", "1 and json_extract('{\"a\":1}','$.a')=1", "1 limit 1 procedure analyse(1)",
)  # fmt: skip
"""Attacks in their plain form, each of which must be found with confidence 0.75 at least."""

SPACES = ("/**/", "\t", "\n", "\r\n", "\x0b", "\x0c", "\xa0", "  ", "/*x*/", "/*!*/", " /*-*/ ")
_STRING = re.compile(r"('[^']*'|\"[^\"]*\")")
_WORD = re.compile(r"\b[a-z]{2,}\b")


def _case(text: str, draw: random.Random) -> str:
    return "".join(letter.upper() if draw.random() < 0.5 else letter for letter in text)


def _spaces(text: str, draw: random.Random) -> str:
    parts = _STRING.split(text)
    return "".join(
        part if index % 2 else re.sub(r"(?<!-) (?!\Z|-)", lambda _: draw.choice(SPACES), part)
        for index, part in enumerate(parts)
    )


def _conditional(text: str, draw: random.Random) -> str:
    words = [match for match in _WORD.finditer(text) if match[0] in ("union", "select", "or", "and", "all", "from")]
    if not words:
        return text
    match = draw.choice(words)
    return f"{text[: match.start()]}/*!{draw.choice(('', '50000', '00000'))}{match[0]}*/{text[match.end() :]}"


def _logic(text: str, draw: random.Random) -> str:
    return re.sub(r" (or|and) ", lambda match: " || " if match[1] == "or" else " && ", text, count=1)


def _numbers(text: str, draw: random.Random) -> str:
    return re.sub(r"\b1=1\b", lambda _: draw.choice(("7=7", "2>1", "0x31=0x31", "1 like 1", "3<>4", "'x'='x'")), text)


def _ending(text: str, draw: random.Random) -> str:
    return re.sub(r"(?:--|#)\s?-?\Z", lambda _: draw.choice(("-- -", "#", "--+", "-- x", ";-- ", "/*", ";\x00")), text)


def _prefix(text: str, draw: random.Random) -> str:
    return re.sub(r"\A-?1(?=['\") ])", lambda _: draw.choice(("1", "-1", "0", "999999", "1.5", "abc", "5")), text)


def _brackets(text: str, draw: random.Random) -> str:
    return re.sub(r"\b1=1\b", "(1)=(1)", text)


def _same(text: str, draw: random.Random) -> str:
    return text


_WAYS: tuple[Callable[[str, random.Random], str], ...] = (
    _case, _spaces, _conditional, _logic, _numbers, _ending, _prefix, _brackets, _same,
)  # fmt: skip


def mutated(text: str, seed: int, count: int = 2) -> str:
    """Write an attack otherwise, in some of the ways at once; the same for the same seed."""
    draw = random.Random(seed)
    for way in draw.sample(_WAYS, count):
        text = way(text, draw)
    return text
