import contextlib
import random

import httpx
import pytest

from seawall.admin.app import create_app
from seawall.admin.tokens import create_token
from seawall.config.admin import AdminSettings
from seawall.config.loader import load
from seawall.control.plane import ControlPlane
from seawall.control.systems import SYSTEMS
from seawall.control.tree import Settings
from seawall.core.clock import SystemClock
from seawall.state.memory import MemoryStore

CONFIGURATION = """
[state]
directory = "{directory}"

[balancing.health]
kind = "none"

[balancing.pools.default]
instances = ["http://127.0.0.1:9", "http://127.0.0.1:10"]
"""


class Stage:
    """A real control plane over a store in memory, and its admin API called in process."""

    def __init__(self, plane, store, clock, config, settings):
        self.plane = plane
        self.store = store
        self.clock = clock
        self.config = config
        self.app = create_app(plane, settings, clock=clock)

    @contextlib.asynccontextmanager
    async def client(self, token="", address="127.0.0.1"):
        transport = httpx.ASGITransport(app=self.app, client=(address, 1234), raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081", headers=headers) as client:
            yield client

    async def token(self, role, **changes):
        _, token = await create_token(
            self.store, name=f"the-{role.value}", role=role, now=self.clock.wall(), created_by="test", **changes
        )
        return token

    async def call(self, method, path, role=None, **request):
        token = await self.token(role) if role else ""
        async with self.client(token) as client:
            return await client.request(method, path, **request)

    def connect_worker(self):
        self.plane.on_worker(("worker-0", 4711))


@pytest.fixture
def admin_settings():
    return AdminSettings()


@pytest.fixture
async def stage(tmp_path, admin_settings):
    config = tmp_path / "seawall.toml"
    config.write_text(CONFIGURATION.format(directory=tmp_path))
    loaded = load(Settings, file=config, environ={}, overrides={})
    clock = SystemClock()
    store = MemoryStore(clock=clock)
    plane = ControlPlane(loaded.settings, loaded, store, SYSTEMS, clock, random.Random(1))
    await plane.start()
    try:
        yield Stage(plane, store, clock, config, admin_settings)
    finally:
        await plane.stop()
        await store.close()
