"""Adapters from the settings to an answer, on a tiny Llama: what conversations are answered with, and the REST API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from pipelines.engines.llm.transformers_chat import load_chat
from pipelines.interfaces.llm import ChatRequest, LanguageModel, Message, Scaled, adapters_of
from pipelines.routing.definition import load
from server.engines.parts import Parts
from server.engines.stages import llm
from server.settings import load_settings
from tests.conftest import fake_engines
from tests.fakes.tiny_llama import save_tiny_llama
from tests.fakes.tiny_lora import save_tiny_lora

pytest.importorskip("peft", reason="the extra `adapters` is not installed")


@pytest.fixture
async def parts(tmp_path: Path) -> Parts:
    base = save_tiny_llama(tmp_path / "tiny")
    save_tiny_lora(tmp_path / "calm", load_chat(base, dtype="float32").model)
    flags = {"cache": tmp_path / "cache", "chat_model": str(base), "device": "cpu"}
    settings = load_settings({**flags, "chat_adapters": [f"calm={tmp_path / 'calm'}"], "chat_adapter": "calm"})
    made = Parts(settings, load(settings.pipeline), lambda line: None)
    made.check()
    return made


@pytest.fixture
async def model(parts: Parts) -> AsyncIterator[LanguageModel]:
    made = await llm(parts)
    yield made
    await made.close()


async def said(model: LanguageModel, adapters: Scaled, needed: bool = True) -> str:
    messages = (Message("user", "What is the weather in Paris?"),)
    request = ChatRequest(messages, max_tokens=8, adapters=adapters, adapters_needed=needed)
    async with aclosing(model.stream(request)) as pieces:
        return "".join([str(piece) async for piece in pieces])


async def test_an_adapter_of_the_settings_answers(model: LanguageModel) -> None:
    assert adapters_of(model) == ("calm",)
    plain, calm = await said(model, ()), await said(model, (("calm", 1.0),))
    assert plain != calm
    assert await said(model, (("calm", 1.0),), needed=False) == calm


async def test_conversations_are_answered_with_the_one_that_is_set() -> None:
    engines = fake_engines()
    assert engines.conversation_settings().adapters == ()
    engines.default_adapter = "calm"
    assert engines.conversation_settings().adapters == (("calm", 1.0),)
    await engines.close()
