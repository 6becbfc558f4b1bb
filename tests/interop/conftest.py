"""Stock clients on the real application with engines that do as told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from server.engines.build import Engines
from server.transports.webrtc import ice
from tests import packages
from tests.browser.browsers import BrowserName, Launcher, find
from tests.browser.conftest import browser_page
from tests.browser.speech import SPEAKER
from tests.conftest import serving
from tests.interop.stock_page import BUNDLE, HERE, NPM, PAGE, Site, StockClient

__all__ = ["browser_page"]

OpenClient = Callable[..., Awaitable[StockClient]]


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The npm packages; the test is skipped where they cannot be had."""
    return packages.node_modules(NPM)


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


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    """A web site on this machine, without files yet."""
    site = Site()
    await site.start()
    yield site
    await site.close()


@pytest_asyncio.fixture(loop_scope="session")
async def serve_page(loopback: None, site: Site) -> AsyncIterator[Callable[..., Any]]:
    """As ``serve``, on the browsers' loop; pages of ``site`` may use the server."""
    async with serving(allowed_origins=(site.origin,)) as start:
        yield start


@pytest_asyncio.fixture(loop_scope="session")
async def stock(browser_page, node_modules, serve_page, site) -> OpenClient:
    """``client = await stock(engines, **settings)``: a server, and the agents' SDK in a page of ``site``."""

    async def start(engines: Engines, *, allow: tuple[str, ...] = (), **settings: Any) -> StockClient:
        url, app = await serve_page(engines, **settings)
        site.files |= {"": PAGE, "bundle": node_modules / BUNDLE, "page.js": HERE / "node" / "page.js"}
        page = await browser_page("about:blank", init=SPEAKER, allow=allow)
        client = StockClient(page, url, app)
        await page.goto(f"{site.origin}/")
        return client

    return start
