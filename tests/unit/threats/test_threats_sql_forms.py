"""Forms of SQL injection that are less than a query or more than one, and honest texts that look like them."""

# ruff: noqa: E501 - tables of texts.

import re

import pytest
from asking import asking

from seawall.systems.threats.detectors.prose import is_sentence
from seawall.systems.threats.detectors.sql_fragments import hexadecimal, rejoined, undoubled
from seawall.systems.threats.detectors.sql_lexer import read
from seawall.systems.threats.detectors.sqli import DETECTOR
from seawall.systems.threats.model import PlaceKind

ask = asking(DETECTOR)

FRAGMENTS = (
    "'))", '")', "1'.,(\"", "' or (", "x' order by", "7' having", "' union all", "'; drop", '" and not', "/**/and/**/", "' like",
)  # fmt: skip
HIDDEN = (
    "1 ununionion selselectect 1", "1 uniunionon all seselectlect null", "2 oorr 3=3", "2 anandd 3=3",
    "1 uni/**/on sel/*a*/ect 1", "del/**/ete from t", "x' un<ion sel>ect 1--", "x' ununionion selselectect 1--", "0x31206f7220313d31", "0x2720756e696f6e2073656c656374206e756c6c2d2d20",
    "1\x0b||\x0b1", "1\x0cor\x0c1",
)  # fmt: skip
CONSTANTS = (
    "7 or true", "3 and not false", "2)or(true", "4||true", "5 && null", "(4)or(4)=(4)", "((2))and((3))>((2))", "9<=>9", "4 between 2 and 6",
    "4 not in (5,6)", "`a`=`a`", "1 or .5=.5", "1 or $q$b$q$='b'", "1 or u&'\\0061'='a'", "2 or count(*)>0 or 1=1",
)  # fmt: skip
CLAUSES = (
    "1 left join accounts on 1=1", "2 natural join t", "3 cross join (select 1)x", "x', role='admin", 'y",level="9', "3, role=1-- ",
    "x' returning id--", "') on conflict do nothing--", "x') on duplicate key update a=1#", "' collate binary--", "' escape '",
    "' group by a with rollup#", "1' group by a with cube having 1=1--", "' union values row(1,2)--", "x' union table accounts#", "2 union values(1)",
    "' regexp '.", "' similar to '%", "' is not null--", "'>-1#", "2)--", "(select top 1 1)",
)  # fmt: skip
CALLS = (
    "if(3>2,price,title)", "iif(2=2,1,0)", "2 and get_lock('q',3)", "3=version()", "4-user()", "cast(version() as int)", "convert(int,db_name())",
    "select fetch_it('http://a.example/b')", "select * from rows_of('https://a.example/b.csv')", "select * from text_of('/etc/hosts')",
    "execute immediate 'select 1'",
)  # fmt: skip
STACKED = (
    "'; handler t open;--", "1; handler t read first", "'; do $a$ begin null; end $a$--", "'; use mysql;--", "'; commit--", "'; kill 5#",
    "'; set role admin--", "'; load 'x.so'--", "'; lock tables t write--", "'; reset master--", "'; raiserror('a',1,1)--", "'; create role r with superuser;--", "x' for share--", "x' lock in share mode#",
)  # fmt: skip


@pytest.mark.parametrize("text", FRAGMENTS + HIDDEN + CONSTANTS + CLAUSES + CALLS + STACKED)
def test_a_form_of_injection_is_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        ":')", "('.')", '("x")', "f('x')", "['a', 'b']", "workers' union", "students' order", "the parents' group by age", "5' or 6'",
        "1 or 2", "true or false", "not null", "select true or false", '"in', "'limit", "text; update your app set", "1 = 1 and so on", "Val-d'Or|-24.8|7.5", 'summary ~ "tea" AND "Cups Drunk" > 3', "5 left, join us", "2 left join", "between 2 and 6", "4 in 5",
        "size 5, width=6", "a=b, c=d", "f(x, y='1')", "0x1f", "0xdeadbeef", "0x742d35cc6634c0532925a3b844bc454e4438f44e", "in/out", "a/*b*/c",
        "if (a > 2) then", "=IF(A1=1,1,0)", "cast iron (black)", "convert(12, 'USD')", "get_lock of hair", "use master copy", "commit often; push --",
        "users' choice -- the best", "O'Neill' #62", "unionized", "preselected", "selectselector", "Where 24/7 between us", "having fun on 1 = 1 day",
        "If 10' x 12' fetch the select button", "Exec 'board' meets on Monday --", "Backup database is due", "Grant on paper from the state",
        "Alter server into a group event", "While not at work, select a book", "and else 1 = 1", "a.id = b.id",
    ],
)  # fmt: skip
def test_what_looks_like_a_form_is_left(text):
    assert ask(text)[1] < 0.75


SCRIPTS = (
    "SELECT id, title FROM articles WHERE status = 'open' AND views > 3 ORDER BY id DESC LIMIT 10",
    "select count(*) from visits where day between 1 and 5 group by page having count(*) > 1",
    "SELECT a.id, b.title FROM articles a LEFT JOIN topics b ON a.topic = b.id WHERE b.title LIKE '%sea%'",
    "SELECT title FROM articles UNION ALL SELECT title FROM drafts;",
    "WITH c AS (SELECT 1 AS n) SELECT * FROM c, articles",
    "SELECT CASE WHEN a.x = b.x THEN 'yes' ELSE 'no' END FROM a",
    "SELECT CONCAT(first, ' ', last) AS full_name FROM people; -- slow\nSELECT title FROM articles",
    "INSERT INTO articles (title, views) VALUES ('It''s here', 1)",
    "UPDATE articles SET views = views + 1 WHERE id = ?",
    "UPDATE articles SET title = $1 WHERE id = $2",
    "DELETE FROM articles WHERE views < 3;",
    "CREATE TABLE articles (id INT PRIMARY KEY, title VARCHAR(255) NOT NULL)",
    "ALTER TABLE articles ADD COLUMN note TEXT",
    "ALTER TABLE `articles` ADD INDEX `idx_day` (`day`);",
    "DROP TABLE IF EXISTS drafts;",
    "EXPLAIN ANALYZE SELECT * FROM articles WHERE id = 5",
)


