"""Ending tasks for certain."""

import asyncio
from collections.abc import Collection

__all__ = ["end_tasks"]

_AGAIN = 0.1


async def end_tasks(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks of ours and wait until all have ended, whatever they ended with.

    A cancellation can get lost: `asyncio.wait_for` before Python 3.12, which clients of stores use, drops one that
    arrives together with its result (python/cpython#86296). So it is repeated until it is heard.
    """
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)
