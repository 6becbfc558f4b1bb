"""The pages of ``docs/how-to/clients/agents-js.md`` work as they stand there, but for the server's address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.speech import SPEAKER, say, traffic
from tests.browser.waiting import in_browsers
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import loud
from tests.interop.stock_page import BUNDLE

pytestmark = in_browsers

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "clients" / "agents-js.md"
ADDRESS = "http://127.0.0.1:8080"
TURN = loud(0.8).astype("<i2").tobytes()


@pytest.fixture
def guide(browser_page, serve_page, node_modules, site):
    """``page = await guide(number, **engines)``: the ``number``-th page of the guide."""

    async def start(number: int, **engines: Any) -> Page:
        html = re.findall(r"```html\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)[number]
        assert html.count(ADDRESS) == 1
        url, _ = await serve_page(fake_engines(**engines))
        site.files |= {"": html.replace(ADDRESS, url), "bundle": node_modules / BUNDLE}
        page: Page = await browser_page("about:blank", init=SPEAKER)
        await page.goto(f"{site.origin}/")
        return page

    return start


async def test_talking_and_typing(guide):
    page = await guide(0, stt=FakeRecognizer("hello there"), llm=FakeModel("Good day.", "It is noon."))
    await page.get_by_role("button", name="Start").click()
    await page.wait_for_function("window.calls?.[0]?.connectionState === 'connected'")
    await page.evaluate("session.transport.on('output_audio_buffer.stopped', () => (window.heard = true))")
    await say(page, TURN)
    lines = page.locator("li")
    await expect(lines).to_have_text(["user: hello there", "assistant: Good day."])
    await page.wait_for_function("window.heard")
    await page.get_by_placeholder("or type").fill("What time is it?")
    await page.get_by_placeholder("or type").press("Enter")
    await expect(lines).to_have_text(
        ["user: hello there", "assistant: Good day.", "user: What time is it?", "assistant: It is noon."]
    )
    await traffic(page, "energy heard")


async def test_showing(guide):
    page = await guide(1, stt=FakeRecognizer("hello there"), llm=FakeModel("Good day."))
    await page.get_by_role("button", name="Start").click()
    await page.wait_for_function("window.calls?.[0]?.connectionState === 'connected'")
    await say(page, TURN)
    await traffic(page, "energy heard", "pictures sent", "pictures decoded")
    await page.wait_for_function("document.getElementById('picture').videoWidth > 0")
