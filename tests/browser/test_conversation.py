"""The page against the real server with the real embedded engines: speak into it, be understood and answered.

The browsers are as they are shipped, with nothing changed about ICE, and so is the server.
"""

from __future__ import annotations

from server.engines import build_engines
from server.settings import load_settings
from tests.browser.speech import SPEAKER, say, synthesize, traffic
from tests.browser.waiting import CONNECTED, in_browsers, until

pytestmark = in_browsers

QUESTION = "How many people are there?"


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
    await traffic(page, "audio sent", "audio received", "energy heard")
    await page.get_by_role("button", name="Stop", exact=True).click()
    await until(page, "state => state.status === 'idle'")
