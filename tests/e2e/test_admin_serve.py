"""The admin API of a real `seawall serve`: supervisor, control process and worker, over one SQLite file."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

_LISTENING = re.compile(r"listening on (http://[^\s,]+), admin on (http://[^\s,]+)")
_DEADLINE = 30.0

_CONFIGURATION = """
[gateway]
listen = "127.0.0.1:0"
workers = 1

[admin]
listen = "127.0.0.1:0"

[balancing.health]
kind = "none"

[balancing.pools.default]
instances = ["http://127.0.0.1:9"]
"""


def eventually(check, what):
    """Return the first truthy value; fail after the deadline."""
    deadline = time.monotonic() + _DEADLINE
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            value = check()
            if value:
                return value
        time.sleep(0.05)
    pytest.fail(f"not within {_DEADLINE:g} s: {what}")
    return None


class Gateway:
    """A running `seawall serve` and the command line beside it."""

    def __init__(self, folder):
        self.folder = folder
        self.config = folder / "seawall.toml"
        self.config.write_text(_CONFIGURATION)
        self.output = folder / "output"
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_RUNTIME_DIR": str(folder),
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "seawall.cli", "serve", "-c", str(self.config)],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=self._environment,
            )
        found = eventually(self._listening, "the gateway says that it listens")
        self.admin = found[2]

    def _listening(self):
        assert self.process.poll() is None, self.output.read_text()
        return _LISTENING.search(self.output.read_text())

    def printed_tokens(self):
        return [word for word in self.output.read_text().split() if word.startswith("sw_")]

    def command(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "seawall.cli", *arguments, "-c", str(self.config)],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self._environment,
            timeout=_DEADLINE,
            check=False,
        )

    def call(self, method, path, token="", **request):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.request(method, self.admin + path, headers=headers, timeout=5, **request)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_DEADLINE)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    gateway = Gateway(tmp_path_factory.mktemp("admin"))
    try:
        yield gateway
    finally:
        if gateway.process.poll() is None:
            gateway.stop()


@pytest.fixture(scope="module")
def admin_token(gateway):
    [token] = gateway.printed_tokens()
    return token


@pytest.mark.timeout(120)
def test_the_printed_token_opens_everything(gateway, admin_token):
    eventually(lambda: gateway.call("GET", "/health/ready", admin_token).status_code == 200, "ready")
    for path in ("/api/system", "/api/system/load-balancer", "/api/system/tokens", "/api/system/audit", "/metrics"):
        assert gateway.call("GET", path).status_code == 401
        assert gateway.call("GET", path, admin_token).status_code == 200
    assert len(gateway.call("GET", "/api/system", admin_token).json()["workers"]) == 1


@pytest.mark.timeout(120)
def test_a_token_of_the_command_line_works_at_once_and_not_after_its_revocation(gateway):
    made = gateway.command("token", "create", "--name", "cli", "--role", "viewer")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert gateway.call("GET", "/api/system", token).status_code == 200
    assert gateway.call("POST", "/api/system/reload", token).status_code == 403
    assert token.split("_")[1] in gateway.command("token", "list").stdout
    assert gateway.command("token", "revoke", token.split("_")[1]).returncode == 0
    eventually(lambda: gateway.call("GET", "/api/system", token).status_code == 401, "the revocation counts")


@pytest.mark.timeout(120)
def test_a_reload_changes_what_runs_and_a_bad_file_does_not(gateway, admin_token):
    good = gateway.config.read_text()
    gateway.config.write_text(good.replace('["http://127.0.0.1:9"]', '["http://127.0.0.1:9", "http://127.0.0.1:10"]'))
    response = gateway.call("POST", "/api/system/reload", admin_token)
    assert response.status_code == 200, response.text
    assert response.json()["changed"] == ["balancing.pools.default.instances"]

    def instances():
        return gateway.call("GET", "/api/system/load-balancer", admin_token).json()["pools"][0]["instances"]

    assert len(instances()) == 2
    gateway.config.write_text("[gateway]\nlisten = 5\nunknown = 1\n")
    response = gateway.call("POST", "/api/system/reload", admin_token)
    assert response.status_code == 422
    assert len(response.json()["errors"]) == 2
    assert len(instances()) == 2
    gateway.config.write_text(good)
    assert gateway.call("POST", "/api/system/reload", admin_token).status_code == 200
    actions = [entry["action"] for entry in gateway.call("GET", "/api/system/audit", admin_token).json()["entries"]]
    assert actions == ["reload", "reload"]


@pytest.mark.timeout(120)
def test_a_killed_control_process_is_back_on_the_same_port_with_the_same_tokens(gateway, admin_token):
    before = gateway.call("GET", "/api/system", admin_token).json()
    children = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(gateway.process.pid)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    [control] = [int(line.split()[0]) for line in children if "seawall.cli.roles control" in line]
    os.kill(control, signal.SIGKILL)

    def after():
        response = gateway.call("GET", "/api/system", admin_token)
        return response.status_code == 200 and response.json()["started_at"] != before["started_at"]

    eventually(after, "the control process is back")
    assert gateway.printed_tokens() == [admin_token]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("flags", [(), ("--single-process",)], ids=["processes", "single process"])
def test_a_taken_admin_address_is_told_before_anything_is_served(gateway, tmp_path, flags):
    config = tmp_path / "second.toml"
    taken = gateway.admin.removeprefix("http://")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config.write_text(
        _CONFIGURATION.replace('[admin]\nlisten = "127.0.0.1:0"', f'[admin]\nlisten = "{taken}"').replace(
            '[gateway]\nlisten = "127.0.0.1:0"', f'[gateway]\nlisten = "127.0.0.1:{port}"'
        )
    )
    second = subprocess.Popen(
        [sys.executable, "-m", "seawall.cli", "serve", "-c", str(config), *flags],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    accepted = 0
    while second.poll() is None:
        with socket.socket() as client:
            accepted += client.connect_ex(("127.0.0.1", port)) == 0
        time.sleep(0.002)
    _, errors = second.communicate(timeout=_DEADLINE)
    assert second.returncode != 0
    assert accepted == 0
    # Not even the controllers have begun: the state store, which they open, was never made.
    assert list((tmp_path / "state").rglob("*.sqlite*")) == []
    assert "listening on" not in errors
    assert taken in errors
    assert "admin.listen" in errors
    assert "sw_" not in errors
    assert "Traceback" not in errors


@pytest.mark.timeout(120)
def test_it_stops_cleanly(gateway):
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.output.read_text()
