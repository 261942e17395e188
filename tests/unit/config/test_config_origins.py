"""Where each effective value came from, and the lines of the file."""

import tomllib
from pathlib import Path

from seawall.config.listing import rows, toml_value
from seawall.config.positions import find_lines

DOCUMENT = '''\
# a comment = 1
title = "x"          # line 2
"quoted key".'and'.bare = 1
text = """
[not.a.table]
key = 2 \\""" still "quoted"""""
raw = \'\'\'
x = 1\'\'\'\'
list = [
  1, # one
  [2,
   3],
  { a = "}", b = { c = 1 } },
]
date = 1979-05-27 07:32:00

[table]
key = 1
[table.below]
key = 2
[[array]]
name = "first"
[[array]]
name = "second"
[array.below]
x = 1
[[array.inner]]
y = [1]
[[array.inner]]
y = []
'''


def test_lines_of_everything_that_toml_can_write() -> None:
    assert tomllib.loads(DOCUMENT)["text"] == '[not.a.table]\nkey = 2 """ still "quoted""'
    lines = find_lines(DOCUMENT)
    assert lines == {
        ("title",): 2,
        ("quoted key",): 3,
        ("quoted key", "and"): 3,
        ("quoted key", "and", "bare"): 3,
        ("text",): 4,
        ("raw",): 7,
        ("list",): 9,
        ("list", 0): 10,
        ("list", 1): 11,
        ("list", 1, 0): 11,
        ("list", 1, 1): 12,
        ("list", 2): 13,
        ("list", 2, "a"): 13,
        ("list", 2, "b"): 13,
        ("list", 2, "b", "c"): 13,
        ("date",): 15,
        ("table",): 17,
        ("table", "key"): 18,
        ("table", "below"): 19,
        ("table", "below", "key"): 20,
        ("array",): 21,
        ("array", 0): 21,
        ("array", 0, "name"): 22,
        ("array", 1): 23,
        ("array", 1, "name"): 24,
        ("array", 1, "below"): 25,
        ("array", 1, "below", "x"): 26,
        ("array", 1, "inner"): 27,
        ("array", 1, "inner", 0): 27,
        ("array", 1, "inner", 0, "y"): 28,
        ("array", 1, "inner", 0, "y", 0): 28,
        ("array", 1, "inner", 1): 29,
        ("array", 1, "inner", 1, "y"): 30,
    }


def test_windows_line_ends_count_once() -> None:
    assert find_lines("a = 1\r\n\r\n[b]\r\nc = 2\r\n") == {("a",): 1, ("b",): 3, ("b", "c"): 4}


def test_every_effective_value_has_an_origin(load_text) -> None:
    loaded = load_text(
        "[balancing.health]\n"
        "interval_ms = 70\n"
        'path = "/up"\n'
        "[balancing.pools.web]\n"
        'instances = ["http://a", { url = "http://b", weight = 2 }]\n'
        "health.timeout_ms = 60\n"
        "outliers = { enabled = false }\n",
        {"LB_STRATEGY": "random"},
        {"balancing": {"outliers": {"min_requests": 5}}},
    )
    origins = loaded.origins
    pool = "balancing.pools.web"
    assert origins["balancing.health.interval_ms"] == "seawall.toml:2"
    assert origins[f"{pool}.health.interval_ms"] == "seawall.toml:2, inherited from balancing.health.interval_ms"
    assert origins[f"{pool}.health.path"] == "seawall.toml:3, inherited from balancing.health.path"
    assert origins[f"{pool}.health.timeout_ms"] == "seawall.toml:6"
    assert origins[f"{pool}.health.jitter"] == "default"
    assert origins[f"{pool}.strategy"] == "environment LB_STRATEGY, inherited from balancing.strategy"
    assert origins[f"{pool}.outliers.enabled"] == "seawall.toml:7"
    assert origins[f"{pool}.outliers.min_requests"] == "command line, inherited from balancing.outliers.min_requests"
    assert origins[f"{pool}.instances[0].url"] == "seawall.toml:5"
    assert origins[f"{pool}.instances[0].weight"] == "default"
    assert origins[f"{pool}.instances[1].weight"] == "seawall.toml:5"
    assert [row.path for row in rows(loaded)] == list(origins)


def test_a_list_that_is_given_has_one_origin(load_text) -> None:
    origins = load_text('gateway.trusted_proxies = ["::1"]\n[balancing]\nroutes = []').origins
    assert origins["gateway.trusted_proxies"] == "seawall.toml:1"
    assert origins["balancing.routes"] == "seawall.toml:3"


def test_tables_of_free_names_are_listed_name_by_name(load_text) -> None:
    loaded = load_text(
        "[balancing.pools.web.regions]\neu = [50, 8.5]\n"
        '[[balancing.routes]]\npool = "web"\nheaders = { X-Tenant = "a" }\nmethods = ["get"]'
    )
    listed = {row.path: (toml_value(row.value), row.origin) for row in rows(loaded)}
    assert listed["balancing.pools.web.regions.eu"] == ("[50, 8.5]", "seawall.toml:2")
    assert listed["balancing.routes[0].methods"] == ('["GET"]', "seawall.toml:6")
    assert listed["balancing.routes[0].name"] == ('"route-1"', "default")
    assert listed["balancing.routes[0].headers.x-tenant"] == ('"a"', "seawall.toml:5")


def test_secrets_are_hidden(load_text) -> None:
    loaded = load_text(
        '[admin]\ntoken = "s3cret-s3cret-s3cret"\n[state]\nurl = "redis://me:s3cret@h/0?password=s3cret&prefix=x"\n'
        '[balancing.pools.web.affinity]\nsecret = "s3cret"',
    )
    listed = {row.path: row.value for row in rows(loaded)}
    assert "s3cret" not in str(listed)
    assert listed["admin.token"] == listed["balancing.pools.web.affinity.secret"] == "(hidden)"
    assert listed["state.url"] == "redis://(hidden)@h/0?password=(hidden)&prefix=x"


def test_a_secret_that_is_not_set_is_shown_as_such(load_text) -> None:
    assert {row.path: row.value for row in rows(load_text())}["admin.token"] == ""


def test_a_secret_in_a_file_for_everybody_is_warned_of(load_text) -> None:
    text = 'admin.token = "s3cret-s3cret-s3cret"\n[balancing.pools.web]'
    load_text(text)
    Path("seawall.toml").chmod(0o644)
    assert load_text().warnings == (
        "seawall.toml:1: admin.token: a secret in a file that every user can read; chmod o-r seawall.toml",
    )
    assert load_text(environ={"SEAWALL_ADMIN_TOKEN": "another-s3cret-s3cret-s3cret"}).warnings == ()
    Path("seawall.toml").chmod(0o640)
    assert load_text().warnings == ()
