"""``@openai/agents-realtime`` over WebRTC in Chromium, as it is published: connect, speak, interrupt, show a picture.

The pages fail their test when the client throws (``ZodError`` for an event that it cannot read) or logs an error.
"""

from __future__ import annotations

import base64
import time
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.interfaces.llm import ToolCall
from server.http.signaling.offer import REGISTRY
from tests.browser.speech import say, traffic
from tests.browser.waiting import in_browsers, until_true
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import loud
from tests.interop.models import CallingModel, SeeingModel, UnendingModel
from tests.server.http.rest.clients import client_of

pytestmark = in_browsers

KEY = "a-long-secret"
TURN = loud(0.8).astype("<i2").tobytes()


async def test_a_typed_message_is_answered_aloud(stock):
    model = FakeModel("Good day to you.")
    client = await stock(fake_engines(llm=model))
    call = await client.connect(instructions="Speak like a sailor.")
    assert call.startswith("rtc_")
    await client.run("client.session.sendMessage('Hello?')")
    await client.event("output_audio_buffer.stopped")
    assert await client.run("client.history") == [
        ["user", "input_text", "Hello?", "completed"],
        ["assistant", "output_audio", "Good day to you.", "completed"],
    ]
    assert (await traffic(client.page, "energy heard"))["energy heard"] > 0
    assert model.requests[0].messages[0].content == "Speak like a sailor."
    assert await client.run("client.errors") == []


SETTINGS: list[dict[str, Any]] = [
    {
        "audio": {
            "input": {
                "noiseReduction": {"type": "near_field"},
                "transcription": {"model": "gpt-4o-transcribe", "language": "en", "prompt": "Names: Ada."},
                "turnDetection": {
                    "type": "server_vad",
                    "threshold": 0.6,
                    "silenceDurationMs": 400,
                    "idleTimeoutMs": 6000,
                },
            },
            "output": {"voice": "marin", "speed": 1.25},
        },
        "toolChoice": "auto",
        "parallelToolCalls": True,
        "reasoning": {"effort": "low"},
        "providerData": {"max_output_tokens": 4096, "truncation": {"type": "retention_ratio", "retention_ratio": 0.8}},
    },
    {
        "modalities": ["audio"],
        "voice": "sage",
        "speed": 1.25,
        "inputAudioFormat": "pcm16",
        "outputAudioFormat": "pcm16",
        "inputAudioTranscription": {"model": "whisper-1"},
        "inputAudioNoiseReduction": {"type": "far_field"},
        "turnDetection": {"type": "semantic_vad", "eagerness": "low", "interruptResponse": True},
    },
    {"outputModalities": ["text"], "audio": {"input": {"turnDetection": None, "transcription": None}}, "tracing": None},
]
"""As people write them for the service: of today, of before its first release, and for push-to-talk."""


@pytest.mark.parametrize("config", SETTINGS, ids=["of today", "deprecated", "push-to-talk"])
async def test_settings_as_people_write_them_are_taken(stock, config):
    client = await stock(fake_engines())
    await client.connect(config=config)
    await client.run("client.session.sendMessage('Hello?')")
    response = (await client.event("response.done"))["response"]
    assert response["status"] == "completed"
    assert await client.run("client.errors") == []
    session = (await client.event("session.updated"))["session"]
    detection = session["audio"]["input"]["turn_detection"]
    if "outputModalities" in config:
        assert (session["output_modalities"], detection) == (["text"], None)
    else:
        assert session["audio"]["output"]["speed"] == 1.25
        assert detection["type"] in ("server_vad", "semantic_vad")


