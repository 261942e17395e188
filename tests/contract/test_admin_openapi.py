"""The admin API keeps to its own description: generated requests over real HTTP to a real control plane."""

import asyncio
import functools
import random
import subprocess
import sys
import threading

import httpx
import pytest
from pydantic import SecretStr

from seawall.admin.server import AdminServer
from seawall.admin.throttle import FailureThrottle
from seawall.config.admin import AdminSettings
from seawall.config.loader import load
from seawall.control.plane import ControlPlane
from seawall.control.systems import SYSTEMS
from seawall.control.tree import Settings
from seawall.core.clock import SystemClock
from seawall.state.memory import MemoryStore

_TOKEN = "a-token-for-schemathesis"

_CONFIGURATION = """
[state]
directory = "{directory}"

[balancing.health]
kind = "none"

[balancing.pools.default]
instances = ["http://127.0.0.1:9", "http://127.0.0.1:10"]
"""

# What a rule or a subject may be is more than a schema can say: rules must not stand in each other's way, the example
# of an exclusion must be found.
_SCHEMATHESIS = """
[[operations]]
include-name = "POST /api/system/rate-limit"
checks.positive_data_acceptance.expected-statuses = ["2xx", 401, 403, 404, 409, 422, 429, "5xx"]

[[operations]]
include-name = "POST /api/system/threat-detection"
checks.positive_data_acceptance.expected-statuses = ["2xx", 401, 403, 404, 409, 422, 429, "5xx"]
"""


class _ServerThread(threading.Thread):
    """A control plane with its admin API on a loop of its own."""

    def __init__(self, directory):
        super().__init__(name="admin-under-test")
        self._directory = directory
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self.address = ""
        self.error = None

    def run(self):
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001 - told to the test, which raises it
            self.error = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self):
        config = self._directory / "seawall.toml"
        config.write_text(_CONFIGURATION.format(directory=self._directory))
        loaded = load(Settings, file=config, environ={}, overrides={})
        clock = SystemClock()
        store = MemoryStore(clock=clock)
        plane = ControlPlane(loaded.settings, loaded, store, SYSTEMS, clock, random.Random(1))
        await plane.start()
        plane.on_worker(("worker-0", 4711))
        server = AdminServer(plane, AdminSettings(listen="127.0.0.1:0", token=SecretStr(_TOKEN)))
        await server.start()
        self.address = server.address
        self._ready.set()
        await self._over.wait()
        await server.stop()
        await plane.stop()
        await store.close()

    def __enter__(self):
        self.start()
        self._ready.wait(30)
        if self.error is not None:
            raise self.error
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(30)
        if self.error is not None:
            raise self.error


@pytest.fixture(scope="module")
def admin_api(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # The brake on guessing has tests of its own; here it would hide what a wrong token gets.
        unbraked = functools.partial(FailureThrottle, burst=1_000_000)
        patch.setattr("seawall.admin.authentication.FailureThrottle", unbraked)
        with _ServerThread(tmp_path_factory.mktemp("admin")) as server:
            yield f"http://{server.address}"


# By tags, so that they need not be tested one after the other, and none takes long.
_OPERATIONS = {
    ("health", "system", "tokens", "audit", "metrics"): (
        "POST /api/system/reload",
        "DELETE /api/system/tokens/{token_id}",
    ),
    ("load-balancer",): ("GET /api/system/load-balancer", "POST /api/system/load-balancer"),
    ("identity",): ("GET /api/system/identity", "POST /api/system/identity"),
    ("rate-limit",): ("GET /api/system/rate-limit", "POST /api/system/rate-limit"),
    ("threat-detection",): ("POST /api/system/threat-detection", "GET /api/system/threat-detection/events"),
}


@pytest.mark.timeout(150)
@pytest.mark.parametrize("tags", _OPERATIONS, ids="-".join)
def test_every_operation_keeps_to_its_description(admin_api, tmp_path, tags):
    """All phases (examples, coverage with unsupported methods, fuzzing, stateful) and all checks."""
    report = tmp_path / "report.ndjson"
    (tmp_path / "schemathesis.toml").write_text(_SCHEMATHESIS)
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{admin_api}/openapi.json",
        f"--header=Authorization: Bearer {_TOKEN}",
        "--checks=all",
        *(f"--include-tag={tag}" for tag in tags),
        # A stream of events has no end, so a client that reads to the end waits for ever.
        "--exclude-path=/api/system/threat-detection/stream",
        "--mode=all",
        "--max-examples=5",
        "--seed=1",
        "--generation-deterministic",
        "--no-color",
        f"--report-ndjson-path={report}",
    ]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=140, check=False)
    assert finished.returncode == 0, finished.stdout[-20_000:] + finished.stderr[-4_000:]
    tested = report.read_text()
    for operation in _OPERATIONS[tags]:
        assert operation in tested


def test_every_tag_is_tested(admin_api):
    paths = httpx.get(f"{admin_api}/openapi.json", headers={"Authorization": f"Bearer {_TOKEN}"}).json()["paths"]
    tags = {tag for path in paths.values() for operation in path.values() for tag in operation["tags"]}
    assert tags == {tag for group in _OPERATIONS for tag in group}
