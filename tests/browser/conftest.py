"""A real Chromium with a fake microphone and camera, for tests of the page."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import ConsoleMessage, Page, async_playwright

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

OpenPage = Callable[..., Awaitable[Page]]


def find_chromium() -> str | None:
    """The browser to drive: ``VISAVIS_CHROMIUM``, or the first usual name on the path."""
    chosen = os.environ.get("VISAVIS_CHROMIUM")
    return chosen or next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on this machine (set VISAVIS_CHROMIUM to its path)")
    return path


@pytest.fixture
async def browser_page(chromium: str) -> AsyncIterator[OpenPage]:
    """A function that opens a URL in a browser of its own and returns the Playwright page.

    ``await browser_page(url)`` has a microphone that beeps and a camera that shows a test picture; ``wav=path`` lets
    the microphone play that file, once. It begins to play when the page asks for the microphone, before the call is
    connected: give it a second of silence first.
    ``flags=[…]`` adds command-line flags, ``replace={"--flag": "--flag=value"}`` changes one, ``init=js`` runs a script
    before the page's own, anything else goes to ``browser.new_context`` (``viewport=``, ``color_scheme=``).

    At the end of the test the page must not have logged an error, thrown an exception or broken its content security
    policy; ``allow=[regex, …]`` names console errors that the test provokes on purpose.
    """
    complaints: list[str] = []
    async with AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(async_playwright())

        async def open_page(
            url: str,
            *,
            wav: Path | str | None = None,
            flags: Sequence[str] = (),
            replace: dict[str, str] | None = None,
            init: str | None = None,
            allow: Sequence[str] = (),
            **context_options: object,
        ) -> Page:
            arguments = [(replace or {}).get(flag, flag) for flag in ARGUMENTS] + list(flags)
            if wav is not None:
                arguments.append(f"--use-file-for-fake-audio-capture={wav}%noloop")
            browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
            stack.push_async_callback(browser.close)
            page = await browser.new_page(**context_options)
            _listen(page, complaints, [re.compile(pattern) for pattern in allow])
            if init is not None:
                await page.add_init_script(init)
            await page.goto(url)
            return page

        yield open_page
    assert complaints == []


def _listen(page: Page, complaints: list[str], allowed: list[re.Pattern[str]]) -> None:
    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(pattern.search(message.text) for pattern in allowed):
            complaints.append(message.text)

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