async def test_a_client_secret_is_the_key_of_a_page_of_another_site(stock, monkeypatch):
    later = 0
    monkeypatch.setattr("server.http.app.time", SimpleNamespace(time=lambda: time.time() + later))
    model = FakeModel("Ahoy.")
    client = await stock(fake_engines(llm=model), allow=("401",), api_key=KEY)
    async with client_of(client.url, KEY) as owner:
        wishes: Any = {"type": "realtime", "audio": {"output": {"speed": 1.5}}}
        secret = await owner.realtime.client_secrets.create(session=wishes)
    with pytest.raises(Exception, match=r"status 401: this server knows no such client secret"):
        await client.connect(key="ek_wrong", insecure=False)
    assert await client.connect(key=secret.value, insecure=False)
    await client.run("client.session.sendMessage('Hello?')")
    await client.event("output_audio_buffer.stopped")
    assert (await client.event("session.created"))["session"]["audio"]["output"]["speed"] == 1.5
    await client.run("client.session.close()")
    later = 3600
    with pytest.raises(Exception, match=r"status 401: this client secret expired at"):
        await client.connect(key=secret.value, insecure=False)


@pytest.mark.parametrize("before", [(), ("Let me look. ",)], ids=["at once", "after some words"])
async def test_a_tool_of_the_page_is_called_once_and_its_result_is_spoken(stock, before):
    call = ToolCall("call_1", "weather", '{"city": "Paris"}')
    model = CallingModel((*before, call), ("It is ", "22 degrees."))
    client = await stock(fake_engines(llm=model))
    await client.connect(tools=[{"name": "weather", "result": "22 degrees"}])
    await client.run("client.session.sendMessage('How warm is it in Paris?')")
    await client.until(f"client.named('output_audio_buffer.stopped').length === {1 + len(before)}")
    assert await client.run("client.called") == [{"city": "Paris"}]
    (called,) = await client.run("client.tools")
    assert (called["name"], called["status"], called["output"]) == ("weather", "completed", "22 degrees")
    said = [line[2] for line in await client.run("client.history") if line[0] == "assistant"]
    assert said == [*(words.strip() for words in before), "It is 22 degrees."]
    assert [tool.name for tool in model.requests[0].tools] == ["weather"]
    assert "22 degrees" in [message.content for message in model.requests[1].messages]
    assert not await client.run("client.named('output_audio_buffer.cleared').length")
    assert await client.run("client.errors") == []


TOLD = (
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "output_audio_buffer.stopped",
)
"""A spoken turn and its response in one clause, as the service orders it; what may come anywhere is left out."""


async def test_a_spoken_turn_comes_in_the_order_of_the_service(stock):
    engines = fake_engines(stt=FakeRecognizer("what is the weather"), llm=FakeModel("It is sunny."))
    client = await stock(engines)
    await client.connect()
    await say(client.page, TURN)
    await client.event("output_audio_buffer.stopped")
    assert [kind for kind in await client.types() if kind in TOLD] == list(TOLD)
    await client.holds("client.history[0]", ["user", "input_audio", "what is the weather", "completed"])
    assert (await client.run("client.history"))[1][1:] == ["output_audio", "It is sunny.", "completed"]


COUNTING = " ".join(["one two three four five six seven eight nine ten eleven twelve"] * 6)
"""Sounds for 18 s: long enough to be interrupted on a busy machine, too."""


SILENCE = """async () => {
    let energy = -1, since = 0;
    for (;;) {
        for (const entry of (await window.calls.at(-1).getStats()).values()) {
            if (entry.type !== "inbound-rtp" || entry.kind !== "audio") continue;
            const { totalAudioEnergy, totalSamplesDuration } = entry;
            if (totalAudioEnergy > energy + 1e-4) [energy, since] = [totalAudioEnergy, totalSamplesDuration];
            if (totalSamplesDuration > since + 0.2) return;
        }
        await new Promise((next) => setTimeout(next, 20));
    }
}"""
"""Resolves when the page has heard nothing for a fifth of a second of what it receives."""


