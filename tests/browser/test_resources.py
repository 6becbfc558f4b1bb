"""The tab of resources: curves of the server, of its engines and of the own session, with every figure as text."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.fake_server import FakeServer
from tests.browser.script import history, start
from tests.browser.waiting import in_browsers, until, until_true

pytestmark = in_browsers

HEADS = {"de": "Dieses Gespräch", "es": "Esta conversación"}


async def test_the_curves_are_loaded_when_they_are_opened_and_all_of_them_are_text_too(
    server: FakeServer, browser_page: Any
) -> None:
    server.history = history("sess_1")
    page = await browser_page(server.url)
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    await start(page, server)
    assert server.asked == []
    await page.keyboard.press("i")
    await page.locator("#tab-resources").click()
    table = page.locator("#resource-table")
    rows = table.locator("tr[data-series]")
    await expect(rows).to_have_count(15)  # without turns that were completed, and without the other session
    cores = rows.filter(has=page.locator("th", has_text="llama.cpp")).first
    await expect(cores.locator("td").nth(1)).to_contain_text("cores")
    assert len(await cores.locator("svg path").get_attribute("d") or "") > 500
    assert await cores.locator("svg").get_attribute("aria-hidden") == "true"
    await expect(table.locator("tr[data-series=process_resident_memory_bytes] td").nth(1)).to_have_text("686 MiB")
    await expect(table.locator("tr[data-series=visavis_session_latency_ms] td").nth(2)).to_have_text("310 ms")
    await expect(table).to_contain_text("Deciding that you are done")
    await expect(table).to_contain_text("#2")
    await expect(table).not_to_contain_text("transcript #2")  # a part has its name for a worker's, too
    await expect(table).to_contain_text("<b>vision</b>")  # names are text
    await expect(page.locator("#resource-gpu")).to_contain_text("there is no such GPU")
    assert server.asked[0]["from"] == "-600"
    await page.locator("#resource-span").select_option("10800")
    await until_true(lambda: any(query.get("from") == "-10800" for query in server.asked))
    await page.locator("#tab-turns").click()
    assert not any("resources.js" in url for url in loaded[:3])


async def test_why_there_are_no_curves_is_said(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, allow=["status of 401"])
    await start(page, server)  # what the inspector needs has come with the call
    await page.locator("#inspect").click()
    await page.locator("#tab-resources").click()
    await expect(page.locator("#resource-note")).to_have_text("Nothing has been measured yet.")
    server.key = "another"
    await page.locator("#resource-span").select_option("10800")
    await expect(page.locator("#resource-note")).to_contain_text("needs an API key")


@pytest.mark.parametrize("language", HEADS)
async def test_it_speaks_other_languages(server: FakeServer, browser_page: Any, language: str) -> None:
    server.history = history("sess_1")
    page = await browser_page(server.url, locale=language)
    await page.locator("#toggle").click()
    await server.connected()
    await until(page, "state => state.status === 'listening'")
    await page.locator("#inspect").click()
    await page.locator("#tab-resources").click()
    await expect(page.locator("#resource-table")).to_contain_text(HEADS[language])
    await expect(page.locator("#resource-table")).not_to_contain_text("resources.")
