"""``visavis serve``: build the engines, open the port, say what runs where and why, and end politely."""

from __future__ import annotations

import asyncio
import faulthandler
import ipaddress
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from media.clock import MonotonicClock
from pipelines.models.memory import few_heaps
from pipelines.runtime.tidying import settle_memory
from server.cli.stopping import stop_signals, unless_stopped
from server.cli.terminal import Downloads, cell, foreign, tell, tell_foreign
from server.cluster.build import among_of, node_of, shared_of
from server.cluster.local import OneProcess
from server.cluster.node import Node
from server.engines.build import Engines, build_engines
from server.engines.choices import Choice, Choices
from server.grpc.extra import grpc_listener
from server.http.access.load import LOAD
from server.http.app import create_app
from server.http.lobby import Arrivals, create_lobby
from server.http.signaling.offer import REGISTRY
from server.http.tls.certificates import fingerprint
from server.http.tls.context import made_here
from server.http.web_server import WebServer
from server.observability.logs import process_log
from server.settings import Settings
from server.stores import model_store
from server.transports.webrtc.ice import own_addresses

if TYPE_CHECKING:
    from server.grpc.listener import GrpcListener

log = logging.getLogger(__name__)


SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter while the event loop wants it: the default is 5 ms for each of them."""

CLOSE_SECONDS = 4.0
"""How long engines and connections may take to close once the sessions have had their time."""


class ServerConsole(Console):
    """A console whose reader may leave (``visavis serve | head``, a logger that dies) without ending calls."""

    def on_broken_pipe(self) -> None:
        """Say nothing more. What still writes to the standard output by itself writes to nowhere."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


