"""The page in the reader's language: the browser's at first, another as soon as it is chosen, in a call as well."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.fake_server import FakeServer, error
from tests.browser.script import reply_begins, spoken
from tests.browser.waiting import in_browsers, until

pytestmark = in_browsers

SIDEWAYS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.mark.long
async def test_the_language_changes_in_a_call(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, locale="de-AT", allow=["status of 400"])
    root = page.locator("html")
    await expect(root).to_have_attribute("lang", "de")
    await expect(page.locator("#welcome h2")).to_have_text("Sprich, zeig oder tippe.")
    await page.locator("#toggle").click()
    await server.connected()
    await until(page, "state => state.status === 'listening'")
    await expect(page.locator("#status")).to_have_text("Ich höre zu")
    server.send(*spoken("u1", "Guten Tag"), *reply_begins("r1", "a1", "Guten Tag."))
    await expect(page.locator(".entry.user .bubble")).to_have_text("Du: Guten Tag")

    await page.locator("#inspect").click()
    await expect(page.locator("#tab-network")).to_have_text("Netz")
    await page.locator("#open-settings").click()
    choice = page.locator("#settings select[name=lang]")
    await choice.focus()
    await choice.select_option("es")
    await expect(root).to_have_attribute("lang", "es")
    await expect(page.locator("#settings-title")).to_have_text("Ajustes")
    await expect(choice).to_be_focused()  # in the sheet that was made anew
    await expect(page.locator("#status")).to_have_text("Hablo")
    await expect(page.locator(".entry.user .bubble")).to_have_text("Tú: Guten Tag")
    await expect(page.locator("#tab-network")).to_have_text("Red")
    await expect(page.locator("#mute")).to_have_text("Silenciarme")
    await expect(page.locator("#composer-text")).to_have_attribute("placeholder", "Escribe en vez de hablar")
    assert len(server.offers) == 1  # the call goes on

    await expect(page.get_by_role("link", name="Otra página")).to_have_attribute("href", "foresight")

    await choice.select_option("en")
    await expect(root).to_have_attribute("lang", "en")
    await expect(page.locator("#status")).to_have_text("Speaking")
    await choice.select_option("de")
    await expect(page.locator("#settings-title")).to_have_text("Einstellungen")
    await page.keyboard.press("Escape")
    for width in (320, 700, 844, 1100):  # the longest words fit
        await page.set_viewport_size({"width": width, "height": 800})
        assert not await page.evaluate(SIDEWAYS), width
    await page.set_viewport_size({"width": 1280, "height": 800})

    await page.locator("#toggle").click()
    server.refusal = error(400, "no audio", "invalid_sdp")
    await page.locator("#toggle").click()
    await expect(page.locator("#problem-title")).to_have_text("Der Server hat das Gespräch abgelehnt")
    assert await page.evaluate("JSON.parse(localStorage.getItem('visavis.settings')).lang") == "de"
