"""Puts the tracking of a server together: its history, and the routes that tell of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

from aiohttp import web

from media.clock import MonotonicClock
from server.http.tracking.history import HistoryRoutes
from server.observability.history.disk import Disk
from server.observability.history.history import History
from server.settings import Settings


def history_of(settings: Settings, worker: int = 0) -> History:
    """The history of a process; ``worker`` is its number, 0 where there is only one."""
    folder = settings.history_folder
    disk = None if folder is None else Disk(folder, settings.history_mb << 20, worker)
    return History(MonotonicClock(), disk)


def add_tracking(app: web.Application, history: History, settings: Settings) -> None:
    """Add routes and tasks; they end with the application."""
    HistoryRoutes(history).add_to(app)
    app.cleanup_ctx.append(partial(_sample, history))


async def _sample(history: History, app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(history.run(), name="history")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await history.close()
