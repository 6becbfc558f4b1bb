"""Two worker processes with fake engines behind a front: real calls, a killed worker, and one that is replaced."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from media.clock import MonotonicClock
from server.http.web_server import WebServer
from server.settings import load_settings
from server.workers.board import Board
from server.workers.front import create_front
from server.workers.nursery import Spawning
from server.workers.supervisor import Crew, Supervisor
from tests.fakes.peer import Peer
from tests.patience import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")
COMMAND = (sys.executable, "-m", "tests.fakes.worker")
ZYGOTE = (sys.executable, "-m", "tests.fakes.worker", "zygote")


class Resuming(Peer):
    """Goes on with the conversation of a session."""

    previous: str | None = None

    async def _signal(self, offer: dict[str, Any]) -> dict[str, Any]:
        return await super()._signal({**offer, "resume": self.previous})

    async def ask(self, text: str) -> str:
        """Write something; returns the answer."""
        await self.event("session.created")
        count = len(self.named("response.done"))
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        self.send({"type": "conversation.item.create", "item": item})
        self.send({"type": "response.create", "response": {"output_modalities": ["text"]}})
        done = await self.event("response.done", count + 1)
        answer: str = done["response"]["output"][0]["content"][0]["text"]
        return answer


@asynccontextmanager
async def workers(folder: Path, count: int = 2, **given: Any):
    settings = load_settings(
        {"port": 0, "shutdown_timeout": 1.0, "ice_address": "127.0.0.1", "peer_timeout": 3.0, **given}
    )
    supervisor = Supervisor(Crew(settings, count, 1, folder, Spawning(COMMAND)), MonotonicClock())
    server = WebServer(create_front(supervisor, settings), settings, raw=True)
    await server.start()
    try:
        await supervisor.start()
        await supervisor.all_ready()
        async with aiohttp.ClientSession(server.url) as http:
            yield server.url, http, supervisor
    finally:
        await server.close()
        await supervisor.close(5.0)


def number(peer: Peer) -> int:
    return int(peer.answer["session_id"].removeprefix("sess_").partition("w")[0])


async def told_by(board: Board, peer: Peer, text: str) -> None:
    """Wait until the worker of ``peer`` has told the front what the session remembers."""
    session = peer.answer["session_id"]
    await until(lambda: text in (board.find(number(peer)) or board.add(0)).kept.get(session, ""))


async def test_sessions_are_shared_out_and_outlive_their_worker(loopback, tmp_path):
    async with workers(tmp_path, max_sessions=8, drain_seconds=60.0) as (url, http, supervisor):
        board = supervisor.board
        async with Resuming(url) as one, Resuming(url) as two:
            assert {number(one), number(two)} == {1, 2}
            assert "1 things" in await one.ask("Blue")
            assert "1 things" in await two.ask("Red")
            await the_front_knows_all(http, one, two)
            await requests_find_their_worker(url, http, two)

            await told_by(board, one, "Blue")
            os.kill(board.find(number(one)).pid, signal.SIGKILL)
            async with Resuming(url) as again:
                pass  # whoever begins anew is not kept from it
            again = Resuming(url)
            again.previous = one.answer["session_id"]
            async with again:
                assert again.answer["resumed"] is True
                assert number(again) == number(two)
                assert "3 things, the first of them Blue" in await again.ask("What did I say?")
                assert "3 things, the first of them Red" in await two.ask("And I?"), "the others have noticed nothing"
                await until(lambda: len([seat for seat in board.seats if seat.state == "ready"]) == 2)

                await one_is_replaced(url, http, supervisor, again)


async def the_front_knows_all(http: aiohttp.ClientSession, one: Peer, two: Peer) -> None:
    async with http.get("/v1/workers") as told:
        workers = (await told.json())["data"]
    assert [worker["state"] for worker in workers] == ["ready", "ready"]
    async with http.get("/v1/status") as told:
        limits = (await told.json())["limits"]
    assert (limits["max_sessions"], limits["workers"]) == (8, 2)
    async with http.get("/metrics") as told:
        page = await told.text()
    assert all(f'visavis_sessions{{worker="{n}"}} 1.0' in page for n in (1, 2))
    async with http.get("/readyz") as told:
        assert told.status == 200
    async with http.get("/") as told:
        assert "visavis" in await told.text()


async def requests_find_their_worker(url: str, http: aiohttp.ClientSession, peer: Peer) -> None:
    call = peer.answer["session_id"].replace("sess_", "rtc_")
    for query in (f"call_id={call}", "model=any"):
        async with http.ws_connect(f"/v1/realtime?{query}") as socket:
            first = await socket.receive_json()
            assert first["type"] == "session.created"
    async with http.get("/v1/realtime?call_id=rtc_2wabc", headers={"Upgrade": "websocket"}) as told:
        assert told.status in (404, 426)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect("/v1/realtime?call_id=rtc_2wabc")
    assert refused.value.status == 404
    async with http.post("/v1/realtime/client_secrets", json={}) as told:
        secret = (await told.json())["value"]
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/sdp"}
    async with http.post("/v1/realtime/calls", data="no offer", headers=headers) as told:
        assert (told.status, (await told.json())["error"]["code"]) == (400, "no_media")
    async with http.delete(f"/v1/realtime/calls/{call}0") as told:
        assert told.status == 404
    async with http.post("/v1/chat/completions", json={"model": "any", "messages": "none"}) as told:
        assert (told.status, (await told.json())["error"]["param"]) == (400, "messages")
    async with http.post("/whep", data="x", headers={"Content-Type": "application/sdp"}) as told:
        assert (await told.json())["error"]["code"] == "several_sessions"


async def one_is_replaced(url: str, http: aiohttp.ClientSession, supervisor: Supervisor, peer: Resuming) -> None:
    board, before = supervisor.board, number(peer)
    await told_by(board, peer, "What did I say?")
    async with http.post(f"/v1/workers/{before}/restart") as told:
        assert told.status == 202
    moved = await peer.event("session.moved")
    assert moved["session_id"] == peer.answer["session_id"] and moved["seconds"] == 60.0
    async with http.post(f"/v1/workers/{before}/restart") as told:
        assert told.status == 404, "it leaves already"
    after = Resuming(url)
    after.previous = peer.answer["session_id"]
    async with after:
        assert number(after) != before
        assert "5 things, the first of them Blue" in await after.ask("And now?")
        await until(lambda: peer.pc.connectionState in ("closed", "failed", "disconnected") or _ended(peer))


def _ended(peer: Peer) -> bool:
    return any("replaced" in str(event.get("error", event)) for event in peer.events[-3:])


async def test_who_comes_when_all_places_are_taken_is_told_so(loopback, tmp_path):
    async with workers(tmp_path, 1, max_sessions=1) as (url, http, _), Peer(url):
        async with http.post("/offer", json={"sdp": "v=0", "type": "offer"}) as told:
            error = (await told.json())["error"]
            assert (told.status, error["code"], error["places"]) == (503, "server_full", 1)
            assert "Retry-After" in told.headers
        async with http.get("/readyz") as told:
            assert (await told.json())["status"] == "full"
