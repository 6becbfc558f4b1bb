"""Chat and Embed: the same engines and limits as over HTTP, and what becomes of calls that are given up."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from pipelines.errors import LLMError
from pipelines.interfaces.llm import Cut, ToolCall
from server.grpc.generated import chat_pb2, embeddings_pb2
from server.http.access.load import LOAD
from server.http.rest.routes import CHATS
from server.load.readings import Reading
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeModel
from tests.fakes.grpc_client import code_of, details_of
from tests.patience import PATIENCE, until
from tests.server.http.rest.clients import HangingModel, ScriptedModel

Code = grpc.StatusCode


def asked(text: str = "Hello?", **more) -> chat_pb2.ChatRequest:
    message = chat_pb2.ChatMessage(role=chat_pb2.ROLE_USER, content=text)
    return chat_pb2.ChatRequest(messages=[message], **more)


async def answered(client, request, **more) -> list[chat_pb2.ChatResponse]:
    return [response async for response in client.chat(request, timeout=PATIENCE, **more)]


async def test_an_answer_comes_in_pieces_and_ends_with_what_it_cost(spoken):
    model = ScriptedModel("One ", "two.")
    server = await spoken(llm=model)
    told = await answered(server.client("ChatService"), asked(max_tokens=5, temperature=0.5, seed=7))
    assert [one.text for one in told[:-1]] == ["One ", "two."]
    done = told[-1].done
    assert done.finish_reason == chat_pb2.FINISH_REASON_STOP
    assert (done.model, done.prompt_tokens, done.cached_tokens, done.answer_tokens) == ("scripted", 11, 4, 3)
    (request,) = model.requests
    assert (request.max_tokens, request.temperature, request.seed) == (5, 0.5, 7)
    model.pieces = ("One", Cut())
    told = await answered(server.client("ChatService"), asked())
    assert told[-1].done.finish_reason == chat_pb2.FINISH_REASON_LENGTH


async def test_tools_pictures_and_formats_are_those_of_http(spoken):
    call = ToolCall("call_1", "look", '{"at": "sky"}')
    model = ScriptedModel(call, images=True)
    server = await spoken(llm=model)
    request = asked(
        tools=[chat_pb2.Tool(name="look", description="Look.", parameters_json='{"type": "object"}')],
        tool_choice="look",
    )
    request.messages[0].images.append(b"\x89PNG\r\n\x1a\n not much of a picture")
    told = await answered(server.client("ChatService"), request)
    assert (told[0].tool_call.name, told[0].tool_call.arguments_json) == ("look", '{"at": "sky"}')
    assert told[-1].done.finish_reason == chat_pb2.FINISH_REASON_TOOL_CALLS
    (heard,) = model.requests
    assert heard.tool_choice.name == "look" and heard.messages[0].images[0].kind == "image/png"
    await answered(
        server.client("ChatService"),
        asked(response_format=chat_pb2.ResponseFormat(schema_json='{"type": "object"}', name="it")),
    )
    assert model.requests[-1].response_format.schema == {"type": "object"}


@pytest.mark.parametrize(
    ("request_", "field", "code"),
    [
        (chat_pb2.ChatRequest(), "messages", "missing_parameter"),
        (chat_pb2.ChatRequest(messages=[chat_pb2.ChatMessage(content="?")]), "messages.0.role", "invalid_value"),
        (asked(model="nobody"), "model", "model_not_found"),
        (asked(temperature=9), "temperature", "invalid_value"),
        (asked(tools=[chat_pb2.Tool(name="a", parameters_json="{")]), "tools.0.parameters_json", "invalid_json"),
        (asked(server_tools=["none_such"]), "server_tools.0", "invalid_value"),
    ],
)
async def test_a_wrong_field_is_named(spoken, request_, field, code):
    server = await spoken(llm=ScriptedModel("Yes."))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answered(server.client("ChatService"), request_)
    info, _ = details_of(caught.value)
    assert (code_of(caught.value), info.metadata["param"].split(":")[0]) in {(code, field), ("invalid_value", field)}
    assert caught.value.code() in (Code.INVALID_ARGUMENT, Code.NOT_FOUND)


PNG = b"\x89PNG\r\n\x1a\n not much of a picture"
USER, ASSISTANT, TOOL = chat_pb2.ROLE_USER, chat_pb2.ROLE_ASSISTANT, chat_pb2.ROLE_TOOL
Said = chat_pb2.ChatMessage


def calling(**more) -> chat_pb2.ChatMessage:
    made = {"id": "c", "name": "look", "arguments_json": "{}", **more}
    return Said(role=ASSISTANT, tool_calls=[chat_pb2.ToolCall(**made)])


def saying(*messages) -> chat_pb2.ChatRequest:
    return chat_pb2.ChatRequest(messages=messages)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (saying(Said(role=USER, content="?", images=[PNG, b"none"])), "messages.0.images.1"),
        (saying(Said(role=USER, content="?"), Said(role=USER, images=[b"none"])), "messages.1.images.0"),
        (saying(Said(role=USER, content="?"), calling(name="")), "messages.1.tool_calls.0.name"),
        (saying(Said(role=USER, content="?"), calling(arguments_json="{")), "messages.1.tool_calls.0.arguments_json"),
        (saying(Said(role=TOOL, content="x", tool_call_id="none")), "messages.0.tool_call_id"),
        (asked(tools=[chat_pb2.Tool(name="")]), "tools.0.name"),
        (asked(tools=[chat_pb2.Tool(name="a", parameters_json="5")]), "tools.0.parameters_json"),
        (asked(tools=[chat_pb2.Tool(name="a")], tool_choice="b"), "tool_choice"),
        (asked(response_format=chat_pb2.ResponseFormat(schema_json="5")), "response_format.schema_json"),
        (asked(response_format=chat_pb2.ResponseFormat(schema_json="{}", name="?!")), "response_format.name"),
        (asked(lora=[chat_pb2.Adapter(name="")]), "lora.0.name"),
    ],
)
async def test_fields_are_called_as_in_the_messages(spoken, request_, field):
    server = await spoken(llm=ScriptedModel("Yes.", images=True))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answered(server.client("ChatService"), request_)
    assert caught.value.code() is Code.INVALID_ARGUMENT
    assert details_of(caught.value)[0].metadata["param"] == field
    assert caught.value.details().startswith(f"{field}: ")


async def test_a_tool_may_have_nothing_to_say(spoken):
    model = ScriptedModel("Done.")
    server = await spoken(llm=model)
    empty = Said(role=TOOL, content="", tool_call_id="c")
    await answered(server.client("ChatService"), saying(Said(role=USER, content="Do it."), calling(), empty))
    assert [one.content for one in model.requests[0].messages] == ["Do it.", "", ""]


async def test_errors_of_engines_and_defects_of_ours_end_a_call(spoken):
    server = await spoken(llm=FakeModel(LLMError("llm_unreachable", "the model server is away")))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answered(server.client("ChatService"), asked())
    assert (caught.value.code(), caught.value.details()) == (Code.UNAVAILABLE, "the model server is away")
    assert details_of(caught.value)[1] == 5.0
    server = await spoken(llm=ScriptedModel("A ", RuntimeError("a secret")))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answered(server.client("ChatService"), asked())
    assert caught.value.code() is Code.INTERNAL and "a secret" not in str(caught.value)


async def test_a_client_that_leaves_frees_the_model_and_the_place(spoken):
    model = FakeModel("one two three")
    model.gate.clear()
    server = await spoken(llm=model)
    call = server.client("ChatService").chat(asked())
    reading = asyncio.ensure_future(call.read())
    await until(lambda: bool(model.requests))
    call.cancel()
    await until(lambda: model.cancelled == 1)
    async with server.app[CHATS].places.place(), server.app[CHATS].places.place():
        pass  # both are free
    await asyncio.gather(reading, return_exceptions=True)


async def test_a_deadline_frees_the_model(spoken):
    model = HangingModel()
    server = await spoken(llm=model)
    await server.channel.channel_ready()  # the deadline is for the model
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [one async for one in server.client("ChatService").chat(asked(), timeout=3.0)]
    assert caught.value.code() is Code.DEADLINE_EXCEEDED
    async with asyncio.timeout(PATIENCE):
        await model.stopped.wait()


async def test_one_more_than_may_wait_is_told_when_to_come_again(spoken, monkeypatch):
    model = FakeModel()
    model.gate.clear()
    server = await spoken(llm=model)
    places = server.app[CHATS].places
    monkeypatch.setattr(places, "_free", 1)
    first = server.client("ChatService").chat(asked())
    reading = asyncio.ensure_future(first.read())
    await until(lambda: bool(model.requests))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answered(server.client("ChatService"), asked())
    assert (caught.value.code(), code_of(caught.value)) == (Code.RESOURCE_EXHAUSTED, "server_busy")
    first.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def test_under_load_calls_of_low_priority_are_refused_first(spoken):
    server = await spoken(llm=FakeModel())
    load, clock = server.app[LOAD], FakeClock(server.app[LOAD]._clock.now())
    load._clock = clock
    while load.level < 2:
        clock.advance(0.5)
        load.update([Reading("event_loop", 50.0, 40.0, "ms")])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [one async for one in server.client("ChatService").chat(asked(), metadata=[("x-priority", "low")])]
    assert (caught.value.code(), code_of(caught.value)) == (Code.RESOURCE_EXHAUSTED, "server_busy")
    assert details_of(caught.value)[1] >= 2
    assert await answered(server.client("ChatService"), asked())


async def test_texts_become_vectors(spoken, tiny_models):
    server = await spoken(folders=(tiny_models,))
    client = server.client("EmbeddingService")
    made = await client.embed(
        embeddings_pb2.EmbedRequest(texts=["one", "one and two and three", "one"]), timeout=PATIENCE
    )
    first, second, third = (list(one.values) for one in made.embeddings)
    assert len(first) > 8 and first == pytest.approx(third, abs=1e-4)
    assert first != pytest.approx(second, abs=1e-4)
    assert made.model and made.tokens > 0
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.embed(embeddings_pb2.EmbedRequest(texts=["one"], model="none/such"), timeout=PATIENCE)
    assert (caught.value.code(), code_of(caught.value)) == (Code.NOT_FOUND, "model_not_found")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.embed(embeddings_pb2.EmbedRequest(), timeout=PATIENCE)
    assert details_of(caught.value)[0].metadata["param"] == "texts"
