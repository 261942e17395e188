"""Bans of real `seawall serve` processes: over workers and gateways, kept over a restart, lifted by operators."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from processes import TOKEN, Gateway, Upstream, eventually

from seawall.testing.redis import RedisServer

CONFIGURATION = """
[gateway]
listen = "127.0.0.1:0"
workers = 2

[admin]
listen = "127.0.0.1:0"

[state]
{state}

[balancing.health]
kind = "none"

[balancing.pools.default]
instances = ["{upstream}"]

[threats]
{threats}
"""
ATTACK = "/?id=1%27%20UNION%20SELECT%20username,password%20FROM%20users--"


@pytest.fixture
def upstream():
    started = Upstream("a")
    yield started
    started.kill()


@pytest.fixture
def serve(tmp_path, upstream):
    running = []

    def start(name, *, state="", threats=""):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        text = CONFIGURATION.format(upstream=upstream.url, state=state, threats=threats)
        (folder / "seawall.toml").write_text(text)
        found = Gateway(folder)
        running.append(found)
        return found.wait_ready()

    yield start
    for one in running:
        one.destroy()


def get(gateway, path="/"):
    """Return the status and body of one request of its own connection, hence of either worker."""
    try:
        with urllib.request.urlopen(gateway.url + path, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def threats(gateway, *arguments):
    environ = {**os.environ, "SEAWALL_ADMIN_TOKEN": TOKEN}
    where = gateway.admin.removeprefix("http://")
    command = [sys.executable, "-m", "seawall.cli", "threats", *arguments, "--admin", where]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def everywhere(gateway, status, times=12):
    """Tell whether requests over many connections, hence of both workers, are all answered alike."""
    return all(get(gateway)[0] == status for _ in range(times))


def test_an_attacker_is_refused_by_every_worker_until_an_operator_lifts_it(serve):
    gateway = serve("one")
    assert everywhere(gateway, 200)
    status, body = get(gateway, ATTACK)
    problem = json.loads(body)
    assert (status, problem["type"]) == (403, "urn:seawall:problem:request-blocked")
    assert "sqli" not in body.decode()
    eventually(lambda: everywhere(gateway, 403), "the client is banned")
    banned = json.loads(threats(gateway, "top", "--json"))["bans"]
    assert [(one["subject"], one["by"]) for one in banned] == [("client:127.0.0.1", "seawall")]
    eventually(lambda: problem["event"] in threats(gateway, "events"), "the event is kept")
    explained = threats(gateway, "explain", problem["event"])
    assert explained.startswith("critical threat, sql-injection: block")
    assert "in query id, decoded by percent" in explained
    assert gateway.stop() == 0
    again = serve("one")
    assert everywhere(again, 403)
    assert problem["event"] in threats(again, "events")
    assert threats(again, "unban", "127.0.0.1") == "client:127.0.0.1: no longer banned\n"
    eventually(lambda: everywhere(again, 200), "the ban is lifted")


def test_gateways_on_one_redis_refuse_the_same_and_go_on_without_it(serve):
    with RedisServer() as redis:
        state = f'url = "{redis.url}"'
        here, there = serve("here", state=state), serve("there", state=state)
        assert get(here, ATTACK)[0] == 403
        eventually(lambda: everywhere(there, 403), "the other gateway knows of the ban")
        threats(there, "unban", "127.0.0.1")
        eventually(lambda: everywhere(here, 200), "the ban is lifted everywhere")
    eventually(lambda: "threats.state" in json.dumps(here.health()), "that the store is away is told")
    # Bans need no store.
    assert get(here, ATTACK)[0] == 403
    eventually(lambda: everywhere(here, 403), "the client is banned here")
    assert everywhere(there, 200)


def test_shadow_mode_changes_nothing_and_says_what_it_would_have_done(serve):
    gateway = serve("one", threats='mode = "log"')
    for _ in range(5):
        assert get(gateway, ATTACK)[0] == 200
    assert everywhere(gateway, 200)
    eventually(lambda: gateway.total("threat_detection_shadowed_total", action="block") == 5, "all are counted")
    assert gateway.total("threat_detection_bans") == 0
    assert "would block" in threats(gateway, "events")
