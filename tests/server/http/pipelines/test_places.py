"""Who runs, who waits, who is refused; and late runs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from server.http.errors import HttpError
from server.http.pipelines.places import Places
from tests.fakes.engines import FakeModel
from tests.patience import until
from tests.server.http.rest.clients import HangingModel, bursts, sound_file

TEXT = {"Content-Type": "text/plain"}


class Visit:
    """One that comes, stays until it is let go, and notes its name when it gets in."""

    def __init__(self, places: Places, name: str, inside: list[str], priority: Any = "normal") -> None:
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._stay(places, name, inside, priority))

    async def _stay(self, places: Places, name: str, inside: list[str], priority: Any) -> None:
        async with places.place(priority):
            inside.append(name)
            await self.go.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_urgent_overtake_and_equals_keep_their_order():
    places, inside = Places(1, 10), list[str]()
    visits = [Visit(places, "first", inside)]
    await settle()
    for name, priority in (("a", "normal"), ("b", "low"), ("c", "critical"), ("d", "normal"), ("e", "high")):
        visits.append(Visit(places, name, inside, priority))
        await settle()
    assert (places.running, places.waiting) == (1, 5)
    for visit in visits:
        visit.go.set()
    await asyncio.gather(*(visit.task for visit in visits))
    assert inside == ["first", "c", "e", "a", "d", "b"]
    assert (places.running, places.waiting) == (0, 0)


async def test_a_full_queue_refuses_and_the_more_urgent_take_the_place_of_the_last():
    places, inside = Places(1, 2), list[str]()
    visits = [
        Visit(places, name, inside, priority) for name, priority in (("in", "normal"), ("a", "low"), ("b", "low"))
    ]
    await settle()
    late = Visit(places, "late", inside, "low")
    await asyncio.wait([late.task])
    with pytest.raises(HttpError, match="1 pipelines run and 2 requests wait"):
        late.task.result()
    urgent = Visit(places, "urgent", inside, "critical")
    await asyncio.wait([visits[2].task])
    with pytest.raises(HttpError):
        visits[2].task.result()
    for visit in (*visits, urgent):
        visit.go.set()
    await asyncio.gather(visits[0].task, visits[1].task, urgent.task)
    assert inside == ["in", "urgent", "a"]
    assert places.refused == 2


async def test_who_gives_up_waiting_leaves_the_queue_and_no_place_is_lost():
    places, inside = Places(1, 5), list[str]()
    first, second, third = (Visit(places, name, inside) for name in "abc")
    await settle()
    second.task.cancel()
    await settle()
    assert places.waiting == 1
    first.go.set()
    await settle()
    third.task.cancel()  # it has just been given the place
    await asyncio.gather(second.task, third.task, return_exceptions=True)
    assert (places.running, places.waiting) == (0, 0)
    async with places.place():
        assert places.running == 1


async def test_a_hundred_at_a_time_are_all_served(house, engines):
    engines.llm = FakeModel(*["Fine."] * 100)
    http = await house(pipeline_runs=4, pipeline_queue=128)

    async def ask(number: int) -> tuple[int, bytes]:
        headers = {**TEXT, "X-Priority": ("low", "normal", "high", "critical")[number % 4]}
        async with http.post("/v1/pipelines/talk", data=f"Hello {number}", headers=headers) as response:
            return response.status, await response.read()

    answers = await asyncio.gather(*map(ask, range(100)))
    assert {status for status, _ in answers} == {200}
    assert {body.strip() for _, body in answers} == {b"Fine."}
    assert len(engines.llm.requests) == 100


async def test_those_that_there_is_no_room_for_are_asked_to_come_again(house, engines):
    engines.llm = model = HangingModel()
    http = await house(pipeline_runs=1, pipeline_queue=0)
    first = asyncio.create_task(http.post("/v1/pipelines/talk", data="Hello", headers=TEXT).__aenter__())
    await model.asked.wait()
    async with http.post("/v1/pipelines/talk", data="Hello", headers=TEXT) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (503, "server_busy")
        assert int(response.headers["Retry-After"]) > 0
    async with http.get("/v1/pipelines") as response:
        assert response.status == 200
    first.cancel()
    await model.stopped.wait()


async def test_a_client_that_leaves_gives_its_place_in_the_queue_back(house, engines):
    engines.llm = model = HangingModel()
    http = await house(pipeline_runs=1, pipeline_queue=1)
    first = asyncio.create_task(http.post("/v1/pipelines/talk", data="Hello", headers=TEXT).__aenter__())
    await model.asked.wait()
    second = asyncio.create_task(http.post("/v1/pipelines/talk", data="Hello", headers=TEXT).__aenter__())
    await until(lambda: house.places().waiting == 1)
    second.cancel()
    await until(lambda: house.places().waiting == 0)
    first.cancel()
    await model.stopped.wait()
    await until(lambda: house.places().running == 0)


@pytest.mark.parametrize("accept", ["audio/pcm", "application/json", "text/event-stream"])
@pytest.mark.parametrize("pipeline", ["voice", "whole"])
async def test_a_run_that_is_late_gives_what_there_is_or_an_error(house, engines, pipeline, accept):
    engines.llm = HangingModel()
    http = await house()
    headers = {"Content-Type": "application/octet-stream", "Accept": accept, "X-Max-Latency-Ms": "150"}
    file = sound_file(bursts(0.5))
    async with http.post(f"/v1/pipelines/{pipeline}", data=file, headers=headers) as response:
        told = await response.read()
        if accept == "text/event-stream":
            assert b'"code":"latency_exceeded"' in told
        else:
            assert (response.status, json.loads(told)["error"]["code"]) == (504, "latency_exceeded")
    url, headers = f"/v1/pipelines/{pipeline}", {**headers, "X-On-Late": "partial"}
    async with http.post(url, data=file, headers=headers) as response:
        told = await response.read()
        assert response.status == 200
        if accept == "audio/pcm":
            assert (response.headers["X-Partial"], told) == ("latency_exceeded", b"")
        elif accept == "application/json":
            assert response.headers["X-Partial"] == "latency_exceeded"
            assert json.loads(told)["late"] is True
        else:
            assert b'"outcome":"late","late":true' in told
        run_id = response.headers["X-Run-Id"]
    async with http.get(f"/v1/pipelines/runs/{run_id}") as response:
        assert (await response.json())["outcome"] == "late"


async def test_a_run_that_waits_for_its_place_too_long_is_late(house, engines):
    engines.llm = model = HangingModel()
    http = await house(pipeline_runs=1)
    first = asyncio.create_task(http.post("/v1/pipelines/talk", data="Hello", headers=TEXT).__aenter__())
    await model.asked.wait()
    async with http.post("/v1/pipelines/talk", data="Hello", headers={**TEXT, "X-Max-Latency-Ms": "20"}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (504, "latency_exceeded")
    first.cancel()
    await model.stopped.wait()
