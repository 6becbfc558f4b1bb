"""Where a session goes by how loaded the workers are, and what is answered when all have too much to do."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.http.access.client_secrets import ClientSecrets
from server.settings import load_settings
from server.workers.board import Board, Seat, told
from server.workers.front import create_front
from tests.patience import until

OFFER = {"sdp": "v=0", "type": "offer"}


def board(*workers: tuple[int, int], places: int = 10, reserved: int = 0) -> Board:
    """Workers with so many sessions at such a level."""
    made = Board(places, reserved)
    for number, (sessions, level) in enumerate(workers, 1):
        seat = made.add(number)
        told(seat, {"type": "ready"})
        report = {"sessions": sessions, "begun": sessions, "delay_ms": 1.0, "level": level, "retry_after": 20 + number}
        told(seat, {"type": "load", **report})
    return made


def number(made: Board) -> int | None:
    seat = made.least_loaded()
    return seat.number if seat is not None else None


def test_the_least_loaded_gets_the_session_and_among_equals_the_one_with_the_fewest():
    assert number(board((1, 2), (5, 1), (4, 1))) == 3
    assert number(board((1, 4), (9, 4))) == 1


def test_only_when_all_have_too_much_to_do_there_is_no_room():
    some = board((1, 4), (5, 3))
    assert (some.busy_for, some.free) == (None, 4)
    every = board((1, 4), (5, 4))
    assert (every.busy_for, every.free, every.places_for(urgent=False)) == (21, 0, 4)
    assert board().busy_for is None, "nobody is there"


def test_a_worker_without_sessions_takes_one_whatever_slows_it_down():
    made = board((1, 4), (0, 4))
    assert (made.busy_for, number(made)) == (None, 2)


def test_one_that_leaves_does_not_count():
    made = board((1, 4), (5, 0))
    made.seats[1].state = "leaving"
    assert made.busy_for == 21


def test_places_may_be_kept():
    made = board((3, 0), (4, 0), places=8, reserved=2)
    assert (made.free, made.places_for(urgent=True)) == (0, 1)


def test_the_level_is_shown():
    assert [row["load"] for row in board((1, 2), (0, 0)).shown()] == [2, 0]


async def asked(made: Board, path: str = "/offer", **options: Any) -> tuple[int, dict[str, Any], str | None]:
    secrets = SimpleNamespace(known=ClientSecrets(time.time))
    supervisor: Any = SimpleNamespace(board=made, worker=lambda seat: None, lost=lambda seat: None, secrets=secrets)
    async with TestClient(TestServer(create_front(supervisor, load_settings({"port": 0})))) as client:
        if path != "/offer":
            response = await client.get(path)
        else:
            response = await client.post(path, **{"json": OFFER, **options})
        return response.status, await response.json(), response.headers.get("Retry-After")


async def test_the_front_refuses_when_all_have_too_much_to_do():
    status, body, retry = await asked(board((1, 4), (2, 4)))
    assert (status, body["error"]["code"], retry) == (503, "server_busy", "21")
    assert body["error"]["retry_after"] == 21
    status, body, _ = await asked(board((1, 4), (2, 4)), "/readyz")
    assert (status, body) == (503, {"status": "busy"})


@pytest.mark.parametrize(
    "urgent",
    [
        {"headers": {"X-Priority": "critical"}},
        {"json": {**OFFER, "session": {"priority": "high"}}},
        {"headers": {"Authorization": "Bearer ek_2w1234_secret"}},
    ],
)
async def test_it_asks_a_worker_where_that_may_let_somebody_in_all_the_same(urgent):
    status, body, _ = await asked(board((1, 4), (2, 4)), **urgent)
    assert (status, body["error"]["code"]) == (503, "worker_restarting"), "there is no process behind these workers"


async def test_the_front_keeps_places():
    status, body, _ = await asked(board((6, 0), places=8, reserved=2))
    assert (status, body["error"]["code"]) == (503, "server_full")
    assert "but 2 that are kept" in body["error"]["message"]
    status, body, _ = await asked(board((6, 0), places=8, reserved=2), headers={"X-Priority": "high"})
    assert body["error"]["code"] == "worker_restarting"


async def test_nobody_is_asked_in_place_of_one_that_says_nothing():
    made = board((1, 0), (1, 0))
    made.seats[1].state = "quiet"
    status, body, retry = await asked(made, "/v1/sessions/sess_2wa/recording")
    assert (status, body["error"]["code"], retry) == (503, "worker_restarting", "5")


async def test_what_is_said_of_one_that_is_to_be_replaced_is_what_the_list_says_of_it():
    made, replaced, go_on = board((1, 0), (1, 0)), list[int](), asyncio.Event()

    async def restart(number: int) -> None:
        replaced.append(number)
        await go_on.wait()
        made.find(number).state = "leaving"  # type: ignore[union-attr]

    known = SimpleNamespace(known=ClientSecrets(time.time))
    supervisor: Any = SimpleNamespace(board=made, worker=lambda seat: None, secrets=known, restart=restart)
    async with TestClient(TestServer(create_front(supervisor, load_settings({"port": 0})))) as client:
        for _ in range(2):
            told = await client.post("/v1/workers/1/restart")
            assert (told.status, await told.json()) == (202, {"number": 1, "state": "restarting"})
        assert [row["state"] for row in (await (await client.get("/v1/workers")).json())["data"]] == [
            "restarting",
            "ready",
        ]
        assert (replaced, number(made)) == ([1], 1), "it serves until another does"
        go_on.set()
        await until(lambda: made.shown()[0]["state"] == "leaving")
        assert (await client.post("/v1/workers/1/restart")).status == 404


async def test_a_session_is_not_waited_for_at_a_worker_that_says_nothing_any_more(tmp_path):
    made, sockets, lost, taken = board((0, 0), (1, 0)), [tmp_path / "1", tmp_path / "2"], list[int](), asyncio.Event()

    async def stand(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        await reader.read()
        writer.close()

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"session_id": "sess_2wa"})

    def worker(seat: Seat) -> Any:
        return SimpleNamespace(orders=SimpleNamespace(socket=sockets[seat.number - 1]))

    app = web.Application()
    app.router.add_post("/offer", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(sockets[1])).start()
    known = SimpleNamespace(known=ClientSecrets(time.time))
    supervisor: Any = SimpleNamespace(board=made, worker=worker, secrets=known, lost=lambda seat: lost.append(1))
    async with (
        await asyncio.start_unix_server(stand, str(sockets[0])),
        TestClient(TestServer(create_front(supervisor, load_settings({"port": 0})))) as client,
    ):
        asking = asyncio.create_task(client.post("/offer", json=OFFER))
        await taken.wait()
        made.seats[0].state = "quiet"
        assert await (await asking).json() == {"session_id": "sess_2wa"}
    assert not lost, "who looks after it ends it, if it does not go on"
    assert made.seats[0].coming == 0
    await runner.cleanup()
