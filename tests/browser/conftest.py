"""Pages opened in real browsers with a fake microphone and camera, and the real server on the browsers' loop."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import aioice.ice
import pytest
import pytest_asyncio
from playwright.async_api import ConsoleMessage, Page, async_playwright

from server.transports.webrtc import ice
from tests.browser.browsers import BrowserName, Devices, Launcher, find
from tests.browser.fake_server import FakeServer, running_server
from tests.browser.waiting import MILLISECONDS
from tests.conftest import serving

OpenPage = Callable[..., Awaitable[Page]]

PATIENT = """
    const wait = window.setTimeout.bind(window);
    window.setTimeout = (then, ms, ...more) => wait(then, ms === 10000 || ms === 20000 ? 9 * ms : ms, ...more);
"""
"""Makes the limits of ``call/connection.js`` and ``call/api.js`` long: they are for people, not for a busy machine."""

IN_BOTH = ("test_conversation", "test_whip")
"""What both browsers always do; the rest Chromium alone, and Firefox with `make test-all`."""


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent.name == "browser":
            chosen = item.callspec.params if hasattr(item, "callspec") else {}
            if chosen.get("browser_name") == "firefox" and item.path.stem not in IN_BOTH:
                item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session", params=["chromium", "firefox"])
def browser_name(request: pytest.FixtureRequest) -> BrowserName:
    """The browser of this run of the test; skipped, with the reason, where it cannot work."""
    name: BrowserName = request.param
    find(name)
    if not ice.own_addresses()[1:]:
        pytest.skip("this machine has loopback addresses only: browsers have no WebRTC connections there")
    return name


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def launcher(browser_name: BrowserName) -> AsyncIterator[Launcher]:
    async with async_playwright() as playwright:
        launcher = Launcher(playwright, browser_name)
        yield launcher
        await launcher.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser_page(launcher: Launcher) -> AsyncIterator[OpenPage]:
    """A function that opens a URL in a profile of its own and returns the Playwright page.

    ``await browser_page(url)`` has a microphone that beeps and a camera that shows a test picture; ``devices`` says
    otherwise. ``init=js`` runs a script before the page's own, ``real_limits=True`` leaves the page the limits that it
    has for people (see :data:`PATIENT`), anything else goes to ``browser.new_context`` (``viewport=``,
    ``color_scheme=``).

    At the end of the test the page must not have logged an error, thrown an exception or broken its content security
    policy; ``allow=[regex, …]`` names errors that the test provokes on purpose.
    """
    complaints: list[str] = []
    async with AsyncExitStack() as stack:

        async def open_page(
            url: str,
            *,
            devices: Devices = "all",
            init: str | None = None,
            real_limits: bool = False,
            allow: Sequence[str] = (),
            **context_options: object,
        ) -> Page:
            browser, script = await launcher.browser(devices)
            context = await browser.new_context(**context_options)
            stack.push_async_callback(context.close)
            context.set_default_timeout(MILLISECONDS)
            page = await context.new_page()
            _listen(page, complaints, [re.compile(pattern) for pattern in allow])
            for source in filter(None, (None if real_limits else PATIENT, script, init)):
                await page.add_init_script(f"(() => {{{source}}})();")
            await page.goto(url)
            return page

        yield open_page
    assert complaints == []


@pytest_asyncio.fixture(loop_scope="session")
async def serve(loopback: None) -> AsyncIterator[Callable[..., Any]]:
    """``url, app = await serve(engines, **settings)``: the real application on a free port, on the browsers' loop."""
    async with serving() as start:
        yield start


@pytest_asyncio.fixture(loop_scope="session")
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeServer]:
    """A server that says what the test tells it to, reachable by both browsers as they are."""
    interfaces = aioice.ice.get_host_addresses
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **which: ["127.0.0.1", *interfaces(**which)])
    async with running_server() as server:
        yield server


def _listen(page: Page, complaints: list[str], allowed: list[re.Pattern[str]]) -> None:
    def complain(text: str) -> None:
        if not any(pattern.search(text) for pattern in allowed):
            complaints.append(text)

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            complain(message.text)

    page.on("console", on_console)
    page.on("pageerror", lambda error: complain(str(error)))
