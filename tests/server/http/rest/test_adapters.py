"""Adapters over HTTP: as vLLM loads, lists and names them, and llama.cpp's field for how strongly they are applied."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from pipelines.errors import LLMError
from pipelines.interfaces.llm import ChatRequest, Piece
from pipelines.models.weights.adapters import Adapter, Adapters
from tests.conftest import fake_engines
from tests.pipelines.models.test_adapters import folder
from tests.server.http.rest.clients import HELLO, client_of


class Adapted:
    """A language model that says with which adapters it was asked; one that is called bad does not fit."""

    name = "adapted"

    def __init__(self, known: Adapters) -> None:
        self._known = known

    @property
    def adapters(self) -> tuple[str, ...]:
        return self._known.names("peft")

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        if any(name == "bad" for name, _ in request.adapters):
            raise LLMError("adapter_broken", "the adapter bad does not fit this model")
        yield repr(request.adapters)

    async def close(self) -> None: ...


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("calm", "loud", "bad"):
        folder(tmp_path / "models" / name)
    folder(tmp_path / "outside")
    (tmp_path / "models" / "x.gguf").write_bytes(b"GGUF")
    return tmp_path / "models"


async def started(serve: Any, models: Path, **settings: Any) -> tuple[str, Adapters]:
    known = Adapters()
    engines = fake_engines(llm=Adapted(known))
    engines.adapters = known
    url, _ = await serve(engines, cache=models.parent, models=models, **settings)
    return url, known


async def post(url: str, path: str, **body: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.post(f"{url}/v1/{path}", json=body) as response:
        return response.status, await response.text()


async def test_what_is_loaded_is_listed_with_its_parent_and_answers_by_either_name(serve: Any, models: Path) -> None:
    url, _ = await started(serve, models, chat_adapter_loading=True)
    for name, path in (("calm", "calm"), ("louder", str(models / "loud"))):
        status, told = await post(url, "load_lora_adapter", lora_name=name, lora_path=path)
        assert (status, told) == (200, f"Success: LoRA adapter '{name}' added successfully.")
    async with client_of(url) as client:
        rows = {row.id: row.model_dump() for row in (await client.models.list()).data}
        assert {"adapted:calm", "adapted:louder"} <= rows.keys()
        assert rows["adapted:calm"]["parent"] == rows["adapted:calm"]["root"] == "adapted"
        assert "parent" not in rows["adapted"]
        assert (await client.models.retrieve("calm")).id == "adapted:calm"
        for model, words in (
            ("calm", "(('calm', 1.0),)"),
            ("adapted:louder", "(('louder', 1.0),)"),
            ("adapted", "()"),
            ("gpt-4o", "()"),
        ):
            answer = await client.chat.completions.create(model=model, messages=HELLO)
            assert answer.choices[0].message.content == words
        scaled = {"lora": [{"id": "calm", "scale": 0.5}, {"id": "louder"}]}
        answer = await client.chat.completions.create(model="adapted", messages=HELLO, extra_body=scaled)
        assert answer.choices[0].message.content == "(('calm', 0.5), ('louder', 1.0))"
        status, told = await post(url, "unload_lora_adapter", lora_name="calm")
        assert (status, told) == (200, "Success: LoRA adapter 'calm' removed successfully.")
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="adapted:calm", messages=HELLO)


async def test_what_is_wrong_with_a_wish_is_told_by_its_field(serve: Any, models: Path) -> None:
    url, known = await started(serve, models, chat_adapter_loading=True)
    known.add(Adapter("calm", models / "calm", "peft"))
    async with client_of(url) as client:
        for extra, words in (
            ({"lora": [{"id": "nobody"}]}, "lora.0.id"),
            ({"lora": [{"id": "calm", "scale": 5}]}, "lora.0.scale"),
            ({"lora": [{"id": "calm"}] * 9}, "lora"),
        ):
            with pytest.raises(openai.BadRequestError, match=words):
                await client.chat.completions.create(model="adapted", messages=HELLO, extra_body=extra)
        with pytest.raises(openai.BadRequestError, match="names the adapter calm already"):
            await client.chat.completions.create(model="calm", messages=HELLO, extra_body={"lora": [{"id": "calm"}]})


@pytest.mark.parametrize(
    ("name", "path", "status", "words"),
    [
        ("a/b", "calm", 400, "cannot be called"),
        ("x", "nothing", 404, "hold no nothing"),
        ("x", "../outside", 403, "must lie in"),
        ("x", "/etc/passwd", 403, "must lie in"),
        ("calm", "calm", 400, "already"),
        ("bad", "bad", 400, "does not fit"),
        ("x", "x.gguf", 400, "when it starts"),
    ],
)
async def test_what_cannot_be_loaded(serve: Any, models: Path, name: str, path: str, status: int, words: str) -> None:
    url, known = await started(serve, models, chat_adapter_loading=True)
    known.add(Adapter("calm", models / "calm", "peft"))
    found, told = await post(url, "load_lora_adapter", lora_name=name, lora_path=path)
    assert (found, words in told) == (status, True), told
    assert known.names("peft") == ("calm",)  # what failed is not kept
    assert (await post(url, "unload_lora_adapter", lora_name="nobody"))[0] == 404


async def test_nothing_is_loaded_where_the_setting_does_not_allow_it(serve: Any, models: Path) -> None:
    url, known = await started(serve, models)
    known.add(Adapter("calm", models / "calm", "peft"))
    for path, body in (("load_lora_adapter", {"lora_path": "loud"}), ("unload_lora_adapter", {})):
        status, told = await post(url, path, lora_name="calm", **body)
        assert (status, "chat_adapter_loading" in told) == (403, True)
    assert known.names("peft") == ("calm",)


async def test_a_model_that_takes_none_says_so(serve: Any, models: Path) -> None:
    url, _ = await serve(fake_engines(), cache=models.parent, models=models, chat_adapter_loading=True)
    status, told = await post(url, "load_lora_adapter", lora_name="calm", lora_path="calm")
    assert (status, "takes no adapters" in told) == (400, True)
