"""Figures of the page, measured in a browser against the real server, beside what they have to be.

Each figure is told: ``pytest -m long --log-cli-level=INFO tests/browser/test_figures.py``. A machine that has other
things to do measures worse.
"""

from __future__ import annotations

import logging
import re
from statistics import median
from typing import Any

import numpy as np
import pytest
from playwright.async_api import Page, expect

from pipelines.engines.tts.espeak import EspeakVoice
from server.http.signaling.offer import REGISTRY
from tests.browser.speech import SPEAKER, say, synthesize
from tests.browser.waiting import CONNECTED, in_browsers, until, until_true
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.vision import FakeVision

LOG = logging.getLogger(__name__)

pytestmark = [*in_browsers, pytest.mark.long]

TALE = "Once upon a time there was a small boat that wanted to see the other side of the lake, and sailed."
TURNS = 4
CYCLES = 20
WATCH = """
    Object.assign(window, { marks: [], onsets: [], events: [] });
    const kinds = ["turn.words", "output_audio_buffer.started"];
    const create = RTCPeerConnection.prototype.createDataChannel;
    RTCPeerConnection.prototype.createDataChannel = function (...given) {
        const channel = create.apply(this, given);
        channel.addEventListener("message", ({ data }) => {
            const event = JSON.parse(data);
            if (kinds.includes(event.type)) window.events.push({ at: performance.now(), event });
        });
        return channel;
    };
    addEventListener("DOMContentLoaded", () => {
        let last = 0, loud = false, tap = null;
        const samples = new Float32Array(256);
        new MutationObserver(() => {
            const now = [...document.querySelectorAll(".assistant .words")].at(-1)?.querySelector(".now");
            if (!now) return;
            const count = (now.previousSibling?.textContent ?? "").split(/\\s+/).filter(Boolean).length;
            if (count !== last) window.marks.push({ at: performance.now(), word: count });
            last = count;
        }).observe(document.getElementById("entries"), { childList: true, subtree: true, characterData: true });
        setInterval(() => {
            const receiver = window.calls?.at(-1)?.getReceivers().find(({ track }) => track.kind === "audio");
            if (!receiver) return;
            if (!tap) {
                const context = new AudioContext();
                tap = new AnalyserNode(context, { fftSize: 256 });
                context.createMediaStreamSource(new MediaStream([receiver.track])).connect(tap);
            }
            tap.getFloatTimeDomainData(samples);
            if (Math.max(...samples.map(Math.abs)) < 0.01) return;
            const at = performance.now();
            if (!loud || at - loud > 400) window.onsets.push(at);
            loud = at;
        }, 4);
    });
"""
"""Notes when a word is marked on the page, and when the ear gets a sound after a silence, by a way of its own."""
NOTED = "() => ({ marks: window.marks.splice(0), onsets: window.onsets.splice(0), events: window.events.splice(0) })"
NOW = "() => performance.now()"


async def begin(page: Page) -> None:
    await page.get_by_role("button", name="Start").click()
    await until(page, CONNECTED)


