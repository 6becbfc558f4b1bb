"""Live on a session without a transport: what a client says is carried out, and it is told what happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.interfaces.llm import ChatRequest, Piece, Tool, ToolCall
from pipelines.voice.events import (
    ResponseAudioStarted,
    ResponseAudioStopped,
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
)
from server.dialects.live.client_events import CLOSE_REQUESTED, COMMENT
from server.dialects.live.dialect import EXPIRED, LiveDialect
from server.dialects.live.models import UNSERVED, LiveSession
from server.dialects.live.settings import LONGEST_SECONDS, LiveSettings
from server.dialects.openai.settings import RefusedError, Served, merge
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.hostile_events import hostile_messages
from tests.fakes.live_shapes import CLIENT, check
from tests.fakes.memory_transport import MemoryTransport, call, settle

Json = dict[str, Any]
TOOL: Json = {"type": "function", "name": "light", "parameters": {"type": "object", "properties": {}}}
RESPONSES: Json = {"type": "responses", "responses": {"model": "gpt-5", "instructions": "Be brief.", "tools": [TOOL]}}

GOOD: tuple[Json, ...] = (
    {"type": "session.update", "session": {"delegation": RESPONSES}},
    {"type": "session.instructions.append", "content": "Be kind.", "delegation_id": None},
    {"type": "session.commentary.append", "content": "It rains.", "delegation_id": None},
    {"type": "response.item.create", "item": {"role": "user", "content": "Hello"}},
    {"type": "response.item.create", "item": {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}},
    {"type": "response.item.create", "item": {"type": "function_call_output", "call_id": "call_1", "output": "x"}},
    {"type": "response.create"},
    {"type": "session.input_audio.mute"},
)


class Caller(FakeModel):
    """Calls a function when it is first asked."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        if not self.requests:
            self.requests.append(request)
            yield ToolCall("call_1", "light", '{"on": true}')
            return
        async for word in super().stream(request):
            yield word


