"""What an answer has to be: a call of a tool, of one tool, JSON. In every engine, or refused by its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from pipelines.engines.llm.grammar import answer_grammar, calls_schema
from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.model import Guide
from pipelines.engines.llm.numpy_chat import load_numpy_chat
from pipelines.engines.llm.openai.options import ChatOptions
from pipelines.engines.llm.openai.request import Abilities
from pipelines.engines.llm.transformers_chat import load_chat
from pipelines.errors import LLMError
from pipelines.interfaces.llm import ChatRequest, Cut, JsonFormat, Message, Piece, Tool, ToolCall, ToolChoice, lacking
from pipelines.models.residency import Kept
from pipelines.routing.known_first import KnownFirst, StandIn
from pipelines.routing.refusals import Passes
from pipelines.routing.routes.llm import FallbackModel
from tests.fakes.engines import FakeModel
from tests.fakes.openai_server import DONE, asking, delta, event, saying
from tests.fakes.tiny_llama import save_tiny_llama

Body = dict[str, Any]
LIGHT, JOKE = Tool("light", "Switches a lamp."), Tool("light_all", "Switches all lamps.")
ASKED = ChatRequest((Message("user", "Hello?"),), tools=(LIGHT, JOKE), max_tokens=40)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


async def pieces(model: Any, request: ChatRequest) -> list[Piece]:
    return [piece async for piece in model.stream(request)]


# ------------------------------------------------------------------------------------------------ model servers


def called(*names: str) -> bytes:
    calls = [{"index": n, "id": f"c{n}", "function": {"name": name, "arguments": "{}"}} for n, name in enumerate(names)]
    return delta(tool_calls=calls)


class Server:
    """Answers with what ``answer`` makes of the body: an answer's pieces, or a refusal's words."""

    def __init__(self, answer: Callable[[Body], bytes | str]) -> None:
        self.answer = answer
        self.asked: list[Body] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        given = self.answer(body)
        if isinstance(given, str):
            return web.json_response({"error": {"message": given}}, status=400)
        return await saying(given, DONE)(request)


def chosen(choice: ToolChoice, **fields: Any) -> ChatRequest:
    return replace(ASKED, tool_choice=choice, **fields)


def test_a_server_is_told_in_the_words_of_the_protocol() -> None:
    known = Abilities.of("tiny", ChatOptions())
    assert known.payload(chosen("required"), "m")["tool_choice"] == "required"
    named = known.payload(chosen(LIGHT, parallel_tool_calls=False), "m")
    assert named["tool_choice"] == {"type": "function", "function": {"name": "light"}}
    assert named["parallel_tool_calls"] is False
    assert len(named["tools"]) == 2
    assert not {"tool_choice", "parallel_tool_calls", "response_format"} & known.payload(ASKED, "m").keys()
    wanted = replace(ASKED, tools=(), response_format=JsonFormat(SCHEMA, "place", "Where.", strict=True))
    assert known.payload(wanted, "m")["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "place", "schema": SCHEMA, "description": "Where.", "strict": True},
    }
    assert known.payload(replace(wanted, response_format=JsonFormat()), "m")["response_format"] == {
        "type": "json_object"
    }


async def test_a_server_that_heeds_the_choice_is_asked_once() -> None:
    server = Server(lambda body: delta(content="Let me see.") + called("light", "light_all"))
    async with asking(server.handle) as model:
        assert [piece.name for piece in await pieces(model, chosen("required")) if isinstance(piece, ToolCall)] == [
            "light",
            "light_all",
        ]
        (call,) = await pieces(model, chosen("required", parallel_tool_calls=False))
        assert isinstance(call, ToolCall)
        (call,) = await pieces(model, chosen(JOKE))
        assert isinstance(call, ToolCall) and call.name == "light_all"
    assert len(server.asked) == 3


JSON_CALL = json.dumps({"name": "light", "arguments": {"on": True}})


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_server_that_does_not_heed_it_is_asked_for_a_call_as_json(refuses: bool) -> None:
    """Ollama passes ``tool_choice`` over, others refuse it; both know schemas."""

    def answer(body: Body) -> bytes | str:
        if "tool_choice" in body:
            return "tool_choice 'required' is not supported" if refuses else delta(content="I would rather talk.")
        if "tools" in body:
            return delta(content="Yes.")
        assert "light_all" in body["messages"][0]["content"], "the tools are told in words"
        return delta(content=JSON_CALL)

    server, learned = Server(answer), list[str]()
    async with asking(server.handle, on_learned=learned.append) as model:
        for tried in (2, 3):
            (call,) = await pieces(model, chosen("required"))
            assert isinstance(call, ToolCall) and (call.name, call.arguments) == ("light", '{"on": true}')
            assert len(server.asked) == tried, "it is remembered"
        schema = server.asked[-1]["response_format"]["json_schema"]["schema"]
        assert [one["properties"]["name"] for one in schema["anyOf"]] == [{"const": "light"}, {"const": "light_all"}]
        await pieces(model, ASKED)
        assert "tools" in server.asked[-1], "who may choose is asked as ever"
    assert len(learned) == 1


async def test_a_server_that_can_by_no_means_be_made_to_call_is_told() -> None:
    server = Server(lambda body: delta(content="I would rather talk."))
    async with asking(server.handle) as model:
        with pytest.raises(LLMError, match="called no tool") as told:
            await pieces(model, chosen("required"))
        assert told.value.code == "tool_choice_unsupported"
        assert await pieces(model, ASKED) == ["I would rather talk."]
        assert "tools" in server.asked[-1]


async def test_tools_that_are_refused_are_not_left_out_where_one_has_to_be_called() -> None:
    server = Server(lambda body: "gemma:2b does not support tools" if "tools" in body else delta(content="Yes."))
    async with asking(server.handle) as model:
        with pytest.raises(LLMError, match="does not support tools") as told:
            await pieces(model, chosen("required"))
        assert told.value.code == "tool_choice_unsupported"


async def test_json_objects_are_asked_for_by_a_schema_where_only_that_is_known() -> None:
    def answer(body: Body) -> bytes | str:
        known = body["response_format"]["type"] == "json_schema"
        return delta(content="{}") if known else "'response_format.type' must be 'json_schema' or 'text'"

    server = Server(answer)
    wanted = replace(ASKED, tools=(), response_format=JsonFormat())
    async with asking(server.handle) as model:
        for tried in (2, 3):
            assert await pieces(model, wanted) == ["{}"]
            assert len(server.asked) == tried, "it is remembered"


async def test_a_format_that_is_refused_is_told_and_the_next_may_fit() -> None:
    def answer(body: Body) -> bytes | str:
        return "Invalid schema for response_format 'answer'" if "response_format" in body else delta(content="Yes.")

    server = Server(answer)
    async with asking(server.handle) as model:
        for _ in range(2):
            with pytest.raises(LLMError, match="Invalid schema") as told:
                await pieces(model, replace(ASKED, response_format=JsonFormat(SCHEMA)))
            assert told.value.code == "response_format_unsupported"
        assert await pieces(model, ASKED) == ["Yes."]
        assert "tools" in server.asked[-1]


async def test_words_where_json_was_asked_for_are_not_passed_on() -> None:
    answers = iter([delta(content=" ") + delta(content="Sure: {}"), delta(content=' {"a"') + delta(content=": 1}")])
    async with asking(Server(lambda body: next(answers)).handle) as model:
        wanted = replace(ASKED, response_format=JsonFormat())
        with pytest.raises(LLMError, match="does not keep to it") as told:
            await pieces(model, wanted)
        assert told.value.code == "response_format_unsupported"
        assert json.loads("".join(map(str, await pieces(model, wanted)))) == {"a": 1}


async def test_how_likely_tokens_were_is_told_or_that_it_cannot_be() -> None:
    token = {"token": "Yes.", "logprob": -0.1, "top_logprobs": []}
    said = event({"choices": [{"delta": {"content": "Yes."}, "logprobs": {"content": [token]}}]})
    answers = iter([said, delta(content="Yes.")])
    server, told = Server(lambda body: next(answers)), list[Any]()
    asked = replace(ASKED, tools=(), top_logprobs=3, on_logprobs=told.extend)
    async with asking(server.handle) as model:
        assert await pieces(model, asked) == ["Yes."]
        assert told == [token]
        assert (server.asked[0]["logprobs"], server.asked[0]["top_logprobs"]) == (True, 3)
        with pytest.raises(LLMError, match="does not tell how likely") as refused:
            await pieces(model, asked)
        assert refused.value.code == "logprobs_unsupported"


async def test_that_one_tool_shall_be_called_need_not_be_understood() -> None:
    server = Server(
        lambda body: "unknown field parallel_tool_calls" if "parallel_tool_calls" in body else called("light", "light")
    )
    async with asking(server.handle) as model:
        for tried in (2, 3):
            assert len(await pieces(model, replace(ASKED, parallel_tool_calls=False))) == 1
            assert len(server.asked) == tried


# ------------------------------------------------------------------------------------------------ grammars


def start(request: ChatRequest) -> str:
    return answer_grammar(request).splitlines()[1]


def test_the_grammar_allows_what_the_request_does() -> None:
    many = "call (SPACE? call){0,3}"
    assert start(ASKED) == f"start: SPACE? TEXT | {many}"
    assert start(replace(ASKED, parallel_tool_calls=False)) == "start: SPACE? TEXT | call"
    assert start(chosen("required")) == f"start: {many}"
    assert start(chosen(LIGHT)) == "start: call"
    assert start(replace(ASKED, response_format=JsonFormat())) == f"start: json | {many}"
    assert start(replace(ASKED, tools=(), response_format=JsonFormat())) == "start: json"
    assert "light_all" not in answer_grammar(chosen(LIGHT))


def test_arguments_that_a_schema_does_not_speak_of_are_not_made_up() -> None:
    def arguments(schema: dict[str, Any]) -> Any:
        (call,) = calls_schema(ChatRequest((), tools=(Tool("t", "", schema),)))["anyOf"]
        return call["properties"]["arguments"]

    assert arguments({"type": "object", "properties": {}})["additionalProperties"] is False
    for schema in ({"type": "object"}, {"type": "object", "properties": {}, "additionalProperties": True}):
        assert arguments(schema) == schema


# ------------------------------------------------------------------------------------------------ in this process


def test_a_beginning_is_kept_to_token_by_token() -> None:
    guide = Guide([(1, 2, 3), (1, 4), (5,)])
    assert guide.allowed == [1, 5]
    guide.took(1)
    assert guide.allowed == [2, 4]
    guide.took(2)
    assert guide.allowed == [3]
    guide.took(3)
    assert guide.allowed == []
    guide.took(9)
    assert Guide([]).allowed == []


@pytest.fixture(scope="module", params=["numpy", "transformers"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = save_tiny_llama(tmp_path_factory.mktemp("choice"), context=1024)
    return load_numpy_chat(folder) if request.param == "numpy" else load_chat(folder)


@pytest.mark.parametrize(("choice", "names"), [("required", ("light", "light_all")), (JOKE, ("light_all",))])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
async def test_a_call_is_begun_for_a_model_that_has_to_make_one(
    tiny: Any, choice: ToolChoice, names: tuple[str, ...], temperature: float
) -> None:
    """The weights are random: what comes behind the beginning is nonsense, which is told, unless it happens to fit."""
    chat, said = LocalChat(Kept("tiny", tiny)), ""
    try:
        for seed in range(3):
            try:
                given = await pieces(chat, chosen(choice, temperature=temperature, seed=seed))
            except LLMError as error:
                assert error.code == "tool_call_invalid"
                said = error.message.partition("with a name: ")[2]
                assert any(said.startswith(f'{{"name": "{name}", "arguments"') for name in names), said
            else:
                assert all(isinstance(piece, ToolCall | Cut) for piece in given)
    finally:
        await chat.close()


async def test_what_a_model_of_this_process_cannot_be_held_to_is_refused(tiny: Any) -> None:
    chat = LocalChat(Kept("tiny", tiny))
    with pytest.raises(LLMError, match="response_format: tiny cannot be held to JSON") as told:
        await pieces(chat, replace(ASKED, tools=(), response_format=JsonFormat()))
    assert told.value.code == "response_format_unsupported"
    await chat.close()


# ------------------------------------------------------------------------------------------------ several models


class Able(FakeModel):
    """One that can all that may be asked for."""

    name = "able"
    takes_choice = takes_format = takes_logprobs = True

    async def probe(self) -> None:
        pass


def starter() -> StandIn:
    return StandIn(FakeModel("I cannot."), Passes(("I",)), away="I", never="I")


INSISTING = [
    chosen("required"),
    chosen(LIGHT),
    replace(ASKED, response_format=JsonFormat()),
    replace(ASKED, top_logprobs=0),
]


@pytest.mark.parametrize("request_", INSISTING)
async def test_who_cannot_is_passed_over(request_: ChatRequest) -> None:
    failures: list[str] = []
    plain, able = FakeModel("Plain."), Able("Able.", "Able.")
    ladder = FallbackModel([plain, able], lambda name, error: failures.append(name))
    assert await pieces(ladder, request_) == ["Able. "]
    assert await pieces(ladder, ASKED) == ["Plain. "]
    both = KnownFirst(starter(), Able("Able."), ("I",))
    assert await pieces(both, request_) == ["Able. "]
    assert lacking(ladder, request_) == lacking(both, request_) == ""
    assert not failures


@pytest.mark.parametrize("request_", INSISTING)
async def test_where_nobody_can_that_is_told_and_nobody_rests(request_: ChatRequest) -> None:
    failures: list[str] = []
    ladder = FallbackModel([FakeModel("Plain."), starter()], lambda name, error: failures.append(name))
    with pytest.raises(LLMError) as told:
        await pieces(ladder, request_)
    assert told.value.code == f"{lacking(ladder, request_)}_unsupported"
    assert not failures
    assert ladder.current == "fake-llm"
