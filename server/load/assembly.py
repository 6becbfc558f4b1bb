"""Puts the parts together for one application: what is measured of it, and who acts on that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from functools import partial

from aiohttp import web

from media.clock import Clock
from pipelines.assistant.session import AssistantSession
from pipelines.runtime.processor import read_processor
from server.engines.build import Engines
from server.load.probe import Machine, Probe, asked_of
from server.load.settings import LoadSettings
from server.load.state import Load
from server.load.watch import LoadWatch


def probe_of(settings: LoadSettings, engines: Engines, cores: int | None) -> Probe:
    """What measures a process that serves ``engines``, on so many of the machine's processors (``None``: on all)."""
    processor = read_processor()
    machine = Machine(cores or processor.cores, memory_total=processor.memory_total)
    voice = engines.voice
    return Probe(
        settings,
        machine,
        lambda: engines.workers,
        lambda now: asked_of((voice.llm, voice.tts), now),
    )


def watch_load(
    app: web.Application,
    load: Load,
    probe: Probe,
    sessions: Callable[[], Iterable[AssistantSession]],
    clock: Clock,
    ready: asyncio.Event | None,
) -> None:
    """Measure and act as long as ``app`` runs."""
    app.cleanup_ctx.append(partial(_watched, LoadWatch(load, probe, sessions, clock, ready)))


async def _watched(watch: LoadWatch, app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(watch.run(), name="load")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
