"""A server of one's own for the time of an evaluation: a child process on a free port, ended with it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pipelines.runtime.child_process import CHILDREN, ChildProcess
from server.settings import SettingsError

START_SECONDS = 120.0
STOP_SECONDS = 20.0
"""For its sessions and engines to end; then it is killed."""
_TOLD_LINES = 15


@asynccontextmanager
async def own_server(config: Path | None) -> AsyncIterator[str]:
    """The URL of a running server: with the embedded engines, or as the settings file ``config`` says.

    Raises :class:`SettingsError` with what it printed last when it does not start.
    """
    flags = ["--profile", "embedded", "--no-download"] if config is None else ["--config", str(config)]
    command = [sys.executable, "-m", "server", "serve", "--port", "0", *flags]
    process = await ChildProcess.start(command, errors=False)
    CHILDREN.add(process)
    reading: asyncio.Task[None] | None = None
    try:
        url = await _ready(process)
        reading = asyncio.create_task(_read_on(process))
        yield url
    finally:
        await _ended(process)
        CHILDREN.discard(process)
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _ended(process: ChildProcess) -> None:
    """Its workers see a front that is killed as one that is lost, and say so."""
    process.signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        process.kill()
        await process.wait()


async def _ready(process: ChildProcess) -> str:
    told: list[str] = []
    try:
        async with asyncio.timeout(START_SECONDS):
            while line := (await process.stdout.readline()).decode("utf-8", "replace"):
                told = [*told, line.strip()][-_TOLD_LINES:]
                if found := re.search(r"ready: (https?://\S+)", line):
                    return found[1]
    except TimeoutError:
        told.append(f"not ready within {START_SECONDS:.0f} s")
    raise SettingsError("the server did not start: " + " | ".join(told))


async def _read_on(process: ChildProcess) -> None:
    """Take what it writes: a full pipe would hold it up."""
    while await process.stdout.read(65536):
        pass
