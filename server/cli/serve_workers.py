"""``visavis serve --workers N``: one front and several worker processes; ends as :mod:`server.cli.serve` does."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
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
from server.grpc.extra import grpc_listener
from server.http.lobby import create_lobby
from server.http.web_server import WebServer
from server.observability.logs import process_log
from server.settings import LEAST_MODELS_MB, Settings, SettingsError
from server.workers.count import MIB, Count, count_for
from server.workers.doors import Claim
from server.workers.front import FRONT, Front, create_front
from server.workers.process import WorkerFailedError, WorkerProcess
from server.workers.processes.nursery import nursery
from server.workers.rounds import Rounds
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
    """Serve until SIGINT or SIGTERM; SIGHUP ends it, too, when its terminal closes, and elsewhere replaces all workers
    without losing anybody. Raises :class:`SettingsError` when the port cannot be had, and
    :class:`~pipelines.errors.ModelError` when the first worker cannot serve."""
    async with process_log(settings.log_level, console, MonotonicClock()), AsyncExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        # Short: the path of a Unix socket has about a hundred bytes.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="visavis-")))
        cores = own_cores()
        count = count_for(settings.workers, cores, _free_mib())
        share = max(1, cores // count.workers)
        console.print(f"Starting {count.workers} workers ({count.reason}) …")
        progress = Progress()
        server = WebServer(create_lobby(settings, progress), settings, raw=True)
        doors = stack.enter_context(_claimed(settings))
        _share_threads(share)
        of_a_worker = _of_a_worker(settings, share, count.workers, doors)
        crew = Crew(of_a_worker, count.workers, share, folder, nursery(), folder / "llama.sock")
        supervisor = Supervisor(crew, MonotonicClock(), progress)
        lent = await stack.enter_async_context(AsyncExitStack())  # what workers use ends behind them
        stack.push_async_callback(_close, server, supervisor, settings.shutdown_timeout + 2 * CLOSE_SECONDS)
        await server.start()
        host = await _lending(crew, cores)
        if host is not None:
            lent.push_async_callback(host.close)
        # Before the first one serves: it may hang as well.
        rounds = asyncio.create_task(Rounds(supervisor, MonotonicClock()).run(), name="rounds")
        stack.callback(rounds.cancel)
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
        stack.enter_context(_restart_on_hangup(front[FRONT], stop))
        tell(console, f"visavis is ready: [bold]{foreign(server.url)}[/bold]   (Ctrl-C to stop)")
        tell_https(settings, console, server.url)
        for name, port in doors.items():
            tell(console, f"  {name.removesuffix('_port')} is spoken on port {port}, by the oldest worker")
        await stop.wait()
        rounds.cancel()
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


def _of_a_worker(settings: Settings, cores: int, count: int, doors: Mapping[str, int]) -> Settings:
    """What each worker is told: its part of the processors and of the memory, and the ports that one of them has.

    Settings that say how many are for each worker where they are set; those that say how much memory, for all together.
    Raises :class:`SettingsError` where ``memory_mb`` is too little for so many.
    """
    given = settings.model_fields_set
    phrases = settings.phrase_cache_mb
    memory = {"phrase_cache_mb": max(1, phrases // count) if phrases else 0}  # 0 would switch it off
    if settings.memory_mb is not None:
        memory["memory_mb"] = settings.memory_mb // count
        if memory["memory_mb"] < LEAST_MODELS_MB:
            least = f"must be at least {LEAST_MODELS_MB * count} for {count} workers ({LEAST_MODELS_MB} for each)"
            raise SettingsError(f"memory_mb: {least}, not {settings.memory_mb}")
    threads = {} if "vision_threads" in given else {"vision_threads": max(1, cores // 2)}
    processes = {} if "stt_processes" in given else {"stt_processes": max(1, settings.stt_processes // count)}
    return settings.model_copy(update={"workers": 1, **threads, **processes, **memory, **doors})


def _share_threads(cores: int) -> None:
    """Libraries that would take every processor for themselves take those of one worker, unless they are told."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(cores))


@contextmanager
def _claimed(settings: Settings) -> Iterator[dict[str, int]]:
    """The ports of Wyoming and gRPC, as far as they are wanted, kept for our workers."""
    if sys.platform == "win32":
        raise SettingsError("workers: several need Unix sockets, which this system lacks; run several servers instead")
    wanted = {
        "wyoming_port": (settings.wyoming_host, settings.wyoming_port),
        "grpc_port": (settings.host_of_grpc, settings.grpc_port),
    }
    with ExitStack() as stack:
        ports = {}
        for name, (host, port) in wanted.items():
            if port is not None:
                claim = Claim(name, host, port)
                stack.callback(claim.close)
                ports[name] = claim.port
        grpc_listener(settings)  # whether it can be spoken at all
        yield ports


@contextmanager
def _restart_on_hangup(front: Front, stop: asyncio.Event) -> Iterator[None]:
    """SIGHUP replaces all workers where no terminal may be meant: it comes to those when their window is closed."""
    if any(map(_is_terminal, range(3))):
        yield
        return
    loop = asyncio.get_running_loop()

    def restart() -> None:
        if not stop.is_set():
            log.info("SIGHUP: workers %s are replaced, one after another", front.begin_restart_of_all())

    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # nohup
        yield
        return
    loop.add_signal_handler(signal.SIGHUP, restart)
    try:
        yield
    finally:
        loop.add_signal_handler(signal.SIGHUP, stop.set)


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def _free_mib() -> int | None:
    free = MachineMemory().free("cpu")
    return None if free is None else free // MIB


def _tell(first: WorkerProcess, count: Count, console: Console) -> None:
    rows = [Choice(**{**row, "fetching": ()}) for row in first.rows]
    console.print(table(rows))
    console.print(
        f"{count.workers} workers: sessions are shared out; llama.cpp and code are loaded once, models in each. "
        "The first one serves; the others load now."
    )


async def _close(server: WebServer, supervisor: Supervisor, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await server.close()
            await supervisor.close(seconds / 2)
    except TimeoutError:
        log.warning("not everything could be closed within %g s", seconds)
