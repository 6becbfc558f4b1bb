"""The page in real browsers, against a server that is real HTTP and WebRTC but says what the test tells it to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aioice.ice
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.fake_server import FakeServer, error, running_server
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
    const [{ captionAt }, { separateStreams }] = await Promise.all(
        ["captions", "connection"].map((name) => import(`/static/js/${name}.js`)));
    const reply = "One moment. This clause is long enough to be cut at its comma, and what follows it goes on "
        + "for a good while before it ends.";
    const sdp = ["m=audio 9", "a=msid:s a", "m=video 9", "a=msid:s v", "m=application 9", ""].join("\\r\\n");
    return { captions: [0, 0.5, 1, 5, 60].map((seconds) => captionAt(reply, seconds)), nothing: captionAt("", 1),
        sdp: separateStreams(sdp).split("\\r\\n") };
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeServer]:
    interfaces = aioice.ice.get_host_addresses
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **which: ["127.0.0.1", *interfaces(**which)])
    async with running_server() as server:
        yield server


async def start(page: Page, server: FakeServer, status: str = "listening") -> None:
    await page.get_by_role("button", name="Start").click()
    await server.connected()
    await until(page, f"state => state.status === '{status}'")


def spoken(item: str, transcript: str) -> list[dict[str, Any]]:
    """The events of a spoken turn, from the first sound to the transcript."""
    return [
        {"type": "input_audio_buffer.speech_started", "item_id": item, "audio_start_ms": 0},
        {"type": "input_audio_buffer.speech_stopped", "item_id": item, "audio_end_ms": 900},
        {"type": "input_audio_buffer.committed", "item_id": item},
        {
            "type": "conversation.item.added",
            "item": {
                "id": item,
                "type": "message",
                "role": "user",
                "content": [{"type": "input_audio", "transcript": None}],
            },
        },
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": item,
            "content_index": 0,
            "transcript": transcript,
        },
    ]


def reply_begins(response: str, item: str, *words: str) -> list[dict[str, Any]]:
    """The events of a reply up to the first words heard."""
    return [
        {"type": "response.created", "response": {"id": response, "status": "in_progress", "output": []}},
        {
            "type": "response.output_item.added",
            "response_id": response,
            "item": {"id": item, "type": "message", "role": "assistant", "content": []},
        },
        *(
            {
                "type": "response.output_audio_transcript.delta",
                "response_id": response,
                "item_id": item,
                "delta": word,
            }
            for word in words
        ),
        {"type": "output_audio_buffer.started", "response_id": response},
    ]


def reply_ends(response: str, status: str = "completed", **details: str) -> dict[str, Any]:
    return {
        "type": "response.done",
        "response": {"id": response, "status": status, "status_details": details, "output": []},
    }


async def test_engines_are_listed_with_the_reason_why(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    table = page.get_by_role("table")
    await expect(table).to_contain_text("pocketsphinx")
    await expect(table).to_contain_text("no Whisper model in the store and the network is closed")
    await expect(table.locator(".missing")).to_have_count(1)
    await expect(table.locator(".missing")).to_contain_text("libEGL missing: no vision")
    await expect(page.locator("#engines-summary")).to_have_text("4 running1 missing")


async def test_captions_keep_to_the_voice_and_the_picture_does_not_hold_it_back(
    server: FakeServer, browser_page: Any
) -> None:
    page = await browser_page(server.url)
    found = await page.evaluate(PURE_FUNCTIONS)
    first, second, third = (
        "One moment.",
        "This clause is long enough to be cut at its comma,",
        "and what follows it goes on for a good while before it ends.",
    )
    assert found["captions"] == [first, first, second, third, third]
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
        {"role": "user", "text": "What is the weather in Paris?", "final": True, "interrupted": False},
        {"role": "assistant", "text": "Sunny, <b>warm</b>.", "final": True, "interrupted": False},
    ]
    assert state["latency"]["voice_to_voice_ms"] == 312.4
    await expect(page.locator(".assistant .bubble")).to_have_text("Assistant: Sunny, <b>warm</b>.")
    await expect(page.locator(".assistant .latency summary")).to_have_text("312 ms to first audio")
    await expect(page.locator("#announcer")).to_have_text("Assistant: Sunny, <b>warm</b>.")
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
        {"role": "assistant", "text": "Paris is the capital", "final": True, "interrupted": True}
    ]
    await expect(page.locator(".entry")).to_have_count(2)
    await expect(page.locator(".assistant.interrupted .mark")).to_have_text("Interrupted")

    await page.keyboard.press("Escape")  # nothing to stop: nothing is sent
    server.send(*reply_begins("r2", "a2", "Once upon a time"))
    await expect(page.get_by_role("button", name="Stop speaking")).to_be_enabled()
    await page.keyboard.press("Escape")
    assert await server.next_event() == {"type": "response.cancel", "response_id": "r2"}
    assert await server.next_event() == {"type": "output_audio_buffer.clear"}


async def test_typing_needs_no_microphone(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, devices="refused")
    await page.get_by_label("Message to the assistant").fill("Good evening")
    await page.keyboard.press("Enter")
    await server.connected()
    assert "a=recvonly" in server.offers[0]
    assert "m=video" not in server.offers[0]
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Good evening"}]}
    assert await server.next_event() == {"type": "conversation.item.create", "item": item}
    assert await server.next_event() == {"type": "response.create"}
    server.send({"type": "conversation.item.added", "item": {"id": "u1", **item}})
    server.send(*reply_begins("r1", "a1", "Good evening to you."))
    await expect(page.locator(".assistant .bubble")).to_have_text("Assistant: Good evening to you.")
    await expect(page.locator(".user .bubble")).to_have_text("You: Good evening")


async def test_a_refused_microphone_is_explained(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, devices="refused")
    await page.get_by_role("button", name="Start").click()
    await expect(page.get_by_role("alert")).to_contain_text("The microphone is blocked")
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()
    assert server.offers == []
    await page.get_by_role("button", name="Go on by typing").click()
    await server.connected()
    await until(page, "state => state.status === 'ready' && state.problem === null")


async def test_an_insecure_address_is_explained(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, init=NO_SECURE_CONTEXT)
    await page.get_by_role("button", name="Start").click()
    await expect(page.get_by_role("alert")).to_contain_text("only over HTTPS")
    await expect(page.get_by_role("button", name="Go on by typing")).to_be_visible()


async def test_without_a_camera_the_call_goes_on(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, devices="no camera", init=REFUSE_TO_PLAY_ONCE)
    await start(page, server)
    assert "a=sendonly" in server.offers[0]  # the empty place of the camera, and that of the screen
    await expect(page.locator(".notice")).to_contain_text("No camera was found")
    await expect(page.locator("#orb")).to_be_visible()
    await page.get_by_role("button", name="Tap to hear the assistant").click()
    await expect(page.locator("#hear")).to_be_hidden()
    await page.get_by_role("button", name="Dismiss").click()
    await expect(page.locator(".notice")).to_have_count(0)


async def test_a_server_that_goes_away_can_be_reached_again(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await start(page, server)
    server.send(*spoken("u1", "Are you there?"))
    await server.hang_up()
    await expect(page.get_by_role("alert")).to_contain_text("The connection to the server is gone")
    await expect(page.locator("#status")).to_have_text("Disconnected")
    await page.get_by_role("button", name="Reconnect").click()
    await server.connected()
    state = await until(page, "state => state.status === 'listening'")
    assert [turn["text"] for turn in state["transcript"]] == ["Are you there?"]
    await expect(page.locator(".note")).to_contain_text("New conversation")


async def test_a_full_server_says_when_to_come_back(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, allow=["503"])
    server.refusal = error(503, "All 4 places are taken.", "server_full", **{"Retry-After": "7"})
    await page.get_by_role("button", name="Start").click()
    await expect(page.get_by_role("alert")).to_contain_text("All 4 places are taken. Try again in about 7 s.")
    await page.get_by_role("button", name="Try again").click()
    await server.connected()
    await until(page, "state => state.status === 'listening'")


async def test_a_server_with_a_key(server: FakeServer, browser_page: Any) -> None:
    server.key = "right & proper"
    page = await browser_page(f"{server.url}#key=wrong", allow=["401"])
    assert page.url == server.url, "the key does not stay in the address bar"
    await expect(page.get_by_role("alert")).to_contain_text("This server asks for a key")
    await page.get_by_label("Server key").fill(server.key)
    await page.get_by_role("button", name="Use this key").click()
    await expect(page.get_by_role("table")).to_contain_text("pocketsphinx")
    await page.reload()  # kept for the tab
    await start(page, server)


VISION: dict[str, Any] = {
    "enabled": True,
    "mode": "live",
    "detectors": ["faces", "hands", "pose"],
    "unavailable": {"objects": "its model is not here"},
    "auto_frame": False,
    "background": {"kind": "keep"},
    "overlay": {"boxes": True, "landmarks": True, "labels": True, "captions": True, "latency": False},
    "looks": {"lips": False, "look_to_talk": False, "gestures": {"thumbs up": "end_turn"}},
    "attach": "on_request",
}


def settings(kind: str = "session.updated", **changed: Any) -> dict[str, Any]:
    return {"type": kind, "session": {"type": "realtime", "vision": {**VISION, **changed}}}


async def asked(server: FakeServer) -> dict[str, Any]:
    event = await server.next_event()
    assert event["type"] == "session.update"
    vision: dict[str, Any] = event["session"]["vision"]
    return vision


async def test_vision_is_changed_by_asking_the_server(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await start(page, server)
    await expect(page.locator("#vision")).to_be_hidden()
    server.send(settings("session.created"))
    await expect(page.locator("#vision-summary")).to_have_text("faces, hands, body")
    await page.locator("#vision summary").click()
    await expect(page.get_by_label("Things")).to_be_disabled()

    await page.get_by_label("Body", exact=True).click()
    assert await asked(server) == {"detectors": ["faces", "hands"]}
    await page.get_by_label("Captions", exact=True).click()
    assert await asked(server) == {"overlay": {"captions": False}}
    await page.get_by_label("Look to talk").click()
    assert await asked(server) == {"looks": {"look_to_talk": True}}
    await page.get_by_label("Only lips interrupt").click()
    assert await asked(server) == {"looks": {"lips": True}}
    await page.get_by_label("Open palm: be quiet").click()
    assert await asked(server) == {"looks": {"gestures": {"thumbs up": "end_turn", "open palm": "stop_speaking"}}}
    await page.locator("select[name='mode']").select_option("exact")
    assert await asked(server) == {"mode": "exact"}
    await page.locator("select[name='background.kind']").select_option("blur")
    assert await asked(server) == {"background": {"kind": "blur"}}
    await page.get_by_label("Look at my camera").click()
    assert await asked(server) == {"enabled": False}
    server.send(settings(enabled=False))
    await expect(page.locator("#vision-summary")).to_have_text("not looking")


async def test_what_the_camera_shows_appears_as_chips(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await start(page, server)
    chips = page.locator(".chip")
    server.send(
        {"type": "vision.gesture.started", "hand": "left", "gesture": "thumbs up"},
        {"type": "vision.attention.changed", "attention": "away"},
        {"type": "visavis.reply_held", "item_id": "u1", "outcome": "waiting"},
        {"type": "vision.lag", "state": "behind", "lag_ms": 900},
    )
    await expect(chips).to_have_text(
        ["left hand: thumbs up", "looking away", "waiting until you look", "drawing lags behind"]
    )
    server.send(
        {"type": "vision.gesture.ended", "hand": "left", "gesture": "thumbs up"},
        {"type": "vision.attention.changed", "attention": "facing"},
        {"type": "visavis.reply_held", "item_id": "u1", "outcome": "given"},
        {"type": "vision.lag", "state": "caught_up", "lag_ms": 90},
        {"type": "vision.person.appeared", "id": 1},
    )
    await expect(chips).to_have_text(["somebody came"])
    await expect(chips).to_have_count(0)


async def test_captions_in_the_picture_are_not_written_twice(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await start(page, server)
    server.send(settings("session.created"), *reply_begins("r1", "a1", "Good evening."))
    await expect(page.locator("#status")).to_have_text("Speaking")
    await expect(page.locator("#caption")).to_have_text("")
    server.send(settings(overlay={**VISION["overlay"], "captions": False}))
    await expect(page.locator("#caption")).to_have_text("Good evening.")
