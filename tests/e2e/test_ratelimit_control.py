"""Limits of a real `seawall serve`: changed at run time, shared by gateways, kept while Redis is away."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from processes import TOKEN, Gateway, Upstream, eventually

from seawall.testing.redis import RedisServer

PATH = "/api/system/rate-limit"
CONFIGURATION = """
[gateway]
listen = "127.0.0.1:0"
workers = 2
{gateway}

[admin]
listen = "127.0.0.1:0"

[state]
{state}

[balancing.health]
kind = "none"

[balancing.pools.default]
instances = ["{upstream}"]

[ratelimit]
base = 1000
{limits}
"""


@pytest.fixture
def upstream():
    started = Upstream("a")
    yield started
    started.kill()


@pytest.fixture
def serve(tmp_path, upstream):
    running = []

    def start(name, *, state="", limits="", gateway=""):
        folder = tmp_path / name
        folder.mkdir()
        text = CONFIGURATION.format(upstream=upstream.url, state=state, limits=limits, gateway=gateway)
        (folder / "seawall.toml").write_text(text)
        found = Gateway(folder)
        running.append(found)
        return found.wait_ready()

    yield start
    for one in running:
        one.destroy()


def get(gateway, path="/"):
    """Return the status and body of one request of its own connection."""
    try:
        with urllib.request.urlopen(gateway.url + path, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def ask(gateway, body=None):
    """Call the admin API; return status and document."""
    request = urllib.request.Request(
        gateway.admin + PATH,
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def limits(gateway, *arguments):
    environ = {**os.environ, "SEAWALL_ADMIN_TOKEN": TOKEN}
    where = gateway.admin.removeprefix("http://")
    command = [sys.executable, "-m", "seawall.cli", "limits", *arguments, "--admin", where]
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=30, check=False)


def always(gateway, path, status, times=20):
    """Tell whether requests over many connections, hence of both workers, are all answered alike."""
    return all(get(gateway, path)[0] == status for _ in range(times))


def test_a_rule_set_at_run_time_reaches_every_worker_and_survives_a_restart(serve):
    gateway = serve("one")
    assert get(gateway, "/login")[0] == 200
    done = limits(gateway, "set", "login", "--limit", "3", "--window", "3600", "--path", "/login", "--before", "base")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "set-rule login: done, now at version 1\n"
    eventually(lambda: get(gateway, "/login")[0] == 429, "the rule is in force")
    # However the connections fall on the two workers, the count is one.
    assert always(gateway, "/login", 429)
    assert always(gateway, "/", 200)

    def counted():
        rule = ask(gateway)[1]["rules"][0]
        return rule["id"] == "login" and 1 <= rule["totals"]["allowed"] <= 3 and rule["totals"]["quota_exceeded"] >= 21

    eventually(counted, "the workers' counts are added up")
    top = limits(gateway, "top")
    assert "client:127.0.0.1" in top.stdout
    assert limits(gateway, "reset", "client:127.0.0.1").returncode == 0
    eventually(lambda: get(gateway, "/login")[0] == 200, "the count is forgotten")
    assert gateway.stop() == 0
    again = Gateway(gateway.folder)
    try:
        again.wait_ready()
        assert [rule["id"] for rule in ask(again)[1]["rules"]] == ["login", "base"]
    finally:
        again.destroy()


def test_a_blocked_client_is_refused_until_it_is_unblocked(serve):
    gateway = serve("one")
    status, result = ask(gateway, {"action": "block", "subject": "client:127.0.0.0/8", "reason": "a test"})
    assert (status, result["changed"], result["book_version"]) == (200, True, 1)
    eventually(lambda: always(gateway, "/", 429, times=8) or always(gateway, "/", 403, times=8), "every worker refuses")
    eventually(lambda: ask(gateway)[1]["refused"]["blocked"] > 0, "refusals are counted")
    assert ask(gateway, {"action": "unblock", "subject": "client:127.0.0.0/8", "version": 7})[0] == 409
    assert ask(gateway, {"action": "unblock", "subject": "client:127.0.0.0/8", "version": 1})[0] == 200
    eventually(lambda: always(gateway, "/", 200, times=8), "every worker lets it in")


def test_repeated_violations_lead_to_a_block_of_all_workers(serve):
    ladder = "ladder = { warn_at = 2, throttle_at = 4, block_at = 8, block_ms = 600000 }"
    rule = '[[ratelimit.rules]]\nid = "narrow"\nmatch.paths = ["/narrow"]\nwindows = [{ limit = 1, window_ms = 60000 }]'
    gateway = serve("one", limits=f"{ladder}\n{rule}")
    for _ in range(30):
        get(gateway, "/narrow")

    def blocked():
        found = ask(gateway)[1]
        return found["penalties"] and [one["step"] for one in found["offenders"]] == ["block"]

    eventually(blocked, "the client is blocked")
    eventually(lambda: get(gateway, "/")[0] != 200, "whatever it asks for")
    assert "block after" in gateway.log
    assert limits(gateway, "reset", "client:127.0.0.1").returncode == 0
    eventually(lambda: always(gateway, "/", 200, times=8), "it is forgiven everywhere")


@pytest.mark.timeout(120)
def test_gateways_on_one_redis_share_the_rules_and_go_on_without_it(serve):
    with RedisServer() as redis:
        state = f'url = "{redis.url}"'
        one, two = serve("one", state=state), serve("two", state=state)
        rule = {"id": "login", "match": {"paths": ["/login"]}, "windows": [{"limit": 4, "window_ms": 3600000}]}
        assert ask(one, {"action": "set-rule", "rule": rule, "version": 0})[0] == 200
        eventually(lambda: [rule["id"] for rule in ask(two)[1]["rules"]] == ["login", "base"], "the other follows")
        eventually(lambda: ask(one)[1]["processes"] == ask(two)[1]["processes"] == 4, "they know of one another")
        assert ask(two)[1]["share"] == 0.25
        assert ask(two, {"action": "remove-rule", "id": "login", "version": 0})[0] == 409
        eventually(lambda: get(one, "/login")[0] == 429, "one uses up what both have")
        assert always(two, "/login", 429, times=8)
        redis.kill()
        for gateway in (one, two):
            eventually(lambda gateway=gateway: "ratelimit.state" in str(health(gateway)), "the loss is told")
            assert ask(gateway, {"action": "block", "subject": "client:127.0.0.1"})[0] == 503
            assert get(gateway, "/other")[0] == 200
            assert [rule["id"] for rule in ask(gateway)[1]["rules"]] == ["login", "base"]
        # A control process that starts meanwhile knows them from the last snapshot.
        control = one.children()["control"]
        os.kill(control, signal.SIGKILL)
        one.replacement_of("control", control)
        assert [rule["id"] for rule in ask(one)[1]["rules"]] == ["login", "base"]
        assert ask(one)[1]["rules"][0]["source"] == "run-time"
        assert get(one, "/other")[0] == 200
        redis.start()
        eventually(lambda: "ratelimit.state" not in str(health(one)), "the store is back")
        # It came back empty: what operators had set is gone with it, on every gateway alike.
        for gateway in (one, two):
            eventually(
                lambda gateway=gateway: [rule["id"] for rule in ask(gateway)[1]["rules"]] == ["base"],
                "the store's word counts",
            )


def health(gateway):
    request = urllib.request.Request(f"{gateway.admin}/health/ready", headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)
