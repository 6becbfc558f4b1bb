"""The inspector: closed at first, loaded when it is opened, and true to what happened."""

from __future__ import annotations

from typing import Any

from playwright.async_api import expect

from tests.browser.fake_server import FakeServer
from tests.browser.script import reply_begins, reply_ends, spoken, start
from tests.browser.waiting import in_browsers, until

pytestmark = in_browsers

PARTS = {"endpoint": 200, "transcript": 10, "first_token": 60, "first_clause": 20, "first_audio": 10}


async def test_the_inspector_shows_where_the_time_went(server: FakeServer, browser_page: Any) -> None:
    server.echoes = True
    server.status["quality"] = {"stt": "basic", "llm": "good", "tts": "best", "advice": "a brain: give --llm-url"}
    coming = {"model": "whisper-base", "state": "fetching", "done": 62, "total": 100, "error": ""}
    server.engines = [row | {"fetching": [coming]} if row["stage"] == "stt" else row for row in server.engines]
    page = await browser_page(server.url)
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    await expect(page.locator("#quality")).to_contain_text("Ears: basic · Brain: good · Voice: best · a brain")
    await expect(page.locator("#quality .whole")).to_have_text("--llm-url")
    await expect(page.locator("#inspector")).to_be_hidden()
    await start(page, server)
    server.send(*spoken("u1", "What is it?"), *reply_begins("r1", "a1", "It is a test."))
    latency = {"voice_to_voice_ms": 300, "parts": PARTS, "saved_ms": 80}
    server.send(reply_ends("r1"), {"type": "turn.latency", "response_id": "r1", **latency})
    await until(page, "state => state.latency?.heard_ms > 0")
    assert not any("inspector/turns.js" in url for url in loaded), "it is loaded when it is opened"

    await page.keyboard.press("i")
    turn = page.locator("#panel-turns .waterfall")
    await expect(turn).to_have_count(1)
    await expect(turn.locator(".facts")).to_contain_text("80 ms saved by preparing ahead")
    await expect(turn.locator(".facts")).to_contain_text("heard after")
    assert await turn.locator(".bars i").count() == len(PARTS) + 2
    widths = await turn.locator(".bars").evaluate(
        "bars => [...bars.children].map((bar) => bar.getBoundingClientRect().width / bars.clientWidth)"
    )
    assert abs(widths[0] / sum(widths[:5]) - 200 / 300) < 0.05

    await page.get_by_role("tab", name="Events").click()
    await page.locator("#event-filter").fill("turn.latency")
    event = page.locator(".event-list li")
    await expect(event).to_have_count(1)
    await event.locator("summary").click()
    await expect(event.locator("pre")).to_contain_text('"voice_to_voice_ms": 300')
    await page.locator("#event-hold").click()
    server.send({"type": "turn.latency", "response_id": "r2", **latency})
    await until(page, "state => state.latency.response_id === 'r2'")
    await expect(event).to_have_count(1)
    await page.locator("#event-hold").click()
    await expect(event).to_have_count(2)

    await page.keyboard.press("ArrowRight")  # the filter has the focus no more: the button has it
    await page.get_by_role("tab", name="Network").click()
    facts = page.locator("#network-facts")
    await expect(facts).to_contain_text("host here, host there, udp")
    await expect(facts).to_contain_text("kbit/s")

    await page.get_by_role("tab", name="Engines").click()
    await expect(page.locator("#engine-table")).to_contain_text("whisper-base is coming: 62 %")
    await expect(page.locator("#engine-advice")).to_have_text("a brain: give --llm-url")

    await page.get_by_role("tab", name="Measure").click()
    await page.locator("#measure").click()
    await expect(page.locator("#measured")).to_contain_text("ms behind (median;")
    await expect(page.locator("#measure")).to_be_enabled()

    await page.keyboard.press("Escape")
    await expect(page.locator("#inspector")).to_be_hidden()
    await expect(page.locator("#inspect")).to_be_focused()
