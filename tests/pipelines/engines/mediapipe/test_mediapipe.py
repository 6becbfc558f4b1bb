"""The real detectors on real photographs."""

from __future__ import annotations

import gc
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from media.frames import Picture
from pipelines.engines.mediapipe import tasks
from pipelines.engines.mediapipe.library import without_noise
from pipelines.engines.mediapipe.tasks import MediaPipeTracker, MediaPipeVision, VisionOptions
from pipelines.errors import VisionError
from pipelines.interfaces.vision import Detection, DetectionKind
from pipelines.vision.detectors import DETECTORS, DetectorName
from pipelines.vision.scene import describe
from tests.vision_models import all_models, photo, stored_models


@pytest.fixture(scope="session")
def models() -> dict[DetectorName, Path]:
    return stored_models()


@pytest.fixture(scope="session")
def vision(models: dict[DetectorName, Path]) -> MediaPipeVision:
    if reason := MediaPipeVision.probe():
        pytest.skip(reason)
    return MediaPipeVision(models)


@pytest.fixture(scope="session")
def everything(vision: MediaPipeVision) -> MediaPipeVision:
    """With the models of the test material."""
    return MediaPipeVision(all_models())


@pytest.fixture
def tracker(vision: MediaPipeVision) -> Iterator[MediaPipeTracker]:
    tracker = vision.open()
    yield tracker
    tracker.close()


def of_kind(detections: tuple[Detection, ...], kind: DetectionKind) -> list[Detection]:
    return [found for found in detections if found.kind == kind]


# ---------------------------------------------------------------------------------------------------- what is seen


def test_a_portrait_has_one_face(tracker: MediaPipeTracker) -> None:
    found = tracker.detect(Picture(photo("sergey.png"), 0.0))
    (face,) = of_kind(found, "face")
    x, y, width, height = face.box
    assert 0.35 < width < 0.75
    assert abs(x + width / 2 - 0.5) < 0.1
    assert 0.4 < y + height / 2 < 0.7
    assert face.score > 0.8
    assert face.points.shape == (6, 2)
    right_eye, left_eye, nose, mouth = face.points[:4]
    assert right_eye[0] < nose[0] < left_eye[0]  # his right is on our left
    assert right_eye[1] < nose[1] < mouth[1]
    assert not of_kind(found, "hand")
    assert describe(found).startswith("one person, facing the camera")


@pytest.mark.parametrize("name", ["gesture_call.jpg", "gesture_four.jpg"])
def test_a_raised_hand_is_found_and_named_as_the_person_calls_it(vision: MediaPipeVision, name: str) -> None:
    pixels = photo(name)
    for mirrored, label in ((False, "left"), (True, "right")):
        tracker = vision.open()
        seen = np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels
        found = tracker.detect(Picture(seen, 0.0))
        tracker.close()
        (hand,) = of_kind(found, "hand")
        assert hand.label == label
        assert hand.points.shape == (21, 2)
        centre = hand.box[0] + hand.box[2] / 2
        assert centre < 0.5 if mirrored else centre > 0.5
        (pose,) = of_kind(found, "pose")
        assert pose.points.shape == (33, 2)
        assert describe(found).startswith(f"one person, {label} hand raised")


def test_an_empty_picture_has_nothing(tracker: MediaPipeTracker) -> None:
    for number in range(3):
        assert tracker.detect(Picture(np.full((480, 640, 3), 128, np.uint8), number / 30)) == ()


def test_ids_go_from_left_to_right(vision: MediaPipeVision) -> None:
    portrait = cv2.resize(photo("sergey.png"), (240, 240), interpolation=cv2.INTER_AREA)
    tracker = vision.open(("faces",))
    faces = tracker.detect(Picture(np.hstack([portrait, portrait]), 0.0))
    tracker.close()
    assert [face.id for face in faces] == [0, 1]
    assert faces[0].box[0] < 0.5 < faces[1].box[0] + faces[1].box[2]


