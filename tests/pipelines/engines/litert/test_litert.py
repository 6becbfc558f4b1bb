"""``.tflite`` models in processes of their own: as LiteRT's interpreter computes them, quantised ones too."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.engines.litert.description import Quantisation, TensorInfo, describe
from pipelines.engines.litert.modules import LiteRtModel, LiteRtOptions, Request
from pipelines.engines.litert.tensors import TensorError, of_picture, quantised, real, stored
from pipelines.errors import ModelError
from pipelines.interfaces.task import TaskError
from tests.assets import asset
from tests.fakes.tiny_tflite import BIAS, WEIGHTS, adds, grey_mean, int8_layer

INT8 = TensorInfo("x", "INT8", (1, 4), Quantisation(np.array([1 / 64]), np.array([-3])))


def interpreted(file: Path, values: Any) -> Any:
    """What LiteRT's own interpreter makes of it."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


# ------------------------------------------------------------------------------------------------- values


def test_real_values_become_stored_ones_and_come_back_within_half_a_step():
    values = np.array([[-1.9, -0.004, 0.5, 1.3]])
    kept = stored(INT8, values)
    assert kept.dtype == np.int8
    assert kept.tolist() == [[-125, -3, 29, 80]]
    assert np.abs(real(INT8, kept) - values).max() <= 1 / 128


def test_what_is_out_of_range_is_held_to_it_and_what_is_no_number_refused():
    assert stored(INT8, np.array([[-99.0, 99.0, 0.0, 0.0]])).tolist() == [[-128, 127, -3, -3]]
    with pytest.raises(TensorError, match="no numbers"):
        stored(INT8, np.array([[np.nan, 0.0, 0.0, 0.0]]))


def test_values_of_the_stored_type_are_taken_as_they_are_only_when_that_is_said():
    given = np.array([1, 2, 3, 4], np.int8)  # the first dimension, of one, may be left out
    assert stored(INT8, given, as_is=True).tolist() == [[1, 2, 3, 4]]
    assert stored(INT8, given).tolist() == [[61, 125, 127, 127]]


def test_each_channel_has_its_own_scale():
    how = Quantisation(np.array([1.0, 0.5]), np.array([0, 10]), axis=1)
    info = TensorInfo("x", "UINT8", (2, 2), how)
    kept = quantised(how, np.array([[3.0, 3.0], [4.0, -4.0]]), np.dtype("u1"))
    assert kept.tolist() == [[3, 16], [4, 2]]
    assert real(info, kept).tolist() == [[3.0, 3.0], [4.0, -4.0]]