async def serve(settings: Settings, console: Console) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. Raises :class:`SettingsError` when the port cannot be had.

    Whoever calls it ends the process afterwards, without waiting for threads (:func:`~server.cli.stopping.leave`): a
    signal that comes before the server is ready leaves the loading where it is.
    """
    few_heaps()
    sys.setswitchinterval(SWITCH_SECONDS)
    with suppress(OSError, ValueError):  # no stderr
        faulthandler.enable()  # a crash in native code tells which thread was where
    async with process_log(settings.log_level, console, MonotonicClock()):
        await _serve(settings, console)


async def _serve(settings: Settings, console: Console) -> None:
    # The signals first, so that no moment is left in which one just kills.
    with stop_signals() as stop, Downloads(console) as downloads:
        console.print("Loading engines …")
        arrivals = Arrivals(model_store(settings).catalogue, downloads)
        web_server = WebServer(create_lobby(settings, arrivals), settings)
        listener = grpc_listener(settings)
        engines: Engines | None = None
        node: Node | None = None
        try:
            shared = shared_of(settings)
            await web_server.start()
            if listener is not None:
                await listener.start()
            loading = build_engines(settings, partial(tell_foreign, console), arrivals)
            engines = await unless_stopped(stop, loading)
            if engines is None:
                say(console, "Stopped while loading.")
                return
            settle_memory()
            ready = asyncio.Event()
            news = EngineNews(engines.choices, console)
            app = create_app(settings, engines, ready, listener, among_of(settings, shared))
            node = node_of(settings, web_server.url, OneProcess(app[REGISTRY], settings, app[LOAD]), shared)
            if node is not None:
                node.add_to(app)
            await web_server.hand_over(app)
            if node is not None:
                await node.start()
            console.print(table(engines.rows()))
            engines.choices.on_change(news.tell)
            if not settings.download:
                tell_missing(engines, console)
            tell(console, f"visavis is ready: [bold]{foreign(web_server.url)}[/bold]   (Ctrl-C to stop)")
            if listener is not None:
                tell_foreign(console, f"  gRPC is spoken on {settings.host_of_grpc}, port {listener.port}")
            tell_https(settings, console, web_server.url)
            ready.set()
            await stop.wait()
            await drained(node, console)
            say(console, "Stopping …")
        finally:
            await _close(web_server, listener, engines, settings.shutdown_timeout + CLOSE_SECONDS)
            if node is not None:
                await node.close()


class EngineNews:
    """Says in the terminal when another engine serves a stage."""

    def __init__(self, choices: Choices, console: Console) -> None:
        self._choices = choices
        self._console = console
        self._serving = self._now()

    def tell(self) -> None:
        """The status is another."""
        before, self._serving = self._serving, self._now()
        for row in self._choices.status():
            if row.ok and self._serving[row.stage] != before.get(row.stage):
                tell_foreign(self._console, f"{row.stage}: now {row.engine}, {row.reason}")

    def _now(self) -> dict[str, str]:
        return {row.stage: row.engine for row in self._choices.status()}


def tell_missing(engines: Engines, console: Console) -> None:
    """Say which models would have been fetched, and how to get them."""
    if not engines.missing or engines.store is None:
        return
    models = [engines.store.catalogue.get(model_id) for model_id in engines.missing]
    size = sum({model.shared_download or model.id: model.download or 0 for model in models}.values())
    ids = " ".join(dict.fromkeys(engines.missing))
    tell_foreign(console, f"Nothing is fetched (download: false). This brings what is missing, {size} MB:")
    tell_foreign(console, f"  visavis models pull {ids}")


def tell_https(settings: Settings, console: Console, url: str) -> None:
    """Say how to recognise a certificate that nobody vouches for, or what a browser elsewhere lacks without one."""
    if settings.tls_self_signed:
        made = made_here(settings)
        tell_foreign(
            console, f"The certificate was made here; browsers warn of it once. SHA-256 {fingerprint(made.path)}"
        )
        tell_foreign(console, f"  programs trust it with SSL_CERT_FILE={made.public}")
        if not settings.on_loopback:
            for address in reachable(url, own_addresses()):
                tell_foreign(console, f"  from a phone in the same network: {address}, and accept the warning once")
    elif not settings.on_loopback and not settings.serves_tls and not settings.public_origins:
        tell_foreign(console, "Browsers elsewhere need HTTPS for the microphone (docs/how-to/https-on-a-lan.md).")
        tell_foreign(console, "  visavis serve --tls self-signed")


def reachable(url: str, addresses: Sequence[str]) -> list[str]:
    """The server's address in its network, with this machine's ``addresses`` but for loopback. Pure."""
    parts = urlsplit(url)
    if not ipaddress.ip_address(parts.hostname or "").is_unspecified:
        return [url]
    others = [address for address in addresses if not ipaddress.ip_address(address).is_loopback]
    hosts = (f"[{address}]" if ":" in address else address for address in others)
    return [f"{parts.scheme}://{host}:{parts.port}" for host in hosts]


async def drained(node: Node | None, console: Console) -> None:
    """A node of several ends when its sessions have gone on elsewhere, or have had the time for it."""
    if node is not None:
        say(console, f"Node {node.membership.name}: its sessions go on elsewhere …")
        await node.begin_to_drain()


def say(console: Console, text: str) -> None:
    """Tell whoever looks on. A SIGHUP comes when nobody does: the terminal is gone, and sessions still have to end."""
    with suppress(OSError):
        console.print(text)


async def _close(web_server: WebServer, listener: GrpcListener | None, engines: Engines | None, seconds: float) -> None:
    """End sessions, connections and engines; what takes longer is let go of: the process is about to end."""
    try:
        async with asyncio.timeout(seconds):
            await web_server.close()
            if listener is not None:
                await listener.close()
            if engines is not None:
                await engines.close()
    except TimeoutError:
        log.warning("not everything could be closed within %g s", seconds)


def table(choices: Sequence[Choice]) -> Table:
    """What runs where, and why; a stand-in is named with what it stands in for."""
    made = Table("stage", "engine", "on", "why", title="Engines", title_justify="left", pad_edge=False)
    for choice in choices:
        engine = f"{choice.engine}, for {choice.wanted}" if choice.wanted else choice.engine
        row = map(cell, (choice.stage, engine, choice.device, choice.reason))
        made.add_row(*row, style="" if choice.ok else "yellow")
    return made
