"""OpenAI's own Python client, unchanged, over a WebSocket; every event is one that its strict types accept."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

pytest.importorskip("websockets", reason="the openai package needs websockets for its Realtime client")

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import loud
from tests.loopback.test_calls import CALLS, Caller
from tests.patience import PATIENCE

RATE = 24_000
OURS = ("visavis.", "vision.", "turn.latency", "engine.status")
KNOWN: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
LONG = "one two three four five six seven eight nine ten eleven twelve. " * 3


@asynccontextmanager
async def stock(url: str, key: str = "any-key", **options: Any) -> AsyncIterator[AsyncOpenAI]:
    address = f"{url.replace('http', 'ws')}/v1"
    async with AsyncOpenAI(api_key=key, base_url=f"{url}/v1", websocket_base_url=address, **options) as client:
        yield client


class Events:
    """Reads one connection; ``until`` returns the event that it waits for."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.connection = connection
        self.seen: list[Any] = []

    async def until(self, kind: str) -> Any:
        async with asyncio.timeout(PATIENCE):
            while True:
                event = self.connection.parse_event(await self.connection.recv_bytes())
                self.seen.append(event)
                if not event.type.startswith(OURS):
                    KNOWN.validate_python(event.to_dict(), strict=True)
                if event.type == kind:
                    return event

    def all(self, kind: str) -> list[Any]:
        return [event for event in self.seen if event.type == kind]


def sound(samples: np.ndarray) -> str:
    return base64.b64encode(samples.tobytes()).decode()


SPOKEN = sound(np.concatenate([loud(0.8, RATE), np.zeros(RATE * 3 // 2, np.int16)]))


async def test_a_text_turn_and_a_cancel_of_nothing(serve):
    url, _ = await serve(fake_engines(llm=FakeModel("Ahoy there.")))
    async with stock(url) as client, client.realtime.connect(model="gpt-realtime") as connection:
        events = Events(connection)
        await events.until("session.created")
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await events.until("session.updated")
        await connection.response.cancel()
        error = await events.until("error")
        assert error.error.code == "response_cancel_not_active"
        content: Any = [{"type": "input_text", "text": "Hello?"}]
        await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        await connection.response.create()
        assert (await events.until("response.output_text.done")).text == "Ahoy there."
        assert (await events.until("response.done")).response.status == "completed"


async def test_a_spoken_turn(serve):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("what is the time"), llm=FakeModel("It is noon now.")))
    async with stock(url) as client, client.realtime.connect(model="gpt-realtime") as connection:
        events = Events(connection)
        await connection.input_audio_buffer.append(audio=SPOKEN)
        await events.until("response.done")
        (heard,) = events.all("conversation.item.input_audio_transcription.completed")
        assert heard.transcript == "what is the time"
        (said,) = events.all("response.output_audio_transcript.done")
        assert said.transcript == "It is noon now."
        pcm = b"".join(base64.b64decode(event.delta) for event in events.all("response.output_audio.delta"))
        assert len(pcm) // 2 == pytest.approx(RATE, abs=RATE // 100)


async def test_barge_in_and_truncation(serve):
    model = FakeModel(LONG, "Yes?")
    url, _ = await serve(fake_engines(stt=FakeRecognizer("count please", "stop now please"), llm=model))
    async with stock(url) as client, client.realtime.connect(model="gpt-realtime") as connection:
        events = Events(connection)
        await connection.input_audio_buffer.append(audio=SPOKEN)
        first = await events.until("response.output_audio.delta")
        await connection.input_audio_buffer.append(audio=sound(loud(1.0, RATE)))
        while len(events.all("input_audio_buffer.speech_started")) < 2:
            await events.until("input_audio_buffer.speech_started")
        await connection.conversation.item.truncate(item_id=first.item_id, content_index=0, audio_end_ms=500)
        truncated = await events.until("conversation.item.truncated")
        assert (truncated.item_id, truncated.audio_end_ms) == (first.item_id, 500)
        assert events.all("response.done"), "it has ended before"
        await connection.input_audio_buffer.append(audio=sound(np.zeros(2 * RATE, np.int16)))
        while len(events.all("response.done")) < 2:
            await events.until("response.done")
        kinds = [(event.type, getattr(event, "response_id", None)) for event in events.seen]
        done = kinds.index(("response.done", None))
        assert ("response.output_audio.delta", first.response_id) not in kinds[done:]
    told = [message.content for message in model.requests[-1].messages if message.role == "assistant"]
    assert told == ["one two —"]


async def test_a_sideband_of_a_call_that_runs(serve):
    url, _ = await serve(fake_engines(llm=FakeModel("Ahoy there.")))
    async with Caller(url) as caller, stock(url) as client:
        name = caller.location.removeprefix(f"{CALLS}/")
        async with client.realtime.connect(call_id=name) as connection:
            events = Events(connection)
            await events.until("session.created")
            await connection.response.create(response={"instructions": "Greet.", "metadata": {"who": "sideband"}})
            created = await caller.event("response.created")
            assert created["response"]["metadata"] == {"who": "sideband"}
            await events.until("output_audio_buffer.stopped")
            assert not events.all("response.output_audio.delta")
        await client.realtime.calls.hangup(name)
        await caller.until(lambda: caller.channel.readyState == "closed")


async def test_a_transcription_session(serve):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("take a note")))
    async with stock(url) as client, client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        events = Events(connection)
        assert (await events.until("session.created")).session.type == "transcription"
        listens: Any = {"transcription": {"model": "gpt-4o-transcribe", "language": "en"}}
        await connection.session.update(session={"type": "transcription", "audio": {"input": listens}})
        assert (await events.until("session.updated")).session.type == "transcription"
        await connection.input_audio_buffer.append(audio=SPOKEN)
        heard = await events.until("conversation.item.input_audio_transcription.completed")
        assert heard.transcript == "take a note"
        assert not events.all("response.created")


async def test_the_servers_key_and_a_wrong_one(serve):
    from websockets.exceptions import InvalidStatus

    url, _ = await serve(api_key="correct-horse-battery")
    async with (
        stock(url, "correct-horse-battery") as client,
        client.realtime.connect(model="gpt-realtime") as connection,
    ):
        await Events(connection).until("session.created")
    async with stock(url, "wrong") as client:
        with pytest.raises(InvalidStatus) as error:
            async with client.realtime.connect(model="gpt-realtime"):
                pass
        assert error.value.response.status_code == 401
