"""What a server refuses is mended once and remembered, whatever words it finds for it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from pipelines.engines.llm.openai.client import OpenAIChat
from pipelines.engines.llm.openai.options import ChatOptions
from pipelines.engines.llm.openai.request import Abilities
from pipelines.errors import LLMError
from pipelines.interfaces.llm import ChatRequest, Image, Message, Tool, ToolCall, Usage
from pipelines.voice.context import approximate_tokens
from tests.fakes.openai_server import DONE, answer, asking, delta, event, failure, saying, serving

Body = dict[str, Any]
TOOL = Tool("light", "Switches a lamp.")
ASKED = ChatRequest(
    (
        Message("system", "Be brief."),
        Message("user", "Put the light on."),
        Message("assistant", "", (ToolCall("c1", "light", '{"on": true}'),)),
        Message("tool", "done", tool_call_id="c1"),
        Message("assistant", "It is on."),
        Message("user", "Thank you."),
        Message("user", "What is this?", images=(Image(b"\xff\xd8"),)),
    ),
    tools=(TOOL,),
)


def roles(body: Body) -> list[str]:
    return [message["role"] for message in body["messages"]]


def takes_turns(body: Body) -> bool:
    spoken = [role for role in roles(body) if role != "system"]
    return spoken[0] == "user" and all(one != other for one, other in pairwise(spoken))


def size(body: Body) -> int:
    return sum(len(str(message["content"])) for message in body["messages"])


class Picky:
    """Refuses what ``wrong`` finds wrong, in ``words`` or with a body of its own; keeps what it was asked."""

    def __init__(self, wrong: Callable[[Body], object], words: object, status: int = 400) -> None:
        self.wrong, self.words, self.status = wrong, words, status
        self.asked: list[Body] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        if self.wrong(body):
            told = self.words if isinstance(self.words, dict) else {"error": {"message": self.words}}
            return web.json_response(told, status=self.status)
        if not body["stream"]:
            choice = {"message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
            return web.json_response({"choices": [choice]})
        return await saying(delta(content="Yes."), DONE)(request)


REFUSALS = [
    # the limit
    (
        lambda body: "max_tokens" in body,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        400,
    ),
    (lambda body: "max_tokens" in body, {"detail": [{"loc": ["body", "max_tokens"], "msg": "extra fields"}]}, 422),
    (lambda body: "max_tokens" in body or "max_completion_tokens" in body, "unknown field: max_tokens", 400),
    (lambda body: body.get("max_tokens", 0) > 128, "max_tokens is too large: 256. It gives at most 128 of them.", 400),
    # sampling and the stream
    (lambda body: "temperature" in body, "Unsupported value: 'temperature' does not support 0.5 with this model.", 400),
    (lambda body: "temperature" in body, {"error": {"message": "not supported", "param": "temperature"}}, 400),
    (lambda body: "stream_options" in body, "Unrecognized request argument supplied: stream_options", 400),
    (lambda body: "stream_options" in body, {"message": "property 'stream_options' is unsupported"}, 422),
    (lambda body: body["stream"], "this deployment does not do streaming", 400),
    # tools
    (lambda body: "tools" in body, "registry.ollama.ai/library/gemma:2b does not support tools", 400),
    (lambda body: "tools" in body, '"auto" tool choice requires --enable-auto-tool-choice to be set', 400),
    (lambda body: "tools" in body, "No endpoints found that support tool use.", 404),
    (lambda body: "tools" in body or "tool" in roles(body), "the role tool is not supported", 400),
    # pictures
    (lambda body: "image_url" in str(body), "image input is not supported - hint: you may need the mmproj", 500),
    (lambda body: "image_url" in str(body), "messages[6].content: Input should be a valid string", 422),
    (lambda body: "image_url" in str(body), "Invalid type", 415),
    # roles
    (lambda body: "system" in roles(body), "Jinja Exception: System role not supported", 500),
    (lambda body: "system" in roles(body), "Developer instruction is not enabled for models/gemma-3", 400),
    (
        lambda body: not takes_turns(body),
        "Conversation roles must alternate user/assistant/user/assistant/...",
        400,
    ),
    (
        lambda body: not takes_turns(body) or "system" in roles(body),
        "After the optional system message, conversation roles must alternate",
        400,
    ),
    (
        lambda body: not takes_turns(body),
        "Conversation must start with a user message or system message, got assistant",
        400,
    ),
    # whatever it is
    (lambda body: "tools" in body, "Bad Request", 400),
    (lambda body: {"stream_options", "tools"} & body.keys(), {}, 422),
]


@pytest.mark.parametrize(("wrong", "words", "status"), REFUSALS)
async def test_what_is_refused_is_mended_once_and_remembered(wrong: Any, words: object, status: int) -> None:
    server = Picky(wrong, words, status)
    learned: list[str] = []
    usages: list[Usage] = []
    async with serving(server.handle) as url:
        model = OpenAIChat(
            url, "gpt-4o", options=ChatOptions(temperature=0.5), on_usage=usages.append, on_learned=learned.append
        )
        try:
            assert await answer(model, ASKED) == "Yes."
            tried = len(server.asked)
            assert 2 <= tried <= 6, "with plain requests between, where it may be this one's content"
            assert await answer(model, ASKED) == "Yes."
            assert len(server.asked) == tried + 1, "it is remembered"
        finally:
            await model.close()
    assert len(learned) == 1


async def test_a_request_may_have_its_own_sampling_and_is_told_its_own_cost() -> None:
    asked: list[Body] = []
    usages: list[Usage] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(await request.json())
        cost = event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
        return await saying(delta(content="Yes."), cost, DONE)(request)

    plain = ChatRequest((Message("user", "Hello?"),))
    async with asking(handler, options=ChatOptions(temperature=0.5)) as model:
        await answer(model, plain)
        await answer(model, replace(plain, temperature=0.0, top_p=0.9, seed=7, on_usage=usages.append))
    assert (asked[0]["temperature"], "top_p" in asked[0], "stream_options" in asked[0]) == (0.5, False, False)
    assert (asked[1]["temperature"], asked[1]["top_p"], asked[1]["seed"]) == (0.0, 0.9, 7)
    assert usages == [Usage(5, 0, 2)]


@pytest.mark.parametrize("words", ["temperature is not supported", "Invalid request"])
async def test_sampling_that_a_request_asks_for_is_not_left_out(words: str) -> None:
    server = Picky(lambda body: "temperature" in body, words)
    async with asking(server.handle, options=ChatOptions(temperature=0.5)) as model:
        with pytest.raises(LLMError):
            await answer(model, replace(ASKED, temperature=0.1))
        asked = [body for body in server.asked if body["max_tokens"] == ASKED.max_tokens]
        assert len(asked) <= 3
        assert all(body["temperature"] == 0.1 for body in asked)


async def test_a_history_that_is_too_long_is_cut_and_stays_cut() -> None:
    turns = [Message("user" if n % 2 == 0 else "assistant", f"word {n} " * 20) for n in range(61)]
    request = ChatRequest((Message("system", "Be brief."), *turns))
    words = "This model's maximum context length is 1024 tokens. However, your messages resulted in 2300 tokens."
    for told in (words, "the request exceeds the available context size, try increasing it"):
        server = Picky(lambda body: size(body) > 4096, told)
        async with asking(server.handle) as model:
            assert await answer(model, request) == "Yes."
            tried = len(server.asked)
            assert tried <= 4
            assert server.asked[-1]["messages"][-1]["content"] == turns[-1].content
            assert await answer(model, request) == "Yes."
            assert len(server.asked) == tried + 1


def tokens(body: Body) -> int:
    return sum(approximate_tokens(str(message["content"])) for message in body["messages"])


def talk(turns: int, words: int) -> tuple[Message, ...]:
    return tuple(Message("assistant" if n % 2 else "user", f"{n}: " + "word " * words) for n in range(turns))


async def test_a_long_answer_is_shortened_before_its_prompt_and_shortens_no_other_request() -> None:
    """A server that counts both together says what it takes; a request with a large limit must not decide for all."""
    words = "This model's maximum context length is 8192 tokens. Please reduce the length of the messages."
    server = Picky(lambda body: tokens(body) + body["max_tokens"] > 8192, words)
    long_answer, conversation = ChatRequest(talk(5, 300), max_tokens=7900), ChatRequest(talk(61, 40), max_tokens=256)
    async with asking(server.handle) as model:
        await answer(model, conversation)
        before = server.asked[-1]
        await answer(model, long_answer)
        refused, mended = server.asked[-2:]
        assert mended["messages"] == refused["messages"]
        assert 5000 < mended["max_tokens"] < 7900
        await answer(model, conversation)
        assert server.asked[-1] == before
        await answer(model, ChatRequest(talk(401, 40), max_tokens=256))
        assert server.asked[-1]["max_tokens"] == 256
        assert 4000 < tokens(server.asked[-1]) < 8192 - 256
        assert len(server.asked) == 5


BAD_TOOL = replace(ASKED, tools=(Tool("x", "y", {"type": "string"}),))
BAD_PICTURE = replace(ASKED, messages=(Message("user", "?", images=(Image(b"no picture"),)),))
BAD_CALL = replace(
    ASKED, messages=(Message("user", "Hi"), Message("tool", "on", tool_call_id="nobody"), ASKED.messages[5])
)
BAD_CONTENT = {
    "schema": (BAD_TOOL, '"string"', "Invalid schema for function 'x'"),
    "unsaid": (BAD_TOOL, '"string"', "Bad Request"),
    "picture": (BAD_PICTURE, "bm8gcGljdHVyZQ", "cannot load image"),
    "call": (BAD_CALL, '"nobody"', "there is no tool call of this id"),
}


@pytest.mark.parametrize("what", BAD_CONTENT)
async def test_what_is_wrong_with_one_request_changes_no_other(what: str) -> None:
    """A schema, a picture or a call that a caller has got wrong: one engine serves everybody."""
    request, wrong, words = BAD_CONTENT[what]

    server = Picky(lambda body: wrong in json.dumps(body), words)
    learned: list[str] = []
    async with serving(server.handle) as url:
        model = OpenAIChat(url, "gpt-4o", options=ChatOptions(temperature=0.5), on_learned=learned.append)
        try:
            await answer(model, ASKED)
            before = server.asked[-1]
            assert await answer(model, request) == "Yes."
            assert learned == []
            await answer(model, ASKED)
            assert server.asked[-1] == before
            assert model.takes_tools and model.takes_images
        finally:
            await model.close()


async def test_a_limit_that_is_too_large_is_made_smaller_and_no_history_is_cut() -> None:
    """As vLLM puts it, whose tokens are more than ours."""
    context, more = 4096, 2.5

    def taken(body: Body) -> int:
        return int(more * tokens(body))

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        asked.append(body)
        if taken(body) + body["max_tokens"] <= context:
            return await saying(delta(content="Yes."), DONE)(request)
        words = (
            f"'max_tokens' or 'max_completion_tokens' is too large: {body['max_tokens']}. This model's maximum context "
            f"length is {context} tokens and your request has {taken(body)} input tokens."
        )
        return web.json_response({"object": "error", "message": words, "code": 400}, status=400)

    for turns, words in ((1, 90), (7, 60)):
        asked: list[Body] = []
        request = ChatRequest(talk(turns, words), max_tokens=4096)
        async with asking(handle) as model:
            for _ in range(2):
                assert await answer(model, request) == "Yes."
                assert len(asked[-1]["messages"]) == turns
                assert asked[-1]["max_tokens"] == context - taken(asked[-1])
            await answer(model, replace(request, max_tokens=256))
            assert asked[-1]["max_tokens"] == 256
            assert "max_completion_tokens" not in asked[-1]


@pytest.mark.parametrize("told", ["maximum context length is 8192 tokens", "input is too long"])
async def test_pictures_that_take_much_room_cost_other_requests_none(told: str) -> None:
    def wrong(body: Body) -> bool:
        pictures = str(body["messages"]).count("image_url") // 2
        return pictures * 3000 + 4 * tokens(body) * bool(pictures) > 8192

    server = Picky(wrong, told)
    seen = talk(30, 80)
    seen = (*seen, Message("user", "And this?", images=(Image(b"\xff\xd8"),)))
    async with asking(server.handle, options=ChatOptions(images=True)) as model:
        await answer(model, ChatRequest(seen, max_tokens=256))
        assert len(server.asked) > 1
        conversation = ChatRequest(talk(61, 40), max_tokens=256)
        await answer(model, conversation)
        assert len(server.asked[-1]["messages"]) == 61


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("Incorrect API key provided", 401),
        ("The tool shed is closed", 403),
        ("model 'tiny' not found, try pulling it first", 404),
        ("Rate limit reached for tokens per min", 429),
        ("overloaded", 503),
    ],
)
async def test_what_cannot_be_mended_is_told_at_once(words: str, status: int) -> None:
    server = Picky(lambda body: True, words, status)
    async with asking(server.handle, on_usage=lambda usage: None) as model:
        error = await failure(model)
    assert error.code == "llm_http_error"
    assert words in error.message
    assert len(server.asked) == 1


async def test_a_mend_that_did_not_help_is_forgotten() -> None:
    """The words of a refusal may name what is not at fault."""
    server = Picky(lambda body: True, "the function of this image is no tool of the system")
    async with serving(server.handle) as url:
        model = OpenAIChat(url, "gpt-4o")
        with pytest.raises(LLMError) as caught:
            await answer(model, ASKED)
        assert "no tool" in caught.value.message
        assert "no tool" not in f"{caught.value} {caught.value.summary}", "it may quote what was said"
        assert model.takes_tools
        assert model.takes_images
        server.wrong = lambda body: False
        assert await answer(model, ASKED) == "Yes."
        assert "tools" in server.asked[-1]
        await model.close()


async def test_sessions_that_are_refused_at_the_same_time_are_all_answered() -> None:
    server = Picky(lambda body: "max_tokens" in body, "unsupported: max_tokens")
    async with asking(server.handle) as model:
        assert await asyncio.gather(*(answer(model) for _ in range(5))) == ["Yes."] * 5


def test_bodies_of_servers_that_never_refused_anything_are_as_ever() -> None:
    body = Abilities.of("tiny", ChatOptions()).payload(replace(ASKED, tools=()), "tiny")
    assert body.keys() == {"model", "messages", "stream", "max_tokens"}
    assert roles(body) == ["system", "user", "assistant", "tool", "assistant", "user", "user"]


async def test_a_probe_asks_for_little_and_tells_what_a_request_would() -> None:
    server = Picky(lambda body: "max_tokens" in body, "unsupported: max_tokens")
    async with asking(server.handle) as model:
        await model.probe()
        assert server.asked[-1]["max_completion_tokens"] == 16
    for body in ([event({"error": "no"})], [DONE]):
        async with asking(saying(*body)) as model:
            with pytest.raises(LLMError) as caught:
                await model.probe()
            assert re.search(r"no\b|without a word", caught.value.message)
