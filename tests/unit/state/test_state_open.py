import subprocess
import sys

import pytest

from seawall.core.errors import ConfigurationError
from seawall.state import open_store
from seawall.state.open import redact_url
from seawall.testing import FakeClock

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "names no state backend"),
        ("/var/lib/state.db", "names no state backend"),
        ("postgres://host/db", "names no state backend"),
        ("memory://name", "more than 'memory://'"),
        ("sqlite://", "names no SQLite file"),
        ("sqlite:///", "names no SQLite file"),
        ("sqlite://host/path", "names no SQLite file"),
        ("sqlite:////var/lib/", "names no SQLite file"),
        ("sqlite:///state.db?mode=ro", "names no SQLite file"),
        ("sqlite:///:memory:", "would not outlive"),
        ("redis://host/zero", "number of a database"),
        ("redis://host:port/0", "not understood"),
        ("redis://host:99999/0", "not understood"),
        ("redis://host/0?prefix=", "has the prefix ''"),
        ("redis://host/0?prefix=a%27b", "has the prefix"),
        ("redis://host/0?decode_responses=true", "unknown parameters: decode_responses"),
        ("redis://host/0?ssl_ca_certs=/ca.pem", "not understood"),
    ],
)
def test_url_that_cannot_be_used_is_refused_with_why(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match="state URL") as refused:
        open_store(url)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("sqlite:///relative/state.db", "sqlite:///relative/state.db"),
        ("sqlite:////absolute/state.db", "sqlite:////absolute/state.db"),
        ("redis://host", "redis://host"),
        ("redis://host:6380/3?prefix=a:{b}/", "redis://host:6380/3?prefix=a:{b}/"),
        ("redis://:geheim@host/0", "redis://:***@host/0"),
        ("redis://me:ge%40heim@[::1]:6379/0", "redis://me:***@[::1]:6379/0"),
        ("rediss://host/0?username=me&password=geheim", "rediss://host/0?username=me&password=***"),
        (
            "rediss://host/0?ssl_password=geheim&ssl_certfile=/c.pem",
            "rediss://host/0?ssl_password=***&ssl_certfile=/c.pem",
        ),
    ],
)
async def test_store_shows_its_url_without_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown
    store = open_store(url)
    assert store.url == shown
    await store.close()


@pytest.mark.parametrize(
    "url", ["redis://:geheim@host/zero", "redis://:geheim@host:port/0", "postgres://u:geheim@host/db"]
)
def test_refusal_tells_no_secret(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_store(url)
    assert "geheim" not in str(refused.value)


async def test_memory_expires_by_the_given_clock() -> None:
    clock = FakeClock()
    store = open_store("memory://", clock=clock)
    await store.put("a", b"1", ttl=60)
    clock.advance(59.999)
    assert await store.get("a") == b"1"
    clock.advance(0.001)
    assert await store.get("a") is None
    await store.close()


async def test_sqlite_expires_by_the_given_clock(tmp_path) -> None:
    clock = FakeClock()
    store = open_store(f"sqlite:///{tmp_path}/state.db", clock=clock)
    await store.put("a", b"1", ttl=60)
    await store.put("b", b"2", ttl=61)
    clock.advance(60)
    assert await store.get("a") is None
    assert [entry.key async for entry in store.scan("")] == ["b"]
    await store.close()


async def test_memory_forgets_renewals_of_a_key() -> None:
    store = open_store("memory://", clock=FakeClock())
    for _ in range(1000):
        await store.put("lease", b"1", ttl=3600)
    assert len(store._expiries) < 100
    await store.close()


def test_only_the_chosen_backend_is_loaded() -> None:
    script = (
        "import sys; from seawall.state import open_store; open_store('memory://');"
        "sys.exit(not {'redis', 'seawall.state.redis', 'seawall.state.sqlite'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_missing_client_is_named_with_the_extra() -> None:
    script = (
        "import sys; sys.modules['redis'] = None\n"
        "from seawall.core.errors import ConfigurationError\n"
        "from seawall.state import open_store\n"
        "try:\n    open_store('redis://:geheim@host')\n"
        "except ConfigurationError as error:\n    print(error)"
    )
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert "seawall[redis]" in output
    assert "geheim" not in output
