"""YOLOX: what its numbers mean, on a network made here; and with its real weights, where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.engines.mediapipe.parts import VisionOptions
from pipelines.engines.mediapipe.tasks import MediaPipeVision, merge
from pipelines.engines.yolox import COCO, Yolox, distinct, letterboxed
from pipelines.errors import ModelError
from pipelines.interfaces.vision import Detection
from pipelines.models.store import ModelStore
from pipelines.tasks.image.detection import load
from pipelines.vision.tracking import TrackedVision
from tests.vision_models import camera, photo

CELLS = 8 * 8 + 4 * 4 + 2 * 2
"""Of a network for pictures of 64 by 64."""


def network(file: Path, found: dict[int, tuple[float, float, float, float, float, str]]) -> Path:
    """One that sees the same in every picture: cell → offset, size, chance, and of which kind."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    raw = np.zeros((1, CELLS, 85), np.float32)
    for cell, (x, y, width, height, chance, label) in found.items():
        raw[0, cell, :5] = x, y, np.log(width), np.log(height), chance
        raw[0, cell, 5 + COCO.index(label)] = 1.0
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["raw", "nothing"], ["output"]),
    ]
    constants = [numpy_helper.from_array(raw, "raw"), numpy_helper.from_array(np.float32(0), "zero")]
    takes = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    gives = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, CELLS, 85])
    graph = helper.make_graph(nodes, "yolox", [takes], [gives], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(file))
    return file


def test_cells_become_boxes_in_fractions_of_the_picture(tmp_path: Path) -> None:
    cup = (0.5, 0.5, 2.0, 1.0, 0.9, "cup")  # in the cell of row 1, column 2 of those of 8 pixels
    twin = (-0.5, 0.5, 2.0, 1.0, 0.8, "cup")  # the next one, of the same place
    book = (0.0, 0.0, 1.0, 1.0, 0.7, "book")  # the last cell of 32 pixels
    faint = (0.0, 0.0, 1.0, 1.0, 0.1, "cat")
    made = Yolox(network(tmp_path / "y.onnx", {10: cup, 11: twin, CELLS - 1: book, 0: faint}))
    found = made.find(np.zeros((32, 64, 3), np.uint8), 0.2, 10)  # the lower half of the square is no picture
    assert [(one.label, round(one.score, 2)) for one in found] == [("cup", 0.9), ("book", 0.7)]
    assert (found[0].left, found[0].right) == pytest.approx((12 / 64, 28 / 64))
    assert (found[0].top, found[0].bottom) == pytest.approx((8 / 32, 16 / 32))
    assert found[1].bottom == 1.0
    assert [one.label for one in made.find(np.zeros((64, 64, 3), np.uint8), 0.05, 1)] == ["cup"]


def test_pictures_come_to_the_network_in_bgr_at_the_top_left_with_grey_around() -> None:
    square, ratio = letterboxed(np.full((10, 20, 3), (10, 20, 30), np.uint8), (64, 64))
    assert (square.shape, ratio) == ((1, 3, 64, 64), 3.2)
    assert square[0, :, 0, 0].tolist() == [30, 20, 10]
    assert square[0, :, 31, 63].tolist() == [30, 20, 10]
    assert square[0, :, 32, 0].tolist() == [114] * 3


def test_only_boxes_of_a_kind_exclude_each_other() -> None:
    corners = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10], [8, 0, 18, 10]], np.float32)
    assert distinct(corners, np.array([1, 1, 2, 1])) == [0, 2, 3]


def test_another_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="is no YOLOX for COCO"):
        Yolox(tmp_path / "x.onnx")


def test_people_are_things_only_where_nobody_knows_more_of_them() -> None:
    person = Detection("object", 0, (0.1, 0.1, 0.5, 0.8), 0.9, "person")
    assert [one.label for one in merge({"objects": [person]})] == ["person"]
    assert [one.label for one in merge({"objects": [person], "hands": []})] == ["person"]
    assert merge({"objects": [person], "pose": []}) == ()


@pytest.fixture(scope="module")
def weights() -> Path:
    """From where a server keeps them; a machine fetches them once, 5 MB."""
    try:
        return ModelStore(Path.home() / ".cache" / "visavis" / "models").ensure("yolox-nano").path
    except ModelError as error:
        pytest.skip(error.message)


def test_real_weights_find_the_person_of_each_photo(weights: Path) -> None:
    detect = load(weights.parent, "cpu", "float32")
    for name in ("sergey.png", "gesture_call.jpg", "gesture_four.jpg"):
        pixels = photo(name)
        best = detect(pixels, 0.5)[0]
        assert (best.label, best.score > 0.9) == ("person", True)
        assert 0.4 * pixels.shape[1] < best.box.xmax - best.box.xmin <= pixels.shape[1]


def test_a_film_is_followed_with_real_weights_by_the_detector_of_sessions(weights: Path) -> None:
    vision = TrackedVision(MediaPipeVision({"objects": weights}, VisionOptions()))
    tracker = vision.open(("objects",))
    told = [tracker.detect(picture) for picture in camera("face_then_gestures_jfk.mp4", 1.5)]
    tracker.close()
    people = [[one.id for one in found if one.label == "person"] for found in told]
    assert sum(map(bool, people)) >= 0.8 * len(people)
    assert len({one for ids in people for one in ids}) <= 3, "the film has three takes"
