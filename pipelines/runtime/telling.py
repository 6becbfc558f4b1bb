"""Blocking work that tells of itself as it goes on, for libraries that call back and are no iterators."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

from pipelines.runtime.worker import Worker, post

T = TypeVar("T")
Tell = Callable[[T], None]
"""Hands an item over; waits while as many as may are waiting to be taken. Raises :class:`StoppedError`."""


class StoppedError(Exception):
    """Nobody wants the rest."""


async def told(
    worker: Worker, work: Callable[[Tell[T], Callable[[], bool]], object], *, ahead: int = 16
) -> AsyncGenerator[T, None]:
    """Run ``work(tell, stopped)`` on the worker and yield what it tells. Raises what it raises.

    ``stopped()`` is true once the caller has closed the generator; the work should look at it between steps.
    """
    loop = asyncio.get_running_loop()
    stop, room = threading.Event(), threading.Semaphore(ahead)
    items: asyncio.Queue[Any] = asyncio.Queue()  # bounded by ``room``
    end = object()

    def tell(item: T) -> None:
        room.acquire()
        if stop.is_set():
            raise StoppedError
        post(loop, items.put_nowait, item)

    def run() -> None:
        try:
            if not stop.is_set():
                work(tell, stop.is_set)
        except StoppedError:
            pass

    task = asyncio.ensure_future(worker.run(run))
    task.add_done_callback(lambda task: items.put_nowait(end))
    try:
        while (item := await items.get()) is not end:
            room.release()
            yield item
        await task
    finally:
        stop.set()
        room.release()
        if not task.cancel() and not task.cancelled():
            task.exception()  # told above, or of no interest any more
