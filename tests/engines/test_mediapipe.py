"""The real detectors on real photographs."""

from __future__ import annotations

import gc
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from media.frames import Picture, Pixels
from pipelines.engines import mediapipe_tasks
from pipelines.engines.mediapipe_tasks import MediaPipeTracker, MediaPipeVision
from pipelines.engines.quiet import without_noise
from pipelines.errors import ModelError, VisionError
from pipelines.models.store import ModelStore
from pipelines.ports import Detection, DetectionKind
from pipelines.vision.scene import describe
from tests.assets import asset

MODELS: dict[DetectionKind, str] = {
    "face": "mediapipe-face-detector",
    "hand": "mediapipe-hand-landmarker",
    "pose": "mediapipe-pose-landmarker",
}


@pytest.fixture(scope="session")
def models() -> dict[DetectionKind, Path]:
    """The model files, from where a server keeps them: a machine downloads once."""
    store = ModelStore(Path.home() / ".cache" / "visavis" / "models")
    try:
        return {kind: store.ensure(model_id).path for kind, model_id in MODELS.items()}
    except ModelError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="session")
def vision(models: dict[DetectionKind, Path]) -> MediaPipeVision:
    if reason := MediaPipeVision.probe():
        pytest.skip(reason)
    return MediaPipeVision(models)


@pytest.fixture
def tracker(vision: MediaPipeVision) -> Iterator[MediaPipeTracker]:
    tracker = vision.open()
    yield tracker
    tracker.close()


def photo(name: str) -> Pixels:
    return np.asarray(cv2.cvtColor(cv2.imread(str(asset(f"images/{name}"))), cv2.COLOR_BGR2RGB), np.uint8)


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
    tracker = vision.open(("face",))
    faces = tracker.detect(Picture(np.hstack([portrait, portrait]), 0.0))
    tracker.close()
    assert [face.id for face in faces] == [0, 1]
    assert faces[0].box[0] < 0.5 < faces[1].box[0] + faces[1].box[2]


# ---------------------------------------------------------------------------------------------------- hard pictures


def test_only_the_kinds_asked_for_are_looked_for(vision: MediaPipeVision) -> None:
    tracker = vision.open(("hand",))
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


def test_a_detector_that_fails_is_told_and_left_out(models: dict[DetectionKind, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.task"
    broken.write_bytes(b"no model")
    tracker = MediaPipeVision({"face": models["face"], "hand": broken}).open()
    picture = Picture(photo("sergey.png"), 0.0)
    with pytest.raises(VisionError) as caught:
        tracker.detect(picture)
    assert caught.value.code == "hand_failed"
    assert [found.kind for found in tracker.detect(picture)] == ["face"]
    tracker.close()


def test_a_detector_that_fails_on_the_way_is_told_and_left_out(
    vision: MediaPipeVision, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Picture(photo("sergey.png"), 0.0)
    tracker = vision.open(("face", "hand"))
    assert tracker.detect(picture)

    def crash(*_: object) -> None:
        raise RuntimeError("CalculatorGraph::Run() failed:\nand a long trace")

    monkeypatch.setattr(tracker._detectors[1].task, "detect_for_video", crash)
    with pytest.raises(VisionError) as caught:
        tracker.detect(picture)
    assert caught.value.code == "hand_failed"
    assert caught.value.message == "MediaPipe's hand detector failed: CalculatorGraph::Run() failed:"
    assert [found.kind for found in tracker.detect(picture)] == ["face"]
    tracker.close()


def test_a_forgotten_detector_does_not_hang_the_process(vision: MediaPipeVision) -> None:
    for _ in range(3):
        tracker = vision.open(("hand",))
        tracker.detect(Picture(np.zeros((48, 64, 3), np.uint8), 0.0))
        cycle: list[object] = [tracker]
        cycle.append(cycle)
        del tracker, cycle
        gc.collect()


def test_closing_twice_is_allowed_and_looking_afterwards_is_an_error(vision: MediaPipeVision) -> None:
    tracker = vision.open(("face",))
    tracker.close()
    tracker.close()
    with pytest.raises(VisionError) as caught:
        tracker.detect(Picture(np.zeros((48, 64, 3), np.uint8), 0.0))
    assert caught.value.code == "vision_closed"


@pytest.mark.skipif(sys.platform != "linux", reason="these libraries are missing on Linux only")
def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mediapipe_tasks, "_LIBRARIES", ("libvisavis-none.so.1",))
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
from pipelines.engines.mediapipe_tasks import MediaPipeVision
vision = MediaPipeVision({"face": Path(sys.argv[1])})
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
        command = [sys.executable, "-c", WATCH_AND_LEAVE, str(models["face"])]
        subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], check=True)
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_detectors_come_and_go_without_a_word(vision: MediaPipeVision, capfd: pytest.CaptureFixture[str]) -> None:
    vision.open().close()
    assert capfd.readouterr().err == ""


def test_only_noise_is_kept_off_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with without_noise(re.compile(rb"^INFO")), without_noise(re.compile(rb"^INFO")):
        os.write(2, b"INFO: chatter\nERROR: trouble\n")
    os.write(2, b"INFO: afterwards\n")
    assert capfd.readouterr().err == "ERROR: trouble\nINFO: afterwards\n"
