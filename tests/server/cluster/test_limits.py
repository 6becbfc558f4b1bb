"""Limits that hold for all nodes together, a moment late, and for each alone while the store is away."""

from __future__ import annotations

import pytest

from server.cluster.credentials import Credentials
from server.cluster.limits import AWAY_SECONDS, SHARE_SECONDS, SharedLimits
from server.http.access.rate_limits import RateLimit
from server.workers.ids import node_in
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import SECRET, FakeStore, Nodes, nodes
from tests.patience import until
from tests.server.cluster.test_nodes import offered


@pytest.fixture
async def made():
    """Two nodes with 60 requests a minute, four of them at once."""
    store, clock = FakeStore(), FakeClock()
    limits = [RateLimit(60, 4, clock) for _ in range(2)]
    shared = [SharedLimits(store, Credentials(SECRET, lambda: 0.0), clock) for _ in limits]
    for one, limit in zip(shared, limits, strict=True):
        one.share({"address": limit})
    yield store, clock, limits
    for one in shared:
        await one.close()


async def test_all_nodes_count_together_and_nobody_is_told_who_asks(made):
    store, clock, (a, b) = made
    assert [a.wait("192.0.2.1") for _ in range(4)] == [0] * 4
    assert await clock.sleeper() == SHARE_SECONDS
    clock.advance(SHARE_SECONDS)
    await until(lambda: list(store.spent.values()) == [4.0])
    assert "192" not in str(store.spent)
    assert b.wait("192.0.2.1") == 0, "it learns of an address when that has asked it"
    await clock.sleeper()
    clock.advance(SHARE_SECONDS)
    await until(lambda: list(store.spent.values()) == [5.0])
    await until(lambda: b.wait("192.0.2.1") > 0)
    assert b.wait("192.0.2.2") == 0


async def test_each_counts_alone_while_the_store_is_away(made):
    store, clock, (a, _) = made
    store.away = True
    assert [a.wait("a") for _ in range(5)] == [0, 0, 0, 0, 1]
    await clock.sleeper()
    clock.advance(SHARE_SECONDS)
    await until(lambda: store.asked == 1)
    assert await clock.sleeper() == AWAY_SECONDS
    store.away = False
    assert a.wait("b") == 0
    clock.advance(AWAY_SECONDS)
    await clock.sleeper()
    clock.advance(SHARE_SECONDS)
    await until(lambda: list(store.spent.values()) == [1.0])
    assert not a.untold(9)


async def test_a_request_counts_once_however_many_nodes_it_passes(loopback, monkeypatch):
    monkeypatch.setattr("server.cluster.limits.SHARE_SECONDS", 0.02)
    given = {"rate_limit_per_address": 6, "rate_limit_per_key": 6, "rate_limit_burst": 4, "api_key": "0123456789"}
    async with nodes({"a": 1, "b": 4}, **given) as made:
        owners = [node_in((await offered(made["a"]))[1]["session_id"]) for _ in range(4)]
        assert owners.count("b") == 3
        await until(lambda: counted(made) == [40.0, 40.0])
        assert (await offered(made["a"]))[0] == 429
        await offered(made["b"])  # it may not have heard of the address yet
        await until(lambda: not made["b"].node._limits._news.is_set())
        async with made["b"].http.get("/v1/nodes") as told:
            assert (told.status, (await told.json())["error"]["code"]) == (429, "rate_limit_exceeded")


def counted(made: Nodes) -> list[float]:
    """Seconds that were used up by the address and the key."""
    return sorted(made.store.spent.values())
