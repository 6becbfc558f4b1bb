"""The pages of ``docs/how-to/clients/pipecat.md`` work as they stand there, but for the server's address."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.speech import SPEAKER, say, traffic
from tests.browser.waiting import in_browsers
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import loud
from tests.fakes.programs import fences, patched
from tests.pipecat.knowing import Knowing
from tests.pipecat.packages import CLIENT, CONSOLE, bundled

pytestmark = in_browsers

GUIDE = (Path(__file__).parents[2] / "docs" / "how-to" / "clients" / "pipecat.md").read_text("utf-8")
ADDRESS = "http://127.0.0.1:8080"
TURN = loud(1.0).astype("<i2").tobytes()
ALOUD = (
    "<!doctype html><title>console</title><link rel='icon' href='data:,'><body></body><script src=bundle.js></script>"
)


def engines() -> dict[str, Any]:
    return {
        "stt": FakeRecognizer(*["hello there"] * 9),
        "llm": Knowing(hello_there="Good day.", what_time_is_it="It is noon."),
    }


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


async def test_the_packages_are_those_that_are_tried():
    for name, version in re.findall(r"(@pipecat-ai/[a-z-]+)@([0-9.]+)", GUIDE):
        assert CONSOLE[name] == version


@pytest.fixture
def open_page(serve_pages, site, browser_page, tmp_path) -> Callable[..., Awaitable[Page]]:
    """``page = await open_page(html, source, packages, **engines)``; it is closed before the server ends."""

    async def start(html: str, source: str, packages: dict[str, str], **engines: Any) -> Page:
        assert source.count(ADDRESS) == 1
        url, _ = await serve_pages(fake_engines(**engines))
        flag = "--define:process.env.NODE_ENV='production'"
        script = await asyncio.to_thread(bundled, source.replace(ADDRESS, url), packages, tmp_path, flag)
        site.files |= {"": html, "bundle.js": script}
        page: Page = await browser_page("about:blank", init=SPEAKER)
        await page.goto(site.origin)
        return page

    return start


async def test_talking_and_typing(open_page):
    page = await open_page(blocks("html")[0], blocks("js")[0], CLIENT, **engines())
    await page.get_by_role("button", name="Start").click()
    await page.wait_for_function("window.calls?.[0]?.connectionState === 'connected'")
    await say(page, TURN)
    lines = page.locator("li")
    await expect(lines).to_have_text(["user: hello there", "assistant: Good day."])
    await page.get_by_placeholder("or type").fill("what time is it")
    await page.get_by_placeholder("or type").press("Enter")
    await expect(lines).to_have_text(
        ["user: hello there", "assistant: Good day.", "user: what time is it", "assistant: It is noon."]
    )
    await traffic(page, "audio sent", "energy heard")


async def test_showing(open_page, tmp_path):
    app, camera = blocks("js")
    (tmp_path / "camera.js").write_text(camera, "utf-8")
    app = app.replace("new WavMediaManager()", "new CameraMediaManager()")
    app = 'import { CameraMediaManager } from "./camera.js";\n' + app
    page = await open_page(blocks("html")[0], app, CLIENT)
    await page.get_by_role("button", name="Start").click()
    await page.wait_for_function("document.getElementById('picture').videoWidth > 0")
    await traffic(page, "audio sent", "pictures sent", "pictures decoded")


async def test_a_client_that_was_written_for_pipecat(open_page):
    text = (Path(__file__).parents[2] / "docs" / "migrate" / "from-pipecat.md").read_text("utf-8")
    (before,), (diff, _) = fences(text, "js"), fences(text, "diff")
    page = await open_page(ALOUD, patched(before, diff), CLIENT, stt=FakeRecognizer(), llm=FakeModel("I can speak."))
    await expect(page.locator("p")).to_have_text(["I can speak."])
    await traffic(page, "energy heard")


@pytest.mark.long
async def test_the_console_of_voice_ui_kit(open_page):
    page = await open_page(ALOUD, blocks("jsx")[0], CONSOLE, **engines())
    await page.get_by_role("button", name="Connect").first.click()
    await page.wait_for_function("window.calls?.[0]?.connectionState === 'connected'")
    await say(page, TURN)
    await expect(page.get_by_text("hello there").first).to_be_visible()
    await expect(page.get_by_text("Good day.").first).to_be_visible()
