"""RTVI on a session without a transport: what a client says is carried out, and it is told what happens."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from pipelines.interfaces.llm import ChatRequest, Piece, ToolCall
from pipelines.voice.events import ResponseAudioStopped, ResponseGenerated, SpeechStarted, UserTurn
from pipelines.voice.history import FunctionCall, FunctionResult
from server.dialects.openai.settings import Served
from server.dialects.rtvi.dialect import LEFT, PROGRESS_SECONDS, RtviDialect
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.hostile_events import GOOD as REALTIME
from tests.fakes.hostile_events import hostile_messages
from tests.fakes.memory_transport import MemoryTransport, call, settle
from tests.fakes.rtvi_shapes import check

PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + b"IHDR" + (2).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
).decode()


class Client:
    """One client of a session."""

    def __init__(self, line: MemoryTransport) -> None:
        self.sent: list[dict[str, Any]] = []
        self.left: list[str] = []
        served = Served(lambda: line.engines.voice.tts.voices, language="de")
        self.dialect = RtviDialect(line.session, served, self._take, lambda: "vp8", line.clock, self.left.append)

    def _take(self, message: dict[str, Any]) -> None:
        check(message)
        self.sent.append(message)

    def say(self, kind: str, message_id: str = "m1", **data: Any) -> None:
        self.raw({"label": "rtvi-ai", "type": kind, "id": message_id, "data": data})

    def ask(self, t: str, **d: Any) -> dict[str, Any]:
        """A request of the application, and its answer."""
        self.say("client-message", "ask", t=t, d=d)
        answer = self.sent[-1]
        assert answer["id"] == "ask"
        return answer

    def raw(self, message: object) -> None:
        self.dialect.receive(message if isinstance(message, str | bytes) else json.dumps(message))

    def types(self) -> list[str]:
        return [message["type"] for message in self.sent]

    def named(self, kind: str) -> list[dict[str, Any]]:
        return [message.get("data", {}) for message in self.sent if message["type"] == kind]


@asynccontextmanager
async def client(**engines: Any) -> AsyncIterator[tuple[MemoryTransport, Client]]:
    async with call(**engines) as line:
        made = Client(line)
        task = asyncio.create_task(made.dialect.run())
        await settle()
        yield line, made
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_client_that_is_ready_is_told_that_the_bot_is():
    async with client() as (_, made):
        assert made.dialect.greeting() == []
        about = {"library": "@pipecat-ai/client-js", "library_version": "1.13.1"}
        made.say("client-ready", "ready", version="2.1.0", about=about)
        (ready,) = made.sent
        assert ready["id"] == "ready"
        assert ready["data"]["version"].startswith("2.")
        assert ready["data"]["about"]["library"] == "visavis"


@pytest.mark.parametrize("version", [{"version": "1.4.0"}, {}])
async def test_a_client_of_another_version_is_warned_and_served(version):
    async with client() as (_, made):
        made.say("client-ready", "ready", **version)
        assert made.types() == ["error-response", "bot-ready"]
        assert "version" in made.sent[0]["data"]["error"]


async def test_a_spoken_turn_is_told_word_for_word_as_it_is_heard():
    async with client(stt=FakeRecognizer("what is the time"), llm=FakeModel("It is high noon.")) as (line, made):
        await line.say(1.0)
        await line.hush(4.0, until=ResponseAudioStopped)
        await settle()
        kinds = list(dict.fromkeys(made.types()))
        assert kinds == [
            "user-started-speaking",
            "user-transcription",
            "user-stopped-speaking",
            "user-llm-text",
            "bot-llm-started",
            "bot-tts-started",
            "bot-llm-text",
            "bot-transcription",
            "bot-output",
            "bot-llm-stopped",
            "bot-started-speaking",
            "metrics",
            "bot-tts-text",
            "bot-tts-stopped",
            "bot-stopped-speaking",
        ]
        assert made.named("user-transcription")[-1]["text"] == "what is the time"
        assert [data["text"] for data in made.named("bot-tts-text")] == ["It", "is", "high", "noon."]
        spoken = [data["spoken_progress"]["accumulated_text"] for data in made.named("bot-output")]
        assert spoken[0] == "" and spoken[-1] == "It is high noon."
        assert len(spoken) > 3, "a word takes longer than it takes to look"
        assert PROGRESS_SECONDS < 0.25


async def test_a_barge_in_reaches_the_client():
    many = FakeModel("One two three four five six seven eight nine ten eleven twelve.")
    async with client(stt=FakeRecognizer("count", "stop it now"), llm=many) as (line, made):
        await line.say(1.0)
        await line.hush(2.0)
        made.sent.clear()
        line.forget()
        await line.say(2.0, until=SpeechStarted)
        await settle()
        kinds = made.types()
        assert "bot-interrupted" in kinds
        assert kinds.index("user-started-speaking") < kinds.index("bot-interrupted")
        assert made.named("bot-output")[-1]["spoken_status"] == "in-progress"


async def test_text_is_answered_at_once_in_place_of_what_is_being_said():
    model = FakeModel("First I would say this and that and something else.", "Second.")
    async with client(llm=model) as (line, made):
        made.say("send-text", content="one")
        await line.hush(1.0)
        made.say("send-text", content="two")
        await line.hush(4.0, until=ResponseAudioStopped)
        await settle()
        assert [data["text"] for data in made.named("user-llm-text")] == ["one", "two"]
        assert made.types().count("bot-interrupted") == 1
        assert made.named("bot-output")[-1]["text"] == "Second."
        assert "First" in model.requests[1].messages[1].content


async def test_text_may_be_answered_without_a_voice_or_not_at_all():
    model = FakeModel("Silently.")
    async with client(llm=model) as (line, made):
        made.say("send-text", content="remember this", options={"run_immediately": False})
        await line.hush(0.5)
        assert model.requests == []
        made.say("send-text", content="hello", options={"audio_response": False})
        await line.hush(2.0, until=ResponseGenerated)
        await settle()
        assert made.named("user-llm-text") == [{"text": "remember this hello"}]
        assert made.named("bot-output")[0]["will_be_spoken"] is False
        assert "bot-started-speaking" not in made.types()
        assert line.session.conversation.settings.spoken, "it holds for this answer only"


async def test_the_context_may_be_appended_to_as_older_clients_do():
    model = FakeModel("Noted.")
    async with client(llm=model) as (line, made):
        made.say("append-to-context", role="assistant", content="I am Anna.")
        made.say("append-to-context", role="user", content="Who?", run_immediately=True)
        await line.hush(2.0, until=ResponseGenerated)
        items = line.session.conversation.history.items
        assert [(item.role, item.text) for item in items[:2]] == [("assistant", "I am Anna."), ("user", "Who?")]
        assert len(model.requests) == 1 and "error-response" not in made.types()


class Seeing(FakeModel):
    takes_images = True


async def test_a_picture_is_shown_to_a_model_that_takes_pictures():
    model = Seeing("A dot.")
    async with client(llm=model) as (line, made):
        file = {"format": "image/png", "name": "dot", "source": {"type": "bytes", "bytes": PNG}}
        made.say("send-file", content="What is this?", file=file)
        await line.hush(2.0, until=ResponseGenerated)
        assert made.named("error-response") == []
        (image,) = model.requests[0].messages[-1].images
        assert image.data == base64.b64decode(PNG)


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ({"format": "application/pdf", "source": {"type": "bytes", "bytes": PNG}}, "data.file.format"),
        ({"format": "image/png", "source": {"type": "url", "url": "http://127.0.0.1/x"}}, "data.file.source.type"),
        ({"format": "image/png", "source": {"type": "bytes", "bytes": "%"}}, "data.file.source.bytes"),
        (None, "data.file"),
    ],
)
async def test_files_that_cannot_be_shown_are_refused_with_the_field(file, named):
    async with client(llm=Seeing()) as (line, made):
        made.say("send-file", content="", file=file)
        assert named in made.named("error-response")[0]["error"]
        assert line.session.conversation.history.items == ()


async def test_a_model_that_takes_no_pictures_is_named():
    async with client() as (_, made):
        made.say("send-file", file={"format": "image/png", "source": {"type": "bytes", "bytes": PNG}})
        assert "fake-llm takes no pictures" in made.named("error-response")[0]["error"]


async def test_settings_are_asked_for_and_changed_by_requests():
    async with client() as (line, made):
        assert made.ask("session.get")["data"]["d"]["session"]["id"] == line.session.id
        answer = made.ask("session.update", session={"instructions": "Sing.", "audio": {"output": {"voice": "other"}}})
        assert answer["type"] == "server-response" and answer["data"]["t"] == "session.update"
        shown = answer["data"]["d"]["session"]
        assert (shown["instructions"], shown["audio"]["output"]["voice"]) == ("Sing.", "other")
        settings = line.session.conversation.settings
        assert (settings.instructions, settings.voice.voice) == ("Sing.", "other")
        await settle()
        assert made.named("server-message")[-1]["type"] == "session.updated"


async def test_requests_are_the_realtime_events():
    async with client(llm=FakeModel("Yes.")) as (line, made):
        item = {"id": "mine", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
        assert made.ask("conversation.item.create", item=item)["type"] == "server-response"
        found = made.ask("conversation.item.retrieve", item_id="mine")["data"]["d"]["item"]
        assert found["content"] == [{"type": "input_text", "text": "hello"}]
        assert made.ask("response.create")["data"]["d"] == {}
        await line.hush(2.0, until=ResponseAudioStopped)
        assert [data["text"] for data in made.named("bot-output")][-1:] == ["Yes."]


WEATHER = {"type": "function", "name": "weather", "description": "Tells it.", "parameters": {"type": "object"}}
PARIS = ToolCall("call_1", "weather", '{"city": "Paris"}')
ROME = ToolCall("call_2", "weather", '{"city": "Rome"}')


class Caller(FakeModel):
    """Answers with what it is given: words, and calls."""

    def __init__(self, *answers: tuple[Piece, ...]) -> None:
        super().__init__()
        self.pieces = list(answers)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        self.requests.append(request)
        for piece in self.pieces.pop(0):
            await self.gate.wait()
            yield piece


async def test_functions_run_at_the_client_and_their_results_are_answered():
    model = Caller(("Let me look.", PARIS, ROME), ("It is ", "fine."))
    async with client(llm=model) as (line, made):
        made.ask("session.update", session={"tools": [WEATHER]})
        made.say("send-text", content="And the weather?")
        await line.hush(4.0, until=ResponseAudioStopped)
        await settle()
        asked = made.named("llm-function-call-in-progress")
        assert [(call["function_name"], call["arguments"]) for call in asked] == [
            ("weather", {"city": "Paris"}),
            ("weather", {"city": "Rome"}),
        ]
        made.say(
            "llm-function-call-result", function_name="weather", tool_call_id="call_1", arguments={}, result="rain"
        )
        await line.hush(0.5)
        assert len(model.requests) == 1, "the other result is still to come"
        made.say("llm-function-call-result", tool_call_id="call_2", result={"sky": "clear"})
        await line.hush(4.0, until=ResponseAudioStopped)
        await settle()
        results = [message.content for message in model.requests[1].messages if message.role == "tool"]
        assert results == ["rain", '{"sky": "clear"}']
        assert [call["result"] for call in made.named("llm-function-call-stopped")] == results
        assert made.named("bot-output")[-1]["text"] == "It is fine."


async def test_a_result_that_comes_while_something_else_is_answered_is_answered_after_it():
    model = Caller((PARIS,), ("Another thing.",), ("Sunny.",))
    async with client(llm=model) as (line, made):
        made.ask("session.update", session={"tools": [WEATHER]})
        made.say("send-text", content="And the weather?")
        await line.hush(0.5)
        model.gate.clear()
        made.say("send-text", content="Something else?")
        await line.hush(0.2)
        made.say("llm-function-call-result", tool_call_id="call_1", result="sun")
        await line.hush(0.2)
        assert len(model.requests) == 2
        model.gate.set()
        await line.hush(4.0)
        assert [data["text"] for data in made.named("bot-llm-text")] == ["Another thing.", "Sunny."]
        assert len(model.requests) == 3


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"tool_call_id": "call_9", "result": "x"}, "nothing was called"),
        ({"tool_call_id": "call_1", "result": "again"}, "its result already"),
        ({"result": "x"}, "data.tool_call_id"),
        ({"tool_call_id": "call_1", "result": "x" * 200_001}, "characters"),
    ],
)
async def test_results_of_nothing_are_refused(data, named):
    async with client() as (line, made):
        line.session.conversation.add(FunctionCall("item", PARIS))
        line.session.conversation.add(FunctionResult("other", "call_1", "first"))
        made.say("llm-function-call-result", **data)
        assert named in made.named("error-response")[0]["error"]


async def test_push_to_talk_is_a_request():
    async with client(stt=FakeRecognizer("over"), llm=FakeModel("Roger.")) as (line, made):
        made.ask("session.update", session={"audio": {"input": {"turn_detection": None}}})
        await line.say(1.0)
        assert made.ask("input_audio_buffer.commit")["type"] == "server-response"
        await line.hush(1.0, until=UserTurn)
        await settle()
        assert made.named("user-transcription")[-1] | {"timestamp": ""} == {
            "text": "over",
            "final": True,
            "timestamp": "",
            "user_id": "user",
        }


@pytest.mark.parametrize(
    ("t", "d", "named"),
    [
        ("fly", {}, "data.t"),
        ("session.update", {"session": {"instructions": 5}}, "session.instructions"),
        ("conversation.item.retrieve", {"item_id": "no"}, "item_id"),
        ("response.cancel", {}, "no such response"),
    ],
)
async def test_requests_that_cannot_be_fulfilled_are_refused_once(t, d, named):
    async with client() as (_, made):
        answer = made.ask(t, **d)
        assert answer["type"] == "error-response"
        assert named in answer["data"]["error"]
        assert len(made.sent) == 1


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        (b"\xff\xfe", "JSON"),
        ({"type": "client-ready", "id": "x"}, "label"),
        ({"label": "rtvi-ai", "type": "client-ready"}, "id"),
        ({"label": "rtvi-ai", "type": 5, "id": "x"}, "type"),
        ({"label": "rtvi-ai", "type": "send-text", "id": "x", "data": "hello"}, "data"),
        ({"label": "rtvi-ai", "type": "send-text", "id": "x", "data": {"content": ""}}, "data.content"),
        ({"label": "rtvi-ai", "type": "send-text", "id": "x", "data": {"content": "y", "options": 1}}, "data.options"),
        ({"label": "rtvi-ai", "type": "send-text", "id": "x"}, "data.content"),
        ({"label": "rtvi-ai", "type": "client-message", "id": "x", "data": {"t": None}}, "data.t"),
        ({"label": "rtvi-ai", "type": "no-such-type", "id": "x"}, "send-text"),
        ("x" * 300_000, "bytes"),
    ],
)
async def test_what_is_not_understood_is_told_with_the_field_and_changes_nothing(message, named):
    async with client() as (line, made):
        made.raw(message)
        (answer,) = made.sent
        assert answer["type"] in ("error", "error-response")
        assert named in answer["data"]["error"]
        assert answer["data"].get("fatal", False) is False
        assert line.session.conversation.history.items == ()


async def test_what_the_transport_and_the_page_say_by_themselves_is_let_go():
    async with client() as (_, made):
        made.raw("ping: 1764353535353")
        made.raw({"type": "signalling", "message": {"type": "trackStatus", "receiver_index": 0, "enabled": False}})
        for kind in ("ui-event", "ui-snapshot", "ui-cancel-job-group"):
            made.say(kind, event="x")
        assert made.sent == []


async def test_what_is_not_served_is_told_once():
    async with client() as (_, made):
        for _ in range(3):
            made.say("raw-audio", base64Audio="AAAA")
            made.say("dtmf", buttons=["1"])
        assert made.types() == ["error-response"] * 2
        assert "audio track" in made.sent[0]["data"]["error"]


GOOD: tuple[dict[str, Any], ...] = tuple(
    {"label": "rtvi-ai", "id": "m1", "type": kind, "data": data}
    for kind, data in (
        ("client-ready", {"version": "2.1.0", "about": {"library": "x"}}),
        ("send-text", {"content": "hello", "options": {"run_immediately": True, "audio_response": False}}),
        ("send-file", {"content": "", "file": {"format": "image/png", "source": {"type": "bytes", "bytes": PNG}}}),
        ("append-to-context", {"role": "user", "content": "hello", "run_immediately": True}),
        ("llm-function-call-result", {"tool_call_id": "call_1", "result": {"a": [1]}}),
        ("client-message", {"t": "session.get", "d": {}}),
        ("dtmf", {"buttons": ["1"]}),
        *(("client-message", {"t": event.pop("type"), "d": event}) for event in map(dict, REALTIME)),
    )
)


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_a_client_says_does_harm(seed):
    """Every answer is well-formed, and the session converses as before."""
    async with client(llm=Seeing()) as (line, made):
        line.session.conversation.add(FunctionCall("item", PARIS))
        for n, message in enumerate(hostile_messages(seed, 200, GOOD)):
            made.raw(message)
            if n % 20 == 0:
                await line.hush(0.1)
        for sent in made.sent:
            (text,) = made.dialect.messages(sent, 65_536)
            assert len(text.encode()) <= 65_536
        made.sent.clear()
        made.ask("session.update", session={"output_modalities": ["text"]})
        line.session.conversation.cancel(None)
        made.say("send-text", content="still there?")
        await line.hush(3.0, until=ResponseGenerated)
        await settle()
        assert made.named("user-llm-text")[-1]["text"].endswith("still there?")
        assert made.named("bot-output")


async def test_a_client_may_send_the_assistant_away():
    async with client() as (_, made):
        made.say("disconnect-bot")
        assert made.left == [LEFT]
        assert [message["type"] for message in made.dialect.farewell(LEFT)] == ["signalling"]


async def test_the_farewell_is_fatal_and_comes_behind_what_has_happened():
    async with client() as (line, made):
        line.session.settings_changed()
        first, left, error = made.dialect.farewell("closing time")
        assert first["type"] == "server-message"
        assert left == {"type": "signalling", "message": {"type": "peerLeft"}}
        assert error["data"] == {"error": "the session has ended: closing time", "fatal": True}


async def test_a_failure_of_ours_names_the_message_it_answers():
    async with client() as (_, made):
        made.say("client-ready", "ready", version="2.1.0")
        assert made.dialect.failure("a message", answers=True)["id"] == "ready"
        for message in (made.dialect.failure("a track", answers=False), made.dialect.refusal("x", "too many")):
            check(message)
            assert message["type"] == "error"


async def test_a_defect_in_telling_is_told_once_and_ends_nothing(monkeypatch):
    async with client() as (line, made):

        def fail(event: object) -> None:
            raise RuntimeError("a defect")

        with monkeypatch.context() as patched:
            patched.setattr(made.dialect._messages, "translate", fail)
            line.session.events.emit(UserTurn("item", "hello", True))
            await settle()
        line.session.events.emit(UserTurn("item", "again", True))
        await settle()
        assert [data["text"] for data in made.named("user-transcription")] == ["again"]