@pytest.mark.parametrize("kind", [PlaceKind.JSON, PlaceKind.FORM, PlaceKind.BODY])
@pytest.mark.parametrize("text", SCRIPTS)
def test_an_ordinary_statement_alone_is_told_of_and_not_acted_upon(text, kind):
    signals = DETECTOR.scan(text, kind)
    assert len(signals) == 1 or max(signal.confidence for signal in signals) <= 0.45
    assert signals[0].confidence <= 0.65


@pytest.mark.parametrize(
    "text",
    [
        "SELECT title FROM articles WHERE id = 1 OR 1=1",
        "SELECT title FROM articles UNION SELECT table_name FROM information_schema.tables",
        "SELECT title FROM articles UNION SELECT password FROM accounts",
        "SELECT title FROM articles UNION SELECT 1,2,3",
        "SELECT title FROM articles WHERE sleep(5)",
        "SELECT title FROM articles INTO OUTFILE '/tmp/a'",
        "SELECT load_file('/etc/passwd')",
        "SELECT @@version",
        "SELECT pg_sleep(5)",
        "SELECT title FROM articles; DROP TABLE accounts",
        "SELECT title FROM articles; EXEC xp_cmdshell 'dir'",
        "SELECT title FROM articles WHERE title = '' OR 'a'='a'-- ",
        "select title from articles where title=' or sleep(5) #'",
        "select title from articles where title=' union select password from accounts #'",
        "GRANT ALL ON articles TO public",
        "DROP DATABASE shop",
        "DROP TABLE users",
        "SELECT * FROM mysql.user",
        "select`title`from`articles`",
        "SELECT login, passwd FROM members",
        "UPDATE users SET level = 9",
        "DELETE FROM accounts",
    ],
)
@pytest.mark.parametrize("kind", [PlaceKind.JSON, PlaceKind.QUERY])
def test_a_statement_that_reaches_for_more_is_found(text, kind):
    assert max(signal.confidence for signal in DETECTOR.scan(text, kind)) >= 0.75


def test_a_note_after_a_statement_is_ordinary_where_tools_put_statements():
    text = "DELETE FROM articles WHERE views < 3; -- old ones"
    assert DETECTOR.scan(text, PlaceKind.JSON)[0].confidence < 0.75
    assert DETECTOR.scan("DELETE FROM articles WHERE views < 3;-- ", PlaceKind.JSON)[0].confidence >= 0.75


def test_accounts_of_known_programs_are_telling_where_no_tool_puts_statements():
    text = "SELECT * FROM wp_users WHERE id=1"
    assert DETECTOR.scan(text, PlaceKind.QUERY)[0].confidence >= 0.75
    assert DETECTOR.scan(text, PlaceKind.JSON)[0].confidence < 0.75


@pytest.mark.parametrize(
    "text",
    [
        "please select a table from the menu, and order it by phone or by mail to your home",
        "the union asked its members to vote, and it's likely that they'll drop the plan (or alter it) on 5 may",
    ],
)
def test_a_sentence_is_known_at_a_glance(text):
    assert is_sentence(text)
    assert not DETECTOR.scan(text, PlaceKind.JSON)


@pytest.mark.parametrize(
    "text",
    [
        "the a of union select name from accounts",
        "the a of x'or id or'y",
        "1 or true the a of",
        "the a of 1 or sleep(5)",
        "the a of x' or b like 'c",
        "the a of (select name from accounts)",
        "drop table accounts of the a to",
    ],
)
def test_words_that_hold_a_sentence_together_hide_nothing(text):
    assert not is_sentence(text) or DETECTOR.scan(text, PlaceKind.QUERY) or ask(text)[0] == ""
    tokens = read(text)
    assert tokens.kinds


def test_keywords_are_put_together_as_a_filter_or_a_database_would():
    assert undoubled("1 ununionion selselectect 1") == "1 union select 1"
    assert undoubled("the selected union") == "the selected union"
    assert rejoined("1 un/**/ion sel/*x*/ect 1") == "1 union select 1"
    assert rejoined("a/*b*/c") == "a/*b*/c"
    assert hexadecimal("0x31206f7220313d31") == "1 or 1=1"
    assert hexadecimal("0x61006200630064006500") == "abcde"
    assert hexadecimal("0x742d35cc6634c0532925a3b844bc454e4438f44e") == ""
    assert hexadecimal("0x1f") == ""


@pytest.mark.parametrize(
    "text", ["'" * 3000, "$a$" * 2000, "(" * 3000 + "1", "selselect" * 800, "or/**/" * 900, "select a from " * 600]
)
def test_every_trigger_ends_soon_on_repetition(text):
    for trigger in DETECTOR.triggers:
        re.compile(trigger, re.IGNORECASE | re.DOTALL | re.MULTILINE | re.ASCII).search(text)
    DETECTOR.scan(text, PlaceKind.JSON)
