"""A server that speaks the OpenAI protocol as a test tells it to, and the questions to ask it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from pipelines.engines.llm.openai.client import OpenAIChat
from pipelines.errors import LLMError
from pipelines.interfaces.llm import ChatRequest, LanguageModel, Message, ToolCall

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REQUEST = ChatRequest((Message("system", "Be brief."), Message("user", "Hello?")))
DONE = b"data: [DONE]\n\n"


def delta(**fields: object) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": None}]})


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@asynccontextmanager
async def serving(handler: Handler, port: int = 0) -> AsyncIterator[str]:
    """A server on loopback that gives every request to ``handler``; yields its base URL."""
    app = web.Application()
    app.router.add_route("*", "/v1/{rest:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def saying(*pieces: bytes) -> Handler:
    """A server that answers with these pieces of a stream, each in a write of its own."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = await started(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0)  # so that they do not leave together
        return response

    return handler


async def started(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


@asynccontextmanager
async def asking(handler: Handler, **settings: Any) -> AsyncIterator[OpenAIChat]:
    async with serving(handler) as url:
        model = OpenAIChat(url, "tiny", **settings)
        try:
            yield model
        finally:
            await model.close()


async def answer(model: LanguageModel, request: ChatRequest = REQUEST) -> str:
    return "".join([piece async for piece in model.stream(request)])


async def broken_off(model: LanguageModel, request: ChatRequest = REQUEST) -> tuple[list[str | ToolCall], LLMError]:
    """What an answer brought before it failed, and how it failed."""
    got: list[str | ToolCall] = []
    try:
        async for piece in model.stream(request):
            got.append(piece)  # noqa: PERF401 - what has come before the failure counts
    except LLMError as error:
        return got, error
    raise AssertionError("the answer did not fail")


async def failure(model: LanguageModel, request: ChatRequest = REQUEST) -> LLMError:
    with pytest.raises(LLMError) as caught:
        await answer(model, request)
    return caught.value


def hanging_after(*pieces: bytes) -> tuple[Handler, asyncio.Event, asyncio.Event]:
    """A server that says the pieces and no more; events: it has said them, and its client has gone."""
    said, gone = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            response = await started(request)
            for piece in pieces:
                await response.write(piece)
            said.set()
            await asyncio.Event().wait()
        finally:
            gone.set()
        return response

    return handler, said, gone
