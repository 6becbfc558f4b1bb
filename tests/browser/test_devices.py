"""Microphone, camera and screen in a call: added, swapped, released, unplugged, refused, and held to talk."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import Page, expect

from tests.browser.fake_server import FakeServer
from tests.browser.script import reply_begins, start
from tests.browser.test_typing import confirmed, message, write
from tests.browser.waiting import SECONDS, in_browsers, until

pytestmark = in_browsers

RECORDED = """
    if (!navigator.mediaDevices) return;
    window.opened = [];
    const ask = MediaDevices.prototype.getUserMedia;
    MediaDevices.prototype.getUserMedia = async function (wanted) {
        if (window.refusal) throw new DOMException(window.refusal[1] ?? "", window.refusal[0]);
        const stream = await ask.call(this, wanted);
        window.opened.push(...stream.getTracks());
        return stream;
    };
    const query = Permissions.prototype.query;
    Permissions.prototype.query = async function (what) {
        return window.permission ?? query.call(this, what);
    };
    const calls = window.calls = [];
    window.RTCPeerConnection = class extends window.RTCPeerConnection {
        constructor(...options) { super(...options); calls.push(this); }
    };
"""
"""Keeps every track that was opened and every connection; ``window.refusal`` = [name, message] refuses devices."""
LIVE = "() => window.opened.filter((track) => track.readyState === 'live').map((track) => track.kind).sort().join()"
OPENED = """async (label) => {
    while (window.opened.findLast(({ kind }) => kind === "audio").label !== label) {
        await new Promise((next) => setTimeout(next, 20));
    }
}"""
UNPLUG = """(kind) => {
    const track = window.opened.findLast((one) => one.kind === kind && one.readyState === "live");
    track.stop();
    track.dispatchEvent(new Event("ended"));
}"""
SENT = """() => window.calls.at(-1).getTransceivers()
    .map(({ sender }) => (sender.track?.enabled ? sender.track.kind : "nothing")).join()"""


async def live(page: Page, kinds: str) -> None:
    """Wait until exactly these devices are open."""
    await page.wait_for_timeout(0)
    try:
        async with asyncio.timeout(SECONDS):
            while await page.evaluate(LIVE) != kinds:
                await page.wait_for_timeout(25)
    except TimeoutError:
        raise AssertionError(f"open: {await page.evaluate(LIVE)}, not {kinds}") from None


SLIP = """(touch) => {
    document.getElementById("talk").dispatchEvent(new PointerEvent("pointerdown", touch));
    window.dispatchEvent(new Event("blur"));
}"""
"""Pressed and let go at once, however busy the machine is."""


async def events(server: FakeServer, *kinds: str) -> None:
    """The next events that the page sends, whatever settings it tells between."""
    for kind in kinds:
        event = await server.next_event()
        while event["type"] == "session.update":
            event = await server.next_event()
        assert event["type"] == kind


async def test_devices_come_and_go_in_a_call(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, init=RECORDED)
    button = page.get_by_role("button", name="With camera")
    await button.click()
    await expect(page.get_by_role("button", name="Without camera")).to_have_attribute("aria-pressed", "true")
    await start(page, server)
    await live(page, "audio")
    await expect(page.locator("#orb")).to_be_visible()

    await page.get_by_role("button", name="Camera on").click()
    await expect(page.locator("#picture")).to_be_visible()
    await live(page, "audio,video")
    await expect(page.locator("#readout-path")).to_contain_text("fps")
    await page.get_by_role("button", name="Camera off").click()
    await live(page, "audio")
    await expect(page.locator("#readout-path")).not_to_contain_text("fps")
    await page.get_by_role("button", name="Camera on").click()
    await live(page, "audio,video")

    await page.get_by_role("button", name="Devices").click()
    choice = page.locator("select[name='microphone']")
    await expect(choice).to_be_visible()
    names = await choice.locator("option").all_inner_texts()
    assert names[0] == "Chosen by the browser" and len(names) >= 2, names
    await choice.select_option(label=names[-1])
    await page.get_by_label("Volume of the assistant").fill("30")
    assert await page.evaluate("() => document.getElementById('voice').volume") == 0.3
    await page.get_by_role("button", name="Close").click()
    await live(page, "audio,video")
    await page.evaluate(OPENED, names[-1])

    await page.evaluate(UNPLUG, "audio")
    await expect(page.locator(".notice[data-code='mic_gone']")).to_contain_text(f"“{names[-1]}” is gone; using")
    await live(page, "audio,video")
    assert await page.evaluate(SENT) == "audio,video,nothing"

    await expect(page.locator("#hint")).to_have_text("Say something")
    await page.keyboard.press("m")
    await expect(page.locator("#status")).to_have_text("Muted")
    await expect(page.locator("#hint")).to_be_hidden()
    assert await page.evaluate(SENT) == "nothing,video,nothing"
    await live(page, "video")  # the light goes out
    await page.evaluate("() => { window.refusal = ['NotReadableError']; }")
    await page.get_by_role("button", name="Unmute").click()
    await expect(page.locator(".notice[data-code='mic_busy']")).to_be_visible()
    await page.evaluate("() => { window.refusal = null; }")
    await page.get_by_role("button", name="Unmute").click()
    await live(page, "audio,video")
    assert len(server.offers) == 1, "one session through all of it"

    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Mute or unmute")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Control+e")
    await live(page, "")
    await until(page, "state => state.status === 'idle'")


async def test_a_typed_session_becomes_a_spoken_one(server: FakeServer, browser_page: Any) -> None:
    server.status["takes_pictures"] = False
    page = await browser_page(server.url, init=RECORDED)
    await write(page, "Good evening")
    await server.connected()
    sent = message(1, "Good evening")
    assert await server.next_event() == sent
    server.send(confirmed(sent))
    await until(page, "state => state.status === 'ready'")
    await live(page, "")
    await page.get_by_role("button", name="Microphone on").click()
    await until(page, "state => state.status === 'listening'")
    assert await page.evaluate(SENT) == "audio,nothing,nothing"
    await page.get_by_role("button", name="Share screen").click()
    await expect(page.locator(".notice")).to_contain_text("takes no pictures")
    await page.keyboard.press("s")
    await until(page, "state => !state.sharing")
    assert len(server.offers) == 1


CHOSEN = """
    window.sinks = [];
    HTMLMediaElement.prototype.setSinkId = async function (id) {
        window.sinks.push(id);
        if (id) throw new DOMException("not there", "NotFoundError");
    };
    localStorage.setItem("visavis.devices", JSON.stringify(
        { speaker: { id: "loud", label: "Loud" }, volume: 0.3, pushToTalk: true, withCamera: false }));
