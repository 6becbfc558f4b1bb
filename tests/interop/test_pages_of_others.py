"""Pages that are no part of the server, in Chromium: the example, and one that was written for FastRTC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import expect

from tests.browser.speech import SPEAKER, say, traffic
from tests.browser.waiting import in_browsers
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import loud
from tests.fakes.programs import fences, patched

pytestmark = in_browsers

ROOT = Path(__file__).parents[2]
TURN = loud(0.8).astype("<i2").tobytes()


async def opened(serve_page: Any, site: Any, browser_page: Any, text: str) -> Any:
    """The page ``text`` on another site than the server's, told where the server is."""
    url, _ = await serve_page(fake_engines(stt=FakeRecognizer("hello there"), llm=FakeModel("Good day.", "At noon.")))
    site.files[""] = text.replace("http://127.0.0.1:8080", url)
    page = await browser_page("about:blank", init=SPEAKER)
    await page.goto(f"{site.origin}/")
    return page


async def test_the_page_of_fifty_lines(serve_page: Any, site: Any, browser_page: Any):
    text = (ROOT / "examples" / "page.html").read_text("utf-8")
    page = await opened(serve_page, site, browser_page, text)
    await page.get_by_text("Start").click()
    await expect(page.locator("#state")).to_have_text("connected")
    await say(page, TURN)
    said = page.locator("#said li")
    await expect(said).to_have_text(["you: hello there", "assistant: Good day."])
    await page.locator("#text").fill("When?")
    await page.keyboard.press("Enter")
    await expect(said).to_have_text(["you: hello there", "assistant: Good day.", "you: When?", "assistant: At noon."])
    await traffic(page, "energy heard")


async def test_a_page_for_fastrtc_with_the_difference_that_is_printed(serve_page: Any, site: Any, browser_page: Any):
    text = (ROOT / "docs" / "migrate" / "from-fastrtc.md").read_text("utf-8")
    (before,), (diff,) = fences(text, "html"), fences(text, "diff")
    page = await opened(serve_page, site, browser_page, patched(before, diff))
    await page.get_by_text("Start").click()
    await page.wait_for_function("window.calls?.[0]?.connectionState === 'connected'")
    await say(page, TURN)
    await expect(page.locator("li")).to_have_text(["you speak", "hello there", "Good day."])
    await traffic(page, "energy heard")
