"""OpenAI Realtime on a session without a transport: the bus becomes JSON, JSON becomes calls, all in its order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from pipelines.voice.events import ResponseAudioStopped, UserTurn
from server.dialects.openai.dialect import RealtimeDialect
from server.dialects.openai.server_events import RealtimeEvents
from server.dialects.openai.settings import Served
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.memory_transport import MemoryTransport, call, settle

HELLO = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
ROWS = [{"stage": "stt", "engine": "ears"}]


class Client:
    """One client of a session; a session may have several."""

    def __init__(self, line: MemoryTransport) -> None:
        self.sent: list[dict[str, Any]] = []
        served = Served(lambda: line.engines.voice.tts.voices, status=lambda: ROWS, language="de")
        self.dialect = RealtimeDialect(line.session, served, self.sent.append, lambda: "vp8")

    def say(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.dialect.receive(json.dumps(event))

    def types(self) -> list[str]:
        return [event["type"] for event in self.sent]


@asynccontextmanager
async def clients(number: int = 1, **engines: Any) -> AsyncIterator[tuple[MemoryTransport, list[Client]]]:
    async with call(**engines) as line:
        made = [Client(line) for _ in range(number)]
        tasks = [asyncio.create_task(client.dialect.run()) for client in made]
        await settle()
        yield line, made
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_two_clients_of_one_session_are_told_the_same():
    async with clients(2, stt=FakeRecognizer("what is the time"), llm=FakeModel("Noon.")) as (line, (one, other)):
        await line.say(1.0)
        await line.hush(4.0, until=ResponseAudioStopped)
        await settle()
        assert one.types() == other.types()
        assert one.types()[0] == "input_audio_buffer.speech_started"
        assert one.types()[-1] == "output_audio_buffer.stopped"
        told = next(e for e in one.sent if e["type"] == "conversation.item.input_audio_transcription.completed")
        assert told["transcript"] == "what is the time"
        one.sent.clear()
        one.say({"type": "session.update", "session": {"instructions": "Sing."}})
        await settle()
        assert [client.sent[-1]["session"]["instructions"] for client in (one, other)] == ["Sing.", "Sing."]


async def test_an_answer_stands_behind_what_has_happened_before():
    async with clients() as (_, (client,)):
        client.say(
            {"type": "conversation.item.create", "item": {**HELLO, "id": "typed"}},
            {"type": "conversation.item.retrieve", "item_id": "typed"},
            {"type": "conversation.item.delete", "item_id": "typed"},
            {"type": "session.update", "session": {"max_output_tokens": 9}},
            {"type": "no.such.event"},
        )
        assert client.types() == [  # at once: nothing has run meanwhile
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.retrieved",
            "conversation.item.deleted",
            "session.updated",
            "error",
        ]


async def test_the_greeting_tells_what_is_in_effect():
    async with clients() as (line, (client,)):
        created, status = client.dialect.greeting()
        assert (created["type"], created["session"]["id"]) == ("session.created", line.session.id)
        assert created["session"]["audio"]["input"]["transcription"]["language"] == "de"
        assert created["session"]["vision"]["codec"] == "vp8"
        assert status["data"] == ROWS


async def test_other_engines_and_other_settings_are_told():
    async with clients() as (line, (client,)):
        line.session.engines_changed()
        line.session.settings_changed()
        await settle()
        assert client.types() == ["engine.status", "session.updated"]


async def test_what_it_cannot_translate_is_told_once_and_the_rest_is_translated(monkeypatch, caplog):
    translate = RealtimeEvents.translate

    def broken(self, event):
        if isinstance(event, UserTurn):
            raise RuntimeError("a defect")
        return translate(self, event)

    monkeypatch.setattr(RealtimeEvents, "translate", broken)
    async with clients(llm=FakeModel("Hello.", "Hello again.")) as (line, (client,)):
        for _ in range(2):
            client.say({"type": "conversation.item.create", "item": HELLO}, {"type": "response.create"})
            await line.hush(3.0, until=ResponseAudioStopped)
            line.forget()
        assert client.types().count("error") == 1
        assert client.types().count("response.done") == 2
        assert caplog.text.count("RuntimeError: a defect") == 1


async def test_the_farewell_holds_what_has_not_been_told_yet():
    async with clients() as (line, (client,)):
        line.session.settings_changed()
        last = client.dialect.farewell("enough")
        assert [event["type"] for event in last] == ["session.updated", "error"]
        assert last[-1]["error"]["code"] == "session_ended"


async def test_a_failure_names_the_event_that_it_answers():
    async with clients() as (_, (client,)):
        client.say({"type": "no.such.event", "event_id": "mine"})
        answering = client.dialect.failure("a message", answers=True)
        assert answering["error"]["event_id"] == "mine"
        assert "event_id" not in client.dialect.failure("a track", answers=False)["error"]
