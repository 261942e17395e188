"""SQL injection of a few words, in rare spellings and by rare statements, and what honest values look like it."""

# ruff: noqa: E501 - tables of texts.

import pytest
from asking import asking

from seawall.systems.threats.detectors.sql_folding import folded
from seawall.systems.threats.detectors.sqli import DETECTOR
from seawall.systems.threats.model import PlaceKind

ask = asking(DETECTOR)
ask_in_body = asking(DETECTOR, PlaceKind.JSON)

CONDITIONS = (
    "1 or 1", "0 or 1", "1 and 0", "7 xor 7", "2 or 2 or 2", "1 or not 0", "3\tor\n3", "1or.1", "9and'9'", "4or@a", "4or(4", "(3)or(3)", "1 or 0x31", "1 or 0b1",
    "1 or x'31'", "1 or _latin1'a'", "8) or 8", "8) or (8", "8)or(8", "2)) and ((2", "or true", "and not false", "1 sounds like 2", "1 rlike 1", "6 similar to 6", "2 not between 3 and 4",
    "1 member of ('[1]')", "5 is not null", "1 and 1/0", "1 or 18446744073709551615+1", "1 and rownum<2",
    "2'or'2", "a'or'a", '3"and"3', "x'xor'1", "1'or!0", "1'or-1", "' sounds like 0#", "x' not in(1)#",
)  # fmt: skip
SPELLINGS = (
    "{x 2} or 2={x 2}", "1 or {fn now()}", "' or {d 1}={d 1}#", "1 union {a select} 2", "1 collate binary or 1", "' collate nocase or 1-- ", "1 isnull or 1", "1 escape '!' or 1",
    "1 at time zone 'utc' or 2=2", "1 or interval 1 day", "2 or date '2020-01-01' is not null", "1 or array[2]=array[2]", "1 or array[1,2]@>array[1]", "1 or 1=any(array[1])", "1 or 'a'::tsvector @@ 'a'::tsquery",
    "1 or '{\"b\":1}'::jsonb ?| array['b']", "1 or '{\"b\":1}'::json#>>'{b}'='1'", "1 or doc->>'b'='c'", "' or `sleep`(3)-- ",
    "1 or 2=2 for update", "1 or 2=2 for update skip locked", "1 or 2=2 fetch first 1 rows only", "1 or 2=2 for xml path", "1 or 2=2 with ur", "' or 2=2 returning id-- ",
    "1 reverse(noinu) reverse(tceles) 1", "5 unionselect 5",
)  # fmt: skip
FUNCTIONS = (
    "1 or json_exists('{}','$')", "x') or jsonb_path_exists('{\"b\":2}','$.b')-- ", "1 or json_overlaps('[2]','[2]')", "' or is_ipv4('10.1.1.1')#", "' or made_up('a','b')-- ", "1 or made_up('a')",
    "1 and 1=cast(session_user as int)", "1 and 1=schema_name(user)", "if(1,id,title)", "decode(1,1,id,title)", "nullif(2,2)", "coalesce(null,2)", "id,case when 2 then 2 end",
)  # fmt: skip
CLAUSES = (
    "id from users-- ", "name,mail from members#", "null,null from accounts-- ", "* from users", "1 from dual", "1,2,3-- ", "id,title-- ", "id desc-- ", "order by 2", "group by 2,3", "limit 2,3", "3 limit 1,2", "3 limit 1 into @a",
    "1),(2", "x'),('y", "1,2),(3,4", "union values(2)", "union all values(2,3)", "1 into @a,@b", "1-- -", "3/**/union", "3 order by", "3 and (select", "3 and exists(",
    "3;drop table", "';drop table", "' into outfile", "' union select user", "/*!union*/", "select *", "7or7=7", "7-len(123)", "(select top 1", "' or (exists)", "'),null) x /*", "'or select *", "<>\"'%;)(&+", "nion/*a*/select/*a*/1,2,3", "null or 2", "1'qZk<'\">pQm", "b\"'><", "'*/",
)  # fmt: skip
STATEMENTS = (
    "3;rename table users to u", "3;flush privileges", "3;set global general_log=1", "3;kill 9", "3;lock tables a write", "3;optimize table a", "3;reset master", "3;purge binary logs to 'a'", "3;start transaction",
    "3;savepoint a", "3;rollback", "3;discard all", "3;reindex table a", "3;pragma writable_schema=1", "3;attach 'a.php' as b", "3;dbcc checkdb", "3;raiserror('a',16,1)", "3;comment on table a is 'b'",
    "3;insert users values('a')", "3;insert ignore into a values(1)", "3;delete users", "3;delete from a where 1=1", "3;drop owned by a", "3;drop index a on b", "3;create alias a as 'b'", "3;create trigger a after insert on b begin end",
    "3;values row(1)", "3;table users", "3;script to 'a'", "3;runscript from 'http://a.example'", "3;declare a int", "3;exec p", "3;select user", "3;alter system set a='b'", "3;alter login sa enable", "3;while 1=1 begin end", "id asc;select 1",
)  # fmt: skip
WHOLE = (
    "select * from users", "SELECT id FROM users WHERE id=3", "select count(*) from customers", "select top 2 name from members", "select 1,2,3", "select null", "insert into users values (3)", "INSERT INTO users (a,b) VALUES (1,2)",
    "replace into users values(1)", "update users set name='a' where id=2", "delete from users where id=2", "alter table users add a int", "create table users(id int)", "show tables", "set @a=1", "create table things (a int)", "insert into things values ('a')", "select * from things",
)  # fmt: skip