class Client:
    """One client of a session that begins with ``wishes``."""

    def __init__(self, line: MemoryTransport, wishes: Json) -> None:
        self.sent: list[Json] = []
        self.left: list[str] = []
        session = LiveSession.model_validate({"model": "gpt-live-1", **wishes})
        served = Served(lambda: line.engines.voice.tts.voices)
        conversation = line.session.conversation
        conversation.configure(merge(conversation.settings, conversation.settings, session.patch(), served))
        self.settings = LiveSettings(line.session, served, session)
        self.dialect = LiveDialect(self.settings, self._take, line.clock, self.left.append)

    def _take(self, event: Json) -> None:
        check(event)
        self.sent.append(event)

    def say(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": "mine", **fields}
        CLIENT.validate_python(event, strict=True)
        self.raw(event)

    def raw(self, message: object) -> None:
        self.dialect.receive(message if isinstance(message, str | bytes) else json.dumps(message))

    def named(self, kind: str) -> list[Json]:
        return [event for event in self.sent if event["type"] == kind]

    def transcript(self, kind: str) -> str:
        return "".join(event["delta"] for event in self.named(f"session.{kind}_transcript.delta"))

    def nested(self) -> list[str]:
        return [event["event"]["type"] for event in self.named("response.event")]

    def error(self) -> Json:
        (event,) = self.named("error")
        self.sent.clear()
        return event["error"]


@asynccontextmanager
async def client(wishes: Json | None = None, **engines: Any) -> AsyncIterator[tuple[MemoryTransport, Client]]:
    async with call(**engines) as line:
        made = Client(line, wishes or {})
        task = asyncio.create_task(made.dialect.run())
        await settle()
        yield line, made
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def greeted(made: Client) -> list[Json]:
    events = made.dialect.greeting()
    for event in events:
        check(event)
    return events


async def test_a_client_is_told_the_session_that_is_in_effect():
    wishes = {"instructions": "Be a sailor.", "audio": {"output": {"voice": "other"}}, "safety_identifier": "u1"}
    async with client({**wishes, "delegation": RESPONSES}, llm=Caller()) as (line, made):
        (started,) = greeted(made)
        session = started["session"]
        assert session["id"] == line.session.id
        assert (session["instructions"], session["audio"]["output"]["voice"]) == ("Be a sailor.", "other")
        assert session["safety_identifier"] == "u1"
        assert session["delegation"]["responses"]["tools"] == [TOOL]
        assert line.session.conversation.settings.instructions == "Be a sailor.\n\nBe brief."


async def test_a_spoken_turn_is_told_as_it_is_heard():
    async with client(stt=FakeRecognizer("what is the time", "and now"), llm=FakeModel("It is high noon.", "Yes.")) as (
        line,
        made,
    ):
        await line.say(1.0)
        await line.hush(4.0, until=ResponseAudioStopped)
        line.forget()
        await line.say(1.0)
        await line.hush(4.0, until=ResponseAudioStopped)
        await settle()
        assert made.transcript("input") == "what is the time and now"
        assert made.transcript("output") == "It is high noon. Yes."
        heard, *_ = made.named("session.input_transcript.delta")
        assert 0 <= heard["start_ms"] < heard["end_ms"] <= 1100
        fragments = made.named("session.output_transcript.delta")
        assert len(fragments) > 3, "a word takes longer than it takes to look"
        assert all(one["start_ms"] <= one["end_ms"] for one in fragments)
        assert fragments[0]["start_ms"] >= heard["end_ms"]
        usage = made.named("session.usage.updated")
        assert [event["usage"]["seconds"] for event in usage] == sorted(event["usage"]["seconds"] for event in usage)
        assert usage and not made.named("response.event") and not made.named("error")


async def test_of_a_response_that_is_interrupted_only_what_was_heard_is_told():
    many = FakeModel("One two three four five six seven eight nine ten eleven twelve.", "Yes.")
    async with client({"delegation": RESPONSES}, stt=FakeRecognizer("count", "stop it now"), llm=many) as (line, made):
        await line.say(1.0)
        await line.hush(4.0, until=ResponseAudioStarted)
        await line.hush(1.0)
        await line.say(2.0, until=ResponseInterrupted)
        await settle()
        told = made.transcript("output")
        (interrupted,) = line.named(ResponseInterrupted)
        assert told == interrupted.heard and told.startswith("One two three") and "twelve" not in told


async def test_muting_makes_the_microphone_silent():
    async with client(stt=FakeRecognizer("hello"), llm=FakeModel("Hi.")) as (line, made):
        made.say("session.input_audio.mute")
        await line.say(1.0)
        await line.hush(2.0)
        assert [event["type"] for event in made.sent] == ["session.input_audio.muted"]
        made.say("session.input_audio.unmute")
        assert made.sent[-1]["client_event_id"] == "mine"
        await line.say(1.0)
        await line.hush(4.0, until=ResponseAudioStopped)
        await settle()
        assert made.transcript("input") == "hello"


async def test_instructions_and_commentary_are_appended():
    model = FakeModel("The parcel has come.")
    async with client({"input": [{"role": "user", "content": [{"text": "I am Anna."}]}]}, llm=model) as (line, made):
        made.say("session.instructions.append", content="Speak of parcels.", delegation_id=None)
        await line.hush(1.0)
        assert model.requests == [] and made.named("session.instructions.appended")[0]["client_event_id"] == "mine"
        made.say("session.commentary.append", content="It has come.", delegation_id=None)
        await line.hush(4.0, until=ResponseAudioStopped)
        await settle()
        assert made.named("session.commentary.appended") and made.transcript("output") == "The parcel has come."
        said = [(message.role, message.content) for message in model.requests[0].messages]
        assert said == [("system", "Speak of parcels.\nIt has come."), ("user", f"I am Anna.\n{COMMENT}")]


async def test_a_commentary_waits_for_the_response_that_is_being_generated():
    model = FakeModel("One two three.", "It rains.")
    model.gate.clear()
    async with client({}, llm=model, stt=FakeRecognizer("tell me a story please")) as (line, made):
        await line.say(1.0)
        await line.hush(3.0, until=ResponseStarted)
        for n in range(2):
            made.say("session.commentary.append", content=f"It rains {n}.", delegation_id=None)
        await settle()
        assert len(line.named(ResponseStarted)) == 1
        model.gate.set()
        await line.hush(6.0)
        assert [one.text for one in line.named(ResponseGenerated)] == ["One two three.", "It rains."]
        assert not line.named(ResponseInterrupted)
        assert model.requests[-1].messages[-1].content == COMMENT
        assert made.transcript("output") == "One two three. It rains."


@pytest.mark.parametrize("steps", range(4))
async def test_a_session_that_ends_with_a_commentary_owed_says_goodbye(steps):
    model = FakeModel("One two three.", "It rains.")
    model.gate.clear()
    line = MemoryTransport(llm=model, stt=FakeRecognizer("tell me a story please"))
    session = asyncio.create_task(line.session.run(line.microphone))
    await settle()
    made = Client(line, {})
    dialect = asyncio.create_task(made.dialect.run())
    await settle()
    await line.say(1.0)
    await line.hush(3.0, until=ResponseStarted)
    made.say("session.commentary.append", content="It rains.", delegation_id=None)
    model.gate.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    session.cancel()
    dialect.cancel()
    await asyncio.gather(session, dialect, return_exceptions=True)
    assert made.dialect.farewell("the client has closed the session")[-1]["type"] == "session.closed"
    await line.engines.close()


async def test_a_function_is_called_by_a_delegation_and_its_result_is_answered():
    model = Caller("It is on.")
    async with client({"delegation": RESPONSES}, llm=model) as (line, made):
        made.say("response.item.create", item={"type": "message", "role": "user", "content": "Light, please."})
        made.say("response.create")
        await line.hush(2.0, until=ResponseGenerated)
        await settle()
        (delegated,) = made.named("session.delegation.created")
        assert delegated["delegation"]["target"] == "responses"
        assert {event["delegation_id"] for event in made.named("response.event")} == {delegated["delegation"]["id"]}
        kind = "response.function_call_arguments"
        called = ["response.output_item.added", f"{kind}.delta", f"{kind}.done", "response.output_item.done"]
        assert made.nested() == ["response.created", *called, "response.completed"]
        item = made.named("response.event")[4]["event"]["item"]
        assert (item["name"], item["arguments"]) == ("light", '{"on": true}')
        made.sent.clear()
        line.forget()
        output = {"type": "function_call_output", "call_id": item["call_id"], "output": "done"}
        made.say("response.item.create", item=output)
        made.say("response.create")
        await line.hush(4.0, until=ResponseAudioStopped)
        await settle()
        assert made.transcript("output") == "It is on."
        assert made.nested()[-1] == "response.completed" and "response.output_text.done" in made.nested()
        assert not made.named("error")
        assert [message.content for message in model.requests[1].messages if message.role == "tool"] == ["done"]


async def test_the_delegation_is_updated_and_its_type_stays():
    async with client({"delegation": RESPONSES}, llm=Caller()) as (line, made):
        change = {"type": "responses", "responses": {"instructions": "Be long.", "tools": []}}
        made.say("session.update", session={"delegation": change})
        (updated,) = made.named("session.updated")
        assert updated["client_event_id"] == "mine"
        responses = updated["session"]["delegation"]["responses"]
        assert (responses["instructions"], responses["tools"]) == ("Be long.", [])
        assert line.session.conversation.settings.instructions == "Be long."
        made.sent.clear()
        made.say("session.update", session={"delegation": {"type": "client"}})
        error = made.error()
        assert (error["param"], error["client_event_id"]) == ("session.delegation.type", "mine")
        made.say("session.update", session={"delegation": {**RESPONSES, "responses": {"tool_choice": "required"}}})
        assert made.error()["param"] == "session.delegation.responses.tool_choice"


async def test_without_a_delegation_there_are_no_functions():
    """Such as those of a client secret's session: nothing in Live could tell the client to call them."""
    async with call() as line:
        conversation = line.session.conversation
        conversation.configure(
            replace(conversation.settings, tools=(Tool("light", "On or off."),), tool_choice="required")
        )
        LiveSettings(line.session, Served(lambda: ("square",)), LiveSession(model="gpt-live-1"))
        assert (conversation.settings.tools, conversation.settings.tool_choice) == ((), "auto")


async def test_functions_that_the_model_cannot_call_are_told():
    model = FakeModel()
    model.takes_tools = False  # type: ignore[attr-defined]
    async with client({"delegation": RESPONSES}, llm=model) as (_, made):
        started, info = greeted(made)
        assert (started["type"], info["code"]) == ("session.started", "tools_not_taken")


@pytest.mark.parametrize("kind", sorted(UNSERVED))
async def test_what_is_not_served_is_refused_with_the_reason(kind):
    async with client() as (_, made):
        made.raw({"type": kind, "event_id": "mine"})
        error = made.error()
        assert (error["code"], error["param"], error["client_event_id"]) == ("not_served", "type", "mine")
        assert error["message"].endswith(UNSERVED[kind])


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ({"type": "session.nonsense"}, "type"),
        ({"type": ["session.close"]}, "type"),
        ({"type": "session.close", "why": 1}, "why"),
        ({"type": "session.instructions.append", "content": 5}, "content"),
        ({"type": "session.instructions.append", "content": "x", "delegation_id": "d1"}, "delegation_id"),
        ({"type": "session.update", "session": {"instructions": "x"}}, "session.instructions"),
        ({"type": "session.update", "session": {"triggers": [{}]}}, "session.triggers"),
        ({"type": "response.create"}, "type"),
    ],
)
async def test_a_wrong_event_is_answered_by_one_error_that_names_the_field(event, param):
    async with client() as (_, made):
        made.raw(event)
        assert made.error()["param"] == param
        assert made.left == []


