"""A worker in this process: what it makes of what the front says, and what it tells until its end."""

from __future__ import annotations

import asyncio
import io
import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import server.workers.main as worker
from server.http.web_server import WebServer
from server.settings import load_settings
from server.workers.memory import ToldMemory
from server.workers.messages import Orders, line
from tests.conftest import fake_engines
from tests.patience import until


class Told:
    """Stands for the pipe to the front."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def send(self, kind: str, **fields: object) -> None:
        self.kinds.append(kind)


async def test_a_line_that_is_too_long_is_left_out_and_the_next_one_is_obeyed():
    replaced: list[str] = []
    registry: Any = SimpleNamespace(replaced=replaced.append)
    nobody: Any = None
    memory = ToldMemory(lambda session, state: None, lambda session: None)
    inbox = asyncio.StreamReader(limit=100)
    obeying = asyncio.create_task(worker._Obeying(registry, nobody, nobody, nobody, (memory, None)).obey(inbox))
    inbox.feed_data(b"x" * 250)  # it has not even come whole
    await asyncio.sleep(0)
    inbox.feed_data(b"x\n" + line("replaced", session="sess_1wa"))
    await until(lambda: replaced == ["sess_1wa"])
    inbox.feed_data(b"x" * 250 + b"\n" + line("replaced", session="sess_1wb") + line("stop"))
    assert await obeying is True
    assert replaced == ["sess_1wa", "sess_1wb"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")
async def test_it_tells_of_itself_until_all_is_closed(loopback, tmp_path, monkeypatch):
    told: Any = Told()
    close, closed = WebServer.close, list[bool]()

    async def engines(*_: object) -> Any:
        return fake_engines()

    async def slowly(self: WebServer) -> None:
        before = told.kinds.count("load")
        await until(lambda: told.kinds.count("load") > before)
        await close(self)
        closed.append(True)

    monkeypatch.setattr(worker, "build_engines", engines)
    monkeypatch.setattr(worker, "settle_memory", lambda: None)
    monkeypatch.setattr(worker, "standing_back", nullcontext)
    monkeypatch.setattr(worker, "BEAT_SECONDS", 0.001)
    monkeypatch.setattr(WebServer, "close", slowly)
    settings = load_settings({"port": 0, "ice_address": ("127.0.0.1",)})
    inbox = asyncio.StreamReader()
    inbox.feed_data(line("stop"))
    orders = Orders(1, tmp_path / "1.sock", settings, 1)
    assert await worker.work(orders, inbox, told, Console(file=io.StringIO())) == 0
    assert closed, "a front that hears nothing for seconds would have ended it"
