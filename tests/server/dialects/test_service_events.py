"""The comparison that every test's events go through finds what it is there for."""

from __future__ import annotations

import re
from itertools import groupby

import pytest

from pipelines.vision.detect import CameraStopped
from server.dialects.openai import vision
from server.dialects.openai.models import SERVED
from server.dialects.openai.server_events import RealtimeEvents
from server.dialects.openai.shapes import error_event, server_event
from tests.fakes.service_events import DOCUMENT, known_types, table, violations
from tests.pipelines.voice.test_conversation import scene
from tests.server.dialects.test_realtime_client import HELLO, Client

CLEARED = "input_audio_buffer.cleared"


@pytest.mark.parametrize(
    "event",
    [
        server_event(CLEARED),
        error_event("a", "b", param="c", event_id="d"),
        server_event("vision.camera", state="stopped"),
        server_event("vision.camera", state="live", width=640, height=480),
        server_event("conversation.item.truncated", item_id="i", content_index=0, audio_end_ms=5, transcript="Yes"),
        {**server_event(CLEARED), "shortened": True},
    ],
)
def test_what_isknown_types_passes(event):
    assert violations(event) == []


@pytest.mark.parametrize(
    ("event", "what"),
    [
        ({"type": CLEARED}, "event_id"),
        (server_event(CLEARED, item_id="i"), "item_id: no field"),
        (server_event("conversation.item.deleted"), "item_id: Field required"),
        (server_event("conversation.item.deleted", item_id=5), "item_id: Input should be a valid string"),
        (server_event("error", error={"type": "a", "message": "b", "hint": "c"}), "error.hint: no field"),
        (server_event("input_audio_buffer.speech_started", item_id="i", audio_start_ms=1.5), "audio_start_ms"),
        (server_event("vision.camera", state="live", colour="red"), "colour: not in docs"),
        (server_event("vision.camera"), "state: is missing"),
        (server_event("vision.unheard_of"), "neither"),
        (server_event("response.audio.delta", delta=""), "neither"),
    ],
)
def test_what_is_notknown_types_is_found(event, what):
    (told,) = violations(event)
    assert what in told


def test_the_fixture_sees_what_the_dialect_says(events_keep_to_the_protocol, monkeypatch):
    monkeypatch.setattr(vision, "server_event", lambda kind, **fields: server_event("vision.unheard_of", **fields))
    RealtimeEvents().translate(CameraStopped(1.0))
    assert [what.partition(":")[0] for what in events_keep_to_the_protocol] == ["vision.unheard_of"]
    events_keep_to_the_protocol.clear()


def flow(heading: str) -> list[tuple[str, str]]:
    """What docs/reference/protocol.md draws under a heading: the arrow and the type of each event, in order."""
    section = DOCUMENT.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for fence in section.split("```")[1::2] for line in fence.splitlines() if line[:1] in ("→", "←")]
    return [
        (line[0], kind) for line in lines for kind in re.findall(r"(?<![\w.…/])[a-z]+(?:_[a-z]+)*(?:\.[a-z_]+)+", line)
    ]


FLOWS = ("A call", "A spoken turn", "A typed turn", "An interruption", "Push-to-talk", "A function call", "A picture")


@pytest.mark.parametrize("heading", FLOWS)
def test_the_documentation_draws_events_that_there_are(heading):
    drawn = flow(heading)
    assert len(drawn) >= 4
    assert {kind for arrow, kind in drawn if arrow == "→"} <= set(SERVED)
    known = set(known_types()) | table("Vendor events").keys()
    assert {kind for arrow, kind in drawn if arrow == "←"} <= known


async def test_a_typed_turn_goes_as_the_documentation_draws_it():
    async with scene() as s:
        client = Client(s)
        text = {"output_modalities": ["text"]}
        sent = await client.say({"type": "conversation.item.create", "item": HELLO})
        sent += await client.say({"type": "response.create", "response": text})
    told = [kind for kind, _ in groupby(event["type"] for event in sent)]
    assert told == [kind for arrow, kind in flow("A typed turn") if arrow == "←"]