async def test_speaking_over_the_response_cuts_it_off(stock):
    model = UnendingModel(f"{COUNTING}.", "Okay.")
    client = await stock(fake_engines(stt=FakeRecognizer("count please", "stop it now"), llm=model))
    await client.connect()
    await say(client.page, TURN)
    await client.event("output_audio_buffer.started")
    await traffic(client.page, "energy heard")
    model.gate.clear()
    await say(client.page, TURN)
    await client.event("output_audio_buffer.cleared")
    await client.page.evaluate(SILENCE)
    response = (await client.event("response.done"))["response"]
    assert (response["status"], response["status_details"]["reason"]) == ("cancelled", "turn_detected")
    truncated = await client.event("conversation.item.truncated")
    assert 0 < truncated["audio_end_ms"] < len(COUNTING.split()) * 250
    model.gate.set()
    await client.event("output_audio_buffer.stopped")
    heard = (await client.run("client.history"))[1]
    assert heard[3] == "incomplete"
    assert COUNTING.startswith(heard[2]) and len(heard[2]) < len(COUNTING)
    assert model.requests[1].messages[-2].content == f"{heard[2]} —"
    cut = (await client.types()).index("output_audio_buffer.cleared")
    assert [kind for kind in (await client.types())[cut:] if kind in CUT][: len(CUT)] == list(CUT)


CUT = (
    "output_audio_buffer.cleared",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "conversation.item.truncated",
)


async def test_a_button_that_stops_the_voice(stock):
    client = await stock(fake_engines(llm=UnendingModel(f"{COUNTING}.")))
    await client.connect()
    await client.run("client.session.interrupt()")  # nothing is said yet
    await client.run("client.session.sendMessage('Count, please.')")
    await client.event("output_audio_buffer.started")
    await client.run("client.session.interrupt()")
    response = (await client.event("response.done"))["response"]
    assert (response["status"], response["status_details"]["reason"]) == ("cancelled", "client_cancelled")
    await client.page.evaluate(SILENCE)
    await client.until("client.history[1][3] === 'incomplete'")
    await client.run("client.session.sendMessage('Go on.')")
    await client.event("output_audio_buffer.stopped")
    assert await client.run("client.errors") == []


async def test_two_tools_at_a_time(stock):
    calls = [ToolCall(f"call_{name}", name, '{"city": "Paris"}') for name in ("weather", "time")]
    answers = [("It is noon. ",), ("It is noon and sunny.",)]
    model = CallingModel(tuple(calls), *answers)
    client = await stock(fake_engines(llm=model))
    await client.connect(tools=[{"name": "weather", "result": "Sunny."}, {"name": "time", "result": "Noon."}])
    await client.run("client.session.sendMessage('What time is it, and how is the weather?')")
    await client.until("client.tools.length === 2 && client.tools.every((tool) => tool.output)")
    assert sorted([tool["output"] for tool in await client.run("client.tools")]) == ["Noon.", "Sunny."]
    await client.until("client.history.some((line) => line[0] === 'assistant' && line[3] === 'completed')")
    assert len(await client.run("client.called")) == 2
    assert await client.run("client.errors") == []


async def test_a_tab_that_is_closed_in_mid_sentence_frees_its_place(stock):
    client = await stock(fake_engines(llm=UnendingModel(f"{COUNTING}.")))
    await client.connect()
    await client.run("client.session.sendMessage('Count, please.')")
    await client.event("output_audio_buffer.started")
    assert len(client.app[REGISTRY]) == 1
    await client.page.close()
    await until_true(lambda: len(client.app[REGISTRY]) == 0)


@pytest.mark.parametrize("side", [8, 200], ids=["a small one", "more than 64 KiB"])
async def test_a_picture_is_shown(stock, side):
    picture = cv2.imencode(".png", np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8))[1].tobytes()
    model = SeeingModel("A grey cat.")
    client = await stock(fake_engines(llm=model))
    await client.connect()
    uri = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    await client.page.evaluate("(uri) => window.client.session.addImage(uri)", uri)
    await client.event("output_audio_buffer.stopped")
    assert [image.data for image in model.requests[0].messages[-1].images] == [picture]
    assert await client.run("client.errors") == []
