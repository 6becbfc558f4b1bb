"""Two worker processes with fake engines behind a front: real calls, a killed worker, one that hangs, and one that is
replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from functools import partial
from importlib.util import find_spec
from typing import Any

import aiohttp
import pytest

from server.settings import SettingsError
from server.workers import health
from server.workers.board import Board
from server.workers.doors import Claim
from server.workers.ids import worker_in
from server.workers.supervisor import Supervisor
from tests.fakes.front import workers as several
from tests.fakes.peer import Peer
from tests.patience import PATIENCE, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")


workers = partial(several, ice_address="127.0.0.1")


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


async def watched(http: aiohttp.ClientSession, peer: Peer, query: str = "", **asked: Any) -> dict[str, Any]:
    """What the front says of the worker of a session."""
    assert peer.answer["watched"] is True
    async with http.get(f"/v1/sessions/{peer.answer['session_id']}/watch{query}", **asked) as told:
        answer: dict[str, Any] = await told.json()
        assert told.status == 200, answer
        return answer


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
            watching = asyncio.create_task(watched(http, one))
            await until(lambda: len(supervisor.watches) == 1)
            assert (await watched(http, two, "?wait=0"))["state"] == "serving"
            os.kill(board.find(number(one)).pid, signal.SIGKILL)
            assert (await watching)["state"] == "gone"
            assert (await watched(http, one))["state"] == "gone", "who asks later is told, too"
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
    leaving = asyncio.create_task(watched(http, peer))
    await until(lambda: len(supervisor.watches) == 1)
    async with http.post(f"/v1/workers/{before}/restart") as told:
        assert (told.status, await told.json()) == (202, {"number": before, "state": "restarting"})
    moved = await peer.event("session.moved")
    assert moved["session_id"] == peer.answer["session_id"] and moved["seconds"] == 60.0
    assert (await leaving)["state"] == "leaving"
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


async def test_what_there_is_one_of_goes_on_when_the_oldest_worker_is_gone(loopback, tmp_path):
    """Wyoming and gRPC, client secrets, and the count of requests with one key."""
    wyoming, grpc = Claim("wyoming_port", "127.0.0.1", 0), Claim("grpc_port", "127.0.0.1", 0)
    with pytest.raises(SettingsError, match="wyoming_port: cannot listen"), socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        Claim("wyoming_port", "127.0.0.1", other.getsockname()[1])
    given = {
        "wyoming_port": wyoming.port,
        "api_key": "the-key-of-all",
        "rate_limit_per_key": 1.0,
        "rate_limit_burst": 9,
    }
    if find_spec("grpc") is not None:
        given["grpc_port"] = grpc.port
    own = {"Authorization": "Bearer the-key-of-all"}
    try:
        async with workers(tmp_path, **given) as (_, http, supervisor):
            await the_doors_answer(given)
            async with http.post("/v1/realtime/client_secrets", json={}, headers=own) as told:
                secret = await told.json()
            async with http.delete(f"/v1/realtime/client_secrets/{secret['id']}x", headers=own) as told:
                assert told.status == 404
            with_secret = {"Authorization": f"Bearer {secret['value']}", "Content-Type": "application/sdp"}
            maker = worker_in(secret["value"])
            os.kill(supervisor.board.find(maker).pid, signal.SIGKILL)
            await until(lambda: supervisor.board.find(maker) is None)
            async with http.post("/v1/realtime/calls", data="no offer", headers=with_secret) as told:
                assert (told.status, (await told.json())["error"]["code"]) == (400, "no_media"), "it opens calls still"
            await the_doors_answer(given)
            async with http.get("/v1/realtime/client_secrets", headers=own) as told:
                assert [row["id"] for row in (await told.json())["data"]] == [secret["id"]]
            statuses = [await status_of(http, "/v1/models", own) for _ in range(9)]
            assert statuses[:2] == [200, 200] and statuses[-1] == 429, "all workers count together"
            assert await status_of(http, "/v1/workers", own) == 429
    finally:
        wyoming.close()
        grpc.close()


async def the_doors_answer(given: dict[str, Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", given["wyoming_port"])
                writer.write(b'{"type": "describe"}\n')
                line = await reader.readline()
                writer.close()
                if b'"info"' in line:
                    break
            except OSError:
                await asyncio.sleep(0.02)  # the next one is opening them
    if "grpc_port" in given:
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        async with grpc.aio.insecure_channel(f"127.0.0.1:{given['grpc_port']}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            told = await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=PATIENCE)
            assert told.status == health_pb2.HealthCheckResponse.SERVING


async def status_of(http: aiohttp.ClientSession, path: str, headers: dict[str, str]) -> int:
    async with http.get(path, headers=headers) as told:
        return told.status


@pytest.mark.long
async def test_the_sessions_of_a_worker_that_hangs_go_on_and_it_is_replaced(loopback, tmp_path, monkeypatch):
    async with workers(tmp_path, max_sessions=8) as (url, http, supervisor):
        board = supervisor.board
        async with Resuming(url) as one, Resuming(url):
            assert "1 things" in await one.ask("Blue")
            await told_by(board, one, "Blue")
            monkeypatch.setattr(health, "QUIET_SECONDS", 1.0)
            hanging = board.find(number(one))
            os.kill(hanging.pid, signal.SIGSTOP)
            assert (await watched(http, one))["state"] == "gone"
            again = Resuming(url)
            again.previous = one.answer["session_id"]
            async with again:
                assert number(again) != number(one)
                assert "3 things, the first of them Blue" in await again.ask("What did I say?")
                monkeypatch.setattr(health, "DEAD_SECONDS", 1.0)
                await until(lambda: hanging not in board.seats)
        assert board.house() is not None
