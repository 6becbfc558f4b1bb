"""A worker process: the whole server on a Unix socket, behind a front (``-m server.workers.main``).

Reads its orders from the standard input and ends when that ends: a front that is killed leaves no worker behind. What
is printed goes to the standard error; the standard output belongs to the messages.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from media.clock import MonotonicClock
from pipelines.errors import PipelineError
from pipelines.runtime.tidying import settle_memory
from server.cli.stopping import leave
from server.cli.terminal import tell_foreign
from server.cluster.build import shared_of
from server.cluster.node import Shared, share
from server.engines.build import build_engines
from server.engines.parts import Share
from server.http.access.client_secrets import ClientSecret, ClientSecrets
from server.http.access.secret_copies import from_json, to_json
from server.http.app import Among, create_app
from server.http.lobby import Arrivals
from server.http.signaling.offer import REGISTRY
from server.http.web_server import WebServer
from server.observability.logs import process_log
from server.sessions import Registry
from server.settings import Settings, SettingsError
from server.stores import model_store
from server.workers.doors import Doors
from server.workers.handover import HandoverError, from_text
from server.workers.ids import ids_of
from server.workers.memory import ToldMemory
from server.workers.messages import LONGEST_LINE, FromWorker, Orders, line, read, read_orders
from server.workers.process import LAST_WORDS
from server.workers.processes.gently import standing_back
from server.workers.processes.orphans import end_with_front

log = logging.getLogger(__name__)

CLOSE_SECONDS = 4.0
"""As for a server of one process: see :mod:`server.cli.serve`."""
BEAT_SECONDS = 0.25
"""Between two reports of how loaded it is."""
FLUSH_SECONDS = 1.0
SWITCH_SECONDS = 0.0005
"""As for a server of one process: see :mod:`server.cli.serve`."""


MOST_WAITING = 32 << 20
"""Bytes that may wait for a front that does not read; what comes beyond them is dropped: the next report is newer."""


class _Ending(asyncio.Protocol):
    """Tells when all has been written, or nobody reads any more."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        """The pipe is closed."""
        self.ended.set()


class Outbox:
    """The pipe to the front. Never waits: sound must not stand still for a front that is busy. A front that is gone is
    noticed by the other pipe."""

    def __init__(self, pipe: asyncio.WriteTransport, ending: _Ending) -> None:
        self._pipe = pipe
        self._ending = ending

    @classmethod
    async def on(cls, descriptor: int) -> Outbox:
        """On a pipe that nobody else writes to."""
        file = os.fdopen(descriptor, "wb", buffering=0)
        return cls(*await asyncio.get_running_loop().connect_write_pipe(_Ending, file))

    def send(self, kind: FromWorker, **fields: object) -> None:
        """Tell the front."""
        if not self._pipe.is_closing() and self._pipe.get_write_buffer_size() < MOST_WAITING:
            self._pipe.write(line(kind, **fields))

    async def close(self) -> None:
        """Let what has been sent leave, if it leaves soon: the process is about to end."""
        self._pipe.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.ended.wait(), FLUSH_SECONDS)


async def work(orders: Orders, inbox: asyncio.StreamReader, outbox: Outbox, console: Console) -> int:
    """Serve until the front says stop or is gone; returns the status to exit with."""
    settings = orders.settings
    arrivals = Arrivals(model_store(settings).catalogue)
    beats = asyncio.create_task(_tell_arrivals(arrivals, outbox), name="arrivals")
    try:
        with standing_back():
            engines = await build_engines(
                settings,
                lambda text: tell_foreign(console, text),
                arrivals,
                Share(orders.cores, orders.llama_host),
            )
    except (SettingsError, PipelineError) as error:
        outbox.send("failed", message=str(error))
        return 2
    finally:
        beats.cancel()
    shared = shared_of(settings)
    memory, ids = _memory(outbox, shared), ids_of(orders.number, settings.node)
    secrets = ClientSecrets(time.time, ids, partial(_tell_secret, outbox, shared))
    among = Among(ids, memory, secrets, orders.number, orders.cores)
    app = create_app(_without_doors(settings), engines, among=among)
    if shared is not None:
        share(app, shared)
    server = WebServer(app, settings, orders.socket)
    await server.start()
    doors = Doors(app, settings)
    settle_memory()
    outbox.send("ready", rows=[asdict(row) for row in engines.rows()], missing=list(engines.missing))
    registry = app[REGISTRY]
    beat = asyncio.create_task(_tell_load(registry, outbox), name="load")
    try:
        if not await _Obeying(registry, doors, secrets, outbox, (memory, shared)).obey(inbox):
            _tidy(orders)
    finally:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.shutdown_timeout + CLOSE_SECONDS):
                    await doors.close()
                    await server.close()
                    await engines.close()
                    if shared is not None:
                        await shared.close()
        finally:
            beat.cancel()  # not before: the front would take a worker for hung that says nothing while it closes
    return 0


def _tell_secret(outbox: Outbox, shared: Shared | None, secret: ClientSecret) -> None:
    outbox.send("secret", secret=to_json(secret))
    if shared is not None:
        shared.tell_secret(secret)


def _memory(outbox: Outbox, shared: Shared | None) -> ToldMemory:
    """Conversations are told to the front, and kept for other nodes where there are some."""

    def keep(session: str, state: str) -> None:
        outbox.send("kept", session=session, state=state)
        if shared is not None:
            shared.writer.keep(session, state)

    def forget(session: str) -> None:
        outbox.send("forgotten", session=session)
        if shared is not None:
            shared.writer.forget(session)

    return ToldMemory(keep, forget)


class _Obeying:
    """Does what the front says. ``kept``: where conversations are."""

    def __init__(
        self,
        registry: Registry,
        doors: Doors,
        secrets: ClientSecrets,
        outbox: Outbox,
        kept: tuple[ToldMemory, Shared | None],
    ) -> None:
        self._registry = registry
        self._doors = doors
        self._secrets = secrets
        self._outbox = outbox
        self._memory, self._shared = kept
        self._opening: asyncio.Task[None] | None = None

    async def obey(self, inbox: asyncio.StreamReader) -> bool:
        """Until it says stop, or nothing more (``False``): it is gone."""
        while (text := await self._line(inbox)) and (message := read(text)).get("type") != "stop":
            self._take(message)
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        self._tell_all()
        return bool(text)

    async def _line(self, inbox: asyncio.StreamReader) -> bytes:
        """What it says next. A line that is too long is left out, for the calls must go on; what is left of it is no
        message."""
        while True:
            try:
                return await inbox.readline()
            except ValueError:
                log.error("the front has said too much at once, and this is left out")

    def _tell_all(self) -> None:
        """What is remembered is wanted elsewhere soon."""
        self._memory.tell_now()
        if self._shared is not None:
            self._shared.leave()

    def _take(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "adopt":
                with suppress(HandoverError):
                    self._registry.adopt(message["session"], from_text(message["state"]))
                self._outbox.send("adopted", session=message["session"])
            case "replaced":
                self._registry.replaced(message["session"])
            case "secret":
                self._secrets.learn(from_json(message["secret"]))
            case "open" if self._opening is None:
                self._opening = asyncio.create_task(self._open(), name="doors")
            case "leave":
                self._tell_all()
                self._doors.leave(message["seconds"])
                self._registry.leave(message["seconds"])

    async def _open(self) -> None:
        self._outbox.send("opened", problem=await self._doors.open())


def _tidy(orders: Orders) -> None:
    """Nobody else clears away what a front that was killed has left."""
    for path in filter(None, (orders.socket, orders.llama_host)):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # another worker is still there, or was sooner
        orders.socket.parent.rmdir()


def _without_doors(settings: Settings) -> Settings:
    """What one worker of all has is opened when it is told to."""
    return settings.model_copy(update={"wyoming_port": None, "grpc_port": None})


async def _tell_load(registry: Registry, outbox: Outbox) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + BEAT_SECONDS
        await asyncio.sleep(BEAT_SECONDS)
        delay = max(0.0, 1000.0 * (loop.time() - due))
        outbox.send("load", sessions=len(registry), begun=registry.begun, delay_ms=delay, **registry.load_told)


async def _tell_arrivals(arrivals: Arrivals, outbox: Outbox) -> None:
    before: list[Any] = []
    while True:
        if (now := arrivals.progress()) != before:
            before = now
            outbox.send("arrivals", progress=now)
        else:
            outbox.send("starting")
        await asyncio.sleep(2 * BEAT_SECONDS)


async def _main(descriptor: int) -> int:
    inbox = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(inbox), sys.stdin)
    if not (first := await inbox.readline()):
        return 1  # the front has ended meanwhile
    orders = read_orders(first)
    _be_called(f"visavis-w{orders.number}")
    end_with_front(sys.stdin.fileno(), orders.settings.shutdown_timeout + 2 * CLOSE_SECONDS)
    console = Console(file=sys.stderr, soft_wrap=True)
    async with process_log(orders.settings.log_level, console, MonotonicClock(), who=f"worker {orders.number}"):
        outbox = await Outbox.on(descriptor)
        status = await work(orders, inbox, outbox, console)
        await outbox.close()
        return status


def _be_called(name: str) -> None:
    """For ``ps``: forked workers all have the command line of what they were forked from."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def main() -> None:
    """Entry point."""
    for number in (signal.SIGINT, signal.SIGHUP):  # meant for the front, which ends its workers
        signal.signal(number, signal.SIG_IGN)
    if LAST_WORDS is not None:
        faulthandler.register(LAST_WORDS, sys.stderr, all_threads=True)
    with suppress(OSError, ValueError):  # no stderr
        faulthandler.enable()
    messages = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not come between the lines
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        import uvloop
    except ImportError:
        status = asyncio.run(_main(messages))
    else:
        status = uvloop.run(_main(messages))
    leave(status)


if __name__ == "__main__":
    main()