async def test_words_and_latency_on_the_page_are_what_the_ear_gets(serve: Any, browser_page: Any) -> None:
    recognizer = FakeRecognizer(*["hello there"] * 4 * TURNS)
    url, _ = await serve(fake_engines(stt=recognizer, llm=FakeModel(*[TALE] * 2 * TURNS), tts=EspeakVoice()))
    page = await browser_page(url, init=SPEAKER + WATCH)
    await begin(page)
    question = await synthesize("Tell me a story.")
    loud = np.flatnonzero(np.abs(np.frombuffer(question, "<i2").astype(int)) > 300)
    silence_ms = (len(question) // 2 - loud[-1]) / 48
    ahead: list[float] = []
    ears: list[float] = []
    rests: list[float] = []
    for _ in range(TURNS):
        await page.evaluate(NOTED)
        await say(page, question)
        ended = await page.evaluate(NOW) - silence_ms
        await until(page, "state => state.status === 'speaking'")
        state = await until(page, "state => state.status === 'listening' && state.latency?.heard_ms")
        noted, latency = await page.evaluate(NOTED), state["latency"]
        started = next(one["at"] for one in noted["events"] if one["event"]["type"] == "output_audio_buffer.started")
        words = [word for one in noted["events"] for word in one["event"].get("words", ())]
        onset = next(at for at in noted["onsets"] if at > started - 300)
        starts = [word["start_ms"] - words[0]["start_ms"] for word in words]
        ahead += [mark["at"] - onset - starts[mark["word"]] for mark in noted["marks"] if mark["word"] < len(words)]
        ears.append(latency["heard_ms"] - (onset - ended))
        rests.append(latency["voice_to_voice_ms"] - sum(latency["parts"].values()))
    within = sum(abs(one) <= 150 for one in ahead) / len(ahead)
    LOG.info("words within 150 ms: %.0f %% of %d, median %.0f ms", 100 * within, len(ahead), median(ahead))
    LOG.info("heard figure minus measured: %s ms; total minus its parts: %s", [round(one) for one in ears], rests)
    assert within >= 0.9
    assert abs(median(ears)) <= 60
    assert all(abs(rest) <= 5 for rest in rests)


async def test_how_far_the_picture_is_behind(serve: Any, browser_page: Any) -> None:
    url, _ = await serve(fake_engines(vision=FakeVision()))
    page = await browser_page(url)
    await begin(page)
    await page.keyboard.press("i")
    await page.get_by_role("tab", name="Measure").click()
    await page.locator("#measure").click()
    measured = page.locator("#measured")
    await expect(measured).to_contain_text("median")
    LOG.info("%s", await page.inner_text("#panel-measure"))
    behind = re.search(r"\d+", await measured.inner_text())
    assert behind is not None and int(behind[0]) <= 400


LIVE = """() => {
    const tracks = window.opened.filter(({ readyState }) => readyState === "live").length;
    const calls = window.calls.filter(({ connectionState }) => connectionState !== "closed").length;
    window.opened.length = window.calls.length = 0;
    return { tracks, calls };
}"""
KEEP = """
    const ask = MediaDevices.prototype.getUserMedia;
    window.opened = [];
    window.calls = [];
    MediaDevices.prototype.getUserMedia = async function (wanted) {
        const stream = await ask.call(this, wanted);
        window.opened.push(...stream.getTracks());
        return stream;
    };
    window.RTCPeerConnection = class extends window.RTCPeerConnection {
        constructor(...options) { super(...options); window.calls.push(this); }
    };
"""


async def heap(page: Page) -> float:
    """Bytes of JavaScript's own memory after everything unreachable has gone, in MB."""
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    used = (await session.send("Runtime.getHeapUsage"))["usedSize"] / 1e6
    await session.detach()
    return float(used)


async def test_calls_that_come_and_go_leave_nothing_behind(serve: Any, browser_page: Any, browser_name: str) -> None:
    if browser_name != "chromium":
        pytest.skip("only Chromium tells how much memory a page has")
    url, app = await serve(fake_engines(llm=FakeModel(*["Yes."] * CYCLES * 2)))
    page = await browser_page(url, init=KEEP)
    before, nodes = 0.0, 0
    for cycle in range(CYCLES + 3):
        await begin(page)
        assert await page.evaluate("() => window.opened.length") > 0
        await page.get_by_role("button", name="Stop", exact=True).click()
        await until(page, "state => state.status === 'idle'")
        assert await page.evaluate(LIVE) == {"tracks": 0, "calls": 0}
        if cycle == 2:  # all code is there
            before, nodes = await heap(page), await page.evaluate("() => document.querySelectorAll('*').length")
    await until_true(lambda: len(app[REGISTRY]) == 0)
    grown, more = await heap(page) - before, await page.evaluate("() => document.querySelectorAll('*').length") - nodes
    LOG.info("%d cycles: heap %.2f MB, %+.2f MB; %+d nodes", CYCLES, before, grown, more)
    assert abs(grown) <= 5
    assert more <= 20
