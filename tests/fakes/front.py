"""Several worker processes with fake engines behind a front in this process."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from media.clock import MonotonicClock
from server.http.web_server import WebServer
from server.settings import load_settings
from server.workers.front import create_front
from server.workers.processes.nursery import Forking, Spawning
from server.workers.rounds import Rounds
from server.workers.supervisor import Crew, Supervisor

COMMAND = (sys.executable, "-m", "tests.fakes.worker")
ZYGOTE = (*COMMAND, "zygote")


@asynccontextmanager
async def workers(folder: Path, count: int = 2, **given: Any):
    """``url, http, supervisor`` of a server whose workers all serve."""
    settings = load_settings({"port": 0, "shutdown_timeout": 1.0, "peer_timeout": 3.0, **given})
    supervisor = Supervisor(Crew(settings, count, 1, folder, Forking(ZYGOTE, Spawning(COMMAND))), MonotonicClock())
    server = WebServer(create_front(supervisor, settings), settings, raw=True)
    await server.start()
    rounds = asyncio.create_task(Rounds(supervisor, MonotonicClock()).run())
    try:
        await supervisor.start()
        await supervisor.all_ready()
        async with aiohttp.ClientSession(server.url) as http:
            yield server.url, http, supervisor
    finally:
        rounds.cancel()
        await server.close()
        await supervisor.close(5.0)