def test_a_smiling_face_is_read(everything: MediaPipeVision) -> None:
    tracker = everything.open(("face_landmarks", "faces"))
    (face,) = tracker.detect(Picture(photo("sergey.png"), 0.0))
    tracker.close()
    assert face.points.shape == (478, 2)
    assert face.score > 0.8  # the face detector's
    looks = face.expression
    assert looks is not None
    assert looks.smile > 0.6
    assert looks.mouth_open < 0.2
    assert looks.eyes_closed < 0.4
    assert abs(looks.yaw) < 10
    assert abs(looks.pitch) < 15


def test_where_a_head_is_turned_has_a_sign(everything: MediaPipeVision) -> None:
    """Mirrored, he is turned to the other side; the nose then points there, too."""
    turns = []
    for mirrored in (False, True):
        pixels = photo("gesture_call.jpg")
        tracker = everything.open(("face_landmarks",))
        (face,) = tracker.detect(Picture(pixels[:, ::-1] if mirrored else pixels, 0.0))
        tracker.close()
        assert face.expression is not None
        right, left, nose = face.points[[234, 454, 1], 0]
        turns.append(face.expression.yaw)
        assert (face.expression.yaw > 0) == (nose > (right + left) / 2)  # to his left is to the right of the picture
        assert face.expression.pitch < 0  # he looks down
    assert turns[0] * turns[1] < 0


@pytest.mark.parametrize("name", ["gesture_call.jpg", "gesture_four.jpg"])
def test_the_recogniser_of_gestures_finds_the_hands_too(everything: MediaPipeVision, name: str) -> None:
    tracker = everything.open(("hands", "gestures"))
    assert tracker.running == ("gestures",)
    (hand,) = tracker.detect(Picture(photo(name), 0.0))
    tracker.close()
    assert (hand.kind, hand.label, hand.gesture) == ("hand", "left", "")  # "call" and "four" are none of the seven
    assert hand.points.shape == (21, 2)


def test_the_outline_of_a_person_is_seen_and_none_in_an_empty_picture(everything: MediaPipeVision) -> None:
    tracker = everything.open(("segmentation",))
    (person,) = tracker.detect(Picture(photo("sergey.png"), 0.0))
    assert person.kind == "person"
    assert person.score > 0.9
    mask = person.mask
    assert mask is not None
    assert (mask.shape, mask.dtype) == ((256, 256), np.uint8)
    assert mask[150, 128] > 250  # the face
    assert mask[5, 5] < 5
    tracker.close()
    tracker = everything.open(("segmentation",))
    assert tracker.detect(Picture(np.full((480, 640, 3), 128, np.uint8), 0.0)) == ()
    tracker.close()


def test_nothing_is_found_in_an_empty_picture_by_any_detector(everything: MediaPipeVision) -> None:
    tracker = everything.open(DETECTORS)
    for number in range(3):
        assert tracker.detect(Picture(np.full((480, 640, 3), 128, np.uint8), number / 30)) == ()
    tracker.close()


# ---------------------------------------------------------------------------------------------------- choosing


def test_detectors_are_chosen_while_it_runs(everything: MediaPipeVision) -> None:
    picture = Picture(photo("gesture_call.jpg"), 0.0)
    tracker = everything.open()
    assert tracker.running == ("faces", "hands", "pose")
    kept = tracker._tasks["faces"]
    tracker.select(("gestures", "hands", "faces"))
    assert tracker.running == ("faces", "gestures")
    assert tracker._tasks["faces"] is kept
    assert {seen.kind for seen in tracker.detect(picture)} == {"face", "hand"}
    tracker.select(("hands",))
    assert {seen.kind for seen in tracker.detect(picture)} == {"hand"}
    tracker.select(())
    assert tracker.running == ()
    assert tracker.detect(picture) == ()
    tracker.close()
    tracker.select(("faces",))
    assert tracker.running == ()


def test_a_detector_without_a_model_says_so_and_the_others_work(models: dict[DetectorName, Path]) -> None:
    reason = "its model is not here: visavis models pull mediapipe-efficientdet-lite0"
    vision = MediaPipeVision({"faces": models["faces"]}, missing={"objects": reason})
    assert vision.detectors == ("faces",)
    assert vision.unavailable["objects"] == reason
    assert vision.unavailable["holistic"] == "its model is not here"
    tracker = vision.open(("objects", "holistic", "faces"))
    assert tracker.running == ("faces",)
    assert tracker.unavailable["objects"] == reason
    assert tracker.detect(Picture(photo("sergey.png"), 0.0))
    tracker.select(("objects",))
    with pytest.raises(VisionError, match="no detector works"):
        tracker.detect(Picture(photo("sergey.png"), 0.0))
    tracker.close()


