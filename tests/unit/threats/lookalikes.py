"""Honest values that look like attacks: what a detector must stay silent about, or at least not be sure of.

`PLAIN` are values that no detector may find ambiguous (confidence below 0.5). `AMBIGUOUS` are whole statements,
commands and markup that people paste into tickets and wikis: a detector may notice them, but never be sure (below 0.9).
`generated` makes as many more of the plain kind as asked for.
"""

# ruff: noqa: E501, RUF001 - a table of texts as people write them, curly quotes and all.

import base64
import json
import random
from collections.abc import Callable, Iterator
from urllib.parse import quote

__all__ = ["AMBIGUOUS", "PLAIN", "generated"]

SAFE = "' ()"

NAMES = (
    "O'Brien", "Conan O'Brien", "D'Angelo", "L'Oréal Paris", "Jean d'Ormesson", "N'Golo Kanté", "O'Reilly & Sons",
    "Dell'Orto", "Ta'anari", "Mc'Morral Obrist", "Aldea, L'", "Guingueta d'Àneu, La", "Rock 'n' Roll", "Women's Jackets",
    "rosa's", "Order of St. John", "Andorra", "Orhan And", "Drop Table Ltd.", 'Robert "Bob" Union', "Ann-Select GmbH",
    'C/ Leopoldo Alas "Clarín" 4, 6º B', 'calle polígon industrial "el segre", 118', "Union, 32 8-D", "'t Hooft",
    "van 't Hoff", "Gerard 't Hooft", "ʻOkina", "Mary-Jane O’Neill", "dos Santos, M.", "O'", "'Til Tuesday", "Guns N' Roses",
)  # fmt: skip

SQL_WORDS = (
    "Union Select Committee", "The European Union selected a new president", "Select the best option from the list",
    "select a table from the menu and drop it into the cart", "Please update your profile and set a new password",
    "I want to insert a photo into my post", "delete my account from your system", "where can I order by phone?",
    "students having a table or a chair should order by group", "Trade union all day strike", "Union Square",
    "Select Union Bank from the drop-down, or create a new account", "Order by 5 pm and get free delivery",
    "Order by 12 for same day delivery", "drop table reservations online", "Drop the table off at the store",
    "alter the table so that it fits", "Either 1 or 2 people", "1 or 2 nights", "2 and 3 bedrooms", "tables for 2 or 4",
    "Insert coin into slot", "Group by age or by height?", "like a rolling stone", "and so on -- you know what I mean",
    "Top 10 or top 20 -- which one do you like?", "Benchmark (2024): 15% faster", "I can't sleep (really)",
    "Having 1 child or 2", "Between 3 and 5 days", "where is it? is null and void", "The cast (in order of appearance)",
    "Cast and crew", "exec summary", "Execute the plan", "declare bankruptcy", "Set sail; select a course; sleep well",
    "shutdown the server; then call me", "waitfor it...", "We will be closed; select stores remain open",
    "It's 5 o'clock; drop by or call", "I'm happy and he's not", "That's mine or yours; it's all the same",
    "don't or won't", "it's 'good' or 'bad'", "He said 'yes' and 'no' at once", "'tis the season and I'm ready",
    "the '90s and the '80s", "rock 'n' roll or jazz", "'90s or '80s music?", "is it 'a' or 'b'?", "5' or 6' tall",
    "5'10\" and 180 lbs", "6' 2\" or taller", '12" vinyl and 7" single', 'size 5" or 6"', '"foo" or "bar"',
    '"war and peace" or "anna karenina"', "'single' AND \"double\" OR (x)", "cats OR dogs", "python AND (sql OR nosql)",
    'title:"union select" AND author:smith', "color = red or blue", "a=b or c", "if x = y and y = z then x = z",
    "1 = 1 is true", "x = x", "1=1", "2 + 2 = 4 and 3 + 3 = 6", "a > b and b > c", "5 > 3 or not", "C# and F#", "item #5 and #6",
    "--help", "-- ", "foo -- bar", "german americans -- indiana -- indianapolis", "College students--Recreation",
    "wait-for-delay", "John -- can you call me?", "Thanks! -- Anna", "Best regards,\n-- \nJohn's team", "/* comment */",
    "see /* here */ and there", "*/5 * * * *", "AC/DC /* live */", "Q&A; FAQ", "R&D; A&B", "a;b;c", "rm; ls", "#hashtag", "# Title",
    "I'd like to select from the set 'A' and 'B' or even C; order by date, group by type, and limit 10",
    "What's the difference between inner join and left join?", "How do I use a where clause with like '%foo%'?",
    "In SQL, `SELECT` retrieves rows and `WHERE` filters them", "The UNION operator combines two SELECT statements",
    "UNION ALL keeps duplicates while UNION removes them; select the one you need from the docs",
    "Use INSERT INTO to add rows, UPDATE to change and DELETE FROM to remove them", "Don't use DROP TABLE in production",
    "The tutorial explains how sleep() and benchmark() work", "information_schema is a virtual database",
    "We saw xp_cmdshell mentioned in the audit report", "Lesson 3: ORDER BY and GROUP BY ... HAVING",
    "The professor said: 'union is not select' and left", "I think 'or' and 'and' are keywords", "SELECT committee on energy",
    "select", "union", "Create table booking", "create or replace the part", "truncate table names in the report",
    "What's 1 and 1? It's 2 or 'two'", "She's 5'4 and he's 6'1", "it's 3 or 4 o'clock", "user's guide -- 2nd edition",
    "O'Brien -- urgent", "O'Brien; D'Angelo", "O'Brien and O'Neil", "O'Brien or D'Arcy", "O'Brien #2", "O'Brien (Dublin)",
    "O'Brien & Co. /* partners */", "it's = it is", "what's > than it's", "Ben's like Tom's", "John's, Mary's, and 'others'",
    "l'union fait la force", "l'or et l'argent", "d'or ou d'argent", "l'amour or l'argent", "c'est l'union, select!",
    "L'Ordre By Night", "qu'il and qu'elle", "e' and e''", "f' or f''", "y' = y and y'' = -y", "f'(x) = 2x and g'(x) = 3",
    "a' b' c'", "don''t", "''", "'", '"', '""', "'quoted'", '"quoted"', "'a', 'b'", "('a', 'b')", '["a", "b"]', "``", "`code`",
    "Use `x or y` and `not z`", "He's the 'greatest' or so they say", "'cause I like it", "the dogs' and the cats' food",
    "boss' or bosses'?", "James' and John's", "parents' order by mail", "parents' union", "workers' union selects new chair",
    "the workers' union select committee from Leeds", "players' union all stars", "'Select all' from the menu",
    "click 'Select' from the 'Union' tab", '"Select" from "Table"', "select 'Union' from the list",
)  # fmt: skip

