"""A call through the real server, answered by model servers that do not do as the protocol says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from pipelines.engines.llm import llama_process
from pipelines.engines.llm.llama import LlamaChat
from pipelines.engines.llm.llama_process import Config
from pipelines.engines.llm.openai.client import ChatOptions, OpenAIChat
from pipelines.errors import LLMError
from pipelines.routing.routes.breaker import RestPolicy
from pipelines.routing.routes.llm import FallbackModel
from server.engines.parts import Choices
from tests.conftest import fake_engines
from tests.fakes import llama_process as stand_in
from tests.fakes.engines import FakeModel
from tests.fakes.openai_server import DONE, delta, event, started
from tests.fakes.openai_server import serving as model_serving
from tests.fakes.peer import Peer

HANG, CUT = "the connection stays open", "the connection breaks"
STOP = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
HALF = b'data: {"choices": [{"delta": {"content": "Hi \\ud83d there."}}]}\n\n'
CASES = [
    pytest.param([HALF, DONE], "completed", "Hi � there.", id="half a character"),
    pytest.param([delta(content="One two three. Four"), STOP, HANG], "completed", "One two three. Four", id="no DONE"),
    pytest.param([delta(content="One two three. Four"), CUT], "failed", "One two three. Four", id="cut"),
    pytest.param([delta(content="One two three four."), HANG], "failed", "One two three four.", id="stalls"),
    pytest.param([delta(content="So, the user wants tea.</think>Tea."), DONE], "completed", "Tea.", id="thought"),
    pytest.param([b'{"error": {"message": "out of memory"}}'], "failed", "", id="error"),
]

AT_ONCE = RestPolicy(rest_seconds=0.0)


async def ask(peer: Peer, text: str = "hello") -> dict[str, Any]:
    """Type a question; the response as it ended."""
    count = len(peer.named("response.done"))
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    peer.send({"type": "conversation.item.create", "item": item})
    peer.send({"type": "response.create"})
    response: dict[str, Any] = (await peer.event("response.done", count + 1))["response"]
    return response


@pytest.mark.parametrize(("pieces", "status", "said"), CASES)
async def test_the_response_ends_with_what_was_said_and_the_next_one_works(serve, pieces, status, said):
    asked = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        response = await started(request)
        for piece in pieces if asked == 1 else [delta(content="And so it goes on."), DONE]:
            if piece == HANG:
                await asyncio.Event().wait()
            elif piece == CUT:
                assert request.transport is not None
                request.transport.abort()
            else:
                await response.write(piece)
        return response

    async with model_serving(handler) as model_url:
        options = ChatOptions(first_token_seconds=60, between_tokens_seconds=1.0)
        url, _ = await serve(fake_engines(llm=OpenAIChat(model_url, "tiny", options=options)))
        async with Peer(url) as peer:
            await peer.event("session.created")
            response = await ask(peer)
            assert response["status"] == status
            assert response["output"][0]["content"][0]["transcript"] == said
            response = await ask(peer)
            assert response["output"][0]["content"][0]["transcript"] == "And so it goes on."


async def test_what_llama_said_before_it_ended_is_gone_on_with_and_the_next_turn_is_its_own_again(serve, monkeypatch):
    monkeypatch.setattr(llama_process, "__file__", stand_in.__file__)
    choices = Choices()
    llama = LlamaChat("tiny", Config("tiny.gguf"))
    choices.note("llm", llama.name, "here")
    llm = FallbackModel(
        [llama, FakeModel("Standing in.")], choices.failure_of("llm"), policy=RestPolicy(rest_seconds=0.0)
    )
    choices.watch("llm", llm)
    await llama.warm()
    engines = fake_engines(llm=llm)
    engines.choices = choices
    url, _ = await serve(engines)
    async with Peer(url) as peer:
        await peer.event("session.created")
        first, ended = await ask(peer, "One two three. Now die"), llama._process
        assert first["status"] == "completed", first
        assert first["output"][0]["content"][0]["transcript"] == "You said: One two three. Standing in."
        assert ended is not None
        await ended.gone()
        await llama.warm()
        second = await ask(peer, "Hello again.")
        assert second["output"][0]["content"][0]["transcript"] == "You said: Hello again."
        status = [row["engine"] for event in peer.named("engine.status") for row in event["data"]]
        assert status[-1] == llama.name


async def test_a_running_session_is_told_who_answers(serve):
    """When an engine fails, and when it answers again."""
    choices = Choices()
    choices.note("llm", "served", "found")
    served = FakeModel(LLMError("llm_unreachable", "gone"), "I am back.")
    served.name = "served"
    llm = FallbackModel(
        [served, FakeModel("Standing in.")], choices.failure_of("llm"), policy=RestPolicy(rest_seconds=0.0)
    )
    choices.watch("llm", llm)
    engines = fake_engines(llm=llm)
    engines.choices = choices
    url, _ = await serve(engines)
    async with Peer(url) as peer:
        await peer.event("session.created")
        for _ in range(2):
            await ask(peer)
        await peer.event("engine.status", 3)
        told = [(row["engine"], row["ok"]) for status in peer.named("engine.status") for row in status["data"]]
        assert told == [("served", True), ("fake-llm", False), ("served", True)]
