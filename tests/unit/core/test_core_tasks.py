"""Tasks end, even those that lose a cancellation."""

import asyncio

import pytest

from seawall.core.tasks import end_tasks

pytestmark = pytest.mark.anyio


async def test_a_task_that_loses_a_cancellation_is_cancelled_again():
    heard = 0

    async def deaf():
        nonlocal heard
        while heard < 2:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                heard += 1

    async def failing():
        raise ValueError("an error of its own")

    tasks = [asyncio.create_task(deaf()), asyncio.create_task(failing()), asyncio.create_task(asyncio.sleep(3600))]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end_tasks(tasks)
    assert heard == 2
    assert all(task.done() for task in tasks)
    await end_tasks([])
