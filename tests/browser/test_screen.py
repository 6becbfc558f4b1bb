"""Sharing the screen from the page with the real server: it is the second video, and over when the page says so."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from pipelines.vision.images import still
from tests.browser.browsers import NO_CAMERA
from tests.browser.waiting import CONNECTED, in_browsers, until, until_true
from tests.conftest import fake_engines
from tests.fakes.vision import FakeVision
from tests.loopback.test_video import session_of

pytestmark = in_browsers


@pytest.mark.parametrize("init", [None, NO_CAMERA], ids=["beside a camera", "without a camera"])
async def test_a_shared_screen_can_be_looked_at_until_it_is_not_shared_any_more(serve, browser_page, init):
    url, app = await serve(fake_engines(vision=FakeVision()))
    page = await browser_page(url, init=init)
    share = page.get_by_role("button", name="Share screen")
    await expect(share).to_be_disabled()
    await page.get_by_role("button", name="Start").click()
    await until(page, CONNECTED)
    sight = session_of(app).session.vision.offered
    assert "screen" not in sight.sources()
    await share.click()
    await until(page, "state => state.sharing")
    await until_true(lambda: "screen" in sight.sources())
    picture = await sight.picture("screen")
    assert picture is not None and still(picture.data, "the screen").shape[1] > 320

    await page.get_by_role("button", name="Stop sharing").click()
    await until(page, "state => !state.sharing && state.vision.screen === false")
    assert "screen" not in sight.sources()
    await share.click()
    await until(page, "state => state.sharing && state.vision.screen")
    await until_true(lambda: "screen" in sight.sources())
