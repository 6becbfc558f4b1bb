"""Many files in one request: results in their order, each with its result or its error; and a model that is told."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from pipelines.models.residency import Residency
from pipelines.tasks.service import TaskOptions, TaskService
from pipelines.vision.images import still
from tests.conftest import fake_engines
from tests.fakes.devices import only_cpu
from tests.fakes.printed import page, png
from tests.fakes.tiny_tflite import grey_mean

Ask = Callable[..., Any]
PICTURES = [png(page(["HELLO"], 20 + 2 * n)) for n in range(4)]


@pytest.fixture
async def ask(serve: Callable[..., Any], tmp_path: Path) -> AsyncIterator[Ask]:
    """``status, body, headers = await ask(path, **request)``."""
    grey_mean(tmp_path / "models" / "mean.tflite")
    tasks = TaskService(None, Residency(), only_cpu, TaskOptions(folders=(tmp_path / "models",)))
    url, _ = await serve(replace(fake_engines(), tasks=tasks), cache=tmp_path)
    async with aiohttp.ClientSession() as http:

        async def send(path: str, **request: Any) -> tuple[int, Any, Any]:
            async with http.request("POST" if request else "GET", f"{url}{path}", **request) as response:
                return response.status, await response.json(), response.headers

        yield send


def texts(files: list[bytes]) -> list[str]:
    return [base64.b64encode(one).decode() for one in files]


def width(told: str) -> int:
    return int(still(base64.b64decode(told), "result").shape[1])


async def test_each_picture_has_its_result_or_its_error_in_its_place(ask: Ask) -> None:
    given = [*texts(PICTURES[:2]), texts([b"GIF89a"])[0], *texts(PICTURES[2:])]
    status, told, headers = await ask("/v1/tasks/image-enhance", json={"inputs": given, "parameters": {"upscale": 2}})
    assert status == 200
    assert headers["X-Failed-Items"] == "1"
    error = told.pop(2)["error"]
    assert (error["code"], error["param"]) == ("invalid_value", "inputs.2")
    assert [width(one) for one in told] == [2 * still(one, "given").shape[1] for one in PICTURES]


async def test_where_all_have_to_succeed_the_first_that_fails_is_told(ask: Ask) -> None:
    body = {"inputs": [texts(PICTURES)[0], "no picture"], "options": {"errors": "request"}}
    status, told, _ = await ask("/v1/tasks/image-enhance", json=body)
    assert (status, told["error"]["param"]) == (400, "inputs.1")
    status, told, headers = await ask("/v1/tasks/image-enhance", json={"inputs": ["x", "y"]})
    assert (status, headers["X-Failed-Items"]) == (200, "2")
    assert [one["error"]["param"] for one in told] == ["inputs.0", "inputs.1"]
    status, told, _ = await ask("/v1/tasks/image-enhance", json={"inputs": []})
    assert (status, told["error"]["param"]) == (400, "inputs")


async def test_a_form_may_hold_them_too(ask: Ask) -> None:
    form = aiohttp.FormData()
    for n, one in enumerate([PICTURES[0], b"no picture", PICTURES[1]]):
        form.add_field("image", one, filename=f"{n}.png")
    form.add_field("parameters", json.dumps({"upscale": 2}))
    status, told, headers = await ask("/v1/tasks/image-enhance", data=form)
    assert (status, headers["X-Failed-Items"]) == (200, "1")
    assert told[1]["error"]["param"] == "inputs.1"
    assert [width(told[n]) for n in (0, 2)] == [2 * still(one, "given").shape[1] for one in PICTURES[:2]]


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [
        ("parameters", "[", "parameters"),
        ("parameters", "[" * 5000, "parameters"),
        ("parameters", '{"upscale": NaN}', "parameters"),
        ("model", "x", "model"),
    ],
)
async def test_a_form_that_is_wrong_is_refused(ask: Ask, name: str, value: str, param: str) -> None:
    form = aiohttp.FormData()
    form.add_field("image", PICTURES[0], filename="a.png")
    form.add_field(name, value)
    status, told, _ = await ask("/v1/tasks/image-enhance", data=form)
    assert (status, told["error"]["param"]) == (400, param)


async def test_a_tflite_model_is_told_and_takes_pictures_and_tensors(ask: Ask) -> None:
    status, told, _ = await ask("/v1/tasks/tflite?model=mean")
    assert (status, told["model"]["id"], told["models"]) == (200, "mean", ["mean"])
    assert told["model"]["signatures"][0]["inputs"][0]["shape"] == [1, 8, 8, 3]
    status, told, headers = await ask("/v1/tasks/tflite", data=PICTURES[0], headers={"Content-Type": "image/png"})
    assert (status, headers["X-Model"]) == (200, "mean")
    mean = still(PICTURES[0], "given").mean() / 255
    assert np.abs(np.array(told["outputs"]["colour"]["data"][0]) - mean).max() < 0.05
    values = {"base64": texts([bytes(192)])[0], "datatype": "UINT8", "shape": [1, 8, 8, 3]}
    body = {"inputs": {"tensors": {"picture": values}}, "parameters": {"encoding": "base64"}, "model": "mean"}
    status, told, _ = await ask("/v1/tasks/tflite", json=body)
    assert base64.b64decode(told["outputs"]["colour"]["base64"]) == bytes(12)
    status, told, _ = await ask("/v1/tasks/tflite?model=none")
    assert (status, told["error"]["code"]) == (404, "model_not_found")