"""
"""What was chosen at an earlier visit; the loudspeaker is not plugged in."""


async def test_what_was_chosen_at_the_last_visit_holds_in_a_call_begun_by_typing(
    server: FakeServer, browser_page: Any
) -> None:
    page = await browser_page(server.url, init=CHOSEN + RECORDED)
    await write(page, "Good evening")
    await server.connected()
    asked = [await server.next_event(), await server.next_event()]
    by_hand = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    assert {"type": "session.update", "session": by_hand} in asked
    assert await page.evaluate("() => document.getElementById('voice').volume") == 0.3
    assert await page.evaluate("() => window.sinks") == ["loud", ""]
    await page.get_by_role("button", name="Microphone on").click()
    await live(page, "audio")
    await until(page, "() => window.sinks.length >= 4")  # what is plugged in is known now
    assert '"loud"' in await page.evaluate("() => localStorage.getItem('visavis.devices')")

    server.remembers = True
    server.answering.clear()
    await page.get_by_role("button", name="Devices").click()
    await server.hang_up()
    await until(page, "state => state.phase === 'reconnecting'")
    await page.get_by_label("Hold a button").uncheck()
    server.answering.set()
    await server.connected()
    while (event := await server.next_event())["type"] != "session.update":
        pass
    told = event["session"]["audio"]["input"]["turn_detection"]
    assert told["type"] == "server_vad", "who goes on with the conversation remembers that the hand ended turns"


async def test_hold_to_talk_by_mouse_key_and_finger(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, init=RECORDED)
    await page.get_by_role("button", name="Devices").click()
    await page.get_by_label("Hold a button").check()
    await page.get_by_role("button", name="Close").click()
    await start(page, server, "ready")
    assert (await server.next_event())["session"] == {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    talk = page.locator("#talk")
    turn = ("input_audio_buffer.clear", "input_audio_buffer.commit")
    assert await page.evaluate(SENT) == "nothing,video,nothing"

    await talk.hover()
    await page.mouse.down()
    await until(page, "state => state.status === 'hearing'")
    assert await page.evaluate(SENT) == "audio,video,nothing"
    await page.wait_for_timeout(200)
    await page.mouse.up()
    await events(server, *turn)
    await until(page, "state => state.status === 'ready'")
    empty = {"code": "input_audio_buffer_commit_empty", "message": "nobody has spoken"}
    server.send({"type": "error", "error": empty})
    heard_nothing = page.locator("[data-code='nothing_heard']")
    await expect(heard_nothing).to_have_text("Nothing was heard while the button was held.")

    touch = {"pointerType": "touch", "pointerId": 7, "button": 0, "bubbles": True}
    await page.evaluate("() => { Element.prototype.setPointerCapture = () => {}; }")
    await talk.dispatch_event("pointerdown", touch)
    await page.wait_for_timeout(200)
    await talk.dispatch_event("pointercancel", touch)
    await events(server, *turn)

    await page.evaluate(SLIP, touch)
    await events(server, "input_audio_buffer.clear", "input_audio_buffer.clear")
    await expect(page.locator(".notice[data-code='hold_to_talk']")).to_be_visible()

    await page.locator("body").click(position={"x": 5, "y": 5})
    await page.keyboard.down(" ")
    await page.wait_for_timeout(200)
    await page.keyboard.down(" ")  # repeats
    await page.keyboard.up(" ")
    await events(server, *turn)
    server.send({"type": "input_audio_buffer.committed", "item_id": "u1"})
    await events(server, "response.create")

    server.send(*reply_begins("r1", "a1", "Once upon a time"))
    await until(page, "state => state.status === 'speaking'")
    await talk.dispatch_event("pointerdown", touch)  # interrupts
    await events(server, "response.cancel", "output_audio_buffer.clear", "input_audio_buffer.clear")


REFUSALS = [
    (["NotAllowedError"], "denied", "The microphone is blocked for this site"),
    (["NotAllowedError"], "prompt", "The question was closed"),
    (["NotAllowedError", "Permission denied by system"], "denied", "The operating system blocks the microphone"),
    (["SecurityError"], "denied", "This page was told not to use the microphone"),
    (["NotFoundError"], "granted", "No microphone found"),
    (["NotReadableError"], "granted", "Another program is using the microphone"),
]


async def test_every_refusal_of_the_microphone_has_its_words_and_a_given_permission_is_noticed(
    server: FakeServer, browser_page: Any
) -> None:
    page = await browser_page(server.url, init=RECORDED)
    alert = page.get_by_role("alert")
    for refusal, permission, words in REFUSALS:
        await page.evaluate("(what) => { window.refusal = what; }", refusal)
        await page.evaluate("(state) => { (window.permission ??= {}).state = state; }", permission)
        await page.locator("#toggle").click()
        await expect(alert).to_contain_text(words)
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()
    await page.evaluate("() => { window.refusal = ['NotAllowedError']; window.permission.state = 'denied'; }")
    await page.get_by_role("button", name="Try again").click()
    await expect(alert).to_contain_text("The microphone is blocked for this site")
    await expect(page.get_by_role("button", name="Copy details")).to_be_visible()
    await page.evaluate("""async () => {
        while (!window.permission.onchange) await new Promise((next) => setTimeout(next, 10));
        window.refusal = null;
        window.permission.state = "granted";
        window.permission.onchange();
    }""")
    await server.connected()
    await until(page, "state => state.status === 'listening' && state.problem === null")
