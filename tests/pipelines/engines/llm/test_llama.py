"""llama.cpp as a child process: what becomes of requests when it ends, on a stand-in; and real weights."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.llm import llama, llama_process
from pipelines.engines.llm.grammar import answer_grammar
from pipelines.engines.llm.llama import LlamaChat, Manner
from pipelines.engines.llm.llama_process import SAMPLING, Config
from pipelines.engines.llm.openai.client import OpenAIChat
from pipelines.engines.llm.openai.options import ChatOptions
from pipelines.engines.llm.openai.refusals import Refusal, after
from pipelines.engines.llm.openai.request import Abilities
from pipelines.errors import LLMError
from pipelines.interfaces.llm import (
    ChatRequest,
    Cut,
    JsonFormat,
    Message,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
    calls_unasked,
    takes_choice,
    takes_tools,
)
from pipelines.models import catalogue
from tests.fakes import llama_process as stand_in
from tests.patience import PATIENCE
from tests.real_models import real_model

GGUF = "smollm2-135m-instruct-gguf"


def asked(text: str, tokens: int = 24) -> ChatRequest:
    return ChatRequest((Message("system", "You are a helpful assistant."), Message("user", text)), max_tokens=tokens)


async def said(engine: LlamaChat, text: str) -> str:
    return "".join([str(piece) async for piece in engine.stream(asked(text))])


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def ended(engine: LlamaChat) -> None:
    assert engine._process is not None
    async with asyncio.timeout(PATIENCE):
        await engine._process.gone()


async def again(engine: LlamaChat, before: int | None) -> None:
    """Wait until another process than ``before`` serves."""
    if engine.pid == before:
        await ended(engine)
    await engine.warm()
    assert engine.pid != before


# ------------------------------------------------------------------------------------------------ the manner

SHORT = Manner("Be brief.", "You are visavis.\nLong instructions.", surroundings=False, tools=False)
TOOLS = (Tool("light", "Switches a lamp."),)


def given(manner: Manner, rules: str | None, *, scene: str = "one person") -> ChatRequest:
    system = () if rules is None else (Message("system", rules),)
    return manner.of(ChatRequest((*system, Message("user", "Hello")), scene, tools=TOOLS, time="noon"))


def test_a_model_gets_its_own_prompt_in_place_of_the_ordinary_one() -> None:
    request = given(SHORT, SHORT.ordinary)
    assert [message.content for message in request.messages] == ["Be brief.", "Hello"]
    assert (request.scene, request.time, request.tools) == ("", "", ())


def test_what_was_added_to_the_ordinary_one_stays() -> None:
    assert given(SHORT, f"{SHORT.ordinary}\nThe user is Anna.").messages[0].content == "Be brief.\nThe user is Anna."


@pytest.mark.parametrize("rules", ["Speak like a pirate.", f"{SHORT.ordinary} But in French."])
def test_instructions_of_a_client_stand_and_get_the_surroundings(rules: str) -> None:
    request = given(SHORT, rules)
    assert request.messages[0].content == rules
    assert (request.scene, request.time) == ("one person", "noon")


def test_without_any_instructions_the_prompt_is_used_only_where_there_are_none_by_default() -> None:
    assert [message.content for message in given(SHORT, None).messages] == ["Hello"]
    assert [message.content for message in given(Manner("Be brief."), None).messages] == ["Be brief.", "Hello"]


def test_a_model_without_a_manner_is_asked_as_all_are() -> None:
    request = ChatRequest((Message("system", "anything"), Message("user", "Hello")), "one person", tools=TOOLS)
    assert Manner(None, "anything").of(request) == request


def test_every_sampling_that_a_catalogue_may_name_is_known_to_the_process() -> None:
    names = catalogue.ChatSpec.model_fields["sampling"].annotation
    assert set(names.__args__[0].__args__) == set(SAMPLING)


def test_tools_are_told_in_words_with_what_answers_are_held_to() -> None:
    known = Abilities.of("tiny", ChatOptions(grammar=answer_grammar))
    call = ToolCall("1", "light", '{"on": true}')
    said = (Message("system", "Be brief."), Message("assistant", "", (call,)), Message("tool", "done", (), "1"))
    request = ChatRequest((*said, Message("user", "Hello")), tools=TOOLS)
    payload = known.payload(request, "tiny")
    assert "tools" not in payload
    assert '"name": {"const": "light"}' in payload["grammar"]
    system, *others = payload["messages"]
    assert system["content"].startswith("Be brief.")
    assert "Switches a lamp." in system["content"]
    assert {message["role"] for message in others} == {"assistant", "user"}
    assert "<tool_call>" in others[0]["content"]
    assert "grammar" not in known.payload(replace(request, tools=()), "tiny")
    lesson = after(known, Refusal(400, "failed to parse grammar", request, payload))
    assert lesson is not None and lesson.about == "tools"
    assert "grammar" not in lesson.applied(known).payload(request, "tiny")


# ------------------------------------------------------------------------------------------------ on a stand-in


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LlamaChat]:
    monkeypatch.setattr(llama_process, "__file__", stand_in.__file__)
    options = ChatOptions(between_tokens_seconds=2.0)
    engine = LlamaChat("fake", Config("fake.gguf"), options=options)
    yield engine
    await engine.close()


async def test_what_was_said_before_the_process_ended_is_given_and_the_end_is_told(fake: LlamaChat) -> None:
    await fake.warm()
    before, heard = fake.pid, ""
    with pytest.raises(LLMError, match="has ended and is being started again") as told:
        async for piece in fake.stream(asked("please die now")):
            heard += str(piece)
    assert told.value.code == "llm_unavailable"
    assert heard.split() == ["You", "said:", "please", "die"]
    await again(fake, before)
    assert await said(fake, "hello") == "You said: hello "


async def test_nobody_waits_for_a_process_that_is_being_started_again(
    fake: LlamaChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama, "_RESTS", (3600.0,))
    await fake.warm()
    assert fake.pid is not None
    os.kill(fake.pid, signal.SIGKILL)
    await ended(fake)
    for attempt in (said(fake, "hello"), fake.probe()):
        with pytest.raises(LLMError, match="is being started again"):
            await attempt


async def test_a_process_that_hangs_is_ended_and_started_again(
    fake: LlamaChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama, "_SIGN_SECONDS", 0.2)
    await fake.warm()
    before = fake.pid
    with pytest.raises(LLMError) as told:
        await said(fake, "please hang there")
    assert told.value.code == "llm_timeout"
    await again(fake, before)
    assert await said(fake, "hello") == "You said: hello "


async def test_a_process_that_ends_at_the_start_is_told_with_its_last_words(fake: LlamaChat) -> None:
    engine = LlamaChat("broken", Config("broken.gguf"))
    with pytest.raises(LLMError, match=r"broken\.gguf: no such model"):
        await engine.warm()
    await engine.close()


async def test_closing_ends_the_process_for_good(fake: LlamaChat) -> None:
    await fake.warm()
    pid = fake.pid
    assert pid is not None
    await fake.close()
    assert not is_running(pid)
    with pytest.raises(LLMError, match="has been closed"):
        await said(fake, "hello")


async def test_no_other_program_of_this_machine_is_answered(fake: LlamaChat) -> None:
    await fake.warm()
    assert fake._process is not None
    other = OpenAIChat(f"{fake._process.url}/v1", "fake", api_key="guessed")
    with pytest.raises(LLMError, match="401"):
        await other.probe()
    await other.close()
    await fake.probe()


OWNER = """
import asyncio, sys
from pipelines.engines.llm import llama_process
from pipelines.engines.llm.llama import LlamaChat
from pipelines.engines.llm.llama_process import Config
{patch}
async def main():
    engine = LlamaChat("owned", Config(sys.argv[1]))
    await engine.warm()
    print(engine.pid, flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""


def orphaned(script: str, model: str) -> int:
    """The pid of the process whose owner was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", script, model], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert is_running(pid)
        owner.kill()
    return pid


def gone(pid: int) -> bool:
    """Whether it ends before long."""
    for _ in range(int(100 * PATIENCE)):
        if not is_running(pid):
            return True
        time.sleep(0.01)
    return False


def test_the_process_ends_when_its_owner_is_killed() -> None:
    patch = "from tests.fakes import llama_process as fake; llama_process.__file__ = fake.__file__"
    assert gone(orphaned(OWNER.format(patch=patch), "fake.gguf"))


# ------------------------------------------------------------------------------------------------ real weights


@pytest.fixture
async def chat() -> AsyncIterator[LlamaChat]:
    path = real_model(GGUF).path
    options = ChatOptions(temperature=0.0, first_token_seconds=PATIENCE, between_tokens_seconds=PATIENCE)
    engine = LlamaChat("smollm2", Config(str(path), context=2048, slots=2), options=options)
    yield engine
    await engine.close()


async def test_it_answers(chat: LlamaChat) -> None:
    assert "paris" in (await said(chat, "What is the capital of France?")).lower()


@pytest.mark.long
async def test_two_are_answered_at_a_time(chat: LlamaChat) -> None:
    answers = await asyncio.gather(said(chat, "What is the capital of France?"), said(chat, "Say hello."))
    assert all(answers)


async def test_a_crash_in_mid_answer_costs_that_answer_only(chat: LlamaChat) -> None:
    await chat.warm()
    first = chat.pid
    assert first is not None
    with pytest.raises(LLMError, match="has ended and is being started again"):
        async with aclosing(chat.stream(asked("Tell me a long story.", tokens=400))) as pieces:
            await anext(pieces)
            os.kill(first, signal.SIGKILL)
            async for _ in pieces:
                pass
    await again(chat, first)
    assert await said(chat, "What is the capital of France?")


@pytest.mark.long
def test_the_real_process_ends_when_its_owner_is_killed() -> None:
    assert gone(orphaned(OWNER.format(patch=""), str(real_model(GGUF).path)))


@pytest.mark.long
async def test_conversations_keep_what_was_read_though_there_are_more_of_them_than_slots() -> None:
    usages: list[Usage] = []
    path = real_model(GGUF).path
    engine = LlamaChat("smollm2", Config(str(path), context=1024, slots=1), on_usage=usages.append)
    try:
        talks = {name: [Message("system", f"You talk with {name}.")] for name in ("Anna", "Berta")}
        for line in ("I am fine, and how are you today?", "And what is the weather like in Paris in spring?"):
            for messages in talks.values():
                messages.append(Message("user", line))
                pieces = [str(piece) async for piece in engine.stream(ChatRequest(tuple(messages), max_tokens=8))]
                messages.append(Message("assistant", "".join(pieces)))
    finally:
        await engine.close()
    first, second = usages[:2], usages[2:]
    for before, later in zip(first, second, strict=True):
        assert later.cached >= before.prompt - 8, "all but the end of the prompt before"


LIGHT = Tool(
    "set_light",
    "Sets the colour of the lamp.",
    {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]},
)


@pytest.mark.long
async def test_a_call_of_a_tool_keeps_to_its_schema_and_other_answers_are_text(chat: LlamaChat) -> None:
    """The weights are too small to call by themselves: they are shown once how it is done."""
    shown = (
        Message("system", "You switch lamps."),
        Message("user", "Set the light to green."),
        Message("assistant", "", (ToolCall("1", "set_light", '{"colour": "green"}'),)),
        Message("tool", "done", (), "1"),
        Message("assistant", "It is green."),
    )
    request = ChatRequest((*shown, Message("user", "Set the light to yellow.")), max_tokens=80, tools=(LIGHT,))
    async with aclosing(chat.stream(request)) as pieces:
        call = await anext(pieces)
    assert isinstance(call, ToolCall)
    assert call.name == "set_light"
    assert json.loads(call.arguments)["colour"] in ("red", "blue")
    request = replace(asked("What is the capital of France?"), tools=(LIGHT,))
    assert "Paris" in "".join([str(piece) async for piece in chat.stream(request)])


YELLOW = ChatRequest((Message("user", "Hello."),), max_tokens=80, tools=(LIGHT, Tool("tell_joke", "Tells a joke.")))


@pytest.mark.parametrize(
    ("choice", "names"),
    [pytest.param("required", {"set_light", "tell_joke"}, marks=pytest.mark.long), (LIGHT, {"set_light"})],
)
async def test_a_call_that_has_to_be_made_is_made(chat: LlamaChat, choice: ToolChoice, names: set[str]) -> None:
    """Whatever the weights would have said to a greeting."""
    for parallel in (False, True):
        request = replace(YELLOW, tool_choice=choice, parallel_tool_calls=parallel, temperature=1.0, seed=3)
        calls = [piece async for piece in chat.stream(request) if not isinstance(piece, Cut)]
        assert calls
        assert {call.name for call in calls if isinstance(call, ToolCall)} <= names
        assert all(isinstance(call, ToolCall) for call in calls)
        assert parallel or len(calls) == 1


CITY = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}


@pytest.mark.parametrize("tools", [(), pytest.param((LIGHT,), marks=pytest.mark.long)])
async def test_an_answer_is_held_to_json(chat: LlamaChat, tools: tuple[Tool, ...]) -> None:
    for wanted in (JsonFormat(CITY), JsonFormat()):
        request = replace(asked("What is the capital of France?", 60), response_format=wanted, tools=tools)
        pieces = [piece async for piece in chat.stream(request)]
        if any(isinstance(piece, ToolCall) for piece in pieces):
            continue  # which it may choose to make, where there are tools
        text = "".join(map(str, pieces))
        assert Cut() in pieces or isinstance(json.loads(text), dict)
        assert wanted.schema is None or json.loads(text)["city"] in ("Paris", "Rome")


async def test_it_tells_how_likely_its_tokens_were(chat: LlamaChat) -> None:
    told: list[dict[str, Any]] = []
    request = replace(asked("What is the capital of France?"), top_logprobs=2, on_logprobs=told.extend)
    text = "".join([str(piece) async for piece in chat.stream(request)])
    assert "".join(one["token"] for one in told).strip().startswith(text.strip())
    assert all(one["logprob"] <= 0 and len(one["top_logprobs"]) == 2 for one in told)


async def test_a_format_that_cannot_be_kept_to_is_told(chat: LlamaChat) -> None:
    wanted = JsonFormat({"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}})
    with pytest.raises(LLMError) as told:
        await anext(chat.stream(replace(asked("Hello"), response_format=wanted)))
    assert told.value.code == "response_format_unsupported"


async def test_a_model_that_is_offered_no_tools_by_itself_can_be_made_to_call_one() -> None:
    light = Tool("light", "Switches a lamp.")
    asks = ChatRequest((Message("user", "Hello"),), tools=(light,))
    assert SHORT.of(asks).tools == ()
    for choice in ("required", light):
        assert SHORT.of(replace(asks, tool_choice=choice)).tools == (light,)
    engine = LlamaChat("small", Config("none.gguf"), manner=SHORT)
    assert takes_choice(engine) and not takes_tools(engine) and not calls_unasked(engine)


@pytest.mark.long
async def test_a_schema_that_cannot_be_kept_to_costs_the_tools_and_not_the_answer(chat: LlamaChat) -> None:
    odd = Tool("odd", "Odd.", {"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}})
    request = replace(asked("What is the capital of France?"), tools=(odd,))
    assert "Paris" in "".join([str(piece) async for piece in chat.stream(request)])


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"no model", "this is no GGUF file"), (b"GGUF\3" + bytes(4000), "llama.cpp cannot load this file")],
)
async def test_a_file_that_is_no_model_is_told(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    engine = LlamaChat("broken", Config(str(path)))
    with pytest.raises(LLMError, match=rf"broken\.gguf: {why}") as refused:
        await engine.warm()
    assert refused.value.code == "llm_unavailable"
    await engine.close()
