"""The limiters that people use in Python, each asked for one decision about one name, in memory and over one Redis.

All have room for everything that is asked, and each uses the algorithm that costs it least in constant state.
"""

import datetime as dt
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import pyrate_limiter
import redis.asyncio
import throttled
import throttled.asyncio
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter as AsyncFixedWindow
from limits.aio.strategies import SlidingWindowCounterRateLimiter as AsyncSlidingWindow
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

__all__ = ["PACKAGES", "Ask", "AskRedis", "in_memory", "over_redis"]

PACKAGES = ("limits", "throttled-py", "pyrate-limiter")

_LIMIT = 10**9
_WINDOW_MS = 60_000

Ask = Callable[[str], object]
AskRedis = Callable[[str], Awaitable[object]]


def in_memory(names: list[str]) -> dict[str, Ask]:
    """Return the peers by name, counting in this process; `names` are those that will be asked about."""
    item = RateLimitItemPerMinute(_LIMIT)
    fixed, sliding = FixedWindowRateLimiter(MemoryStorage()), SlidingWindowCounterRateLimiter(MemoryStorage())
    gcra = _throttled(throttled, throttled.MemoryStore(options={"MAX_SIZE": 2 * len(names)}))
    rates = [pyrate_limiter.Rate(_LIMIT, _WINDOW_MS)]
    # One bucket is one count, so a limiter by name is a dictionary of them, as its documentation has it.
    buckets = {name: pyrate_limiter.Limiter(pyrate_limiter.StateBucket(rates, pyrate_limiter.GCRA())) for name in names}
    return {
        "limits: fixed window": lambda name: fixed.hit(item, name),
        "limits: sliding window counter": lambda name: sliding.hit(item, name),
        "throttled-py: GCRA": gcra.limit,
        "pyrate-limiter: GCRA": lambda name: buckets[name].try_acquire(name, blocking=False),
    }


def over_redis(url: str, names: list[str]) -> dict[str, AskRedis]:
    """Return the peers by name, counting in the Redis at `url`; made within the running loop."""
    item = RateLimitItemPerMinute(_LIMIT)
    storage = RedisStorage(f"async+{url}", implementation="redispy")
    fixed, sliding = AsyncFixedWindow(storage), AsyncSlidingWindow(storage)
    gcra = _throttled(throttled.asyncio, throttled.asyncio.RedisStore(server=url))
    client = redis.asyncio.Redis.from_url(url)
    rates = [pyrate_limiter.Rate(_LIMIT, _WINDOW_MS)]
    buckets = {
        name: pyrate_limiter.Limiter(
            pyrate_limiter.StateBucket(
                rates, pyrate_limiter.GCRA(), pyrate_limiter.RedisStateStore(client, f"pyrate:{name}")
            )
        )
        for name in names
    }
    return {
        "limits: fixed window": lambda name: fixed.hit(item, name),
        "limits: sliding window counter": lambda name: sliding.hit(item, name),
        "throttled-py: GCRA": gcra.limit,
        "pyrate-limiter: GCRA": lambda name: buckets[name].try_acquire_async(name, blocking=False),
    }


def _throttled(module: ModuleType, store: Any) -> Any:  # noqa: ANN401 - its classes have twins for asyncio
    window = dt.timedelta(milliseconds=_WINDOW_MS)
    quota = module.per_duration(window, limit=_LIMIT, burst=_LIMIT)
    return module.Throttled(using=module.RateLimiterType.GCRA.value, quota=quota, store=store)
