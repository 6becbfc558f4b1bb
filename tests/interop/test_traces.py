"""What is told, and in which order: recorded orders of the service, and every event as two stock clients read it.

The orders are those of recorded traces of the service; where there is none (interruptions), those of its documentation.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import numpy as np
import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import ValidationError

from media.opus import RATE
from pipelines.errors import LLMError
from pipelines.interfaces.llm import ToolCall
from tests import packages
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import Peer, loud
from tests.interop.models import CallingModel, UnendingModel
from tests.interop.stock_page import HERE, NPM

TURN = np.concatenate([loud(0.8), np.zeros(RATE, np.int16)])
COUNTING = " ".join(["one two three four five six seven eight nine ten eleven twelve"] * 6)
"""Sounds for 18 s: long enough to be stopped on a busy machine, too."""
OURS = ("vision.", "visavis.", "engine.", "turn.")
"""Beginnings of the types of events that the service has not."""
ANYWHERE = ("conversation.item.input_audio_transcription.", "output_audio_buffer.started", "session.", "error")
"""What has no fixed place among the others."""

ADDED = ["conversation.item.added", "conversation.item.done"]
SPOKEN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    *ADDED,
]
OPENED = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
VOICE = ["response.output_audio_transcript.delta"]
VOICE_DONE = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]
TEXT_DONE = ["response.output_text.done", *VOICE_DONE[2:]]

TYPES = {get_args(kind.model_fields["type"].annotation)[0]: kind for kind in get_args(get_args(RealtimeServerEvent)[0])}
"""Of openai-py."""


def order(events: list[dict[str, Any]]) -> list[str]:
    """The types in their order, of neighbours alike only one."""
    kinds = [event["type"] for event in events if not event["type"].startswith((*OURS, *ANYWHERE))]
    return [kind for kind, before in zip(kinds, ["", *kinds], strict=False) if kind != before]


def typed(text: str, **more: Any) -> dict[str, Any]:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **more}
    return {"type": "conversation.item.create", "item": item}


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Peer]:
    """A call whose data channel is open."""
    async with Peer(url) as peer:
        await peer.event("session.created")
        yield peer


def check_types(events: list[dict[str, Any]]) -> None:
    """Check that openai-py's types hold for every event but ours."""
    for event in events:
        if not event["type"].startswith(OURS):
            TYPES[event["type"]].model_validate_json(json.dumps(event), strict=True)


async def as_read(events: list[dict[str, Any]]) -> list[str]:
    """What the agents' SDK makes of each event: ``known``, ``generic`` (it goes by its type alone), or an error."""
    command = [packages.node(), str(HERE / "node" / "conform.mjs"), str(packages.node_modules(NPM))]
    text = json.dumps(events)
    done = await asyncio.to_thread(subprocess.run, command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


async def check(events: list[dict[str, Any]], *generic: str) -> None:
    """Every event is known to both clients, but for ours and for ``generic`` ones that the agents' SDK leaves out."""
    assert len({event["event_id"] for event in events}) == len(events)
    check_types(events)
    for event, told in zip(events, await as_read(events), strict=True):
        ours = event["type"].startswith(OURS) or event["type"] in generic
        assert told == ("generic" if ours else "known"), event


async def test_a_spoken_turn(serve):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("what is the weather"), llm=FakeModel("It is sunny.")))
    async with calling(url) as peer:
        peer.say(TURN, RATE)
        await peer.event("output_audio_buffer.stopped")
    assert order(peer.events) == [*SPOKEN, *OPENED, *VOICE, *VOICE_DONE, "output_audio_buffer.stopped"]
    named = [event["type"] for event in peer.events]
    started = named.index("output_audio_buffer.started")
    assert named.index("response.output_audio_transcript.delta") < started < named.index("output_audio_buffer.stopped")
    completed = peer.named("conversation.item.input_audio_transcription.completed")
    assert [event["transcript"] for event in completed] == ["what is the weather"]
    await check(peer.events)


