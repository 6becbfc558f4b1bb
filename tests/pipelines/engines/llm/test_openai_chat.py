"""The client of OpenAI-compatible servers, against a real HTTP server: what it asks, what it hears, when it lets go."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from pipelines.engines.llm.openai.client import ChatOptions, OpenAIChat
from pipelines.engines.llm.openai.options import THINKING_ROOM
from pipelines.interfaces.llm import ChatRequest, Cut, LanguageModel, Message, Tool, ToolCall, Usage
from tests.fakes.openai_server import (
    DONE,
    REQUEST,
    answer,
    asking,
    delta,
    event,
    failure,
    hanging_after,
    saying,
    started,
)
from tests.patience import PATIENCE

TOOLS = (Tool("light", "Switches a lamp."),)
ANSWER = (
    b": a comment\r\n\r\n"
    + delta(role="assistant", content="")
    + delta(content="Grüß ").replace(b"\n", b"\r\n")
    + b"event: message\nid: 7\n"
    + event({"choices": []})
    + event({"choices": [{"index": 0, "delta": {"content": "dich.\n"}, "finish_reason": "stop"}]})
    + b'data: {"choices": [],\ndata:"usage": {"total_tokens": 7}}\n\n'
    + DONE
)


# ---------------------------------------------------------------------------------------------------- the stream


async def test_the_answer_comes_through_whatever_the_pieces() -> None:
    async with asking(saying(*(ANSWER[n : n + 1] for n in range(len(ANSWER))))) as model:
        assert await answer(model) == "Grüß dich.\n"
    async with asking(saying(ANSWER)) as model:
        assert await answer(model) == "Grüß dich.\n"


async def test_thinking_is_not_spoken_and_leaves_no_gap() -> None:
    pieces = ["<th", "ink>Let me", " see.</thi", "nk>", "\n\n", "Four", "."]
    async with asking(saying(*(delta(content=piece) for piece in pieces), DONE)) as model:
        assert [piece async for piece in model.stream(REQUEST)] == ["Four", "."]


FINISHED = event({"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]})


async def test_the_answer_may_end_without_done() -> None:
    async with asking(saying(FINISHED)) as model:
        assert await answer(model) == "Hi"


async def test_the_answer_may_end_without_done_on_a_connection_that_stays_open() -> None:
    """The server gives no sign but its ``finish_reason``; what is not to be waited for takes no time either."""
    handler, _, gone = hanging_after(delta(content="Oh. "), FINISHED)
    async with asking(handler, options=ChatOptions(first_token_seconds=60, between_tokens_seconds=60)) as model:
        for _ in range(2):
            async with asyncio.timeout(PATIENCE):
                assert await answer(model) == "Oh. Hi"
                await gone.wait()


async def test_what_breaks_after_the_end_of_the_answer_is_of_no_matter() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = await started(request)
        await response.write(FINISHED)
        assert request.transport is not None
        request.transport.abort()
        return response

    async with asking(handler) as model:
        assert await answer(model) == "Hi"


async def test_a_word_behind_the_reason_for_the_end_is_still_said() -> None:
    async with asking(saying(FINISHED, delta(content=" there"), DONE)) as model:
        assert await answer(model) == "Hi there"


async def test_reasons_that_are_none_do_not_end_the_answer() -> None:
    pieces = (event({"choices": [{"delta": {"content": word}, "finish_reason": no}]}) for word, no in NO_REASONS)
    async with asking(saying(*pieces, DONE)) as model:
        assert await answer(model) == "abc"


NO_REASONS = (("a", ""), ("b", "null"), ("c", None))


async def test_halves_of_characters_are_joined() -> None:
    halves = (
        rb'data: {"choices": [{"delta": {"content": "Hi \ud83d"}}]}',
        rb'data: {"choices": [{"delta": {"content": "\ude00"}}]}',
    )
    async with asking(saying(*(half + b"\n\n" for half in halves), DONE)) as model:
        assert await answer(model) == "Hi 😀"


async def test_parts_of_a_message_that_are_thoughts_are_left_out() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    parts = (
        [thought],
        [thought, {"type": "text", "text": "Four"}],
        ["."],
        [{"text": " Yes."}],
        {"type": "text", "text": " Ok."},
    )
    async with asking(saying(*(delta(content=part) for part in parts), DONE)) as model:
        assert await answer(model) == "Four. Yes. Ok."


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking", "reasoning_details", "thought"])
async def test_thoughts_in_a_field_of_their_own_are_left_out(field: str) -> None:
    async with asking(saying(delta(**{field: "Let me see."}), delta(content="Four."), DONE)) as model:
        assert await answer(model) == "Four."


async def test_a_model_that_thinks_unannounced_is_known_after_its_first_answer() -> None:
    """At first its words are kept for a moment; once it is known, until the thought has ended."""
    pieces = ["Okay, the user", " wants a number, and I should give one.", "</think>", "Four", "."]
    async with asking(saying(*(delta(content=piece) for piece in pieces), DONE)) as model:
        for _ in range(3):
            assert await answer(model) == "Four."


async def test_a_model_that_does_not_think_is_heard_at_once_after_its_first_answer() -> None:
    async with asking(saying(delta(content="Hi"), DONE)) as model:
        assert await answer(model) == "Hi"
        handler, _, gone = hanging_after(delta(content="One "), delta(content="two "))
    async with asking(handler) as other:
        other._begins = model._begins
        async with aclosing(other.stream(REQUEST)) as pieces:
            assert await anext(pieces) == "One "
        await gone.wait()


async def test_words_that_are_kept_to_see_whether_they_are_thoughts_come_when_nothing_else_does() -> None:
    handler, _, gone = hanging_after(delta(content="One "), delta(content="two "))
    async with asking(handler, options=ChatOptions(between_tokens_seconds=60)) as model:
        async with asyncio.timeout(PATIENCE), aclosing(model.stream(REQUEST)) as pieces:
            assert await anext(pieces) == "One two "
        await gone.wait()


def cut(content: str = "", reason: str = "length") -> bytes:
    return event({"choices": [{"delta": {"content": content}, "finish_reason": reason}]})


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ((delta(content="Once there"), cut()), "Once there"),
        ((delta(content="Once there"), cut(" was", "MAX_TOKENS")), "Once there was"),
        ((delta(content="Hi "), cut("\ud83d")), "Hi "),
        ((delta(content="Hi "), delta(content="\N{REPLACEMENT CHARACTER}"), cut()), "Hi "),
        ((delta(content="\N{REPLACEMENT CHARACTER}"), cut()), ""),
        ((delta(content="\n"), cut()), ""),
    ],
)
async def test_an_answer_that_reaches_its_limit_says_so_and_ends_with_a_whole_character(
    pieces: tuple[bytes, ...], said: str
) -> None:
    async with asking(saying(*pieces, DONE)) as model:
        *words, end = [piece async for piece in model.stream(REQUEST)]
    assert ("".join(map(str, words)), end) == (said, Cut())


async def test_a_limit_of_less_than_a_character_is_no_failure_and_a_lack_of_words_is_one() -> None:
    async with asking(saying(cut(), DONE)) as model:
        assert [piece async for piece in model.stream(replace(REQUEST, max_tokens=1))] == [Cut()]
        assert (await failure(model)).code == "llm_no_answer"
    async with asking(saying(delta(reasoning_content="Hm"), cut(), DONE)) as model:
        assert "finish_reason length" in (await failure(model)).message


async def test_a_model_that_spends_its_tokens_on_thoughts_gets_more_of_them() -> None:
    limits = []

    async def handler(request: web.Request) -> web.StreamResponse:
        limits.append((await request.json())["max_tokens"])
        cut = event({"choices": [{"delta": {}, "finish_reason": "length"}]})
        end = (delta(content="</think>Four."), DONE) if limits[-1] > 1000 else (cut, DONE)
        return await saying(delta(content="<think>Hm."), *end)(request)

    async with asking(handler) as model:
        for _ in range(2):
            assert await answer(model) == "Four."
    assert limits == [256, 256 + THINKING_ROOM, 256 + THINKING_ROOM]


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ((DONE,), "without a word"),
        ((delta(content="<think>hm</think>"), DONE), "thought, but gave no answer"),
        ((event({"choices": [{"delta": {}, "finish_reason": "content_filter"}]}), DONE), "content_filter"),
    ],
)
async def test_an_answer_without_a_word_is_none(pieces: tuple[bytes, ...], words: str) -> None:
    async with asking(saying(*pieces)) as model:
        error = await failure(model)
    assert error.code == "llm_no_answer"
    assert words in error.message


HI = b'{"choices": [{"delta": {"content": "Hi"}}]}'
STOP = b'{"choices": [{"delta": {}, "finish_reason": "stop"}]}'
AGAIN = b'{"choices": [{"delta": {}, "message": {"content": "Hi"}, "finish_reason": "stop"}]}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}',
        b'{\n "choices": [\n  {"message": {"content": "Hi"},\n "finish_reason": "stop"}]\n}\n',
        HI + b"\n" + STOP,
        b'{"choices": [{"text": "Hi", "finish_reason": "stop"}]}',
        b"data: " + HI + b"\n\ndata: " + AGAIN,
        b"data: " + HI + b"\r\rdata: " + STOP,
        b"data: ping\n\ndata:\n\n: x\n\ndata: " + HI + b"\n\ndata: [DONE]",
        b'data: {"choices": [{"delta": {"refusal": "Hi"}}]}\n\ndata:[done]\n\n',
    ],
)
async def test_an_answer_in_another_form(body: bytes) -> None:
    async with asking(saying(body)) as model:
        assert await answer(model) == "Hi"


async def test_tool_calls_come_after_the_text_and_are_not_spoken() -> None:
    pieces = (
        delta(content="One moment."),
        delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "light", "arguments": '{"on"'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ": true}"}}]),
        event({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
        DONE,
    )
    async with asking(saying(*pieces)) as model:
        said = [piece async for piece in model.stream(replace(REQUEST, tools=TOOLS))]
        assert said == ["One moment.", ToolCall("c1", "light", '{"on": true}')]
        assert await answer(model) == "One moment."


async def test_a_server_that_leaves_calls_in_the_text() -> None:
    text = '<tool_call>{"name": "light", "arguments": {"on": true}}</tool_call>'
    async with asking(saying(*(delta(content=letter) for letter in text), DONE)) as model:
        (call,) = [piece async for piece in model.stream(replace(REQUEST, tools=TOOLS))]
        assert isinstance(call, ToolCall)
        assert (call.name, call.arguments) == ("light", '{"on": true}')


async def test_what_an_answer_cost() -> None:
    usages: list[Usage] = []
    cost = {"prompt_tokens": 30, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 20}}
    pieces = (delta(content="Hi"), event({"choices": [], "usage": cost}), event({"usage": {}, "choices": []}), DONE)
    async with asking(saying(*pieces), on_usage=usages.append) as model:
        assert await answer(model) == "Hi"
    assert usages == [Usage(30, 20, 4), Usage(0, 0, 0)]


# ---------------------------------------------------------------------------------------------------- the request


async def asked(request: ChatRequest, **settings: Any) -> tuple[dict[str, Any], str | None]:
    """The body and the Authorization header a server gets."""
    bodies: list[tuple[dict[str, Any], str | None]] = []

    async def handler(http: web.Request) -> web.StreamResponse:
        bodies.append((await http.json(), http.headers.get("Authorization")))
        return await saying(delta(content="Hi"), DONE)(http)

    async with asking(handler, **settings) as model:
        await answer(model, request)
    return bodies[0]


async def test_what_is_asked() -> None:
    body, authorization = await asked(REQUEST, api_key="secret", options=ChatOptions(temperature=0.5, max_tokens=40))
    assert body == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
        "stream": True,
        "max_tokens": 40,
        "temperature": 0.5,
    }
    assert authorization == "Bearer secret"


async def test_tools_and_their_results_are_passed_on() -> None:
    call = ToolCall("c1", "light", '{"on": true}')
    messages = (*REQUEST.messages, Message("assistant", "", (call,)), Message("tool", "done", (), "c1"))
    body, _ = await asked(ChatRequest(messages, tools=TOOLS), on_usage=lambda usage: None)
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "light",
                "description": "Switches a lamp.",
                "parameters": {"type": "object", "properties": {}},
            },
        }
    ]
    assert body["messages"][2]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "light", "arguments": '{"on": true}'}}
    ]
    assert body["messages"][3] == {"role": "tool", "content": "done", "tool_call_id": "c1"}
    assert body["stream_options"] == {"include_usage": True}


async def test_defaults_leave_the_choice_to_the_request_and_the_server() -> None:
    body, authorization = await asked(REQUEST)
    assert body["max_tokens"] == REQUEST.max_tokens
    assert "temperature" not in body
    assert authorization is None


async def test_the_scene_is_at_the_end_and_nothing_before_it_changes() -> None:
    past = (*REQUEST.messages, Message("assistant", "Hi."))
    body, _ = await asked(ChatRequest((*past, Message("user", "What now?")), scene="one person,\n hand raised"))
    assert body["messages"][:-1] == [{"role": message.role, "content": message.content} for message in past]
    assert body["messages"][-1]["content"] == "What now?\n[Camera: one person, hand raised]"


async def test_a_scene_without_a_question_is_a_message_of_its_own() -> None:
    body, _ = await asked(ChatRequest((Message("system", "Greet."),), scene="one person"))
    assert body["messages"][-1] == {"role": "user", "content": "[Camera: one person]"}


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with asking(saying(delta(content="Hi"), DONE)) as model:
        assert await answer(model) == "Hi"


def test_the_name_says_where_and_what() -> None:
    model: LanguageModel = OpenAIChat("http://127.0.0.1:11434/v1/", "llama3.2", server="ollama")
    assert model.name == "ollama llama3.2"


# ---------------------------------------------------------------------------------------------------- connections


async def test_one_connection_serves_many_answers() -> None:
    peers = []

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return await saying(delta(content="Hi"), DONE)(request)

    async with asking(handler) as model:
        assert [await answer(model) for _ in range(3)] == ["Hi"] * 3
    assert len(set(peers)) == 1


async def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
    peers = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")
        if peer in peers:
            request.transport.abort()
        peers.add(peer)
        return await saying(delta(content="Hi"), DONE)(request)

    async with asking(handler) as model:
        assert [await answer(model) for _ in range(3)] == ["Hi"] * 3
    assert len(peers) == 3


async def test_closing_the_generator_closes_the_connection() -> None:
    handler, _, gone = hanging_after(delta(content="One "), delta(content="two "))
    async with asking(handler) as model:
        async with aclosing(model.stream(REQUEST)) as pieces:
            assert await anext(pieces) == "One two "
            assert not gone.is_set()
        await asyncio.wait_for(gone.wait(), PATIENCE)


async def test_cancellation_before_the_first_token_closes_the_connection() -> None:
    handler, said, gone = hanging_after()
    async with asking(handler) as model:
        task = asyncio.create_task(answer(model))
        await said.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), PATIENCE)


async def test_close_is_idempotent_and_needs_no_use() -> None:
    model = OpenAIChat("http://127.0.0.1:9/v1", "tiny")
    await model.close()
    await model.close()
