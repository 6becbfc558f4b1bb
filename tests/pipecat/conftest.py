"""Pipecat's own clients in a page of Chromium, unchanged, on the real application with engines that do as told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Page, async_playwright

from server.transports.webrtc import ice
from tests.browser.browsers import BrowserName, Launcher, find
from tests.browser.conftest import browser_page
from tests.browser.speech import SPEAKER
from tests.browser.waiting import SECONDS
from tests.conftest import serving
from tests.pipecat.packages import CLIENT, bundled

__all__ = ["browser_page"]

HERE = Path(__file__).parent
PAGE = """<!doctype html>
<title>client</title>
<link rel="icon" href="data:,">
<body></body>
<script src="bundle.js"></script>
"""


@pytest.fixture(scope="session")
def browser_name() -> BrowserName:
    """Chromium alone: what differs between browsers is tried with the server's own page."""
    find("chromium")
    if not ice.own_addresses()[1:]:
        pytest.skip("this machine has loopback addresses only: browsers have no WebRTC connections there")
    return "chromium"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def launcher(browser_name: BrowserName) -> AsyncIterator[Launcher]:
    async with async_playwright() as playwright:
        launcher = Launcher(playwright, browser_name)
        yield launcher
        await launcher.close()


class Site:
    """A web server of somebody else's, with the page of the client."""

    def __init__(self) -> None:
        self.origin = ""
        """Where it is; a browser lets pages of ``localhost`` have the microphone."""
        self.files: dict[str, str | Path] = {}
        """By name; ``""`` is the page itself."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        found = self.files.get(request.match_info["name"])
        if isinstance(found, Path):
            return web.FileResponse(found)
        if found is None:
            raise web.HTTPNotFound
        return web.Response(text=found, content_type="text/html")


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    """On a free port, without files."""
    site, app = Site(), web.Application()
    app.router.add_get("/{name:.*}", site.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        site.origin = f"http://localhost:{runner.addresses[0][1]}"
        yield site
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def serve_pages(loopback: None, site: Site) -> AsyncIterator[Callable[..., Awaitable[tuple[str, Any]]]]:
    """As ``serve``, on the browsers' loop and for pages of the site."""
    async with serving(allowed_origins=(site.origin,)) as start:
        yield start


class StockClient:
    """What a test says to the client of ``page/client.js``, and what it sees of it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def run(self, script: str, **values: Any) -> Any:
        """Evaluate an expression of ``stock``, which may name the ``values``."""
        names = ", ".join(["stock", *values])
        body = f"async (values) => {{ const {{ {names} }} = {{ stock: window.stock, ...values }}; return {script}; }}"
        return await self.page.evaluate(body, values)

    async def until(self, condition: str) -> Any:
        """Wait until an expression of ``stock`` is true; returns its value."""
        loop = f"""async () => {{
            const stock = window.stock;
            while (!({condition})) await new Promise((next) => setTimeout(next, 20));
            return {condition};
        }}"""
        try:
            async with asyncio.timeout(SECONDS):
                return await self.page.evaluate(loop)
        except TimeoutError:
            told = await self.run("[stock.states, stock.events.map(([kind]) => kind)]")
            raise AssertionError(f"not within {SECONDS:g} s: {condition}\n{json.dumps(told)}") from None


@pytest.fixture(scope="session")
def client_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stock client and ``page/client.js``, bundled."""
    source = (HERE / "page" / "client.js").read_text("utf-8")
    return bundled(source, CLIENT, tmp_path_factory.mktemp("client"))


@pytest_asyncio.fixture(loop_scope="session")
async def stock(browser_page, site, client_script) -> Callable[..., Awaitable[StockClient]]:
    """``client = await stock()``: the stock client in a page."""

    async def start(*, allow: tuple[str, ...] = ()) -> StockClient:
        page = await browser_page("about:blank", init=SPEAKER, allow=allow)
        site.files |= {"": PAGE, "bundle.js": client_script}
        await page.goto(site.origin)
        return StockClient(page)

    return start
