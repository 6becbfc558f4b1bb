"""The Realtime protocol over a WebSocket: what is typed, said, interrupted, and what cannot be."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from typing import Any

import aiohttp
import numpy as np
import pytest

from server.dialects.openai.g711 import compress, expand
from server.http.signaling.offer import REGISTRY
from server.transports.websocket import event_socket, microphone
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import loud
from tests.fakes.socket_client import DELTA, RATE, SocketClient
from tests.patience import PATIENCE

HELLO = {
    "type": "conversation.item.create",
    "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]},
}
ANSWER = {"type": "response.create"}
LONG = "one two three four five six seven eight nine ten eleven twelve. " * 3


def session(**fields: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **fields}}


def audio_input(**fields: Any) -> dict[str, Any]:
    return session(audio={"input": fields})


async def test_a_typed_turn_is_answered_in_text(serve):
    url, app = await serve(fake_engines(llm=FakeModel("Ahoy there.")))
    async with SocketClient(url) as client:
        created = (await client.event("session.created"))["session"]
        assert created["type"] == "realtime"
        assert created["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": RATE}
        await client.send(session(output_modalities=["text"]), HELLO, ANSWER)
        await client.event("response.done")
        assert (await client.event("response.output_text.done"))["text"] == "Ahoy there."
        assert [kind for kind in client.types() if not kind.startswith(("engine", "turn"))] == [
            "session.created",
            "session.updated",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        assert len(app[REGISTRY]) == 1
    await ended(app)


async def ended(app: Any) -> None:
    """Wait until nobody is served any more."""
    tasks = set(app[REGISTRY]._tasks)
    if tasks:
        await asyncio.wait(tasks)
    assert len(app[REGISTRY]) == 0


async def test_a_spoken_turn_is_heard_faster_than_real_time_and_its_answer_sent_at_once(serve):
    model = FakeModel("It is noon now.")
    url, _ = await serve(fake_engines(stt=FakeRecognizer("what is the time"), llm=model))
    async with SocketClient(url) as client:
        await client.say()
        done = (await client.event("response.done"))["response"]
        assert done["status"] == "completed"
        heard = await client.event("conversation.item.input_audio_transcription.completed")
        assert heard["transcript"] == "what is the time"
        assert model.requests[-1].messages[-1].content == "what is the time"
        assert len(client.heard) == pytest.approx(4 * 0.25 * RATE, abs=RATE // 100)
        assert np.abs(client.heard.astype(int)).mean() > 4000
        kinds = [kind for kind in client.types() if kind.startswith(("input", "response"))]
        assert kinds[:4] == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "response.created",
        ]
        assert kinds[-5:] == [
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]
        assert kinds.index("response.output_audio_transcript.delta") < kinds.index(DELTA)
        assert not [event for event in client.events if event["type"].startswith("output_audio_buffer")]
        start, stop = (
            client.named("input_audio_buffer.speech_started"),
            client.named("input_audio_buffer.speech_stopped"),
        )
        assert (start[0]["audio_start_ms"], stop[0]["audio_end_ms"]) == (0, pytest.approx(800, abs=50))


async def test_who_speaks_into_an_answer_stops_it_and_tells_what_was_heard_of_it(serve):
    model = FakeModel(LONG, "Yes?")
    url, _ = await serve(fake_engines(stt=FakeRecognizer("count please", "stop now please"), llm=model))
    async with SocketClient(url) as client:
        model.gate.clear()
        await client.say()
        await client.event("response.created")
        for _ in range(2):
            model.gate.set()
            await client.event(DELTA)
        await client.append(loud(1.0, RATE))
        await client.event("input_audio_buffer.speech_started", 2)
        spoken = client.named("response.created")[0]["response"]["id"]
        item = client.named("response.output_item.added")[0]["item"]["id"]
        await client.event("response.done")
        await client.send(
            {"type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": 500}
        )
        truncated = await client.event("conversation.item.truncated")
        assert (truncated["item_id"], truncated["audio_end_ms"]) == (item, 500)
        await client.append(np.zeros(2 * RATE, np.int16))
        await client.event("response.done", 2)
        kinds = [(event["type"], event.get("response_id")) for event in client.events]
        done = next(n for n, event in enumerate(client.events) if event["type"] == "response.done")
        assert (DELTA, spoken) not in kinds[done:], "nothing of an answer may follow its end"
    told = [(message.role, message.content) for message in model.requests[-1].messages if message.role != "system"]
    assert told == [("user", "count please"), ("assistant", "one two —"), ("user", "stop now please")]


async def test_an_answer_is_cancelled_and_there_is_nothing_to_cancel_afterwards(serve):
    model = FakeModel(LONG, "Fine.")
    url, _ = await serve(fake_engines(llm=model))
    async with SocketClient(url) as client:
        await client.send({"type": "response.cancel", "event_id": "mine"})
        error = (await client.event("error"))["error"]
        assert (error["code"], error["event_id"]) == ("response_cancel_not_active", "mine")
        model.gate.clear()
        await client.send(HELLO, ANSWER)
        await client.event("response.created")
        await client.send({"type": "response.cancel"})
        done = (await client.event("response.done"))["response"]
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
        model.gate.set()
        await client.send(ANSWER)
        assert (await client.event("response.done", 2))["response"]["status"] == "completed"


async def test_another_answer_does_not_wait_until_the_first_has_been_played(serve):
    url, _ = await serve(fake_engines(llm=FakeModel(LONG, "Fine.")))
    async with SocketClient(url) as client:
        await client.send(HELLO, ANSWER)
        await client.event("response.done")
        await client.send(HELLO, ANSWER)
        done = (await client.event("response.done", 2))["response"]
        assert done["output"][0]["content"][0]["transcript"] == "Fine."
        assert client.named("response.done")[0]["response"]["status"] == "completed"
        await client.send(
            {
                "type": "conversation.item.retrieve",
                "item_id": client.named("response.done")[0]["response"]["output"][0]["id"],
            }
        )
        item = (await client.event("conversation.item.retrieved"))["item"]
        assert item["status"] == "completed"
        assert item["content"][0]["transcript"] == LONG.strip()


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
async def test_sound_travels_as_telephones_carry_it(serve, kind):
    law = kind.removeprefix("audio/")
    recognizer = FakeRecognizer("what is the time")
    url, _ = await serve(fake_engines(stt=recognizer, llm=FakeModel("It is noon now.")))
    async with SocketClient(url) as client:
        form = {"type": kind}
        await client.send(session(audio={"input": {"format": form}, "output": {"format": form}}))
        updated = (await client.event("session.updated"))["session"]["audio"]
        assert updated["input"]["format"] == updated["output"]["format"] == form
        samples = np.concatenate([loud(0.8, 8000), np.zeros(12_800, np.int16)])
        sound = base64.b64encode(compress(samples, law)).decode()
        await client.send({"type": "input_audio_buffer.append", "audio": sound})
        await client.event("response.done")
        answer = expand(b"".join(base64.b64decode(event["delta"]) for event in client.named(DELTA)), law)
        assert len(answer) == pytest.approx(8000, abs=100)
        assert np.abs(answer.astype(int)).mean() > 4000
    assert np.abs(recognizer.heard[0].astype(int)).max() > 5000


async def test_push_to_talk_commits_what_was_sent_before_and_not_what_comes_after(serve):
    recognizer, model = FakeRecognizer("turn it on"), FakeModel("Done.")
    url, _ = await serve(fake_engines(stt=recognizer, llm=model))
    async with SocketClient(url) as client:
        await client.send(audio_input(turn_detection=None))
        await client.event("session.updated")
        await client.send({"type": "input_audio_buffer.commit", "event_id": "empty"})
        error = (await client.event("error"))["error"]
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "empty")
        await client.append(loud(3.0, RATE))
        await client.send({"type": "input_audio_buffer.commit"}, ANSWER)
        await client.append(np.zeros(RATE, np.int16))
        await client.event("response.done")
        await client.append(loud(1.0, RATE))
        await client.send({"type": "input_audio_buffer.clear"})
        await client.event("input_audio_buffer.cleared")
    assert len(recognizer.heard[0]) == pytest.approx(3.0 * 16_000, abs=600)
    assert model.requests[0].messages[-1].content == "turn it on"
    assert len(model.requests) == 1


async def test_what_cannot_be_is_told_with_its_field_and_the_session_goes_on(serve):
    url, app = await serve(fake_engines(llm=FakeModel("Fine.")))
    async with SocketClient(url) as client:
        append = "input_audio_buffer.append"
        wrong = [
            ({"type": append, "audio": "%%%"}, "audio", "base64"),
            ({"type": append, "audio": "ü"}, "audio", "base64"),
            ({"type": append, "audio": "AAAAA"}, "audio", "base64"),
            ({"type": append, "audio": base64.b64encode(b"abc").decode()}, "audio", "odd number"),
            ({"type": append}, "audio", "required"),
            ({"type": append, "audio": 5}, "audio", "string"),
            (audio_input(format={"type": "audio/mp3"}), "session.audio.input.format.type", "audio/pcma"),
            (audio_input(format={"type": "audio/pcm", "rate": 8000}), "session.audio.input.format.rate", "24000"),
            (audio_input(format={"type": "audio/pcmu", "rate": 24000}), "session.audio.input.format.rate", "8000"),
            (
                {"type": "response.create", "response": {"audio": {"output": {"format": {"type": "audio/pcmu"}}}}},
                "response.audio.output.format",
                "audio/pcm",
            ),
        ]
        for n, (event, param, words) in enumerate(wrong, 1):
            await client.send({**event, "event_id": f"wrong{n}"})
            error = (await client.event("error", n))["error"]
            assert (error["param"], error["event_id"]) == (param, f"wrong{n}"), error
            assert words in error["message"], error
        await client.socket.send_bytes(b"\xff\xfe")
        await client.event("error", len(wrong) + 1)
        await client.socket.send_bytes(json.dumps(HELLO).encode())
        await client.send(ANSWER)
        assert (await client.event("response.done"))["response"]["status"] == "completed"
    await ended(app)


async def test_who_sends_too_much_or_reads_nothing_is_dropped_and_nobody_else(serve):
    model = FakeModel(*["Fine."] * 5)
    url, app = await serve(fake_engines(llm=model))
    async with SocketClient(url) as good, SocketClient(url) as large:
        await large.event("session.created")
        too_large = app[REGISTRY]._sockets[large.events[0]["session"]["id"]]
        with suppress(ConnectionError):  # the rest of it is not even read
            await large.socket.send_str(" " * (17 << 20))
        await large.closed()
        assert "the connection failed" in too_large.ended_because
        async with aiohttp.ClientSession() as http:
            socket = await http.ws_connect(f"{url}/v1/realtime?model=x")
            socket._conn.protocol.transport.pause_reading()
            item = {"type": "conversation.item.retrieve", "item_id": "x" * 60}
            deaf = [one for one in app[REGISTRY]._sockets.values() if not one.ended_because][-1]
            with suppress(ConnectionError):
                async with asyncio.timeout(PATIENCE):
                    while not deaf.ended_because:
                        await socket.send_str(json.dumps({**item, "event_id": "y" * 500}))
            assert deaf.ended_because == "the client does not read what it is sent"
            socket._conn.protocol.transport.abort()
        await good.send(HELLO, ANSWER)
        assert (await good.event("response.done"))["response"]["status"] == "completed"
    await ended(app)


async def test_minutes_of_sound_in_one_message_are_heard_turn_by_turn(serve):
    texts = [f"turn number {n}" for n in range(20)]
    url, _ = await serve(fake_engines(stt=FakeRecognizer(*texts)))
    async with SocketClient(url, "intent=transcription") as client:
        turn = np.concatenate([loud(1.0, RATE), np.zeros(5 * RATE, np.int16)])
        await client.append(np.concatenate([turn] * len(texts)))
        completed = "conversation.item.input_audio_transcription.completed"
        await client.event(completed, len(texts))
        assert [event["transcript"] for event in client.named(completed)] == texts
        assert not client.named("error")


async def test_a_transcription_session_writes_down_and_answers_nothing(serve):
    recognizer, model = FakeRecognizer("take a note", "and another one"), FakeModel("Never.")
    url, _ = await serve(fake_engines(stt=recognizer, llm=model))
    async with SocketClient(url, "intent=transcription") as client:
        created = (await client.event("session.created"))["session"]
        assert created["type"] == "transcription"
        assert set(created["audio"]) == {"input"}
        listens = {"transcription": {"model": "whisper-1"}, "turn_detection": {"type": "server_vad"}}
        wish = {"type": "transcription", "audio": {"input": listens}}
        await client.send({"type": "session.update", "session": wish})
        assert (await client.event("session.updated"))["session"]["type"] == "transcription"
        await client.say()
        await client.say()
        completed = "conversation.item.input_audio_transcription.completed"
        assert (await client.event(completed, 2))["transcript"] == "and another one"
        assert client.named(completed)[0]["transcript"] == "take a note"
        assert client.named("conversation.item.input_audio_transcription.delta")
        assert len(client.named("conversation.item.done")) == 2
        await client.send(ANSWER)
        assert (await client.event("error"))["error"]["code"] == "response_not_allowed"
        await client.send({"type": "session.update", "session": {"type": "transcription", "instructions": "Be kind."}})
        assert (await client.event("error", 2))["error"]["param"] == "session.instructions"
        assert not client.named("response.created")
    assert not model.requests


async def test_a_conversation_becomes_a_transcription_by_its_settings(serve):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("take a note")))
    async with SocketClient(url) as client:
        await client.send({"type": "session.update", "session": {"type": "transcription"}})
        assert (await client.event("session.updated"))["session"]["type"] == "transcription"
        await client.say()
        await client.event("conversation.item.input_audio_transcription.completed")
        await client.send({"type": "session.update", "session": {"type": "realtime"}})
        assert (await client.event("session.updated", 2))["session"]["type"] == "realtime"
        await client.send(ANSWER)
        await client.event("response.done")
        assert len(client.named("response.created")) == 1


async def test_the_server_says_why_it_ends(serve):
    url, app = await serve()
    async with SocketClient(url) as client, SocketClient(url) as other:
        name = (await client.event("session.created"))["session"]["id"]
        assert app[REGISTRY].close(name, "enough")
        await client.closed()
        assert client.events[-1]["error"]["code"] == "session_ended"
        assert (client.close_code, client.close_reason) == (1000, "enough")
        await other.event("session.created")
        await app[REGISTRY].close_all(5.0)
        await other.closed()
        assert other.close_code == 1001
        assert "shutting down" in other.close_reason
    await ended(app)


async def test_a_client_that_must_wait_is_not_taken_for_dead(serve, monkeypatch):
    """While a session has more sound than it can take its client is not read, and its pongs are not seen."""
    monkeypatch.setattr(event_socket, "PING_SECONDS", 0.5)
    monkeypatch.setattr(microphone, "FULL_SECONDS", 0.5)
    stt = FakeRecognizer(*["hello"] * 8)
    stt.gate.clear()
    url, _ = await serve(fake_engines(stt=stt))
    async with SocketClient(url, autoping=False) as client:
        await client.send(audio_input(turn_detection={"type": "server_vad", "create_response": False}))
        for _ in range(6):
            await client.say()
        await client.event("input_audio_buffer.committed", 4)
        before = client.pings
        await client.until(lambda: client.pings >= before + 3, "pings")
        assert client.close_code is None
        stt.gate.set()
        await client.event("conversation.item.input_audio_transcription.completed", 6)


async def test_a_client_that_does_not_even_answer_pings_is_gone(serve, monkeypatch):
    monkeypatch.setattr(event_socket, "PING_SECONDS", 0.05)
    url, _ = await serve()
    async with SocketClient(url, autoping=False, answers_pings=False) as client:
        await client.closed()
        assert client.close_reason == "the client does not answer"
