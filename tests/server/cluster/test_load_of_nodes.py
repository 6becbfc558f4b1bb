"""Nodes that have too much to do, or keep places: who is let in all the same, and what the others are told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from server.cluster.local import Workers
from server.http.access.load import LOAD
from server.workers.ids import node_in
from tests.fakes.cluster import Running, nodes
from tests.server.http.access.test_load import press, refused
from tests.server.transports.test_offers_and_ice import AUDIO
from tests.server.workers.test_load_of_workers import board

OFFER = {"sdp": AUDIO, "type": "offer"}
URGENT = {"X-Priority": "high"}


async def owner(node: Running, **options: Any) -> str | None:
    """The node that takes a session which this one is asked for."""
    async with node.http.post("/offer", json=OFFER, **options) as told:
        body = await told.json()
        assert told.status == 200, body
        return node_in(body["session_id"])


async def test_places_that_are_kept_are_there_for_those_of_high_priority(loopback):
    async with nodes({"a": 2}, reserved_sessions=1) as made:
        a = made["a"]
        assert await owner(a) == "a"
        async with a.http.post("/offer", json=OFFER) as told:
            error = (await told.json())["error"]
            assert (told.status, error["code"]) == (503, "server_full")
            assert "1 that are kept for sessions of high priority" in error["message"]
        assert await owner(a, headers=URGENT) == "a"


async def test_each_node_gives_those_that_it_keeps_itself(loopback):
    async with nodes({"a": 2, "b": 2}, reserved_sessions=1) as made:
        a, b = made["a"], made["b"]
        assert [await owner(a), await owner(a)] == ["a", "b"]
        await made.renew()
        assert [await owner(a, headers=URGENT), await owner(b, headers=URGENT)] == ["a", "b"]
        await made.renew()
        async with a.http.post("/offer", json=OFFER, headers=URGENT) as told:
            error = (await told.json())["error"]
            assert (told.status, error["code"], error["places"]) == (503, "server_full", 4)


async def test_at_the_highest_level_each_node_takes_its_first_session_and_urgent_ones(loopback):
    async with nodes({"a": 4, "b": 4}) as made:
        a, b = made["a"], made["b"]
        for node in (a, b):
            press(node.app[LOAD], 4)
        await made.renew()
        assert [await owner(a), await owner(a)] == ["a", "b"], "what slows an idle node down is not its own"
        for _ in range(2):
            for node in (a, b):
                async with node.http.post("/offer", json=OFFER) as told:
                    error = await refused(told)
                    assert str(error["retry_after"]) == told.headers["Retry-After"]
                with pytest.raises(aiohttp.WSServerHandshakeError) as over_a_socket:
                    await node.http.ws_connect("/v1/realtime?model=any")
                assert over_a_socket.value.status == 503
            await made.renew()  # now each knows of the other what it was told before
        assert [await owner(a, headers=URGENT), await owner(b, headers=URGENT)] == ["a", "b"]


def test_the_first_session_of_an_idle_worker_counts_for_its_node_too():
    def level(*workers: tuple[int, int]) -> int:
        supervisor: Any = SimpleNamespace(board=board(*workers))
        return Workers(supervisor).level

    assert (level((0, 4), (1, 4)), level((1, 4), (2, 4)), level((0, 2), (1, 1))) == (3, 4, 1)
