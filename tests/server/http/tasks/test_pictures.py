"""Picture tasks over HTTP, as the stock Hugging Face client asks for them: files in, files and data out."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.utils import close_session
from openai import APIStatusError, AsyncOpenAI

from pipelines.models.residency import Residency
from pipelines.tasks.registry import TASKS, spec_of
from pipelines.tasks.service import TaskOptions, TaskService
from pipelines.vision.images import still
from tests.conftest import fake_engines
from tests.fakes import tiny_picture_models
from tests.fakes.devices import only_cpu
from tests.fakes.printed import page, png


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("picture-models")
    tiny_picture_models.vit(folder / "classes")
    tiny_picture_models.clip(folder / "pairs")
    tiny_picture_models.janus(folder / "draws")
    return folder


@pytest.fixture
async def door(serve: Callable[..., Any], models: Path, tmp_path: Path) -> AsyncIterator[str]:
    tasks = TaskService(None, Residency(), only_cpu, TaskOptions(folders=(models,)))
    url, _ = await serve(replace(fake_engines(), tasks=tasks), cache=tmp_path)
    yield str(url)
    close_session()


PICTURE = png(page(["HELLO"], 20))


async def test_the_stock_client_is_served(door: str) -> None:
    def client(task: str) -> InferenceClient:
        return InferenceClient(model=f"{door}/v1/tasks/{task}", token="not-needed")

    def use() -> None:
        classes = client("image-classification").image_classification(PICTURE, top_k=2)
        assert classes[0].label in ("cat", "dog", "bird") and len(classes) == 2
        assert len(client("image-classification").image_classification(PICTURE)) == 3  # the file as the body
        fits = client("zero-shot-image-classification").zero_shot_image_classification(PICTURE, ["cat", "dog"])
        assert {one.label for one in fits} == {"cat", "dog"}
        drawn = client("text-to-image").text_to_image("a cat", seed=1)
        assert drawn.size == (16, 16)
        answer = client("visual-question-answering").visual_question_answering(PICTURE, "What is this?")
        assert answer[0].score is not None

    await asyncio.to_thread(use)


async def test_a_picture_is_answered_as_a_file(door: str) -> None:
    async with aiohttp.ClientSession() as http:
        text = base64.b64encode(PICTURE).decode()
        body = {"inputs": {"image": text}, "parameters": {"width": 30}}
        async with http.post(f"{door}/v1/tasks/image-edit", json=body) as response:
            assert (response.status, response.content_type) == (200, "image/png")
            assert still(await response.read(), "picture").shape[1] == 30
        async with http.post(
            f"{door}/v1/tasks/image-enhance", data=PICTURE, headers={"Content-Type": "image/png"}
        ) as response:
            assert (response.status, response.content_type) == (200, "image/png")
            assert still(await response.read(), "picture").shape == page(["HELLO"], 20).shape


@pytest.mark.parametrize(
    ("task", "body", "said"),
    [
        ("image-edit", {"inputs": "https://example.org/a.png"}, "addresses are not fetched"),
        ("image-edit", {"inputs": ""}, "is empty"),
        ("image-edit", {"inputs": 7}, "base64"),
        ("image-edit", {"inputs": base64.b64encode(PICTURE[:60]).decode()}, "inputs: is damaged"),
        ("image-edit", {"inputs": base64.b64encode(b"GIF89a").decode()}, "neither a JPEG nor a PNG"),
        ("image-edit", {"inputs": base64.b64encode(PICTURE).decode(), "parameters": {"flip": "up"}}, "horizontal"),
        ("text-to-image", {"inputs": "a cat", "parameters": {"width": 64}}, "Janus takes none"),
    ],
)
async def test_what_is_refused(door: str, task: str, body: dict[str, Any], said: str) -> None:
    async with aiohttp.ClientSession() as http, http.post(f"{door}/v1/tasks/{task}", json=body) as response:
        assert response.status == 400
        assert said in (await response.json())["error"]["message"]


async def test_openais_client_has_pictures_drawn(door: str) -> None:
    async with AsyncOpenAI(base_url=f"{door}/v1", api_key="not-needed", max_retries=0) as client:
        drawn = await client.images.generate(model="dall-e-3", prompt="a cat", n=2)
        pictures = [base64.b64decode(one.b64_json or "") for one in drawn.data or ()]
        assert [still(one, "picture").shape for one in pictures] == [(16, 16, 3)] * 2
        assert (await client.images.generate(model="draws", prompt="a cat", size="auto")).created > 0
        refused: list[tuple[dict[str, Any], int, str]] = [
            ({"size": "1024x1024"}, 400, "size"),  # by Janus
            ({"size": "large"}, 400, "size"),
            ({"response_format": "url"}, 400, "response_format"),
            ({"quality": "hd"}, 400, "quality"),
            ({"n": 11}, 400, "n"),
            ({"prompt": ""}, 400, "prompt"),
            ({"model": "no-such"}, 404, "model"),
        ]
        for wrong, status, param in refused:
            given: dict[str, Any] = {"prompt": "a cat", **wrong}
            with pytest.raises(APIStatusError) as caught:
                await client.images.generate(**given)
            assert (caught.value.status_code, caught.value.body["param"]) == (status, param)  # type: ignore[index]


@pytest.mark.parametrize("task", [name for name, place in TASKS.items() if ".image." in place])
def test_every_task_tells_the_schema_of_its_data(task: str) -> None:
    spec = spec_of(task)
    assert spec.inputs.model_json_schema()["properties"]
    assert "properties" in spec.parameters.model_json_schema()