async def test_a_typed_turn_answered_in_writing(serve):
    url, _ = await serve(fake_engines(llm=FakeModel("It is sunny.")))
    async with calling(url) as peer:
        peer.send({"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}})
        peer.send(typed("How is the weather?"))
        peer.send({"type": "response.create"})
        await peer.event("response.done")
    assert order(peer.events) == [*ADDED, *OPENED, "response.output_text.delta", *TEXT_DONE]
    await check(peer.events)


async def test_a_response_that_is_spoken_over(serve):
    model = UnendingModel(f"{COUNTING}.", "Okay.")
    url, _ = await serve(fake_engines(stt=FakeRecognizer("count please", "stop it now"), llm=model))
    async with calling(url) as peer:
        peer.say(TURN, RATE)
        await peer.event("output_audio_buffer.started")
        peer.say(TURN, RATE)
        cut = await peer.event("response.done")
        await peer.event("output_audio_buffer.stopped")
    assert cut["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert [item["status"] for item in cut["response"]["output"]] == ["incomplete"]
    assert order(peer.events) == [
        *SPOKEN,
        *OPENED,
        *VOICE,
        "input_audio_buffer.speech_started",
        "output_audio_buffer.cleared",
        *VOICE_DONE,
        "conversation.item.truncated",
        *SPOKEN[1:],
        *OPENED,
        *VOICE,
        *VOICE_DONE,
        "output_audio_buffer.stopped",
    ]
    await check(peer.events)


async def test_a_response_that_is_stopped_after_it_was_done(serve):
    url, _ = await serve(fake_engines(llm=FakeModel(f"{COUNTING}.")))
    async with calling(url) as peer:
        peer.send(typed("Count, please."))
        peer.send({"type": "response.create"})
        await peer.event("response.done")
        await peer.event("output_audio_buffer.started")
        peer.send({"type": "output_audio_buffer.clear"})
        await peer.event("conversation.item.truncated")
        peer.send({"type": "response.cancel", "event_id": "late"})
        error = (await peer.event("error"))["error"]
    assert (error["code"], error["event_id"]) == ("response_cancel_not_active", "late")
    after = ["output_audio_buffer.cleared", "conversation.item.truncated"]
    assert order(peer.events) == [*ADDED, *OPENED, *VOICE, *VOICE_DONE, *after]
    await check(peer.events)


async def test_a_response_that_fails(serve):
    url, _ = await serve(fake_engines(llm=FakeModel(LLMError("llm_unreachable", "the model is away"))))
    async with calling(url) as peer:
        peer.send(typed("Hello?"))
        peer.send({"type": "response.create"})
        response = (await peer.event("response.done"))["response"]
    assert (response["status"], response["status_details"]["type"]) == ("failed", "failed")
    assert order(peer.events) == [*ADDED, "response.created", "response.output_item.added", *OPENED[2:], *VOICE_DONE]
    await check(peer.events)


async def test_a_function_that_is_called(serve):
    call = ToolCall("call_1", "weather", '{"city": "Paris"}')
    url, _ = await serve(fake_engines(llm=CallingModel((call,), ("It is ", "sunny."))))
    weather = {"type": "function", "name": "weather", "description": "Tells the weather.", "parameters": {}}
    async with calling(url) as peer:
        wishes = {"type": "realtime", "output_modalities": ["text"], "tools": [weather]}
        peer.send({"type": "session.update", "session": wishes})
        peer.send(typed("How is the weather?"))
        peer.send({"type": "response.create"})
        done = await peer.event("response.output_item.done")
        output = {"type": "function_call_output", "call_id": done["item"]["call_id"], "output": "Sunny."}
        peer.send({"type": "conversation.item.create", "item": output})
        peer.send({"type": "response.create"})
        await peer.event("response.done", 2)
    assert done["item"] == {**done["item"], "type": "function_call", "status": "completed", "name": "weather"}
    assert json.loads(done["item"]["arguments"]) == {"city": "Paris"}
    assert order(peer.events) == [
        *ADDED,
        *OPENED[:3],
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        *ADDED,
        *OPENED,
        "response.output_text.delta",
        *TEXT_DONE,
    ]
    await check(peer.events)


async def test_items_that_are_read_and_removed(serve):
    url, _ = await serve()
    async with calling(url) as peer:
        peer.send(typed("First.", id="item_1"))
        peer.send(typed("Before.", id="item_0") | {"previous_item_id": "root"})
        picture = {"type": "input_image", "image_url": "https://example.org/cat.png"}
        peer.send(typed("Look.", content=[picture]))
        await peer.event("error")
        peer.send({"type": "conversation.item.retrieve", "item_id": "item_1"})
        peer.send({"type": "conversation.item.delete", "item_id": "item_1"})
        peer.send({"type": "input_audio_buffer.clear"})
        peer.send({"type": "input_audio_buffer.commit"})
        await peer.event("error", 2)
    rest = ["conversation.item.retrieved", "conversation.item.deleted", "input_audio_buffer.cleared"]
    assert order(peer.events) == [*ADDED, *ADDED, *rest]
    placed = [event.get("previous_item_id") for event in peer.named("conversation.item.added")]
    assert placed == [None, None]
    await check(peer.events)


@pytest.mark.parametrize("missing", ["transcript", "event_id"])
async def test_what_the_agents_sdk_cannot_read_is_noticed(missing):
    part = {"type": "input_audio", "transcript": None}
    item = {"id": "i", "type": "message", "role": "user", "status": "completed", "content": [part]}
    event = {"type": "conversation.item.added", "event_id": "e", "item": item}
    (part if missing == "transcript" else event).pop(missing)
    (told,) = await as_read([event])
    assert missing in told


def test_what_openai_py_cannot_read_is_noticed():
    with pytest.raises(ValidationError, match=r"response\.status"):
        check_types([{"type": "response.done", "event_id": "e", "response": {"status": "finished"}}])
