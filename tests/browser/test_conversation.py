"""The page against the real server: speak into it, be understood, answered and seen.

The browsers are as they are shipped, with nothing changed about ICE, and so is the server.
"""

from __future__ import annotations

import pytest

from server.engines.build import build_engines
from server.settings import load_settings
from tests.browser.speech import SPEAKER, say, synthesize, traffic
from tests.browser.waiting import CONNECTED, in_browsers, until
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer

pytestmark = in_browsers

QUESTION = "How many people are there?"
BOTH_WAYS = (
    "audio sent",
    "audio received",
    "energy heard",
    "video sent",
    "video received",
    "pictures sent",
    "pictures decoded",
)
AS_IT_IS = ""
CAMERA_FIRST = """
    const add = RTCPeerConnection.prototype.addTransceiver;
    RTCPeerConnection.prototype.addTransceiver = function (track, options) {
        if (!this.voice && (track.kind ?? track) === "audio") {
            this.voice = [track, options];
            return null;
        }
        const added = add.call(this, track, options);
        if (this.voice.length) add.apply(this, this.voice.splice(0));
        return added;
    };
"""
SECTIONS = """() => window.calls.at(-1).localDescription.sdp.match(/^m=\\w+/gm).map((line) => line.slice(2))"""


async def test_speaking_to_the_page(serve, browser_page):
    settings = load_settings({"profile": "embedded", "vision": False, "stt_processes": 1})
    url, _ = await serve(await build_engines(settings))
    page = await browser_page(url, init=SPEAKER)
    question = await synthesize(QUESTION)
    await page.get_by_role("button", name="Start").click()
    await until(page, CONNECTED)
    await say(page, question)
    state = await until(page, "state => state.transcript.some(line => line.role === 'user' && line.final)")
    heard = next(line["text"] for line in state["transcript"] if line["role"] == "user")
    assert len(set(heard.split()) & set("how many people are there".split())) >= 2, heard
    state = await until(
        page, "state => state.remoteEnergy > 0 && state.latency !== null && state.status === 'listening'"
    )
    answers = [line["text"] for line in state["transcript"] if line["role"] == "assistant"]
    assert answers and all(answers)
    await traffic(page, *BOTH_WAYS)
    await page.get_by_role("button", name="Stop", exact=True).click()
    await until(page, "state => state.status === 'idle'")


@pytest.mark.parametrize(
    ("script", "sections"),
    [(AS_IT_IS, ["audio", "video", "video"]), (CAMERA_FIRST, ["video", "audio", "video"])],
    ids=["voice first", "camera first"],
)
async def test_voice_and_picture_go_both_ways_whichever_comes_first(serve, browser_page, script, sections):
    url, _ = await serve(fake_engines(stt=FakeRecognizer(*["hello there"] * 9), llm=FakeModel(*["Good day."] * 9)))
    page = await browser_page(url, init=SPEAKER + script)
    await page.get_by_role("button", name="Start").click()
    await until(page, CONNECTED)
    assert await page.evaluate(SECTIONS) == [*sections, "application"]
    await say(page, await synthesize("Good evening."))
    await until(page, "state => state.transcript.some(line => line.role === 'assistant' && line.text)")
    await traffic(page, *BOTH_WAYS)