CODE = (
    "if (a == 1 || b == 2) { return 'x'; }", "for (let i = 0; i < 10; i++) console.log(i)", "const x = {a: 1, 'b': 2};",
    "def f(x): return x or 'default'", "print('hello' + \" world\")", "a = b if b else 'c'  # comment",
    "let name = user?.name || 'anonymous';", "```python\nfor row in rows:\n    print(row['name'])\n```",
    "git commit -m 'Fix #12; and more'", "x = 'a' or 'b'", "return a && b || c;", "int main() { return 0; } // end",
    '<?xml version="1.0"?><note><to>Tove</to></note>', "SyntaxError: unexpected token ' in JSON at position 1",
    'java.lang.NullPointerException: Cannot invoke "String.length()" because "s" is null',
    "Traceback (most recent call last):\n  File \"/app/main.py\", line 3, in <module>\nKeyError: 'user'",
    "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version",
    "Fatal error: Call to undefined function mysql_connect()", "function(a, b) { return a - b }", "(x) => x * 2",
    "config['key'] = \"value\"; // set it", "obj.prototype.toString", "the prototype of the constructor", "my.constructor",
    "Object.prototype is shared", "What is __proto__ in JavaScript?", '{"$ref": "#/definitions/user"}', "$ne is not equal",
    '{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}', "price: $gt 50", "US$100 and CA$150",
    "jQuery $('#id').show()", "$(document).ready(fn)", "echo $HOME", "$eq", "cost[$]", "items[0][name]", "filter[price][gte]=10",
    "sort[created]=desc", "a[b][c]=d", "use eval() with care", "exec() is evil", "system (noun)", 'System.out.println("hi");',
    "System.Text.Json", "import os", "require('express')", "import React from 'react'", "public class Foo { }", "phpinfo page",
    "base64_decode is a PHP function", "O:3 is a ratio", "a:1", "s:5", "time is 12:30:15", "{0}", "{name}", "%s and %d", "Runtime error",
    "Thread.sleep(1000)", "await sleep(500)", "setTimeout(fn, 100)", "time.sleep(5)", "performance benchmark(s)", "C:\\Users\\O'Brien",
    "System restore", "passthru cooling", "assert your rights", "assert (x == 1)", "Process exited; spawn again", "child_process docs",
    "{ __typename id name }", "query { user(id: 1) { name } }", 'mutation { addUser(name: "x") { id } }', "fragment F on User { id }",
    "what does __schema mean in GraphQL?", "(uid=jdoe)", "cn=John Doe,ou=People,dc=example,dc=com", "(a)(b)(c)", "(*)", "a*b*c",
    "* required", "file*.txt", "(see note *)", "f(x)=x*2", "(a|b)&(c|d)", "a | b", "(x & y)", ":-) :-( ;)", "(((o)))", "(1)(2)", "5*(3+2)",
    "//div[@class='x']/a", "//cdn.example.com/lib.js", "name() returns the node's name", "position() in the queue", "child's play",
    "user/name", "text() or node()", "count(items)", "a[1]", "or/and", "and/or", "'/home' or '/work'", "*[a-z]*", "string(1)",
    "{'a': 1, 'b': \"it's\"}", "k='v' and k2='v2'", "name='O''Brien'", "WHERE", "status = 'open' AND priority = 'high'",
    "assignee = jdoe AND status in (Open, 'In Progress') ORDER BY created DESC", 'project = "ABC" AND fixVersion = "1.0"',
    "name eq 'Milk' and price lt 2.55", 'from:me subject:"order by mail"', "label:bug is:open author:o'brien",
)  # fmt: skip

