"""A client that leaves while the other says nothing: whatever was held for it is let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from server.http.proxies import Proxies
from server.workers.passing import Passing, StoppedError, json_of
from tests.patience import until


class Silent:
    """A server that says so much and then nothing more, and what it has been asked."""

    def __init__(self) -> None:
        self.asked = self.left = 0
        self.lost = False
        """Whether it was found to stand still."""

    async def begun(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"so much")
        await self._for_ever(request)
        return response

    async def socket(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("so much")
        await self._for_ever(request)
        return socket

    async def unanswered(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        await self._for_ever(request)
        return web.Response()

    async def _for_ever(self, request: web.Request) -> None:
        try:
            await until(lambda: request.transport is None)
        finally:
            self.left += 1


@asynccontextmanager
async def passing() -> AsyncIterator[tuple[Silent, str, set[str]]]:
    """The silent one, where it is reached through :class:`Passing`, and the names of the requests under way."""
    silent, under_way = Silent(), set[str]()
    inner = web.Application()
    inner.router.add_get("/begun", silent.begun)
    inner.router.add_get("/unanswered", silent.unanswered)
    inner.router.add_get("/socket", silent.socket)
    behind = TestServer(inner)
    await behind.start_server()
    way = Passing(aiohttp.TCPConnector(limit=0), Proxies(()), "http", str(behind.make_url("")).rstrip("/"))

    async def passed(request: web.Request) -> web.StreamResponse:
        under_way.add(request.path)
        try:
            return await way.answer(request, lost=lambda: silent.lost)
        except StoppedError as error:
            return error.response
        finally:
            under_way.discard(request.path)

    outer = web.Application()
    outer.router.add_get("/{path:.*}", passed)
    front = web.AppRunner(outer, handler_cancellation=False, shutdown_timeout=0.1)  # as the server's
    await front.setup()
    await web.TCPSite(front, "127.0.0.1", 0).start()
    try:
        yield silent, f"http://127.0.0.1:{front.addresses[0][1]}", under_way
    finally:
        await way.close()
        await front.cleanup()
        await behind.close()


async def test_who_leaves_in_mid_answer_or_before_it_leaves_nothing_behind():
    async with passing() as (silent, url, under_way):
        async with aiohttp.ClientSession() as http:
            told = await http.get(f"{url}/begun")
            assert await told.content.readany() == b"so much"
            waiting = [
                asyncio.create_task(http.get(f"{url}/unanswered")),
                asyncio.create_task(http.ws_connect(f"{url}/unanswered")),
            ]
            await until(lambda: silent.asked == 3)
            assert under_way == {"/begun", "/unanswered"}
            for asking in waiting:
                asking.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            told.close()
        await until(lambda: not under_way)
        await until(lambda: silent.left == 3)


async def test_nobody_waits_for_one_that_stands_still(monkeypatch):
    monkeypatch.setattr("server.workers.passing.CLOSE_SECONDS", 0.1)
    async with passing() as (silent, url, under_way), aiohttp.ClientSession() as http:
        told, socket = await http.get(f"{url}/begun"), await http.ws_connect(f"{url}/socket")
        assert await told.content.readany() == b"so much" and await socket.receive_str() == "so much"
        asking = asyncio.create_task(http.get(f"{url}/unanswered"))
        await until(lambda: silent.asked == 3)
        silent.lost = True
        refused = await asking
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        with pytest.raises(aiohttp.ClientPayloadError):  # what has come is not taken for all of it
            await told.read()
        assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE and socket.close_code == 1011
        await until(lambda: not under_way)


@pytest.mark.parametrize(
    "body", [b"", b"[" * 100_000, b'{"a":' * 6000, b"NaN", b'{"resume": "sess_\\ud800"}', b"\xff", b"9" * 5000 + b"x"]
)
def test_what_is_no_json_is_none_and_never_our_failure(body):
    assert json_of(body) is None


def test_json_is_read():
    assert json_of(b'{"resume": "sess_1wa"}') == {"resume": "sess_1wa"}
