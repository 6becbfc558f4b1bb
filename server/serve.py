"""``visavis serve``: build the engines, open the port, say what runs where and why, and end politely."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from server.app import create_app
from server.engines import Engines, build_engines
from server.settings import Settings
from server.web_server import WebServer

log = logging.getLogger(__name__)


SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter while the event loop wants it: the default is 5 ms for each of them."""


async def serve(settings: Settings, console: Console) -> None:
    """Serve until SIGINT or SIGTERM. Raises :class:`SettingsError` when the port cannot be had."""
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(message)s", handlers=[RichHandler(console=console, show_path=False)]
    )
    for chatty in ("aioice", "matplotlib"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    sys.setswitchinterval(SWITCH_SECONDS)
    with _stop_signals() as stop:  # from the beginning, so that no moment is left in which a signal just kills
        console.print("Loading engines …")
        engines = await build_engines(settings, console.print)
        gc.collect()
        gc.freeze()  # what is there now stays: a full collection would hold up everybody's audio to look at it again
        web_server = WebServer(create_app(settings, engines), settings)
        try:
            await web_server.start()
            console.print(_table(engines))
            console.print(f"visavis is ready: [bold]{web_server.url}[/bold]   (Ctrl-C to stop)")
            await stop.wait()
            console.print("Stopping …")
        finally:
            await web_server.close()
            await engines.close()


def _table(engines: Engines) -> Table:
    table = Table("stage", "engine", "on", "why", title="Engines", title_justify="left", pad_edge=False)
    for choice in engines.choices.status():
        style = None if choice.ok else "yellow"
        table.add_row(choice.stage, choice.engine, choice.device, choice.reason, style=style)
    return table


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