MATHS = (
    "6'-7'", "5'-10' tall", "10' x 12'", "4' - 6'", '5"-6"', "5' = 60", "12' / 3", "the '=' sign", "use '+' or '-'", "else '-'", "'+', '|' and '^'",
    "price > 5 and price < 10", "year>=2000 and year<=2010", "a=b&c=d", '=IF(A1=1,"x","y")', "=SUM(A1:A5)/COUNT(B1:B5)", "x = concat('a', 'b')",
    "1+1=2", "(a+b)^2 = a^2 + 2ab + b^2", "x >= 0 and x <= 1", "f(x) = sin(x) + 'c'", "3 < 5 > 2", "50% or more", "100% and 50%",
    "5 - 3", "10/2", "2*3", "(173-95)", "1e10", "1e5 or so", "0x1F", "0xdeadbeef", "-1", "1--1", "1 - -1", "a=-1 or a=1", "x=1 or x=2",
    "x=1 and y=2", "n = 1 or n = 0", "if n = 1 or n = 2", "p and q or not r", "1/2 or 3/4", "n=5 and k=5", "sin(x)/x", "exp(1)", "abs(-5)",
    "max(1, 2) or min(3, 4)", "not null", "1,2,3", "(1),(2)", "1;2;3", "3|4", "4||5", "1^2", "~5", "!5", "5!=120", "a<>b", "2=2", "1 like 2",
)  # fmt: skip

MARKUP = (
    "# Heading\n\n- item *one*\n- item **two**\n\n> quote's end\n", "[link](https://example.com/?q='x'&y=1)", "| a | b |\n|---|---|\n| 1 | 2 |",
    "**bold** and _italic_ or `code`", "1. first\n2. second -- and 'third'", "---\ntitle: It's here\n---\n", "* a\n* b", "~~strike~~",
    "a { color: red; margin: 0 auto; }", "font-family: 'Helvetica Neue', Arial, sans-serif;", ".btn:hover { background: #fff; }",
    "@media (max-width: 600px) { .a { display: none } }", "background: url(/img/a.png) no-repeat; content: '\\201C';",
    "<p>Hello <b>O'Brien</b>, it's <i>good</i> or &quot;bad&quot;</p>", "<div class=\"a\" id='b'>text</div>", "<br/>", "a &lt; b &amp;&amp; c",
    "<h1>Union</h1><p>Select your seats from the table below</p>", '<table border="1"><tr><td>1</td></tr></table>', "<3 you", "->", "<--",
    "<!-- note -->", "<a href=\"https://example.com/a?b=c&d='e'\">link</a>", "<img src=\"/a.png\" alt=\"it's\" width=\"10\">",
)  # fmt: skip