@pytest.mark.parametrize("text", CONDITIONS + SPELLINGS + FUNCTIONS + CLAUSES + STATEMENTS + WHOLE)
def test_it_is_found_where_a_request_says_what_it_wants(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize("text", WHOLE)
def test_a_whole_statement_in_a_body_is_told_of_and_not_acted_upon(text):
    assert ask_in_body(text)[1] < 0.75


@pytest.mark.parametrize(
    "text", ["id from users-- ", "1or.1", "8) or (8", "3;flush privileges", "1 or json_exists('{}','$')", "1 or 0x31"]
)
def test_what_has_no_honest_reading_is_found_in_bodies_as_well(text):
    assert ask_in_body(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        "https://shop.example/list?sort=a&id=1 and 1=cast(user as int)", "http://shop.example/?q=x'or'x", "https://shop.example/?id=1' or 2=2-- -&b=c",
    ],
)  # fmt: skip
def test_values_within_an_address_are_read_one_by_one(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        "1 or 2", "2 or 3", "5 and 10", "1 or 1.5 carats", "2 or 3 bedroom", "3 in 1", "1 in (30)", "12 in (30 cm) pan", "1) and 2)", "a) or b)", "(1 or 2) and 3", "(red or blue)", "5 or more", "or best offer", "and true love",
        "rock'and'roll", "coupe d'or'", "l'or et l'argent", "5' or 6'", "John's or Mary's", "select a plan from the list", "select size from chart", "select seats from map", "update profile set picture", "delete from cart",
        "drop table design", "create user guide", "alter table runner", "show tables and chairs", "show columns", "table users manual", "order by phone", "order by 5pm", "group by 2 people", "limit 1 per customer", "where to buy",
        "null and void", "1-2", "1/2", "1=1", "=IF(A1=1,1,0)", "if (a, b)", "version()", "json_decode(x)", "items[2] or items[3]", "{name} or {id}", "hello {user name}", "{{ user name }}", "scan and collate or print", "escape room",
        "please wait for update", "fetch first class", "or 'maybe'", "10 div", "like 1", "similar to 1984", "2 for 1 or 4 for 3", "page 1 limit 10", "price desc, name asc", "name,asc", "a,b,c", "1,2,3 #4", "hello, world --", "thanks, Bob --",
        "abc--", "12--14", "--help", "from users to admins", "* from scratch", "*/5 * * * *", "a/*", "text/*", "(1),(2)", "(1,2),(3,4)", "a),(b", "f(x),(y)", ":-) or :-(", ">_<'", "kill 5 mobs", "commit 5", "5;commit to it", "q=0.9;level=1",
        "5; set menu", "3; show more", "flush toilet", "lock table saw", "start transaction fee", "set names", "reset password", "handler jobs open", "copy john to list", "throw 5, pick 3", "SELECT Id, Name FROM Account WHERE Name = 'Sea' LIMIT 5",
        'SELECT mean("value") FROM "cpu" WHERE time > now() - 1h', "https://shop.example/?q=union+select&sort=asc", "union +select", "4||5", "66||66", "or run -> -", "7-max(2)", '!"$%&/()=?', "reverse (noted)", "SELECT title FROM articles WHERE views > 3 ORDER BY id DESC LIMIT 10",
    ],
)  # fmt: skip
def test_what_looks_like_it_is_left(text):
    assert ask(text)[1] < 0.75


@pytest.mark.parametrize(
    "text",
    [
        "{x 1}",
        "1 collate c or 1",
        "array[1,2]",
        "1 member of('[1]')",
        "a for update",
        "x @@ y @@('a')",
        "1 or date '2020'=1",
    ],
)
def test_what_is_folded_stays_as_long_as_it_was(text):
    assert len(folded(text)) == len(text)
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize("text", ["{return x}", "see {{ name }}", "for all of us", "an array of [1]"])
def test_what_is_no_spelling_of_sql_stays_as_it_is(text):
    assert folded(text) == text
