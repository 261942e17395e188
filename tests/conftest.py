"""What tests of every area may ask for."""

import os
import secrets
from collections.abc import Iterator

import hypothesis
import pytest
from redis import Redis

from seawall.testing.redis import RedisServer

pytest.register_assert_rewrite("seawall.testing.state")

# The gate asks the same of the same code each time; whoever works on it looks for new examples with every run.
hypothesis.settings.register_profile("gate", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("gate")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real redis-server on a free port, shared by the whole run."""
    with RedisServer() as server:
        yield server.url


@pytest.fixture
def leakproof_redis_url(redis_url: str) -> Iterator[str]:
    """The shared server under a prefix of the test's own; keys left behind fail the test."""
    prefix = f"test-{secrets.token_hex(4)}:"
    yield f"{redis_url}?prefix={prefix}"
    with Redis.from_url(redis_url) as client:
        left = list(client.scan_iter(match=f"{prefix}*"))
        if left:
            client.delete(*left)
        assert left == [], "keys left behind in Redis"
