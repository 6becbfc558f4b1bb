"""The page in real browsers, against a server that is real HTTP and WebRTC but says what the test tells it to."""

from __future__ import annotations

from typing import Any

from playwright.async_api import expect

from tests.browser.fake_server import FakeServer
from tests.browser.script import reply_begins, reply_ends, spoken, start
from tests.browser.waiting import in_browsers, until

pytestmark = in_browsers

NO_SECURE_CONTEXT = "Object.defineProperty(navigator, 'mediaDevices', {value: undefined})"
REFUSE_TO_PLAY_ONCE = """
    const play = HTMLMediaElement.prototype.play;
    HTMLMediaElement.prototype.play = function () {
        HTMLMediaElement.prototype.play = play;
        return Promise.reject(new DOMException("no gesture", "NotAllowedError"));
    };
"""
PURE_FUNCTIONS = """async () => {
    const [{ guessPlace, linesAt }, { separateStreams }] = await Promise.all(
        ["words/captions", "call/connection"].map((name) => import(`/static/js/${name}.js`)));
    const reply = "One moment. This clause is long enough to be cut at its comma, and what follows it goes on "
        + "for a good while before it ends.";
    const captionAt = (text, seconds) => linesAt(text, guessPlace(text, seconds)).join(" / ");
    const sdp = ["m=audio 9", "a=msid:s a", "m=video 9", "a=msid:s v", "m=application 9", ""].join("\\r\\n");
    return { captions: [0, 0.5, 1, 5, 60].map((seconds) => captionAt(reply, seconds)), nothing: captionAt("", 1),
        sdp: separateStreams(sdp).split("\\r\\n") };
}"""


