"""A tiny Llama in a GGUF file on OpenVINO's processor: the words of transformers, alone and side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("openvino_genai", reason="the extra openvino is not installed")
pytest.importorskip("gguf", reason="the extra openvino is not installed")


from pipelines.engines.llm.model import ChatModel, Sampling
from pipelines.engines.llm.openvino_chat import (
    OneAfterAnother,
    OpenVinoChat,
    OpenVinoModel,
    is_openvino,
    load_openvino,
)
from pipelines.engines.llm.transformers_chat import load_chat
from pipelines.engines.registry import Found, engines, reader
from pipelines.errors import LLMError, ModelError
from pipelines.interfaces.llm import ChatRequest, Cut, Message, Tool, Usage
from pipelines.models.residency import Kept, Residency
from tests.fakes.tiny_gguf import save_tiny_gguf
from tests.real_models import real_folder

QUESTIONS = ("What is the weather in Paris today?", "Good morning!", "What should I wear?")
SYSTEM = Message("system", "You are a friendly assistant.")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_gguf(tmp_path_factory.mktemp("gguf"))


@pytest.fixture(scope="module")
def side_by_side(file: Path) -> OpenVinoChat:
    return load_openvino(file, "cpu", 1)


@pytest.fixture(scope="module")
def one_after_another(file: Path, side_by_side: OpenVinoChat) -> OpenVinoChat:
    """As on an NPU, which is not here."""
    return OpenVinoChat(OneAfterAnother(file, "cpu", 1, 512), side_by_side.template, 512, Sampling())


@pytest.fixture(params=["side_by_side", "one_after_another"])
def loaded(request: pytest.FixtureRequest) -> Iterator[OpenVinoChat]:
    yield request.getfixturevalue(request.param)


def asked(text: str, limit: int = 12) -> ChatRequest:
    return ChatRequest((SYSTEM, Message("user", text)), max_tokens=limit)


def written(model: ChatModel, text: str, limit: int = 12, sampling: Sampling | None = None) -> list[int]:
    """The tokens of an answer, stepped as :class:`LocalChat` does."""
    answer = model.begin(model.template.encode(asked(text, limit), model.context), sampling or Sampling(), limit, "a")
    tokens: list[int] = []
    while len(tokens) < limit:
        (token,) = model.step([answer])
        if isinstance(token, Exception):
            raise token
        if token in model.stops:
            break
        if token is not None:
            tokens.append(token)
    model.end(answer)
    return tokens


async def said(chat: OpenVinoModel, request: ChatRequest) -> list[Any]:
    return [piece async for piece in chat.stream(request)]


def test_it_writes_what_transformers_writes(loaded: OpenVinoChat, file: Path) -> None:
    reference = load_chat(file.parent / "hf", dtype="float32")
    for question in QUESTIONS:
        assert written(loaded, question) == written(reference, question)


def test_answers_advance_side_by_side_as_if_alone(side_by_side: OpenVinoChat) -> None:
    alone = [written(side_by_side, question) for question in QUESTIONS]
    encode = side_by_side.template.encode
    answers = [side_by_side.begin(encode(asked(q), 512), Sampling(), 12, q) for q in QUESTIONS]
    tokens: list[list[int]] = [[] for _ in answers]
    while any(len(row) < 12 for row in tokens):
        for row, token in zip(tokens, side_by_side.step(answers), strict=True):
            assert not isinstance(token, Exception)
            if token is not None and len(row) < 12:
                row.append(token)
    for answer in answers:
        side_by_side.end(answer)
    assert tokens == alone


def test_a_seed_repeats_an_answer_and_others_differ(loaded: OpenVinoChat) -> None:
    warm = Sampling(temperature=1.5, seed=5)
    assert written(loaded, "Good morning!", sampling=warm) == written(loaded, "Good morning!", sampling=warm)
    free = [written(loaded, "Good morning!", sampling=Sampling(temperature=1.5)) for _ in range(4)]
    assert any(one != free[0] for one in free)


async def test_closing_the_stream_frees_the_model(loaded: OpenVinoChat) -> None:
    chat = OpenVinoModel(Kept("tiny", loaded))
    try:
        async with aclosing(chat.stream(asked("Good morning!", 300))) as pieces:
            await anext(pieces)
        usages: list[Usage] = []
        request = ChatRequest((Message("user", "Good morning!"),), max_tokens=5, on_usage=usages.append)
        async with asyncio.timeout(30):
            assert isinstance((await said(chat, request))[-1], Cut)
        assert usages[0].answer == 5
        assert usages[0].prompt > 5
    finally:
        await chat.close()


async def test_several_are_answered_at_a_time(side_by_side: OpenVinoChat) -> None:
    chat = OpenVinoModel(Kept("tiny", side_by_side))
    try:
        alone = [await said(chat, asked(question)) for question in QUESTIONS]
        assert await asyncio.gather(*(said(chat, asked(question)) for question in QUESTIONS)) == alone
    finally:
        await chat.close()


async def test_it_cannot_be_made_to_call(side_by_side: OpenVinoChat) -> None:
    chat = OpenVinoModel(Kept("tiny", side_by_side))
    try:
        with pytest.raises(LLMError, match="tool_choice: tiny cannot be made to call a tool"):
            await said(chat, ChatRequest((Message("user", "a"),), tools=(Tool("t", "a"),), tool_choice="required"))
    finally:
        await chat.close()


def test_a_folder_in_its_format_is_its(tmp_path: Path) -> None:
    (tmp_path / "openvino_model.xml").touch()
    assert is_openvino(tmp_path)
    assert reader("llm", tmp_path).name == "openvino"
    assert [spec.name for spec in engines("llm")].index("openvino") < [s.name for s in engines("llm")].index(
        "transformers"
    )


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_broken_model_is_told(tmp_path: Path, file: Path, kind: str) -> None:
    if kind == "file":
        source = tmp_path / "broken.gguf"
        source.write_bytes(file.read_bytes()[:4000])
    else:
        source = tmp_path
        for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "chat_template.jinja"):
            if (file.parent / "hf" / name).exists():
                (tmp_path / name).write_bytes((file.parent / "hf" / name).read_bytes())
        (tmp_path / "openvino_model.xml").write_text("<net>")
    with pytest.raises(ModelError) as caught:
        load_openvino(source, "cpu", 1)
    assert caught.value.code == "model_broken"


async def test_a_gguf_file_is_its_on_a_device_that_llama_cpp_does_not_know(file: Path) -> None:
    from pipelines.engines.llm import llama

    def no_npu(library: str) -> tuple[str, str]:
        raise ModelError("device_unavailable", f"{library} has no npu here")

    async def aside(function: Any, *args: Any) -> Any:
        return function(*args)

    site: Any = SimpleNamespace(
        asked=SimpleNamespace(device="npu"), aside=aside, device_for=no_npu, cores=2, residency=Residency()
    )
    with pytest.raises(ModelError, match="openvino has no npu here"):
        await llama.build(site, Found("tiny", file))
    site.device_for = lambda library: ("cpu", "because")
    site.estimate = lambda model, precision: 0
    built = await llama.build(site, Found("tiny", file))
    try:
        assert isinstance(built.engine, OpenVinoModel)
        assert await said(built.engine, asked("Good morning!"))
    finally:
        await built.engine.close()


@pytest.mark.long
async def test_real_weights_know_paris() -> None:
    folder = real_folder("smollm2-135m-instruct-gguf")
    model = await asyncio.to_thread(load_openvino, folder, "cpu", 1)
    chat = OpenVinoModel(Kept("smollm2", model))
    try:
        pieces = await said(chat, ChatRequest((Message("user", "What is the capital of France?"),), max_tokens=12))
    finally:
        await chat.close()
    assert "Paris" in "".join(map(str, pieces))