def test_a_model_that_comes_later_can_be_chosen(models: dict[DetectorName, Path]) -> None:
    vision = MediaPipeVision({"faces": models["faces"]})
    tracker = vision.open(("faces", "hands"))
    vision.add("hands", models["hands"])
    assert "hands" not in vision.unavailable
    assert vision.kinds == ("face", "hand")
    tracker.select(("faces", "hands"))
    assert tracker.running == ("faces", "hands")
    tracker.close()


def test_what_a_failed_detector_replaced_comes_back(everything: MediaPipeVision) -> None:
    picture = Picture(photo("gesture_call.jpg"), 0.0)
    tracker = everything.open(("hands", "gestures"))

    def crash(*_: object) -> list[Detection]:
        raise RuntimeError("CalculatorGraph::Run() failed:")

    tracker._tasks["gestures"] = replace(tracker._tasks["gestures"], detect=crash)
    with pytest.raises(VisionError, match="gestures"):
        tracker.detect(picture)
    assert tracker.running == ("hands",)
    assert tracker.detect(picture)
    tracker.select(("gestures", "hands"))
    assert tracker.running == ("hands",)
    tracker.close()


@pytest.mark.parametrize("name", ["objects", "holistic"])
def test_detectors_whose_models_are_not_at_hand_are_really_opened(
    models: dict[DetectorName, Path], name: DetectorName
) -> None:
    """Of another model they say that it is none of theirs; it takes MediaPipe to know that."""
    tracker = MediaPipeVision({name: models["faces"], "faces": models["faces"]}).open((name, "faces"))
    with pytest.raises(VisionError) as caught:
        tracker.detect(Picture(photo("sergey.png"), 0.0))
    assert caught.value.code == f"{name}_failed"
    assert tracker.running == ("faces",)
    tracker.close()


def test_without_a_gpu_the_processor_looks_and_the_reason_is_told(models: dict[DetectorName, Path]) -> None:
    vision = MediaPipeVision(models, VisionOptions(device="gpu"))
    assert (vision.device == "gpu") == (vision.device_reason == "")
    tracker = vision.open()
    assert of_kind(tracker.detect(Picture(photo("sergey.png"), 0.0)), "face")
    tracker.close()


# ---------------------------------------------------------------------------------------------------- hard pictures


def test_only_what_is_asked_for_is_looked_for(vision: MediaPipeVision) -> None:
    tracker = vision.open(("hands",))
    kinds = {found.kind for found in tracker.detect(Picture(photo("gesture_four.jpg"), 0.0))}
    tracker.close()
    assert kinds == {"hand"}


def test_pictures_of_any_size_and_layout_are_taken(tracker: MediaPipeTracker) -> None:
    random = np.random.default_rng(0)
    for height, width in ((1, 1), (1, 500), (500, 1), (0, 0), (3, 5), (481, 639), (1080, 1920)):
        tracker.detect(Picture(random.integers(0, 255, (height, width, 3), np.uint8), 0.0))
    large = np.repeat(np.repeat(photo("sergey.png"), 4, axis=0), 4, axis=1)
    assert of_kind(tracker.detect(Picture(large[::-1][::-1], 0.0)), "face")
    assert of_kind(tracker.detect(Picture(large[::4, ::4], 0.0)), "face")


def test_pictures_may_have_any_time(tracker: MediaPipeTracker) -> None:
    pixels = photo("sergey.png")
    for time in (5.0, 5.0, 5.0001, 1.0, -3.0, 5.2):
        assert of_kind(tracker.detect(Picture(pixels, time)), "face")


# ---------------------------------------------------------------------------------------------------- failing


