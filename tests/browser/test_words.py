"""The words on the page: in step with the voice, struck through where nobody heard them, and taken along as files."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from playwright.async_api import Download, Page, expect

from tests.browser.fake_server import FakeServer
from tests.browser.script import reply_begins, reply_ends, spoken, start
from tests.browser.waiting import in_browsers, until

pytestmark = in_browsers

SENTENCE = "Paris is the capital of France and has many museums."
FOREVER = 10**9
"""A time that no test lives to see, in ms."""
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>‮evil"


def timed(response: str, item: str, text: str, *times: int) -> dict[str, Any]:
    """Words of which those with a time of 0 sound at once."""
    words = [
        {"text": word, "start_ms": time, "end_ms": time + FOREVER}
        for word, time in zip(text.split(), times, strict=True)
    ]
    return {"type": "turn.words", "response_id": response, "item_id": item, "words": words}


async def contents(file: Download) -> bytes:
    return await asyncio.to_thread(Path(await file.path()).read_bytes)


async def saved(page: Page, kind: str) -> str:
    """The conversation as a file of this kind."""
    await page.locator("#files summary").click()
    async with page.expect_download() as download:
        await page.locator(f"#save-{kind}").click()
    file = await download.value
    assert file.suggested_filename.endswith(f".{kind}")
    return (await contents(file)).decode()


async def test_words_follow_the_voice_until_it_is_cut_off(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, accept_downloads=True)
    await start(page, server)
    server.send(*spoken("u1", "Tell me about Paris."))
    server.send(*reply_begins("r1", "a1", SENTENCE))
    server.send(timed("r1", "a1", "Paris is the capital", 0, 0, 0, FOREVER))
    server.send(timed("r1", "a1", "of France and has many museums.", *[FOREVER] * 6))
    bubble = page.locator(".assistant .words")
    await expect(bubble.locator(".now")).to_have_text(" the")
    await expect(bubble.locator(".ahead")).to_have_text(" capital of France and has many museums.")
    await expect(bubble).to_have_text(SENTENCE)
    await expect(page.locator(".entry.assistant")).to_have_attribute("aria-hidden", "true")
    lines = page.locator("#caption .line")
    await expect(lines).to_have_text(["Paris is the capital of France and has", "many museums."])

    await page.keyboard.press("c")
    await expect(lines).to_have_count(0)
    await expect(page.locator("#captions")).to_have_attribute("aria-pressed", "false")
    await page.locator("#captions").click()
    await expect(lines).to_have_count(2)

    cut = {"content_index": 0, "audio_end_ms": 640, "transcript": "Paris is the"}
    server.send(
        {"type": "output_audio_buffer.cleared", "response_id": "r1"},
        reply_ends("r1", "cancelled", type="cancelled", reason="turn_detected"),
        {"type": "conversation.item.truncated", "item_id": "a1", **cut},
    )
    reply = page.locator(".entry.assistant.interrupted")
    await expect(reply.locator(".words")).to_have_text("Paris is the")
    await expect(reply.locator(".cut")).to_have_text("Interrupted here")
    await expect(reply.locator("s.unheard")).to_have_text("Not heard: capital of France and has many museums.")
    await expect(lines).to_have_count(0)
    state = await until(page, "state => state.transcript.length === 2")
    assert state["transcript"][1]["text"] == "Paris is the"
    assert state["transcript"][1]["unheard"] == "capital of France and has many museums."

    server.send(*spoken("u2", HOSTILE), *tool_run(), *failing("r3"))
    await expect(page.locator(".entry.user .words").nth(1)).to_have_text(HOSTILE)
    card = page.locator(".entry.tool")
    await expect(card.locator("summary")).to_have_text("clockdone")
    assert await card.get_attribute("aria-hidden") is None, "what can be opened is read out"
    await card.locator("summary").click()
    await expect(card.locator("pre")).to_have_text(['{\n  "zone": "Paris"\n}', HOSTILE])
    await expect(page.locator(".entry.failure")).to_have_text("Sorry, that failed: too slow (llm_timeout) Ask again.")
    await expect(page.locator("#announcer > *")).to_have_count(3)  # a node for each of the newest turns, none per word

    markdown = await saved(page, "md")
    assert "Paris is the ~~capital of France and has many museums.~~ *(Not heard)*" in markdown
    data = json.loads(await saved(page, "json"))
    assert [turn["role"] for turn in data["turns"]] == ["user", "assistant", "user", "tool", "note"]
    assert data["session_id"] == state["session_id"]
    assert data["turns"][1]["words"][2]["text"] == "the"
    subtitles = await saved(page, "vtt")
    assert subtitles.startswith("WEBVTT\n\n00:00:0") and "<v You>Tell me about Paris." in subtitles
    assert "<v Assistant>Paris is the\n" in subtitles and "<script" not in subtitles


def tool_run() -> list[dict[str, Any]]:
    """A function that the server runs itself."""
    call = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "clock", "arguments": '{"zone":"Paris"}'}
    output = {"id": "o1", "type": "function_call_output", "call_id": "c1", "output": HOSTILE}
    return [{"type": "conversation.item.added", "item": item} for item in (call, output)]


def failing(response: str) -> list[dict[str, Any]]:
    """A response that comes to nothing."""
    failure = {"type": "failed", "error": {"code": "llm_timeout", "message": "too slow"}}
    return [
        {"type": "response.created", "response": {"id": response, "status": "in_progress", "output": []}},
        {"type": "response.done", "response": {"id": response, "status": "failed", "status_details": failure}},
    ]


async def test_a_recording_is_asked_for_shown_and_taken_along(server: FakeServer, browser_page: Any) -> None:
    server.status["recording"] = {"allowed": True, "max_minutes": 60, "max_mb": 1024}
    page = await browser_page(server.url, accept_downloads=True)
    await start(page, server)
    await expect(page.locator("#recording")).to_be_hidden()
    await page.locator("#files summary").click()
    await page.locator("#record-video").check()
    await page.locator("#record").click()
    asked = await server.next_event()
    assert asked["session"]["recording"] == {"enabled": True, "video": True}
    server.send({"type": "recording.changed", "state": "on", "seconds": 61, "reason": None})
    await expect(page.locator("#recording")).to_contain_text(re.compile(r"Recording [1-9]\d*:\d\d"))
    await expect(page.locator("#record")).to_have_attribute("aria-pressed", "true")

    server.recording = {"audio.wav": b"RIFF" + b"\0" * 5_000}
    server.send({"type": "recording.changed", "state": "off", "seconds": 70, "reason": "disk_full"})
    await expect(page.locator("#recording")).to_be_hidden()
    await expect(page.locator("#recording-why")).to_contain_text("disk is full")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="audio.wav 5 kB").click()
    assert await contents(await download.value) == server.recording["audio.wav"]
    await page.locator("#delete-recording").click()
    await expect(page.locator("#recorded-files > *")).to_have_count(0)
    assert server.deleted == ["sess_1"]


async def test_a_recording_goes_on_in_the_next_connection_and_all_of_it_is_listed_and_deleted(
    server: FakeServer, browser_page: Any
) -> None:
    server.status["recording"] = {"allowed": True, "max_minutes": 60, "max_mb": 1024}
    server.recording = {"audio.wav": b"RIFF" + b"\0" * 5_000}
    server.remembers = True
    page = await browser_page(server.url)
    await start(page, server)
    await page.locator("#files summary").click()
    await page.locator("#record-video").check()
    await page.locator("#record").click()
    asked = await server.next_event()
    server.send({"type": "recording.changed", "state": "on", "seconds": 0, "reason": None})
    await until(page, "state => state.recording")
    await server.hang_up()
    await expect(page.locator("#recording-why")).to_contain_text("the connection was lost")
    await expect(page.locator("#recording")).to_be_hidden()
    await server.connected()
    assert await server.next_event() == asked
    server.send({"type": "recording.changed", "state": "on", "seconds": 0, "reason": None})
    await until(page, "state => state.recording")
    await expect(page.locator("#recording-why")).to_be_hidden()

    await page.locator("#toggle").click()
    await until(page, "state => state.phase === 'idle'")
    await page.locator("#files summary").click()
    await expect(page.locator("#recorded-files button")).to_have_count(3)
    await page.locator("#delete-recording").click()
    await expect(page.locator("#recorded-files > *")).to_have_count(0)
    assert server.deleted == ["sess_1", "sess_2"]
