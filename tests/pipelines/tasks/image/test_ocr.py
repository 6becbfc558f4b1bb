"""Reading print in pictures: the geometry without a network, and the real networks on ten pictures."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.errors import ModelError
from pipelines.interfaces.task import Done, Job, TaskError
from pipelines.tasks.image import ocr
from pipelines.tasks.image.printed_text.reader import TextReader
from pipelines.tasks.image.printed_text.regions import Region, cut_out, regions, rows
from tests.fakes.printed import NOTE, PRINTED, Printed, page, png
from tests.pipelines.tasks.image.bad_pictures import BROKEN, REFUSED
from tests.real_models import real_folder


def edits(one: str, other: str) -> int:
    """Characters that have to be changed, added or left out."""
    before = list(range(len(other) + 1))
    for n, letter in enumerate(one, 1):
        now = [n]
        for m, against in enumerate(other, 1):
            now.append(min(before[m] + 1, now[-1] + 1, before[m - 1] + (letter != against)))
        before = now
    return before[-1]


def region(x: float, y: float, width: float = 100, height: float = 20, turn: float = 0.0) -> Region:
    """A line with its middle at (x, y), turned by degrees."""
    angle = np.radians(turn)
    spin = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)
    return Region((half @ spin + (x, y)).astype(np.float32), 0.9)


# ------------------------------------------------------------------------------------------------ geometry


def test_a_marked_line_is_grown_to_its_whole_height_and_scaled_to_the_picture():
    probabilities = np.zeros((100, 200), np.float32)
    probabilities[40:50, 20:120] = 0.9
    (found,) = regions(probabilities, 400, 200)
    left, top = found.corners.min(axis=0)
    right, bottom = found.corners.max(axis=0)
    assert left < 40 < 240 < right
    assert top < 80 < 100 < bottom
    assert found.score == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize(("level", "size"), [(0.35, 10), (0.9, 2)], ids=["unsure", "tiny"])
def test_what_is_unsure_or_tiny_is_no_line(level: float, size: int):
    probabilities = np.zeros((100, 200), np.float32)
    probabilities[40 : 40 + size, 20:120] = level
    assert regions(probabilities, 200, 100) == []


@pytest.mark.parametrize("turn", [0, 12, -25, 90, 178])
def test_rows_are_read_from_above_whatever_way_the_picture_was_held(turn: float):
    angle = np.radians(turn)
    spin = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    places = [(120, 60), (-120, -60), (120, -60), (-120, 0), (-120, 60)]
    found = [region(*(np.array(place) @ spin + 300), turn=turn) for place in places]
    assert rows(found) == [[1, 2], [3], [4, 0]]


def test_a_line_is_cut_out_straight():
    pixels = np.zeros((200, 400, 3), np.uint8)
    line = region(200, 100, 120, 24, turn=30)
    cv2.fillPoly(pixels, [line.corners.astype(np.int32)], (255, 255, 255))
    straight = cut_out(pixels, line, 48, 3200)
    assert straight.shape == (48, 240, 3)
    assert straight[6:-6, 6:-6].mean() > 250


def test_nothing_is_no_rows():
    assert rows([]) == []


# ------------------------------------------------------------------------------------------------ the task


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return ocr.load(real_folder("pp-ocrv6-small"), "cpu", "float32")


def result(reader: TextReader, picture: bytes, **parameters: Any) -> dict[str, Any]:
    (done,) = ocr.run(reader, [Job(ocr.OnePicture(image=picture), ocr.OcrParameters(**parameters))])
    assert isinstance(done, Done), done
    ocr.OcrOutput.model_validate(done.output)
    output: dict[str, Any] = done.output
    return output


@pytest.mark.parametrize(
    "printed",
    [*PRINTED[:3], *(pytest.param(printed, marks=pytest.mark.long) for printed in PRINTED[3:])],
    ids=lambda printed: printed.name,
)
def test_print_is_read_as_cameras_and_screens_show_it(reader: TextReader, printed: Printed):
    text = result(reader, png(printed.pixels()))["text"]
    assert edits(printed.text, text) <= 0.05 * len(printed.text), text


def test_lines_have_their_places(reader: TextReader):
    output = result(reader, png(page(NOTE)))
    assert [line["text"] for line in output["lines"]] == list(NOTE)
    assert [line["row"] for line in output["lines"]] == [0, 1, 2]
    first, second, _ = (line["box"] for line in output["lines"])
    assert (output["width"], output["height"]) == page(NOTE).shape[1::-1]
    assert 25 < first["xmin"] < 50 < first["ymax"] <= second["ymin"] + 15
    assert all(line["score"] > 0.8 for line in output["lines"])
    (x, y), *_ = output["lines"][0]["polygon"]
    assert abs(x - first["xmin"]) < 4
    assert abs(y - first["ymin"]) < 4


def test_where_nothing_is_written_there_is_no_text(reader: TextReader):
    assert result(reader, png(np.full((240, 320, 3), 200, np.uint8))) == {
        "text": "",
        "lines": (),
        "width": 320,
        "height": 240,
    }


def test_lines_that_are_not_sure_enough_are_left_out(reader: TextReader):
    assert result(reader, png(page(NOTE)), min_score=1.0)["lines"] == ()


def test_a_damaged_picture_spoils_no_other(reader: TextReader):
    jobs = [Job(ocr.OnePicture(image=data), ocr.OcrParameters()) for data in (BROKEN, png(page(["FINE"], 60)))]
    bad, good = ocr.run(reader, jobs)
    assert isinstance(bad, TaskError)
    assert (bad.code, "image" in bad.message) == ("invalid_value", True)
    assert isinstance(good, Done)
    assert good.output["text"] == "FINE"


@pytest.mark.parametrize(("value", "said"), REFUSED)
def test_what_is_no_picture_is_refused(value: Any, said: str):
    with pytest.raises(ValidationError, match=said) as refused:
        ocr.OnePicture(image=value)
    assert refused.value.errors()[0]["loc"] == ("image",)


def test_a_picture_may_come_in_base64_or_as_data_url():
    picture = png(page(["A"]))
    text = base64.b64encode(picture).decode()
    assert ocr.OnePicture(image=text).image == ocr.OnePicture(image=f"data:image/png;base64,{text}").image == picture


@pytest.mark.parametrize("parameters", [{"min_score": 2}, {"min_score": "high"}, {"language": "en"}])
def test_parameters_that_are_not_legal_are_refused(parameters: dict[str, Any]):
    with pytest.raises(ValidationError):
        ocr.OcrParameters(**parameters)


def test_a_folder_without_the_networks_is_told(tmp_path):
    with pytest.raises(ModelError, match="_det_") as refused:
        ocr.load(tmp_path, "cpu", "float32")
    assert refused.value.code == "model_broken"


def test_a_file_that_is_no_network_is_told(tmp_path):
    (tmp_path / "x_det_x.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="cannot be loaded"):
        ocr.load(tmp_path, "cpu", "float32")