def test_a_detector_that_fails_is_told_and_left_out(models: dict[DetectorName, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.task"
    broken.write_bytes(b"no model")
    tracker = MediaPipeVision({"faces": models["faces"], "hands": broken}).open()
    picture = Picture(photo("sergey.png"), 0.0)
    with pytest.raises(VisionError) as caught:
        tracker.detect(picture)
    assert caught.value.code == "hands_failed"
    assert [found.kind for found in tracker.detect(picture)] == ["face"]
    tracker.close()


def test_a_detector_that_fails_on_the_way_is_told_and_left_out(
    vision: MediaPipeVision, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Picture(photo("sergey.png"), 0.0)
    tracker = vision.open(("faces", "hands"))
    assert tracker.detect(picture)

    def crash(*_: object) -> None:
        raise RuntimeError("CalculatorGraph::Run() failed:\nand a long trace")

    monkeypatch.setitem(tracker._tasks, "hands", replace(tracker._tasks["hands"], detect=crash))
    with pytest.raises(VisionError) as caught:
        tracker.detect(picture)
    assert caught.value.code == "hands_failed"
    assert caught.value.message == "MediaPipe's detector of hands failed: CalculatorGraph::Run() failed:"
    assert [found.kind for found in tracker.detect(picture)] == ["face"]
    tracker.close()


def test_a_forgotten_detector_does_not_hang_the_process(vision: MediaPipeVision) -> None:
    for _ in range(3):
        tracker = vision.open(("hands",))
        tracker.detect(Picture(np.zeros((48, 64, 3), np.uint8), 0.0))
        cycle: list[object] = [tracker]
        cycle.append(cycle)
        del tracker, cycle
        gc.collect()


def test_closing_twice_is_allowed_and_looking_afterwards_is_an_error(vision: MediaPipeVision) -> None:
    tracker = vision.open(("faces",))
    tracker.close()
    tracker.close()
    with pytest.raises(VisionError) as caught:
        tracker.detect(Picture(np.zeros((48, 64, 3), np.uint8), 0.0))
    assert caught.value.code == "vision_closed"


@pytest.mark.skipif(sys.platform != "linux", reason="these libraries are missing on Linux only")
def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_LIBRARIES", ("libvisavis-none.so.1",))
    reason = "libvisavis-none.so.1 is missing: apt-get install libegl1 libgles2"
    assert MediaPipeVision.probe() == reason
    with pytest.raises(VisionError, match=re.escape(reason)):
        MediaPipeVision({})


# ---------------------------------------------------------------------------------------------------- silence

WATCH_AND_LEAVE = """
import sys
from pathlib import Path
import numpy as np
from media.frames import Picture
from pipelines.engines.mediapipe.tasks import MediaPipeVision
vision = MediaPipeVision({"faces": Path(sys.argv[1])})
assert not vision.reports_usage
tracker = vision.open()
tracker.detect(Picture(np.zeros((48, 64, 3), np.uint8), 0.0))
tracker.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="MediaPipe is kept from reporting on Linux only")
def test_nothing_is_reported_to_the_maker_of_the_library(vision: MediaPipeVision, models: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        environment = {**os.environ, "https_proxy": address, "all_proxy": address, "no_proxy": ""}
        command = [sys.executable, "-c", WATCH_AND_LEAVE, str(models["faces"])]
        subprocess.run(command, env=environment, cwd=Path(__file__).parents[4], check=True)
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_a_failure_to_keep_it_from_reporting_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, models: dict[DetectorName, Path]
) -> None:
    if reason := MediaPipeVision.probe():
        pytest.skip(reason)
    assert not MediaPipeVision(models).reports_usage or sys.platform != "linux"
    caplog.clear()
    monkeypatch.setattr(tasks, "stop_reports", lambda: False)
    assert MediaPipeVision(models).reports_usage
    assert "MediaPipe reports to its maker" in caplog.text


def test_detectors_come_and_go_without_a_word(vision: MediaPipeVision, capfd: pytest.CaptureFixture[str]) -> None:
    vision.open().close()
    assert capfd.readouterr().err == ""


def test_only_noise_is_kept_off_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with without_noise(re.compile(rb"^INFO")), without_noise(re.compile(rb"^INFO")):
        os.write(2, b"INFO: chatter\nERROR: trouble\n")
    os.write(2, b"INFO: afterwards\n")
    assert capfd.readouterr().err == "ERROR: trouble\nINFO: afterwards\n"
