"""What the page loads before anybody can press Start: little, and all else when the first screen stands."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import Response, Route, expect

from tests.browser.fake_server import FakeServer
from tests.browser.waiting import in_browsers, until

pytestmark = in_browsers

MOST_BYTES = 150_000
MOST_REQUESTS = 40


async def test_start_is_there_after_little_and_works_before_the_rest_has_come(
    server: FakeServer, browser_page: Any
) -> None:
    page = await browser_page("about:blank")
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    held: asyncio.Queue[Route] = asyncio.Queue()

    async def hold(route: Route) -> None:
        held.put_nowait(route)

    await page.route("**/js/later.js", hold)
    await page.goto(server.url, wait_until="domcontentloaded")  # a held script holds Firefox's "load", too
    await expect(page.locator("#quality")).to_contain_text("running")  # the server's status has come
    await expect(page.locator("#status")).to_have_text("Idle")
    start = page.get_by_role("button", name="Start")
    await expect(start).to_be_enabled()
    rest = await held.get()
    sizes = {answer.url: len(await answer.body()) for answer in answers}
    largest = sorted(sizes.items(), key=lambda row: -row[1])[:8]
    assert len(answers) <= MOST_REQUESTS, sorted(sizes)
    assert sum(sizes.values()) <= MOST_BYTES, (sum(sizes.values()), largest)

    await start.click()
    assert server.offers == []
    await rest.continue_()
    await server.connected()
    await until(page, "state => state.status === 'listening'")
