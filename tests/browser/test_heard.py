"""Against the real server: the words that the page lets stand are those that the server remembers as heard."""

from __future__ import annotations

from playwright.async_api import expect

from pipelines.engines.tts.espeak import EspeakVoice
from tests.browser.waiting import CONNECTED, in_browsers, until
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel

pytestmark = in_browsers

TALE = (
    "Once upon a time there was a small boat that wanted to see the other side of the lake. It sailed from morning "
    "until noon, and when the wind went to sleep it waited, counting clouds and listening to the reeds."
)
CHANNEL = """
    const create = RTCPeerConnection.prototype.createDataChannel;
    RTCPeerConnection.prototype.createDataChannel = function (...given) {
        const channel = window.channel = create.apply(this, given);
        channel.addEventListener("message", ({ data }) => {
            const event = JSON.parse(data);
            if (event.type === "conversation.item.truncated") window.truncated = event;
            if (event.type === "conversation.item.retrieved") window.retrieved = event.item;
        });
        return channel;
    };
"""
BEGUN = """async () => {
    const said = () => document.querySelector(".entry.assistant .now")?.previousSibling?.textContent ?? "";
    while (said().split(/\\s+/).filter(Boolean).length < 3) await new Promise((next) => setTimeout(next, 20));
}"""
"""Resolves while a word sounds that follows on three others: too short a while for ``expect``, which looks rarely."""
REMEMBERED = """async () => {
    while (!window.truncated) await new Promise((next) => setTimeout(next, 20));
    const { item_id } = window.truncated;
    window.channel.send(JSON.stringify({ type: "conversation.item.retrieve", item_id }));
    while (!window.retrieved) await new Promise((next) => setTimeout(next, 20));
    const [part] = window.retrieved.content;
    return part.transcript ?? part.text;
}"""


async def test_what_is_not_struck_through_is_what_is_remembered(serve, browser_page):
    url, _ = await serve(fake_engines(llm=FakeModel(TALE), tts=EspeakVoice()))
    page = await browser_page(url, init=CHANNEL)
    await page.get_by_role("button", name="Start").click()
    await until(page, CONNECTED)
    await page.get_by_label("Message to the assistant").fill("Tell me a story.")
    await page.get_by_role("button", name="Send").click()
    reply = page.locator(".entry.assistant")
    await page.evaluate(BEGUN)
    await page.locator("#hush").click()
    await expect(reply.locator(".cut")).to_be_visible()
    heard = await reply.locator(".words").inner_text()
    assert heard.startswith("Once upon a time") and TALE.startswith(heard)
    assert heard == await page.evaluate(REMEMBERED)
    struck = await reply.locator("s.unheard").evaluate("element => element.lastChild.textContent")
    assert TALE.startswith(f"{heard} {struck}"), "and what is struck through is what would have followed"
