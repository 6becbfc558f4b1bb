"""A conversation of days: what the page keeps is bounded, and it is the newest."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.fake_server import FakeServer
from tests.browser.script import start
from tests.browser.waiting import in_browsers

pytestmark = in_browsers

TURNS = 1_000
LONG = 100_000
LIVE_LONG = """async ([turns, long]) => {
    const { MAX_ENTRIES, MAX_TEXT } = await import("/static/js/state/words.js");
    const { initialOf, reduce } = await import("/static/js/state/store.js");
    const { slices } = await import("/static/js/state/slices.js");
    let state = initialOf(slices);
    const happens = (event) => { state = reduce(slices, state, { at: 0, ...event }); };
    const delta = { type: "response.output_audio_transcript.delta" };
    for (let n = 0; n < turns; n += 1) {
        happens({ ...delta, response_id: `r${n}`, item_id: `a${n}`, delta: `reply ${n}` });
        happens({ type: "turn.latency", response_id: `r${n}`, voice_to_voice_ms: n, parts: {} });
        if (n > turns - 9) happens({ type: "error", error: { code: "x", message: `${n} `.repeat(long) } });
    }
    for (let n = 0; n < 10; n += 1) happens({ ...delta, response_id: "r", item_id: "a", delta: "y".repeat(long) });
    happens({ type: "turn.latency", response_id: "r", voice_to_voice_ms: 7, parts: {} });
    happens({ type: "turn.latency", response_id: `r${turns - 1}`, voice_to_voice_ms: 8, parts: {} });
    happens({ type: "visavis.partial_transcript", item_id: "u", transcript: "z".repeat(long) });
    happens({ type: "vision.changed", scene: "many", objects: Array.from({ length: long }, (_, id) => ({ id })) });
    const { entries } = state.words;
    const latencies = Object.fromEntries(state.latency.turns.map((turn) => [turn.response_id, turn]));
    return { MAX_ENTRIES, MAX_TEXT, entries: entries.length, latencies: Object.keys(latencies).length,
        newest: [latencies.r.voice_to_voice_ms, latencies[`r${turns - 1}`].voice_to_voice_ms],
        texts: entries.slice(-2).map(({ text }) => text.length), objects: state.vision.objects.length,
        notices: state.problems.notices.map(({ text }) => text.length) };
}"""


async def test_lists_and_texts_are_bounded(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    kept = await page.evaluate(LIVE_LONG, [TURNS, LONG])
    assert kept["MAX_ENTRIES"] < TURNS and kept["MAX_TEXT"] < LONG
    assert kept["entries"] == kept["latencies"] == kept["MAX_ENTRIES"]
    assert kept["newest"] == [7, 8]
    assert kept["texts"] == [kept["MAX_TEXT"] + 1] * 2  # and an ellipsis
    assert kept["objects"] <= 100
    assert len(kept["notices"]) <= 3 and max(kept["notices"]) <= 401


@pytest.mark.long
async def test_what_is_on_the_page_is_bounded(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    most = await page.evaluate("async () => (await import('/static/js/state/words.js')).MAX_ENTRIES")
    await start(page, server)
    for n in range(most + 10):
        content = [{"type": "input_text", "text": f"Number {n}"}]
        item = {"id": f"u{n}", "type": "message", "role": "user", "content": content}
        server.send({"type": "conversation.item.added", "item": item})
    await expect(page.locator(".user .bubble").last).to_have_text(f"You: Number {most + 9}")
    await expect(page.locator(".entry")).to_have_count(most)
    await expect(page.locator(".user .bubble").first).to_have_text("You: Number 10")
