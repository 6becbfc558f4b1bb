"""``visavis serve --workers N``: one front and several worker processes; ends as :mod:`server.cli.serve` does."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from media.clock import MonotonicClock
from pipelines.errors import ModelError
from pipelines.models.memory import MachineMemory
from pipelines.runtime.hardware import threads_for
from server.cli.serve import CLOSE_SECONDS, drained, say, table, tell_https
from server.cli.stopping import stop_signals, unless_stopped
from server.cli.terminal import foreign, tell
from server.cluster.build import node_of
from server.cluster.local import Workers
from server.engines.choices import Choice
from server.engines.parts import own_cores
from server.http.lobby import create_lobby
from server.http.web_server import WebServer
from server.observability.logs import process_log
from server.settings import Settings, SettingsError
from server.workers.count import MIB, Count, count_for
from server.workers.front import create_front
from server.workers.process import WorkerFailedError, WorkerProcess
from server.workers.supervisor import Crew, Supervisor

log = logging.getLogger(__name__)


class Progress:
    """What the first worker waits for, as it told last: for the status of a server that still loads."""

    def __init__(self) -> None:
        self._told: list[Any] = []

    def __call__(self, told: Sequence[Any]) -> None:
        self._told = list(told)

    def progress(self) -> list[Any]:
        """How far models have come."""
        return self._told


async def serve_workers(settings: Settings, console: Console) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. Raises :class:`SettingsError` when the port cannot be had, and
    :class:`~pipelines.errors.ModelError` when the first worker cannot serve."""
    async with process_log(settings.log_level, console, MonotonicClock()), AsyncExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        # Short: the path of a Unix socket has about a hundred bytes.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="visavis-")))
        cores = own_cores()
        count = count_for(settings.workers, cores, _free_mib())
        console.print(f"Starting {count.workers} workers ({count.reason}) …")
        progress = Progress()
        server = WebServer(create_lobby(settings, progress), settings, raw=True)
        crew = Crew(
            _of_a_worker(settings), count.workers, max(1, cores // count.workers), folder, folder / "llama.sock"
        )
        supervisor = Supervisor(crew, MonotonicClock(), progress)
        stack.push_async_callback(_close, server, supervisor, settings.shutdown_timeout + 2 * CLOSE_SECONDS)
        await server.start()
        host = await _lending(crew, cores)
        if host is not None:
            stack.push_async_callback(host.close)
        first = await _first(supervisor, stop)
        if first is None:
            say(console, "Stopped while loading.")
            return
        front = create_front(supervisor, settings)
        node = node_of(settings, server.url, Workers(supervisor))
        if node is not None:
            node.add_to(front)
            stack.push_async_callback(node.close)
        await server.hand_over(front)
        if node is not None:
            await node.start()
        _tell(first, count, console)
        ready = asyncio.create_task(supervisor.all_ready())
        tell(console, f"visavis is ready: [bold]{foreign(server.url)}[/bold]   (Ctrl-C to stop)")
        tell_https(settings, console, server.url)
        await stop.wait()
        ready.cancel()
        await drained(node, console)
        say(console, "Stopping …")


async def _first(supervisor: Supervisor, stop: asyncio.Event) -> WorkerProcess | None:
    try:
        return await unless_stopped(stop, supervisor.start())
    except WorkerFailedError as error:
        raise ModelError("worker_failed", f"the first worker cannot serve: {error}") from error


async def _lending(crew: Crew, cores: int) -> Any:
    """Who lends llama.cpp to the workers, if it can be had here."""
    if crew.llama_host is None:
        return None
    from pipelines.engines.llm.llama_child import SERVER
    from pipelines.engines.llm.llama_shared import LlamaHost

    host = LlamaHost(crew.count, threads_for(SERVER, cores))
    await host.start(crew.llama_host)
    return host


def _of_a_worker(settings: Settings) -> Settings:
    """What each worker is told: the doors are the front's."""
    if sys.platform == "win32":
        raise SettingsError("workers: several need Unix sockets, which this system lacks; run several servers instead")
    if settings.wyoming_port is not None:
        raise SettingsError("workers: Wyoming is served by a server of one worker; leave wyoming_port out, or workers")
    if settings.grpc_port is not None:
        raise SettingsError("workers: gRPC is served by a server of one worker; leave grpc_port out, or workers")
    return settings.model_copy(update={"workers": 1})


def _free_mib() -> int | None:
    free = MachineMemory().free("cpu")
    return None if free is None else free // MIB


def _tell(first: WorkerProcess, count: Count, console: Console) -> None:
    rows = [Choice(**{**row, "fetching": ()}) for row in first.rows]
    console.print(table(rows))
    console.print(f"{count.workers} workers: sessions are shared out; llama.cpp is loaded once, all else in each.")


async def _close(server: WebServer, supervisor: Supervisor, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await server.close()
            await supervisor.close(seconds / 2)
    except TimeoutError:
        log.warning("not everything could be closed within %g s", seconds)
