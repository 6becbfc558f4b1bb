"""llama.cpp as a child process, on the real weights of a small model."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from pipelines.engines.chat_request import ChatOptions
from pipelines.engines.llama import LlamaChat
from pipelines.engines.llama_process import Config
from pipelines.errors import PipelineError, ThinkError
from pipelines.ports import ChatRequest, Message
from tests.real_models import real_model

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def chat() -> AsyncIterator[LlamaChat]:
    path = real_model("smollm2-135m-instruct-gguf").path
    engine = LlamaChat("smollm2", Config(str(path), context=1024, slots=2), options=ChatOptions(temperature=0.0))
    yield engine
    await engine.close()


def asked(text: str, tokens: int = 24) -> ChatRequest:
    return ChatRequest((Message("system", "You are a helpful assistant."), Message("user", text)), max_tokens=tokens)


async def said(engine: LlamaChat, text: str) -> str:
    return "".join([str(piece) async for piece in engine.stream(asked(text))])


async def test_it_answers_and_ends_with_its_owner(chat: LlamaChat) -> None:
    assert "paris" in (await said(chat, "What is the capital of France?")).lower()
    pid = chat.pid
    assert pid is not None
    await chat.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ThinkError, match="has been closed"):
        await said(chat, "hello")


async def test_two_are_answered_at_a_time(chat: LlamaChat) -> None:
    answers = await asyncio.gather(said(chat, "What is the capital of France?"), said(chat, "Say hello."))
    assert all(answers)


async def test_a_crash_in_mid_answer_costs_that_answer_only(chat: LlamaChat) -> None:
    await chat.warm()
    first = chat.pid
    assert first is not None
    with pytest.raises(PipelineError):
        async with aclosing(chat.stream(asked("Tell me a long story.", tokens=400))) as pieces:
            await anext(pieces)
            os.kill(first, signal.SIGKILL)
            async for _ in pieces:
                pass
    assert await said(chat, "What is the capital of France?")
    assert chat.pid not in (None, first)


async def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"no model")
    engine = LlamaChat("broken", Config(str(path)))
    with pytest.raises(ThinkError, match=r"broken\.gguf") as refused:
        await engine.warm()
    assert refused.value.code == "llm_unavailable"
    await engine.close()
