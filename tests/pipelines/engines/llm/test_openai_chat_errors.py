"""What a language-model server can do wrong, and the error that says so; discovery of a server's models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest
from aiohttp import StreamReader, web

from pipelines.engines.llm.openai.client import ChatOptions, OpenAIChat, discover
from pipelines.errors import LLMError
from pipelines.interfaces.llm import Tool
from tests.fakes.openai_server import (
    DONE,
    REQUEST,
    answer,
    asking,
    broken_off,
    delta,
    event,
    failure,
    hanging_after,
    saying,
    serving,
    started,
)
from tests.patience import PATIENCE

# ---------------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ((), "did not begin"),
        ((delta(role="assistant", content=""), b": keep-alive\n\n"), "did not begin"),
        ((delta(content="Hm"),), "in the middle"),
        ((delta(reasoning_content="I think"),), "in the middle"),
    ],
)
async def test_a_server_that_hangs(pieces: tuple[bytes, ...], words: str) -> None:
    handler, _, gone = hanging_after(*pieces)
    # In the time for the first token the connection is made, too.
    options = ChatOptions(
        first_token_seconds=1.0 if words == "did not begin" else PATIENCE, between_tokens_seconds=0.05
    )
    async with asking(handler, options=options) as model:
        error = await failure(model)
        await asyncio.wait_for(gone.wait(), PATIENCE)
    assert error.code == "llm_timeout"
    assert words in error.message


async def test_a_server_that_does_not_even_send_headers() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with asking(handler, options=ChatOptions(first_token_seconds=0.05)) as model:
        assert (await failure(model)).code == "llm_timeout"


async def test_a_slow_listener_is_not_a_slow_server() -> None:
    async with asking(
        saying(delta(content="x"), delta(content="y"), DONE), options=ChatOptions(between_tokens_seconds=0.5)
    ) as model:
        await answer(model)  # that it does not think aloud is known then
        got = []
        async for piece in model.stream(REQUEST):
            got.append(piece)
            await asyncio.sleep(0.6)  # time is what is tested here
    assert got == ["x", "y"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error": {"message": "no such\\nmodel", "code": 7}}', "no such model"),
        ('{"error": "model not found"}', "model not found"),
        ('{"detail": [{"msg": "field required"}]}', "field required"),
        ('{"detail": [{"loc": ["body", "stop"], "msg": "extra"}]}', "body.stop: extra"),
        ('{"errors": [{"message": "no \\ud83d"}]}', "no \N{REPLACEMENT CHARACTER}"),
        ('{"error": {"message": "bad value", "param": "top_p"}}', "top_p: bad value"),
        ("no such path", "no such path"),
        ("<html>oops</html>", "Not Found"),
        ("[]", "Not Found"),
        ("", "Not Found"),
    ],
)
async def test_an_error_status(body: str, message: str) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text=body)

    async with asking(handler) as model:
        error = await failure(model)
    assert error.code == "llm_http_error"
    assert message in error.message
    assert "404" in error.message


async def test_a_redirect_is_not_followed() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("/v1/elsewhere")

    async with asking(handler) as model:
        assert "307" in (await failure(model)).message


@pytest.mark.parametrize(
    ("pieces", "code", "message"),
    [
        ((delta(content="a"), event({"error": {"message": "out of memory"}})), "llm_http_error", "out of memory"),
        ((event({"error": "overloaded"}),), "llm_http_error", "overloaded"),
        ((b"data: {nonsense\n\n",), "llm_bad_stream", "JSON"),
        ((b"data: [1]\n\n",), "llm_bad_stream", "early, with: [1]"),
        ((b"data: \xff\n\n",), "llm_bad_stream", "early"),
        ((b"data: Internal Server Error\n\n",), "llm_bad_stream", "Internal Server Error"),
        ((b'data: {"a": ' + b"[" * 5000 + b"\n\n",), "llm_bad_stream", "JSON"),
        ((b'error: {"code": 500, "message": "slot gone"}\n\n',), "llm_http_error", "slot gone"),
        ((b"event: error\ndata: out of luck\n\n",), "llm_http_error", "out of luck"),
        ((b'event: error\ndata: {"message": "out of luck"}\n\n',), "llm_http_error", "out of luck"),
        ((event({"object": "error", "message": "too long", "code": 400}),), "llm_http_error", "too long"),
        ((b'{"error": {"message": "no such model"}}',), "llm_http_error", "no such model"),
        ((b'{"detail": "Not authenticated"}',), "llm_http_error", "Not authenticated"),
        ((event({"error": {"message": "half \ud83d"}}),), "llm_http_error", "half \N{REPLACEMENT CHARACTER}"),
        ((event({"choices": [{"delta": {}, "finish_reason": "error"}]}),), "llm_http_error", "error"),
        ((delta(content="half an ans"),), "llm_bad_stream", "early"),
        ((b'{"choices": []}',), "llm_bad_stream", "early"),
        ((b"data: " + b"x" * 600_000, b"x" * 600_000), "llm_bad_stream", "bytes"),
    ],
)
async def test_a_broken_stream(pieces: tuple[bytes, ...], code: str, message: str) -> None:
    async with asking(saying(*pieces)) as model:
        error = await failure(model)
    assert error.code == code
    assert message in error.message


@pytest.mark.parametrize(
    "chunk",
    [
        {},
        {"choices": None},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": [1]}]},
        {"choices": [{"delta": {"content": None, "tool_calls": []}}]},
    ],
)
async def test_chunks_without_text_are_passed_over(chunk: dict[str, object]) -> None:
    async with asking(saying(event(chunk), delta(content="Hi"), DONE)) as model:
        assert await answer(model) == "Hi"


@pytest.mark.parametrize("content", ["Two and two is fo", "One. <", "A [", "Yes <thi", "Hi \ud83d"])
@pytest.mark.parametrize("how", ["cut", "stalls", "error", "closes", "garbage"])
async def test_words_that_have_come_are_said_whatever_happens_then(how: str, content: str) -> None:
    """The last piece too, which was kept because it might have become something else."""
    gone = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = await started(request)
        await response.write(delta(content=content))
        assert request.transport is not None
        if how == "cut":
            request.transport.abort()
        elif how == "stalls":
            await gone.wait()
        elif how == "error":
            await response.write(event({"error": "out of memory"}))
        elif how == "garbage":
            await response.write(b"data: {]\n\n")
        return response

    async with asking(handler, options=ChatOptions(between_tokens_seconds=0.05)) as model:
        said, _ = await broken_off(model)
        gone.set()
    assert "".join(map(str, said)) == content.replace("\ud83d", "")


async def test_half_a_tool_call_is_not_said_when_the_answer_breaks_off() -> None:
    request = replace(REQUEST, tools=(Tool("light", "Switches a lamp."),))
    async with asking(saying(delta(content='One moment. <tool_call>{"name": "li'))) as model:
        said, error = await broken_off(model, request)
    assert said == ["One moment. "]
    assert "early" in error.message


async def test_an_answer_without_end_is_ended() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = await started(request)
        while True:
            await response.write(delta(content="word " * 1000))

    async with asking(handler) as model:
        said, error = await broken_off(model)
    assert error.code == "llm_bad_stream"
    assert 100_000 < len("".join(map(str, said))) < 1_000_000


async def test_what_a_server_says_does_not_command_the_terminal() -> None:
    async with asking(saying(event({"error": "out of \x1b[31mmemory\x07"}))) as model:
        assert (await failure(model)).message.endswith("out of [31mmemory")
    assert OpenAIChat("http://127.0.0.1:9/v1", "tiny\x1b[2J").name == "openai tiny [2J"


async def test_signs_of_life_do_not_hold_up_for_ever() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = await started(request)
        await response.write(delta(content="Hm"))
        while True:
            await response.write(b": keep-alive\n\n")
            await asyncio.sleep(0)

    async with asking(handler, options=ChatOptions(between_tokens_seconds=0.05)) as model:
        assert "in the middle" in (await failure(model)).message


async def test_nobody_listens() -> None:
    async with serving(saying()) as url:
        pass
    model = OpenAIChat(url.replace("//", "//user:password@"), "tiny")
    error = await failure(model)
    await model.close()
    assert error.code == "llm_unreachable"
    assert url in error.message
    assert "password" not in error.message


async def test_the_address_is_none() -> None:
    model = OpenAIChat("llama on my desk", "tiny")
    assert (await failure(model)).code == "llm_unreachable"
    await model.close()


async def test_the_connection_breaks_in_the_middle() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = await started(request)
        await response.write(delta(content="One "))
        assert request.transport is not None
        request.transport.abort()
        return response

    async with asking(handler) as model:
        assert (await failure(model)).code == "llm_unreachable"


# ---------------------------------------------------------------------------------------------------- discovery


def listing(body: object, status: int = 200) -> AbstractAsyncContextManager[str]:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.path == "/v1/models"
        return web.json_response(body, status=status)

    return serving(handler)


async def test_discovery_lists_the_models_that_chat() -> None:
    names = ["llama3.2:3b", "nomic-embed-text", "qwen3:0.6b", "all-minilm"]
    async with listing({"object": "list", "data": [{"id": name} for name in names]}) as url:
        assert await discover(url, timeout=PATIENCE) == ["llama3.2:3b", "qwen3:0.6b"]


@pytest.mark.parametrize("body", [{"data": None}, {"data": []}, {"data": 7}, {"data": [None, {}]}, {}])
async def test_discovery_of_no_models(body: object) -> None:
    async with listing(body) as url:
        assert await discover(url, timeout=PATIENCE) == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [([], 200, "llm_bad_stream"), ({}, 401, "llm_key_refused"), ({}, 403, "llm_http_error")],
)
async def test_discovery_of_something_else(body: object, status: int, code: str) -> None:
    async with listing(body, status) as url:
        with pytest.raises(LLMError) as caught:
            await discover(url, timeout=PATIENCE)
    assert caught.value.code == code


async def test_a_list_of_models_may_come_in_pieces() -> None:
    began = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"data": [{"id": "qw')
        await began.wait()
        await response.write(b'en3:0.6b"}]}')
        return response

    async def piecewise(self: StreamReader, most: int) -> bytes:
        piece = await whole(self, most)
        began.set()
        return piece

    whole = StreamReader.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StreamReader, "read", piecewise)
        async with serving(handler) as url:
            assert await discover(url, timeout=PATIENCE) == ["qwen3:0.6b"]


async def test_discovery_where_nobody_is() -> None:
    async with listing({}) as url:
        pass
    with pytest.raises(LLMError) as caught:
        await discover(url, timeout=PATIENCE)
    assert caught.value.code == "llm_unreachable"


async def test_discovery_does_not_wait_long() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(handler) as url:
        with pytest.raises(LLMError) as caught:
            await discover(url, timeout=0.05)
    assert caught.value.code == "llm_timeout"


async def test_a_stream_left_alone_is_an_async_generator() -> None:
    """What is never iterated needs no connection."""
    pieces: AsyncGenerator[str, None] = OpenAIChat("http://127.0.0.1:9/v1", "tiny").stream(REQUEST)
    await pieces.aclose()
