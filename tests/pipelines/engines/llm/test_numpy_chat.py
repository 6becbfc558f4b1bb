"""A Llama on NumPy: the numbers of transformers, its tokens, and what is remembered from turn to turn."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.engines.llm import numpy_chat
from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.model import Sampling, choose
from pipelines.engines.llm.numpy_chat import (
    CHUNK,
    Cache,
    NumpyCaches,
    load_llama,
    load_numpy_chat,
    load_plain_tokenizer,
)
from pipelines.engines.llm.template import load_tokenizer
from pipelines.errors import LLMError, ModelError
from pipelines.interfaces.llm import ChatRequest, Cut, Message, Piece, Usage
from pipelines.models.residency import Kept
from pipelines.runtime.worker import session
from pipelines.starter.model_files import FOLDER
from tests.fakes.tiny_llama import save_tiny_llama

TOKENS = [5, 17, 300, 44, 9, 9, 120, 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three heads of queries share one of keys and values."""
    return save_tiny_llama(tmp_path_factory.mktemp("llama"), width=192)


def test_its_numbers_are_those_of_transformers(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        wanted = model(input_ids=torch.tensor([TOKENS])).logits[0].numpy()
    ours, cache = load_llama(folder), Cache()
    np.testing.assert_allclose(ours.read(TOKENS[:5], cache), wanted[4], rtol=1e-3, atol=1e-3)
    for n, token in enumerate(TOKENS[5:], 5):
        np.testing.assert_allclose(ours.read([token], cache), wanted[n], rtol=1e-3, atol=1e-3)
    NumpyCaches().crop(cache, 3)
    copy = NumpyCaches().copy(cache, 2)
    np.testing.assert_allclose(ours.read(TOKENS[3:], cache), wanted[-1], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(ours.read(TOKENS[2:], copy), wanted[-1], rtol=1e-3, atol=1e-3)


def test_what_does_not_fit_into_the_context_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="513 tokens do not fit into a context of 512"):
        load_llama(folder).read([1] * 513, Cache())


def test_the_tokenizer_reads_and_writes_as_that_of_transformers() -> None:
    plain, whole = load_plain_tokenizer(FOLDER), load_tokenizer(FOLDER)
    talk = [
        {"role": "system", "content": "You are visavis."},
        {"role": "user", "content": "What is Zürich's time?\n[Camera: one person]"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "a", "arguments": {"b": "ü"}}}]},
        {"role": "tool", "content": "8:05"},
    ]
    tools = [{"type": "function", "function": {"name": "get_time", "description": "", "parameters": {}}}]
    for options in ({}, {"tools": tools}, {"tools": tools, "add_generation_prompt": True, "enable_thinking": False}):
        text = plain.apply_chat_template(talk, tokenize=False, **options)
        assert text == whole.apply_chat_template(talk, tokenize=False, **options)
        ids = plain.apply_chat_template(talk, return_dict=True, **options)["input_ids"]
        assert ids == list(whole.apply_chat_template(talk, return_dict=True, **options)["input_ids"])
        for skip in (True, False):
            assert plain.decode(ids, skip_special_tokens=skip) == whole.decode(
                ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False
            )
    assert plain.eos_token_id == whole.eos_token_id
    assert set(plain.all_special_ids) == set(whole.all_special_ids)


async def test_a_conversation_is_read_once_and_a_long_prompt_in_steps() -> None:
    model, usage = load_numpy_chat(FOLDER), list[Usage]()
    chat = LocalChat(Kept("starter", model), on_usage=usage.append)
    session.set("talk")
    messages = [Message("user", "my name is anna. " * 16)]
    try:
        for question in ("what is my name", "what is two plus two"):
            answer = "".join([str(piece) async for piece in chat.stream(ChatRequest(tuple(messages)))])
            messages += [Message("assistant", answer), Message("user", question)]
    finally:
        await chat.close()
    assert usage[0].prompt > CHUNK
    assert usage[0].cached == 0
    assert usage[1].cached >= usage[0].prompt


async def test_the_starter_tells_that_it_was_cut_and_only_then() -> None:
    chat = LocalChat(Kept("starter", load_numpy_chat(FOLDER)))
    asked = (Message("user", "what is two plus two"),)
    try:
        *cut, end = [piece async for piece in chat.stream(ChatRequest(asked, max_tokens=3))]
        whole = [piece async for piece in chat.stream(ChatRequest(asked))]
    finally:
        await chat.close()
    assert (cut, end) == (whole[: len(cut)], Cut())
    assert cut
    assert Cut() not in whole


async def test_an_answer_of_the_starter_that_fails_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = numpy_chat.choose

    def broken(logits: NDArray[np.float32], sampling: Sampling, random: np.random.Generator) -> int:
        if sampling.temperature == 0.125:
            raise ValueError("probabilities contain NaN")
        return drawn(logits, sampling, random)

    monkeypatch.setattr(numpy_chat, "choose", broken)
    asked = ChatRequest((Message("user", "what is two plus two"),), max_tokens=4)
    chat = LocalChat(Kept("starter", load_numpy_chat(FOLDER)))

    async def said(request: ChatRequest) -> list[Piece]:
        return [piece async for piece in chat.stream(request)]

    try:
        alone = await said(asked)
        one, bad, two = await asyncio.gather(
            said(asked), said(replace(asked, temperature=0.125)), said(asked), return_exceptions=True
        )
    finally:
        await chat.close()
    assert one == two == alone
    assert isinstance(bad, LLMError)


def test_the_next_token_is_drawn_as_asked() -> None:
    logits, random = np.array([0.0, 4.0, 3.9, -9.0], np.float32), np.random.default_rng(1)
    assert choose(logits, Sampling(), random) == 1
    assert choose(logits, Sampling(temperature=1.0, top_k=1), random) == 1
    assert choose(logits, Sampling(temperature=1.0, top_p=0.1), random) == 1
    assert {choose(logits, Sampling(temperature=1.0, top_k=2), random) for _ in range(100)} == {1, 2}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors: No such file"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"version https://git-lfs"), "no Llama that can be"),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"})),
            "no Llama that can be",
        ),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "no tokenizer could be loaded"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), "tokenizer_config.json: No such file"),
    ],
)
def test_a_broken_model_is_named(tmp_path: Path, spoil, said: str) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "model")
    spoil(folder)
    with pytest.raises(ModelError, match=said) as caught:
        load_numpy_chat(folder)
    assert caught.value.code == "model_broken"
