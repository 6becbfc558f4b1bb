"""A server that has too much to do: the page says discreetly what it gives up."""

from __future__ import annotations

from typing import Any

from playwright.async_api import expect

from tests.browser.fake_server import FakeServer
from tests.browser.script import start
from tests.browser.waiting import in_browsers, until

pytestmark = in_browsers

REASON = {"measure": "event_loop", "value": 55.0, "limit": 40.0, "unit": "ms"}


async def test_what_is_given_up_is_shown_and_goes_when_all_is_as_usual(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await start(page, server)
    busy = page.locator("#readout-busy")
    await expect(busy).to_be_empty()
    server.send({"type": "session.degraded", "shed": ["vision", "speculation"], "reason": REASON})
    await until(page, "state => state.shed.length === 2")
    await expect(busy).to_have_text("under load")
    await expect(busy).to_be_visible()
    words = "The server has much to do. Less often for now: looks through the camera, answers prepared ahead."
    await expect(busy).to_have_attribute("title", words)
    await page.set_viewport_size({"width": 390, "height": 800})
    await expect(busy).to_be_visible()
    server.send({"type": "session.degraded", "shed": [], "reason": None})
    await expect(busy).to_be_empty()
