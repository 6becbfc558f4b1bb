"""The task ``tflite``: models found as files, tensors and pictures in, tensors out, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.engines.litert.modules import LiteRtLoader, LiteRtOptions
from pipelines.interfaces.task import TaskError
from pipelines.models.residency import Residency
from pipelines.tasks.runner import ModelRunner
from pipelines.tasks.service import TaskOptions, TaskService
from tests.fakes.devices import only_cpu
from tests.fakes.tiny_tflite import adds, grey_mean, int8_layer


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TaskService]:
    adds(tmp_path / "adds.tflite", signature=True)
    int8_layer(tmp_path / "own" / "layer.tflite")
    grey_mean(tmp_path / "own" / "mean.tflite")
    options = TaskOptions(folders=(tmp_path,), loads={"tflite": LiteRtLoader(LiteRtOptions(modules=2)).load})
    service = TaskService(None, Residency(), only_cpu, options)
    yield service
    service.close()


async def outputs(service: TaskService, model: str, inputs: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    done = await service.runner("tflite", model).run(inputs, parameters)
    assert done.model == model
    told: dict[str, Any] = done.output["outputs"]
    return told


def picture(colour: tuple[int, int, int]) -> str:
    done, data = cv2.imencode(".png", np.full((20, 30, 3), colour[::-1], np.uint8))
    assert done
    return base64.b64encode(data.tobytes()).decode()


async def test_files_in_folders_are_models_by_name_and_have_to_be_named(service: TaskService) -> None:
    assert service.models("tflite") == ["adds", "own/layer", "own/mean"]
    assert service.why_not("tflite") == ""
    with pytest.raises(TaskError, match="model: has to be named, legal values are adds, own/layer, own/mean"):
        service.runner("tflite")
    with pytest.raises(TaskError, match="unknown_model"):
        service.runner("tflite", "../adds")


async def test_what_a_model_takes_is_told_without_loading_it(service: TaskService) -> None:
    told = await service.tell("tflite", "own/layer")
    (one,) = told["signatures"][0]["inputs"]
    assert (one["name"], one["datatype"], one["shape"]) == ("x", "INT8", [1, 4])
    assert one["quantization"] == {"scales": [1 / 64], "zero_points": [-3], "axis": 0}
    assert not service.workers()
    with pytest.raises(TaskError, match="tell nothing before they are loaded"):
        await service.tell("chat", "auto")


async def test_every_way_of_giving_and_taking_a_tensor_means_the_same(service: TaskService) -> None:
    values = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
    file = io.BytesIO()
    np.save(file, values)
    ways: list[Any] = [
        values.tolist(),
        values[0].tolist(),
        {"data": [1, 2, 3, 4], "shape": [1, 4]},
        {"base64": base64.b64encode(values.tobytes()).decode(), "datatype": "FP32", "shape": [1, 4]},
        {"npy": base64.b64encode(file.getvalue()).decode()},
    ]
    for way in ways:
        told = await outputs(service, "adds", {"tensors": {"left": way}}, signature="serve")
        assert told == {"sum": {"datatype": "FP32", "shape": [1, 4], "data": [[2.0, 4.0, 6.0, 8.0]]}}
    told = await outputs(service, "adds", {"tensors": {"left": [1, 2, 3, 4]}}, encoding="base64")
    assert np.frombuffer(told["sum"]["base64"], "<f4").tolist() == [2, 4, 6, 8]
    told = await outputs(service, "adds", {"tensors": {"left": [1, 2, 3, 4]}}, encoding="npy", outputs=["sum"])
    assert np.load(io.BytesIO(told["sum"]["npy"])).tolist() == [[2, 4, 6, 8]]
    infinite = {"data": [3e38, 0, 0, 0]}
    assert (await outputs(service, "adds", {"tensors": {"left": infinite}}))["sum"]["data"][0][0] is None


def with_header(header: str, rest: bytes = b"") -> bytes:
    """A file of numpy."""
    text = header.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + rest


def archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, one=np.zeros(4, np.float32))
    return file.getvalue()


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (274877906944,), }"), "and 0 bytes follow"),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4), }", bytes(20)), "and 20 bytes follow"),
        (with_header("{'descr': '|O', 'fortran_order': False, 'shape': (4,), }", bytes(32)), "must be numbers"),
        (with_header("-" * 9000), "does not begin as a file of numpy"),
        (with_header("{(("), "does not begin as a file of numpy"),
        (archive(), "does not begin as a file of numpy"),
    ],
)
@pytest.mark.parametrize("shape", [None, (1, 4)])
async def test_what_the_header_of_an_array_says_is_no_reason_to_unload_models(
    service: TaskService, file: bytes, problem: str, shape: tuple[int, ...] | None
) -> None:
    given = {"npy": base64.b64encode(file).decode()} | ({} if shape is None else {"shape": shape})
    with pytest.raises(TaskError, match=problem) as told:
        await outputs(service, "adds", {"tensors": {"left": given}})
    assert told.value.code == "invalid_value"


async def test_quantised_models_take_and_give_real_values_or_stored_ones(service: TaskService) -> None:
    told = await outputs(service, "own/layer", {"tensors": {"x": [0.5, -1.25, 1.0, 0.75]}})
    assert told["y"]["datatype"] == "FP32"
    assert told["y"]["data"][0] == pytest.approx([1.625, -0.375], abs=1 / 16)
    as_kept = {"data": [[29, -83, 61, 45]], "datatype": "INT8"}
    kept = await outputs(service, "own/layer", {"tensors": {"x": as_kept}}, dequantize=False)
    assert kept["y"]["datatype"] == "INT8"
    assert [(one - 5) / 16 for one in kept["y"]["data"][0]] == told["y"]["data"][0]


async def test_a_picture_fills_the_input_that_is_one(service: TaskService) -> None:
    told = await outputs(service, "own/mean", {"image": picture((51, 102, 204))})
    assert told["colour"]["data"][0] == pytest.approx([0.2, 0.4, 0.8], abs=0.003)
    with pytest.raises(TaskError, match="tensors: lacks x, INT8 of shape"):
        await outputs(service, "own/layer", {"image": picture((0, 0, 0))})


@pytest.mark.parametrize(
    ("inputs", "parameters", "problem"),
    [
        ({"tensors": {"left": [[1, 2], [3]]}}, {}, "tensors.left: cannot be read"),
        ({"tensors": {"left": [1, 2]}}, {}, r"tensors.left: has shape \[2\], legal values are \[1, 4\]"),
        ({"tensors": {"left": ["a", "b", "c", "d"]}}, {}, "tensors.left: must be numbers"),
        ({"tensors": {"right": [1]}}, {}, "tensors: has 'right', legal values are left"),
        ({}, {}, "tensors: lacks left, FP32"),
        ({"tensors": {"left": {"data": [1], "npy": "AAAA"}}}, {}, "needs one of data, base64 and npy"),
        ({"tensors": {"left": {"base64": "AAAA"}}}, {}, "base64: needs datatype and shape"),
        ({"tensors": {"left": {"npy": "AAAA"}}}, {}, "tensors.left: cannot be read"),
        ({"tensors": {"left": {"data": [1, 2, 3, 4], "shape": [-1]}}}, {}, "sizes are 0 or more"),
        ({"tensors": {"left": [1, 2, 3, 4]}}, {"signature": "x"}, "signature: is 'x', legal values are serve"),
        ({"tensors": {"left": [1, 2, 3, 4]}}, {"outputs": ["x"]}, "outputs: is 'x', legal values are sum"),
        ({"tensors": {"left": [1, 2, 3, 4]}}, {"mean": 1.0}, "std: is missing"),
    ],
)
async def test_what_is_wrong_is_named_with_what_is_legal(
    service: TaskService, inputs: dict[str, Any], parameters: dict[str, Any], problem: str
) -> None:
    with pytest.raises(TaskError, match=problem) as told:
        await outputs(service, "adds", inputs, **parameters)
    assert told.value.code == "invalid_value"


async def test_a_bad_item_fails_alone_and_the_order_is_kept(service: TaskService) -> None:

    runner = service.runner("tflite", "adds")
    assert isinstance(runner, ModelRunner)
    given = [{"tensors": {"left": [n, 0, 0, 0]}} if n != 3 else {"tensors": {}} for n in range(8)]
    done = await asyncio.gather(*(runner.run(one) for one in given), return_exceptions=True)
    assert isinstance(done.pop(3), TaskError)
    told = [one.output["outputs"]["sum"]["data"][0][0] for one in done if not isinstance(one, BaseException)]
    assert told == [0, 2, 4, 8, 10, 12, 14]
