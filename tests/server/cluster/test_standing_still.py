"""A node that stands still: it breaks no connection and answers nothing, and nobody waits for it for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from server.cluster.membership import Membership
from server.cluster.ways import MOST_MISSED, PULSE_SECONDS, Pulse
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import Nodes, Running, nodes
from tests.patience import until
from tests.server.cluster.test_membership import Local


class Still:
    """Takes connections and reads nothing."""

    def __init__(self) -> None:
        self.taken = 0
        self.url = ""

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        with suppress(OSError, asyncio.CancelledError):
            await reader.read(1 << 20)
            await reader.read()  # until the other leaves
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Still]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self


@asynccontextmanager
async def beside_one_that_stands_still() -> AsyncIterator[tuple[Nodes, Running, Still]]:
    """A node ``a``, and ``c``, which has just told of itself."""
    async with nodes({"a": 2}) as made, Still().running() as still:
        a = made["a"]
        await Membership("c", still.url, made.store, a.node.door._credentials, FakeClock(), Local()).renew()
        await a.node.membership.renew()
        yield made, a, still


async def test_who_waits_for_one_that_stands_still_is_answered_when_its_lease_is_over(loopback, monkeypatch):
    monkeypatch.setattr("server.cluster.ways.PULSE_SECONDS", 0.05)
    monkeypatch.setattr("server.cluster.ways.PROBE_SECONDS", 0.1)
    async with beside_one_that_stands_still() as (made, a, still):
        asking = [
            asyncio.create_task(asked)
            for asked in (
                told(a, "GET", "/v1/sessions/sess_c.4f/watch"),
                told(a, "DELETE", "/v1/realtime/calls/rtc_c.4f"),
                told(a, "PATCH", "/api/offer", json={"pc_id": "sess_c.4f", "candidates": []}),
                refused(a, "/v1/realtime?call_id=rtc_c.4f"),
            )
        ]
        await until(lambda: still.taken >= len(asking))
        made.store.expire("c")
        await a.node.membership.renew()
        watched, hung_up, patched, handshake = await asyncio.gather(*asking)
        assert watched[:2] == (200, "gone")
        assert hung_up == patched == (503, "node_unreachable", "5")
        assert handshake == 503
        assert await told(a, "GET", "/v1/sessions/sess_c.4f/watch") == (200, "gone", None)


async def told(node: Running, method: str, path: str, **more: Any) -> tuple[int, str, str | None]:
    """Status, state or code, and when to come again."""
    async with node.http.request(method, path, **more) as answer:
        body = await answer.json()
        said = body["error"]["code"] if "error" in body else body["state"]
        return answer.status, said, answer.headers.get("Retry-After")


async def refused(node: Running, path: str) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        await node.http.ws_connect(path)
    return error.value.status


async def test_one_is_asked_only_while_somebody_waits_and_its_lease_is_in_doubt():
    clock, answers, asked, doubt = FakeClock(), True, 0, None

    async def ask() -> bool:
        nonlocal asked
        asked += 1
        return answers

    async def beat() -> None:
        assert await clock.sleeper() == pytest.approx(PULSE_SECONDS)
        clock.advance(PULSE_SECONDS)
        await clock.sleeper()

    pulse = Pulse(lambda: doubt, ask, clock)
    with pulse.felt() as stopped, pulse.felt():
        await beat()
        assert asked == 0
        doubt = MOST_MISSED
        await beat()
        answers = False
        for n in range(MOST_MISSED):
            assert (asked, stopped()) == (1 + n, False)
            await beat()
        assert stopped()
        answers = True
        await beat()
        assert not stopped(), "it goes on"
        answers, doubt = False, 1
        await beat()
        assert stopped()
    await asyncio.sleep(0)
    assert not clock.waits and not pulse.stopped()
