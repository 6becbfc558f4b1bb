"""The page of aiortc's own example server, unchanged, with this server behind it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Route

from tests import packages
from tests.browser.speech import SPEAKER, say, traffic
from tests.browser.waiting import in_browsers
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import loud

pytestmark = in_browsers

TURN = loud(0.8).astype("<i2").tobytes()


@pytest.fixture(scope="module")
def example() -> Path:
    return packages.aiortc_examples() / "server"


@pytest.mark.parametrize("video", [False, True], ids=["voice", "voice and picture"])
async def test_the_example_page_holds_a_conversation(serve_page, browser_page, example, video):
    engines = fake_engines(stt=FakeRecognizer("hello there"), llm=FakeModel("Good day."))
    url, _ = await serve_page(engines)
    page = await browser_page("about:blank", init=SPEAKER, allow=("favicon", "404"))

    async def answer(route: Route) -> None:
        await route.fulfill(path=example / route.request.url.rpartition("/")[2])

    await page.route(f"{url}/example/*", answer)
    await page.goto(f"{url}/example/index.html")
    if video:
        await page.locator("#use-video").check()
    await page.locator("#start").click()
    said = page.locator("#data-channel")
    await page.get_by_text("session.created").wait_for()
    await say(page, TURN)
    await page.get_by_text("output_audio_buffer.stopped").wait_for()
    assert "hello there" in await said.inner_text()
    assert "Good day." in await said.inner_text()
    await traffic(page, "energy heard", *(["pictures decoded"] if video else []))
    await page.locator("#stop").click()
    await page.get_by_text("- close").wait_for()