async def test_a_wrong_item_is_refused_by_its_field():
    async with client({"delegation": RESPONSES}, llm=Caller()) as (_, made):
        made.raw({"type": "response.item.create", "event_id": "mine", "item": {"role": "nobody", "content": "x"}})
        assert made.error()["param"] == "item.role"
        output = {"type": "function_call_output", "call_id": "none", "output": "x"}
        made.raw({"type": "response.item.create", "event_id": "mine", "item": output})
        error = made.error()
        assert (error["param"], error["client_event_id"]) == ("item.call_id", "mine")


@pytest.mark.parametrize(
    ("wishes", "param"),
    [
        ({"model": ""}, "model"),
        ({"store": True}, "store"),
        ({"idle_timeout_s": 5}, "idle_timeout_s"),
        ({"triggers": [{}]}, "triggers"),
        ({"delegation": {"type": "decisions", "decisions": {}}}, "delegation"),
        ({"delegation": {"type": "client", "responses": {"model": "m"}}}, "delegation"),
        ({"audio": {"format": {"type": "audio/pcm", "rate": 24000}}}, "audio"),
        ({"client": {"data_channel": {"allowed_server_events": []}}}, "client"),
        ({"input": [{"role": "user", "content": []}]}, "input"),
        ({"mine": 1}, "mine"),
    ],
)
def test_a_session_that_cannot_be_is_refused(wishes, param):
    with pytest.raises(ValidationError) as wrong:
        LiveSession.model_validate({"model": "gpt-live-1", **wishes})
    (problem,) = wrong.value.errors()
    assert str([*problem["loc"], problem.get("ctx", {}).get("name")][0]) == param