@pytest.mark.parametrize(
    ("info", "values", "problem"),
    [
        (INT8, np.zeros((1, 5)), r"has shape \[1, 5\], legal values are \[1, 4\]"),
        (TensorInfo("n", "INT32", (2,)), np.array([1.5, 2.0]), "must be whole numbers"),
        (TensorInfo("n", "UINT8", (1,)), np.array([256]), "legal values are 0 to 255"),
        (TensorInfo("n", "FP32", (1,)), np.array(["x"]), "must be numbers"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_what_is_legal(info: TensorInfo, values: Any, problem: str) -> None:
    with pytest.raises(TensorError, match=problem):
        stored(info, values)


def test_a_picture_takes_the_size_and_the_values_that_the_tensor_wants():
    pixels = np.full((6, 8, 3), 200, np.uint8)
    floats = of_picture(TensorInfo("p", "FP32", (1, 4, 4, 3)), pixels)
    assert floats.shape == (1, 4, 4, 3)
    assert np.allclose(floats, 200 / 255)
    told = TensorInfo("p", "FP32", (1, 4, 4, 1), normalisation=(127.5, 127.5))
    assert np.allclose(of_picture(told, pixels), (200 - 127.5) / 127.5)
    assert np.allclose(of_picture(told, pixels, (100, 50)), 2.0)
    assert (of_picture(TensorInfo("p", "UINT8", (1, 4, 4, 3)), pixels) == 200).all()
    assert (of_picture(TensorInfo("p", "INT8", (1, -1, -1, 3)), pixels) == 72).all()
    with pytest.raises(TensorError, match="a picture does not fit x"):
        of_picture(INT8, pixels)


# ------------------------------------------------------------------------------------------------- files


def test_a_file_tells_signatures_free_sizes_and_quantisation(tmp_path: Path) -> None:
    (named,) = describe(adds(tmp_path / "a.tflite", (-1, 4), signature=True)).signatures
    assert (named.name, named.inputs[0].name, named.outputs[0].name) == ("serve", "left", "sum")
    assert named.inputs[0].shape == (-1, 4)
    (plain,) = describe(int8_layer(tmp_path / "q.tflite")).signatures
    how = plain.outputs[0].quantisation
    assert plain.name == ""
    assert how is not None
    assert (how.scales.tolist(), how.zero_points.tolist()) == ([1 / 16], [5])


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x1c\0\0\0TFL3" + b"\xff" * 64])
def test_what_is_no_model_is_told_and_loads_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tflite").write_bytes(content)
    with pytest.raises(ModelError) as told:
        LiteRtModel(tmp_path / "x.tflite")
    assert told.value.code == "model_broken"
    assert "x.tflite" in told.value.message


def test_the_metadata_of_a_published_model_is_read():
    (one,) = describe(asset("mediapipe/selfie_segmenter.tflite")).signatures
    assert one.inputs[0].normalisation == (0.0, 255.0)


# ------------------------------------------------------------------------------------------------- computing


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[LiteRtModel]:
    with closing(LiteRtModel(int8_layer(tmp_path / "q.tflite"), options=LiteRtOptions(1, 2))) as model:
        yield model


def test_a_published_model_computes_exactly_what_the_interpreter_does():
    file = asset("mediapipe/selfie_segmenter.tflite")
    picture = np.random.default_rng(1).random((1, 256, 256, 3), np.float32)
    with closing(LiteRtModel(file, options=LiteRtOptions(threads=1))) as model:
        (outputs,) = model.run([Request(0, [picture])])
        assert model.modules[0].runner == "compiled model"
    assert not isinstance(outputs, TaskError)
    assert np.abs(outputs[0] - interpreted(file, picture)).max() <= 1e-5


def test_int8_in_and_out_is_right(layer: LiteRtModel, tmp_path: Path) -> None:
    takes, gives = layer.description.signatures[0].inputs[0], layer.description.signatures[0].outputs[0]
    values = np.array([[0.5, -1.25, 1.0, 0.75]])
    kept = stored(takes, values)
    (outputs,) = layer.run([Request(0, [kept])])
    assert not isinstance(outputs, TaskError)
    assert outputs[0].dtype == np.int8
    assert outputs[0].tolist() == interpreted(tmp_path / "q.tflite", kept).tolist()
    assert np.abs(real(gives, outputs[0]) - (values @ WEIGHTS.T + BIAS)).max() <= 1 / 16  # one step


def test_free_sizes_follow_each_request_and_other_types_go_through_the_interpreter(tmp_path: Path) -> None:
    with closing(LiteRtModel(adds(tmp_path / "a.tflite", (-1, 4), signature=True))) as model:
        for rows in (3, 1, 5):
            (outputs,) = model.run([Request(0, [np.ones((rows, 4), np.float32)])])
            assert not isinstance(outputs, TaskError)
            assert outputs[0].tolist() == [[2.0] * 4] * rows
    with closing(LiteRtModel(adds(tmp_path / "b.tflite", dtype="<i8"))) as model:
        assert model.modules[0].runner == "interpreter"
        (outputs,) = model.run([Request(0, [np.full((1, 4), 1 << 40, np.int64)])])
        assert not isinstance(outputs, TaskError)
        assert outputs[0].tolist() == [[1 << 41] * 4]


def test_a_pool_grows_to_its_bound_keeps_the_order_and_replaces_a_module_that_was_killed(layer: LiteRtModel) -> None:
    def asked(*numbers: int) -> list[Any]:
        return layer.run([Request(0, [np.array([[n, -3, -3, -3]], np.int8)]) for n in numbers])

    alone = [asked(n)[0][0].tolist() for n in (0, 20, 40, 60, 80)]
    assert len(layer.modules) == 1
    together = asked(0, 20, 40, 60, 80)
    assert [one[0].tolist() for one in together] == alone
    assert len(layer.modules) == 2
    os.kill(layer.modules[0].pid, signal.SIGKILL)
    answers = asked(0, 20)
    failed = [one for one in answers if isinstance(one, TaskError)]
    assert len(failed) <= 1  # its request, if it came before the end was seen; never the other one's
    assert all("has ended with status -9" in one.message for one in failed)
    assert [one[0].tolist() for one in asked(0, 20)] == alone[:2]
    assert len(layer.modules) == 2


def test_what_a_tensor_cannot_take_is_an_error_of_that_request_alone(layer: LiteRtModel) -> None:
    good, bad = np.zeros((1, 4), np.int8), np.zeros((1, 4), np.float32)
    one, other = layer.run([Request(0, [bad]), Request(0, [good])])
    assert isinstance(one, TaskError)
    assert "x takes int8" in one.message
    assert not isinstance(other, TaskError)


def test_weights_are_kept_for_the_next_start(tmp_path: Path) -> None:
    file, options = asset("mediapipe/selfie_segmenter.tflite"), LiteRtOptions(1, 1, tmp_path / "cache")
    picture = np.zeros((1, 256, 256, 3), np.float32)
    seen = []
    for _ in range(2):
        with closing(LiteRtModel(file, options=options)) as model:
            (outputs,) = model.run([Request(0, [picture])])
            assert not isinstance(outputs, TaskError)
            seen.append(outputs[0])
    (kept,) = (tmp_path / "cache").glob("*.xnnpack")
    assert kept.stat().st_size > 10_000
    assert np.array_equal(*seen)


@pytest.mark.skipif(Path("/dev/accel/accel0").exists(), reason="there is an NPU here")
def test_a_device_that_is_not_there_is_told_so_that_the_processor_can_be_asked(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be run by LiteRT on npu") as told:
        LiteRtModel(grey_mean(tmp_path / "g.tflite"), "npu")
    assert told.value.code == "does_not_fit"