ADDRESSES = (
    "https://example.com/search?q=union+select&sort=asc", "https://example.com/a/b/c.html#part-2", "/var/log/app.log", "../docs/readme.md",
    "C:\\Program Files\\App\\app.exe", "http://localhost:3000/callback?code=abc&state=x'y", "mailto:o'brien@example.com", "o'brien@example.com",
    "https://a.example/?next=https%3A%2F%2Fb.example%2F%3Fx%3D1%27", "https://maps.example.com/@48.85,2.35,12z/data=!3m1!4b1", "tel:+49-30-123",
    "https://example.com/products?filter=(price<10;brand='x')&order=by", "https://user@example.com/?a[]=1&a[]=2", "//example.com//a",
    "https://www.example.com/2009/06/love-or-money-and-other-stories.html", "FCI88MkuvY5ix2QMNa8lXMLnSu61ajbBqqOvUcTzERvEJPrD5BWF7Ili4lCKDnPpE8.4OaywtDpCzH6D5TEb1irXgq5--",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36", "text/html;q=0.9,*/*;q=0.8",
    'W/"33a64df551425fcc55e4d42a148795d9f25f89d4"', "en-US,en;q=0.5", "GA1.2.123.456; _gid=GA1.2.7", "Fri Nov 13 2009 20:41:20 GMT-0500 (Eastern Standard Time)",
    "bytes=0-1023", "no-cache, no-store; must-revalidate", '{"id":1}; path=/', "attachment; filename=\"it's.pdf\"", "max-age=31536000; includeSubDomains",
    "Google Gears 0.5.33.0;Adobe Acrobat;Java Deployment Toolkit 6.0.150.3;Java(TM)%", "2|1:0|10:1332010398|4:user|8:am9obg==|abc", "a%20b%27c",
)  # fmt: skip

SCRIPTS = (
    "日本語のテキスト「引用」と'アポストロフィ'", "Привет, мир! Это 'тест' или нет", "Ελληνικά και 'ή' όχι", "العربية أو 'لا'", "עברית או 'לא'", "中文“引号”或者'单引号'",
    "हिन्दी और 'या'", "한국어 'or' 그리고", "ไทย หรือ 'ไม่'", "Ünïcödé öder 'ünd'", "emoji 😀 or 🎉 and '🤷'", "l’été et l'hiver", "¿Qué? '¡Sí!' or no", "naïve café's",
    "“smart” or ‘single’ quotes", "«l'union» ou «select»", "1 или 1=1 в тексте", "全角＝１", "½ or ¾", "№5 and №6", "µ=5 and σ=5",
)  # fmt: skip

PLAIN = NAMES + SQL_WORDS + CODE + MATHS + MARKUP + ADDRESSES + SCRIPTS

AMBIGUOUS = (
    "SELECT name FROM users WHERE id = 5",
    "My query is: SELECT * FROM orders WHERE status = 'open' ORDER BY created_at DESC LIMIT 10; it's slow",
    "When I run `SELECT COUNT(*) FROM t GROUP BY a HAVING COUNT(*) > 1` I get an error, can you help?",
    "Here's how to make a table: CREATE TABLE users (id INT PRIMARY KEY, name TEXT); then INSERT INTO users VALUES (1, 'Ann');",
    "select a.id, b.name from a left join b on a.id = b.a_id where b.name like 'x%'",
    "UPDATE users SET name = 'Bob' WHERE id = 3;",
    "DELETE FROM sessions WHERE expires < NOW();",
    "The example in the book is SELECT a FROM x UNION SELECT b FROM y",
    "ls -la /var/www; cat notes.txt",
    "run `npm install && npm start` and tell me",
    "eval(code) does not work in my script",
    '<script src="https://example.com/widget.js"></script> is the snippet that you gave us',
    "db.users.find({age: {$gt: 18}}) returns nothing",
    "(&(objectClass=person)(uid=jdoe)) is the filter we configured",
    "//book[price>35]/title works, //book[@lang='en'] doesn't",
    "<?php echo 'Hello'; ?> prints nothing",
    "obj.__proto__.x = 1 changes every object, why?",
    "query IntrospectionQuery { __schema { types { name } } }",
)

OPENINGS = (
    "Hi,",
    "Hello team,",
    "Ticket:",
    "Re: your mail",
    "It's me again.",
    "I can't log in;",
    "FYI",
    "Q:",
    "Note -",
    "Dear Mr. O'Brien,",
)
CLOSINGS = (
    "Thanks!",
    "-- Anna",
    "Best,\nJohn O'Neil",
    "What's wrong?",
    "(see above)",
    "Don't hurry; it's fine.",
    "Cheers :)",
    "/end",
    "P.S. I'm out",
)
PROSE = (
    "the", "a", "union", "select", "committee", "table", "from", "where", "order", "by", "and", "or", "not", "like", "it's", "don't", "we'll",
    "drop", "update", "set", "insert", "into", "values", "delete", "group", "having", "is", "null", "all", "join", "on", "case", "when", "then",
    "end", "exec", "sleep", "wait", "for", "delay", "cast", "as", "char", "if", "exists", "between", "in", "top", "limit", "load", "file", "users",
    "O'Brien", "5", "10", "2024", "3.5", "50%", "#7", '"quoted"', "'quoted'", "(maybe)", "one,", "two;", "end.", "why?", "yes!", "--", "&", "/",
    "users'", "l'or", "d'un", "1st", "A/B", "C++", "e.g.", "order's", "create", "begin", "database", "password", "admin", "true", "false",
)  # fmt: skip
WORDS = (
    "alpha",
    "beta",
    "O'Neil",
    "union",
    "order",
    "select",
    "it's",
    "Zürich",
    "x=1",
    "a and b",
    "or",
    "naïve",
    "#1",
    "50%",
    "(c)",
    "C++",
)


def _prose(draw: random.Random) -> str:
    return " ".join(draw.choice(PROSE) for _ in range(draw.randint(2, 40)))


def _ticket(draw: random.Random) -> str:
    middle = draw.choice((*SQL_WORDS, *CODE, *MATHS, *MARKUP, *NAMES))
    return f"{draw.choice(OPENINGS)} {middle} {draw.choice(CLOSINGS)}"


def _log(draw: random.Random) -> str:
    return json.dumps(
        {
            "level": draw.choice(("info", "warn")),
            "msg": draw.choice(SQL_WORDS),
            "user": draw.choice(NAMES),
            "ms": draw.randint(0, 9999),
            "tags": [draw.choice(WORDS) for _ in range(3)],
        }
    )


def _image(draw: random.Random) -> str:
    return "data:image/png;base64," + base64.b64encode(draw.randbytes(draw.randint(20, 400))).decode()


def _token(draw: random.Random) -> str:
    return base64.urlsafe_b64encode(draw.randbytes(draw.randint(4, 60))).decode()


def _address(draw: random.Random) -> str:
    pairs = "&".join(f"{quote(draw.choice(WORDS))}={quote(draw.choice(SQL_WORDS), safe=SAFE)}" for _ in range(3))
    return f"https://www.example.com/{draw.choice(('a', 'shop', 'o_r'))}/?{pairs}"


def _name(draw: random.Random) -> str:
    return (
        f"{draw.choice(NAMES)}{draw.choice((' ', ', ', '; ', ' - ', ' & ', ' and ', ' or ', '/'))}{draw.choice(NAMES)}"
    )


def _sum(draw: random.Random) -> str:
    terms = [str(draw.randint(0, 99)) for _ in range(draw.randint(1, 5))]
    return draw.choice((" + ", "+", "-", " * ", "/", ", ", " or ", " and ", ";")).join(terms)


def _row(draw: random.Random) -> str:
    quoted = [draw.choice(("{}", '"{}"', "'{}'")).format(draw.choice(WORDS)) for _ in range(draw.randint(2, 6))]
    return draw.choice((",", ", ", ";", "\t", "|")).join(quoted)


MAKERS: tuple[Callable[[random.Random], str], ...] = (
    _prose, _ticket, _log, _image, _token, _address, _name, _sum, _row,
)  # fmt: skip


def generated(count: int, seed: int = 0) -> Iterator[str]:
    """Make honest values; the same ones for the same seed."""
    draw = random.Random(seed)
    for _ in range(count):
        yield draw.choice(MAKERS)(draw)
