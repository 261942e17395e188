"""Ending a task of ours without losing the cancellation of our own."""

import asyncio

__all__ = ["cancel_and_wait"]


async def cancel_and_wait(task: asyncio.Task[None]) -> BaseException | None:
    """Cancel a task, wait until it has ended, and return the error that it ended with, if any.

    `suppress(CancelledError)` around `await task` would also swallow a cancellation of the caller that comes in
    meanwhile, and the caller would then never end.
    """
    task.cancel()
    await asyncio.wait([task])
    return None if task.cancelled() else task.exception()