@pytest.mark.parametrize("responses", [None, {"instructions": "x"}, {"model": "m", "tool_choice": "required"}])
async def test_a_delegation_that_cannot_be_is_refused(responses):
    with pytest.raises(RefusedError, match=r"session\.delegation\.responses"):
        async with client({"delegation": {"type": "responses", "responses": responses}}):
            pass


async def test_a_client_that_closes_the_session_leaves():
    async with client() as (_, made):
        made.say("session.close")
        assert (made.left, made.sent) == ([CLOSE_REQUESTED], [])


@pytest.mark.parametrize(
    ("reason", "told", "errors"),
    [(CLOSE_REQUESTED, "close_requested", 0), (EXPIRED, "expired", 0), ("a defect", "connection_lost", 1)],
)
async def test_the_end_is_told(reason, told, errors):
    async with client() as (line, made):
        line.clock.advance(7.5)
        farewell = made.dialect.farewell(reason)
        for event in farewell:
            check(event)
        assert len(farewell) == errors + 1
        assert (farewell[-1]["reason"], farewell[-1]["usage"]) == (told, {"seconds": 7.0})


async def test_a_session_expires():
    async with client() as (line, made):
        line.clock.advance(LONGEST_SECONDS + 1)
        await settle()
        assert made.left == [EXPIRED]


async def test_hostile_messages_are_answered_and_nothing_ends():
    async with client({"delegation": RESPONSES}, llm=Caller()) as (_, made):
        for message in (*hostile_messages(7, 200), *hostile_messages(8, 300, GOOD)):
            made.raw(message)
        await settle()
        assert made.named("error")
        made.sent.clear()
        made.say("session.input_audio.unmute")
        assert made.sent[-1]["type"] == "session.input_audio.unmuted"
