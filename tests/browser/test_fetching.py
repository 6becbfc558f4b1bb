"""What the page says of models that the server is bringing, before a call and in it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.fake_server import FakeServer
from tests.browser.script import start
from tests.browser.waiting import in_browsers

pytestmark = in_browsers


def row(stage: str, engine: str, *fetching: dict[str, Any]) -> dict[str, Any]:
    return {"stage": stage, "engine": engine, "device": "cpu", "reason": "", "ok": True, "fetching": list(fetching)}


def fetch(model: str, state: str, done: int = 0, total: int = 0, error: str = "") -> dict[str, Any]:
    return {"model": model, "state": state, "done": done, "total": total, "error": error}


def tell(server: FakeServer, *rows: dict[str, Any]) -> None:
    """What runs has changed: by an event, and for whoever asks."""
    server.engines = list(rows)
    server.send({"type": "engine.status", "data": list(rows)})


async def test_progress_and_takeover_are_told_in_a_quiet_line(server: FakeServer, browser_page: Any) -> None:
    speak = row("tts", "espeak-ng", fetch("joe", "waiting"))
    server.engines = [row("stt", "pocketsphinx", fetch("ears", "fetching", 2, 10)), speak]
    page = await browser_page(server.url)
    line = page.locator("#fetching")
    await expect(line).to_have_text("On its way: better ears (ears) 20 %")
    server.engines = [row("stt", "pocketsphinx", fetch("ears", "fetching", 4, 10)), speak]
    await expect(line).to_have_text("On its way: better ears (ears) 40 %")  # no call yet: the page asks again

    await start(page, server)
    speak = row("tts", "espeak-ng", fetch("joe", "fetching", 1, 4))
    tell(server, row("stt", "pocketsphinx", fetch("ears", "arrived", 10, 10)), speak)
    await expect(line).to_have_text("On its way: better ears (ears) 100 %, a better voice (joe) 25 %")
    tell(server, row("stt", "moonshine"), speak)
    await expect(line).to_have_text("Now listening with moonshine. On its way: a better voice (joe) 25 %")
    error = "joe could not be had (the disk is full)"
    tell(server, row("stt", "moonshine"), row("tts", "espeak-ng", fetch("joe", "failed", error=error)))
    await expect(line).to_have_text("Now listening with moonshine")
    await page.keyboard.press("i")
    await page.get_by_role("tab", name="Engines").click()
    await expect(page.locator("#engine-table")).to_contain_text(error)


@pytest.mark.long
async def test_the_user_says_which_language_they_speak(server: FakeServer, browser_page: Any) -> None:
    server.engines = [row("stt", "pocketsphinx") | {"languages": ["en"]}]
    page = await browser_page(server.url)
    await expect(page.locator("#quality")).to_have_text("1 running")
    await expect(page.locator("#language-choice")).to_be_hidden()
    await start(page, server)
    tell(server, row("stt", "moonshine + whisper") | {"languages": ["en", "de", "pt"]})
    choice = page.get_by_label("I speak")
    line = await page.locator("#language-choice").bounding_box()
    assert line["height"] < 60  # one line, however long the table below it is
    assert await choice.locator("option").all_inner_texts() == ["Any language", "English", "German", "Portuguese"]
    await choice.select_option("de")
    assert await spoken(server) == "de"
    await choice.select_option("")
    assert await spoken(server) is None

    await choice.select_option("pt")
    assert await spoken(server) == "pt"
    await page.get_by_role("button", name="Stop", exact=True).click()
    await start(page, server)
    assert await spoken(server) == "pt"  # a new call is told again


async def spoken(server: FakeServer) -> str | None:
    event = await server.next_event()
    assert event["type"] == "session.update"
    language: str | None = event["session"]["audio"]["input"]["transcription"]["language"]
    return language
