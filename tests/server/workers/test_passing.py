"""A client that leaves while the other says nothing: whatever was held for it is let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from server.http.proxies import Proxies
from server.workers.passing import Passing
from tests.patience import until


class Silent:
    """A server that says so much and then nothing more, and what it has been asked."""

    def __init__(self) -> None:
        self.asked = self.left = 0

    async def begun(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"so much")
        await self._for_ever(request)
        return response

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
    behind = TestServer(inner)
    await behind.start_server()
    way = Passing(aiohttp.TCPConnector(limit=0), Proxies(()), "http", str(behind.make_url("")).rstrip("/"))

    async def passed(request: web.Request) -> web.StreamResponse:
        under_way.add(request.path)
        try:
            return await way.answer(request)
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