async def test_engines_are_listed_with_the_reason_why(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await expect(page.get_by_role("table")).to_have_count(0)  # the first screen is calm
    await expect(page.locator("#quality")).to_have_text("4 running · 1 missing")
    await page.locator("#engines-open").click()
    table = page.get_by_role("table")
    await expect(table).to_contain_text("pocketsphinx")
    await expect(table).to_contain_text("no Whisper model in the store and the network is closed")
    await expect(table.locator(".troubled")).to_have_count(1)
    await expect(table.locator(".troubled")).to_contain_text("missing")
    await expect(table.locator(".troubled")).to_contain_text("libEGL missing: no vision")


async def test_what_stands_in_or_does_not_work_says_so(server: FakeServer, browser_page: Any) -> None:
    listen = {"stage": "stt", "device": "cpu", "ok": False}
    stands_in = listen | {"engine": "pocketsphinx", "wanted": "whisper-small.en", "reason": "its file is damaged"}
    server.engines = [
        stands_in,
        stands_in | {"stage": "llm", "reason": "crashed; stands in for whisper-small.en"},
        listen | {"stage": "vision", "engine": "mediapipe", "reason": "its process has ended"},
    ]
    page = await browser_page(server.url)
    await expect(page.locator("#quality")).to_have_text("0 running · 2 stand-in · 1 not working")
    await page.locator("#engines-open").click()
    rows = page.get_by_role("table").locator(".troubled")
    await expect(rows.nth(0)).to_contain_text("pocketsphinx stand-in")
    await expect(rows.nth(0).locator(".reason")).to_have_text("Stands in for whisper-small.en: its file is damaged")
    await expect(rows.nth(1).locator(".reason")).to_have_text("crashed; stands in for whisper-small.en")
    await expect(rows.nth(2)).to_contain_text("mediapipenot working")
    await start(page, server)
    server.engines = [listen | {"engine": "whisper-small.en", "ok": True, "reason": ""}]  # told when asked again, too
    server.send({"type": "engine.status", "data": server.engines})
    await expect(page.locator("#quality")).to_have_text("1 running")
    await expect(rows).to_have_count(0)


async def test_captions_keep_to_the_voice_and_the_picture_does_not_hold_it_back(
    server: FakeServer, browser_page: Any
) -> None:
    page = await browser_page(server.url)
    found = await page.evaluate(PURE_FUNCTIONS)
    first, second, third = (
        "One moment.",
        "This clause is long enough to be cut at / its comma, and what follows it goes on",
        "for a good while before it ends.",
    )
    assert found["captions"] == [first, first, second, second, third]
    assert found["nothing"] == ""
    assert found["sdp"] == ["m=audio 9", "a=msid:s a", "m=video 9", "a=msid:s-picture v", "m=application 9", ""]


async def test_a_spoken_conversation(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    await start(page, server)
    assert "m=video" in server.offers[0]
    assert "a=candidate" not in server.offers[0], "the offer leaves before candidates are gathered"

    server.send(
        {"type": "session.created", "session": {"type": "realtime"}},
        {"type": "some.future.event", "text": "never mind"},
        {"type": "client.failed", "problem": {"kind": "forged", "title": "", "text": ""}},
        {"type": "vision.changed", "scene": "one person, right hand raised", "objects": []},
        {"type": "input_audio_buffer.speech_started", "item_id": "u1"},
        {"type": "conversation.item.input_audio_transcription.delta", "item_id": "u1", "delta": "what is"},
        {"type": "visavis.partial_transcript", "item_id": "u1", "transcript": "what is the whether"},
    )
    await expect(page.locator(".user .pending")).to_have_text(" the whether")
    await expect(page.locator("#status")).to_have_text("Hearing you")
    await expect(page.locator("#scene-text")).to_have_text("one person, right hand raised")

    server.send(*spoken("u1", "What is the weather in Paris?"))
    await expect(page.locator("#status")).to_have_text("Thinking")
    server.send(*reply_begins("r1", "a1", "Sunny, ", "<b>warm</b>."))
    server.send({"type": "turn.latency", "response_id": "r1", "voice_to_voice_ms": 312.4, "parts": {"think_ms": 80}})
    await expect(page.locator("#status")).to_have_text("Speaking")
    await expect(page.locator("#caption")).to_have_text("Sunny, <b>warm</b>.")
    server.send(reply_ends("r1"), {"type": "output_audio_buffer.stopped", "response_id": "r1"})

    state = await until(page, "state => state.status === 'listening' && state.remoteEnergy > 0")
    assert state["transcript"] == [
        {"role": "user", "text": "What is the weather in Paris?", "final": True, "interrupted": False, "unheard": ""},
        {"role": "assistant", "text": "Sunny, <b>warm</b>.", "final": True, "interrupted": False, "unheard": ""},
    ]
    assert state["latency"]["voice_to_voice_ms"] == 312.4
    await expect(page.locator(".assistant .bubble")).to_have_text("Assistant: Sunny, <b>warm</b>.")
    await expect(page.locator(".assistant .latency")).to_have_text("0.31 s")
    await expect(page.locator("#announcer > :last-child")).to_have_text("Assistant: Sunny, <b>warm</b>.")
    await page.wait_for_selector("#picture:not([hidden])")

    await page.get_by_role("button", name="Mute").click()
    await expect(page.locator("#status")).to_have_text("Muted")
    await page.get_by_role("button", name="Stop", exact=True).click()
    await expect(page.locator("#status")).to_have_text("Idle")
    assert hosts == {server.url.split("/")[2]}, "the page talks to its own server only"


async def test_an_interrupted_reply_keeps_only_what_was_heard(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await start(page, server)
    server.send(*spoken("u1", "Tell me about Paris."))
    server.send(*reply_begins("r1", "a1", "Paris is the capital of France and has many museums."))
    await expect(page.locator("#status")).to_have_text("Speaking")
    late = {"type": "response.output_audio_transcript.delta", "response_id": "r1", "item_id": "a1", "delta": " Late."}
    server.send(
        {"type": "input_audio_buffer.speech_started", "item_id": "u2"},
        {"type": "output_audio_buffer.cleared", "response_id": "r1"},
        {
            "type": "conversation.item.truncated",
            "item_id": "a1",
            "content_index": 0,
            "audio_end_ms": 640,
            "transcript": "Paris is the capital",
        },
        late,
        reply_ends("r1", "cancelled", type="cancelled", reason="turn_detected"),
        # speech that ends without a turn, and words that turn out not to be one, leave no bubble
        {"type": "input_audio_buffer.speech_stopped", "item_id": "u2"},
        {"type": "visavis.partial_transcript", "item_id": "u3", "transcript": "the radio"},
    )
    state = await until(page, "state => state.status === 'listening'")
    assert state["transcript"][1:] == [
        {
            "role": "assistant",
            "text": "Paris is the capital",
            "final": True,
            "interrupted": True,
            "unheard": "of France and has many museums.",
        }
    ]
    await expect(page.locator(".entry")).to_have_count(2)
    await expect(page.locator(".assistant.interrupted .cut")).to_have_text("Interrupted here")

    await page.keyboard.press("Escape")  # nothing to stop: nothing is sent
    server.send(*reply_begins("r2", "a2", "Once upon a time"))
    await expect(page.get_by_role("button", name="Stop speaking")).to_be_enabled()
    await page.keyboard.press("Escape")
    assert await server.next_event() == {"type": "response.cancel", "response_id": "r2"}
    assert await server.next_event() == {"type": "output_audio_buffer.clear"}


async def test_a_refused_microphone_is_explained(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, devices="refused")
    await page.get_by_role("button", name="Start").click()
    await expect(page.get_by_role("alert")).to_contain_text("The microphone is blocked for this site")
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()
    assert server.offers == []
    await page.get_by_role("button", name="Go on by typing").click()
    await server.connected()
    await until(page, "state => state.status === 'ready' && state.problem === null")


async def test_an_insecure_address_is_explained_before_anything_is_asked(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, init=NO_SECURE_CONTEXT)
    await expect(page.get_by_role("alert")).to_contain_text("This address is not secure")
    await expect(page.get_by_role("button", name="Start")).to_be_disabled()
    secure = page.get_by_role("link", name="Open the secure address")
    assert await secure.get_attribute("href") == server.url.replace("http://", "https://")
    await page.get_by_role("button", name="Go on by typing").click()
    await server.connected()
    await until(page, "state => state.status === 'ready' && state.problem === null")


async def test_without_a_camera_the_call_goes_on(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, devices="no camera", init=REFUSE_TO_PLAY_ONCE)
    await start(page, server)
    assert "a=sendonly" in server.offers[0]  # the empty place of the camera, and that of the screen
    await expect(page.locator(".notice")).to_contain_text("no camera was found")
    await expect(page.locator("#orb")).to_be_visible()
    await page.get_by_role("button", name="Tap to hear the assistant").click()
    await expect(page.locator("#hear")).to_be_hidden()
    await page.get_by_role("button", name="Dismiss").click()
    await expect(page.locator(".notice")).to_have_count(0)
