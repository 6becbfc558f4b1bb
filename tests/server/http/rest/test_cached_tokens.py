"""What of a prompt was known from before is told in ``usage``, by each engine that keeps what it has read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.llm.llama import LlamaChat
from pipelines.engines.llm.llama_process import Config
from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.transformers_chat import load_chat
from pipelines.models.residency import Kept
from server.engines.parts import Parts
from server.engines.stages import llm
from server.settings import load_settings
from tests.fakes.tiny_llama import save_tiny_llama
from tests.real_models import real_model

SYSTEM = {"role": "system", "content": "You are a friendly assistant who answers in one short sentence."}
FIRST: list[Any] = [SYSTEM, {"role": "user", "content": "What is your name?"}]


@pytest.fixture(params=["starter", "transformers", "llama.cpp"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    made: Any
    if request.param == "starter":
        from pipelines.routing.definition import load

        settings = load_settings({"cache": tmp_path, "chat_model": "starter"})
        made = await llm(Parts(settings, load(settings.pipeline), lambda line: None))
    elif request.param == "transformers":
        made = LocalChat(Kept("tiny", load_chat(save_tiny_llama(tmp_path / "tiny"), dtype="float32")))
    else:
        made = LlamaChat("smollm2", Config(str(real_model("smollm2-135m-instruct-gguf").path), context=1024, slots=1))
    yield made
    await made.close()


async def test_the_second_turn_tells_what_it_knew_of_the_first(engine: Any, rest: Any) -> None:
    client = await rest(llm=engine)

    async def asked(messages: list[Any], stream: bool) -> tuple[str, Any]:
        common = {"model": engine.name, "messages": messages, "max_tokens": 8, "temperature": 0}
        if not stream:
            whole = await client.chat.completions.create(**common)
            return whole.choices[0].message.content or "", whole.usage
        text, usage = "", None
        options = {"stream_options": {"include_usage": True}}
        async for chunk in await client.chat.completions.create(**common, **options, stream=True):
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            usage = chunk.usage or usage
        return text, usage

    words, first = await asked(FIRST, stream=False)
    again = [*FIRST, {"role": "assistant", "content": words}, {"role": "user", "content": "And what can you do?"}]
    _, second = await asked(again, stream=True)
    assert first.prompt_tokens_details.cached_tokens < first.prompt_tokens
    assert second.prompt_tokens > first.prompt_tokens
    assert 0.5 * first.prompt_tokens < second.prompt_tokens_details.cached_tokens < second.prompt_tokens
    _, third = await asked(again, stream=False)
    assert third.prompt_tokens_details.cached_tokens >= second.prompt_tokens - 16, "all of it, but for its end"
