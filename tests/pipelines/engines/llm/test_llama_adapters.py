"""Adapters in llama.cpp, chosen for each request: what is asked of it, and real weights."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest

from pipelines.engines.llm.llama import LlamaChat
from pipelines.engines.llm.llama_process import Config
from pipelines.engines.llm.openai.options import ChatOptions
from pipelines.engines.llm.openai.request import Abilities
from pipelines.errors import LLMError
from pipelines.interfaces.llm import ChatRequest, Message, Scaled, Usage
from pipelines.models.weights.adapters import Adapters, read_adapter
from tests.fakes.tiny_lora import save_gguf_lora
from tests.patience import PATIENCE
from tests.real_models import real_model

pytest.importorskip("gguf", reason="the extra `quantize` is not installed")
SYSTEM = Message("system", "You are a helpful assistant.")
QUESTION = Message("user", "What is the capital of France?")


def test_numbers_and_scales_with_the_models_own_adapter_before_them() -> None:
    options = ChatOptions(adapters={"a": ((1, 1.0),), "ab": ((1, 0.5), (2, 0.25))}, always=(0,))

    def asked(*adapters: tuple[str, float]) -> object:
        return Abilities.lora(ChatRequest((QUESTION,), adapters=adapters), options)

    assert Abilities.lora(ChatRequest((QUESTION,)), ChatOptions(always=(0,))) == {}
    alone = [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 0.0}, {"id": 2, "scale": 0.0}]
    assert asked() == {"lora": alone}, "what was asked for before does not last"
    assert asked(("a", 0.5)) == {"lora": [alone[0], {"id": 1, "scale": 0.5}, alone[2]]}
    mixed = [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 2.0}, {"id": 2, "scale": 0.5}]
    assert asked(("a", 1.0), ("ab", 2.0)) == {"lora": mixed}


@pytest.mark.long
async def test_real_weights_with_one_adapter_another_both_and_none(tmp_path: Path) -> None:
    model = real_model("smollm2-135m-instruct-gguf").path
    known = Adapters()
    for seed, name in enumerate(("calm", "loud")):
        known.add(read_adapter(name, save_gguf_lora(tmp_path / f"{name}.gguf", seed=seed)))
    known.mix("both", {"calm": 0.5, "loud": 0.5})
    options = ChatOptions(0.0, first_token_seconds=PATIENCE, between_tokens_seconds=PATIENCE, adapters=known.numbered())
    config = Config(str(model), context=512, slots=1, lora=[(str(one.path), 0.0) for one in known.known()])
    engine = LlamaChat("smollm2", config, options=options)
    usages: list[Usage] = []

    async def said(*adapters: tuple[str, float]) -> str:
        request = ChatRequest((SYSTEM, QUESTION), max_tokens=8, adapters=adapters, on_usage=usages.append)
        async with aclosing(engine.stream(request)) as pieces:
            return "".join([str(piece) async for piece in pieces])

    wishes: list[Scaled] = [
        (),
        (("calm", 1.0),),
        (("loud", 1.0),),
        (("both", 1.0),),
        (("calm", 0.5), ("loud", 0.5)),
        (),
    ]
    try:
        words = [await said(*wish) for wish in wishes]
        with pytest.raises(LLMError, match="does not have that adapter"):
            await said(("nobody", 1.0))
    finally:
        await engine.close()
    assert "paris" in words[0].lower()
    assert words[5] == words[0], "an adapter that was used leaves nothing behind"
    assert len({words[0], words[1], words[2], words[3]}) == 4
    assert words[4] == words[3], "a mix is what it is made of"
    assert usages[4].cached > usages[3].cached == 0, "a prompt that was read with other weights is read again"
