"""Puts the tracking of a process together: its history, its error reports, and the routes that tell of both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from aiohttp import web

from media.clock import MonotonicClock
from server.http.tracking.errors import ErrorRoutes
from server.http.tracking.history import HistoryRoutes
from server.observability.history.disk import Disk
from server.observability.history.history import History
from server.observability.reports.catcher import Catcher, catching
from server.observability.reports.report import Circumstances
from server.observability.reports.store import Reports
from server.settings import Settings

CATCHER = web.AppKey("catcher", Catcher)


def history_of(settings: Settings, worker: int = 0) -> History:
    """The history of a process; ``worker`` is its number, 0 where there is only one."""
    folder = settings.history_folder
    disk = None if folder is None else Disk(folder, settings.history_mb << 20, worker)
    return History(MonotonicClock(), disk)


def add_tracking(app: web.Application, history: History, settings: Settings) -> None:
    """Add routes and tasks; they end with the application."""
    HistoryRoutes(history).add_to(app)
    add_upkeep(app, history, settings)


def add_upkeep(app: web.Application, history: History, settings: Settings) -> None:
    """What every process does, a front included: sample itself, and report its errors."""
    folder = settings.error_reports
    reports = Reports(folder) if isinstance(folder, Path) else None
    ErrorRoutes(reports).add_to(app)
    app.cleanup_ctx.append(partial(_sampling, history))
    about = Circumstances(settings, lambda: history.latest, history.notes.latest, time.time)
    app[CATCHER] = catcher = Catcher(about, MonotonicClock())
    if reports is not None:
        app.cleanup_ctx.append(partial(_reporting, catcher, reports))


async def _sampling(history: History, app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(history.run(), name="history")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await history.close()


async def _reporting(catcher: Catcher, reports: Reports, app: web.Application) -> AsyncIterator[None]:
    async with catching(catcher, reports, MonotonicClock()):
        yield
