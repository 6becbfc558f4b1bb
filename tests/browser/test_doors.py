"""Who gets a conversation, tried in real browsers: the server's own page, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

from server.http.signaling.offer import REGISTRY
from tests.browser.waiting import CONNECTED, in_browsers, until

pytestmark = in_browsers

REFUSED = r"status of 40[13]"
UNSEEN = ["CORS policy", "ERR_FAILED", "The Same Origin Policy disallows"]
"""How Chromium and Firefox say that a page may not see an answer."""
CALL = """async ([address, key]) => {
    const connection = new RTCPeerConnection();
    connection.addTransceiver("audio", { direction: "recvonly" });
    connection.createDataChannel("oai-events");
    await connection.setLocalDescription();
    const { type, sdp } = connection.localDescription;
    const headers = { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    try {
        const answer = await fetch(address, { method: "POST", headers, body: JSON.stringify({ type, sdp }) });
        const body = await answer.json();
        return [answer.status, body.error?.code ?? "", body.error?.message ?? ""];
    } catch (error) {
        return [0, error.name, ""]; // the browser does not let the page see the answer
    }
}"""
BLIND_CALL = """async (address) => {
    const body = JSON.stringify({ type: "offer", sdp: "v=0" });
    const answer = await fetch(address, { method: "POST", mode: "no-cors", body });
    return answer.type;
}"""

Serve = Callable[[web.Application], Awaitable[int]]


@pytest_asyncio.fixture(loop_scope="session")
async def serve_app() -> AsyncIterator[Serve]:
    """``port = await serve_app(app)``: somebody else's site on this machine."""
    async with AsyncExitStack() as stack:

        async def start(app: web.Application) -> int:
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return int(runner.addresses[0][1])

        yield start


def site() -> web.Application:
    """A site with an empty page."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><link rel=icon href=data:,>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    return app


def proxy(target: asyncio.Future[str]) -> web.Application:
    """A reverse proxy that writes a Host of its own, as many do unless told otherwise."""

    async def forward(request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name not in ("Host", "Accept-Encoding")}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, await target + request.path_qs, headers=headers, data=await request.read()
            ) as answer,
        ):
            passed = {
                name: answer.headers[name]
                for name in ("Content-Type", "Content-Security-Policy")
                if name in answer.headers
            }
            return web.Response(status=answer.status, body=await answer.read(), headers=passed)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forward)
    return app


def port_of(url: str) -> int:
    port = URL(url).port
    assert port is not None
    return port


async def test_a_name_pointed_here_gets_no_conversation(serve, browser_page):
    """DNS rebinding: the attacker's page has a name of its own, which now leads to 127.0.0.1."""
    url, app = await serve()
    page = await browser_page(f"http://evil.test:{port_of(url)}/", allow=[REFUSED])
    assert await page.title() == "visavis"
    status, code, message = await page.evaluate(CALL, ["/offer", ""])
    assert (status, code) == (403, "host_not_allowed")
    assert "VISAVIS_PUBLIC_ORIGINS=https://evil.test" in message
    assert len(app[REGISTRY]) == 0


async def test_a_foreign_page_gets_no_conversation(serve, serve_app, browser_page, caplog):
    url, app = await serve()
    port = await serve_app(site())
    page = await browser_page(f"http://evil.test:{port}/", allow=[REFUSED, *UNSEEN])
    assert await page.evaluate(CALL, [f"{url}/offer", ""]) == [0, "TypeError", ""]
    with caplog.at_level("INFO", "server.http.auth"):
        assert await page.evaluate(BLIND_CALL, f"{url}/offer") == "opaque"
    assert "refused POST /offer from 127.0.0.1: origin_not_allowed" in caplog.text
    assert len(app[REGISTRY]) == 0


async def test_an_allowed_page_gets_one(serve, serve_app, browser_page):
    port = await serve_app(site())
    url, app = await serve(allowed_origins=f"http://app.test:{port}", api_key="secret-key")
    page = await browser_page(f"http://app.test:{port}/", allow=[REFUSED])
    assert (await page.evaluate(CALL, [f"{url}/offer", ""]))[:2] == [401, "missing_api_key"]
    assert (await page.evaluate(CALL, [f"{url}/offer", "secret-key"]))[0] == 200
    assert len(app[REGISTRY]) == 1


async def test_behind_a_proxy_the_page_loads_and_says_what_to_configure(serve, serve_app, browser_page):
    target: asyncio.Future[str] = asyncio.Future()
    origin = f"http://localhost:{await serve_app(proxy(target))}"
    url, app = await serve()
    target.set_result(url)
    page = await browser_page(f"{origin}/", allow=[REFUSED])
    await page.get_by_role("button", name="Start").click()
    await until(page, "state => state.problem === 'address_unknown'")
    assert f"VISAVIS_PUBLIC_ORIGINS={origin}" in await page.inner_text("#problem-text")
    assert (await page.evaluate(CALL, ["/offer", ""]))[:2] == [403, "origin_not_allowed"]
    assert len(app[REGISTRY]) == 0


@pytest.mark.long
async def test_behind_a_proxy_that_is_known_the_conversation_begins(serve, serve_app, browser_page):
    target: asyncio.Future[str] = asyncio.Future()
    origin = f"http://localhost:{await serve_app(proxy(target))}"
    url, app = await serve(public_origins=origin)
    target.set_result(url)
    page = await browser_page(f"{origin}/")
    await page.get_by_role("button", name="Start").click()
    await until(page, CONNECTED)
    assert len(app[REGISTRY]) == 1


async def test_the_page_with_a_key(serve, browser_page):
    url, app = await serve(api_key="secret-key")
    page = await browser_page(f"{url}/#key=secret-key")
    await page.get_by_role("button", name="Start").click()
    await until(page, CONNECTED)
    assert len(app[REGISTRY]) == 1


async def test_the_page_asks_for_the_key(serve, browser_page):
    url, app = await serve(api_key="secret-key")
    page = await browser_page(url, allow=[REFUSED])
    await until(page, "state => state.problem === 'unauthorised'")
    assert len(app[REGISTRY]) == 0


RELAYED = """
    const set = RTCPeerConnection.prototype.setConfiguration;
    RTCPeerConnection.prototype.setConfiguration = function (configuration) {
        window.relays = configuration.iceServers;
        return set.call(this, { ...configuration, iceServers: [] });
    };
"""


async def test_the_page_uses_the_relays_that_it_is_given(server, browser_page):
    server.ice_servers = [{"urls": ["turn:turn.example.org"], "username": "1:page", "credential": "c"}]
    page = await browser_page(server.url, init=RELAYED)
    await page.get_by_role("button", name="Start").click()
    await server.connected()
    assert await page.evaluate("() => window.relays") == server.ice_servers
