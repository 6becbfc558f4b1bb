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
from pipelines.models.residency import Residency
from pipelines.runtime.scaling import Scaler
from server.engines.build import Engines
from server.http.tracking.errors import ErrorRoutes
from server.http.tracking.history import HistoryRoutes
from server.observability.history.disk import Disk
from server.observability.history.history import History
from server.observability.history.series import key
from server.observability.reports.catcher import Catcher, catching
from server.observability.reports.report import Circumstances
from server.observability.reports.store import Reports
from server.settings import Settings

CATCHER = web.AppKey("catcher", Catcher)
SCALER = web.AppKey("scaler", Scaler)
MACHINE, AVAILABLE = key("visavis_machine_cpu_share"), key("visavis_machine_memory_available_bytes")


def history_of(settings: Settings, worker: int = 0) -> History:
    """The history of a process; ``worker`` is its number, 0 where there is only one."""
    folder = settings.history_folder
    disk = None if folder is None else Disk(folder, settings.history_mb << 20, worker)
    return History(MonotonicClock(), disk)


def add_tracking(app: web.Application, history: History, settings: Settings, engines: Engines) -> None:
    """Add routes and tasks; they end with the application."""
    HistoryRoutes(history).add_to(app)
    add_upkeep(app, history, settings)
    free = partial(free_memory, history, settings.memory_mb, engines.residency)
    scaler = Scaler(lambda: engines.pools, MonotonicClock(), lambda: history.latest.get(MACHINE), free)
    app[SCALER] = scaler
    history.watched.pools = scaler.sizes
    if settings.scale_pools:
        app.cleanup_ctx.append(partial(_scaling, scaler))


def free_memory(history: History, memory_mb: int | None, residency: Residency) -> int | None:
    """Bytes that engines may still take: what the machine has left, or what ``memory_mb`` leaves if that is less."""
    left = [value for key, value in history.latest.items() if key == AVAILABLE]
    if memory_mb is not None:
        models = sum(status.size for status in residency.status() if status.state == "ready")
        children = sum(value for key, value in history.latest.items() if key[0] == "visavis_engine_resident_bytes")
        left.append((memory_mb << 20) - models - children)
    return int(min(left)) if left else None


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


async def _scaling(scaler: Scaler, app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(scaler.run(), name="scaler")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _reporting(catcher: Catcher, reports: Reports, app: web.Application) -> AsyncIterator[None]:
    async with catching(catcher, reports, MonotonicClock()):
        yield
