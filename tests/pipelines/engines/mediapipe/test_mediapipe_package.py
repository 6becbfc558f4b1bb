"""What is seen with the models of the package alone, on real photographs, beside the models published for MediaPipe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from media.frames import Picture, Pixels
from pipelines.engines.mediapipe.tasks import MediaPipeTracker, MediaPipeVision
from pipelines.errors import ModelError
from pipelines.interfaces.vision import Detection
from pipelines.models.assemble import POINTS, gathered, with_one_mesh
from pipelines.vision.events import GestureStarted
from pipelines.vision.scene import SceneEvents
from pipelines.vision.settings import DetectorName
from pipelines.vision.tracking import TrackedVision
from tests.vision_models import all_models, camera, drawn_teddy, photo, stored_models


@pytest.fixture(scope="session")
def vision() -> MediaPipeVision:
    if reason := MediaPipeVision.probe():
        pytest.skip(reason)
    return MediaPipeVision(stored_models())


@pytest.fixture
def faces(vision: MediaPipeVision) -> Iterator[MediaPipeTracker]:
    tracker = vision.open(("faces",))
    yield tracker
    tracker.close()


def looked_at(vision: MediaPipeVision, detectors: tuple[DetectorName, ...], pixels: Pixels) -> tuple[Detection, ...]:
    tracker = vision.open(detectors)
    try:
        return tracker.detect(Picture(np.ascontiguousarray(pixels), 0.0))
    finally:
        tracker.close()


def far_away(name: str, side: int) -> Pixels:
    """A portrait ``side`` pixels high in a grey room."""
    room = np.full((480, 640, 3), 128, np.uint8)
    room[100 : 100 + side, 200 : 200 + side] = cv2.resize(photo(name), (side, side), interpolation=cv2.INTER_AREA)
    return room


# ---------------------------------------------------------------------------------------------------- faces


@pytest.mark.parametrize("side", [360, 200, 120, 80, 60, 40])
def test_a_face_is_found_once_at_any_distance(faces: MediaPipeTracker, side: int) -> None:
    """At 40 pixels the face has some 25 of 480 lines: five metres off."""
    (face,) = faces.detect(Picture(far_away("sergey.png", side), 0.0))
    assert abs(face.box[0] + face.box[2] / 2 - (200 + side / 2) / 640) < 0.3 * side / 640
    assert face.points.shape == (6, 2)


def test_somebody_in_the_room_is_found(faces: MediaPipeTracker) -> None:
    """The near model alone finds nobody in this photo."""
    (face,) = faces.detect(Picture(photo("gesture_four.jpg"), 0.0))
    assert face.score > 0.9


def test_near_and_far_at_once_are_two(faces: MediaPipeTracker) -> None:
    room = far_away("sergey.png", 60)
    room[100:460, 270:630] = cv2.resize(photo("sergey.png"), (360, 360), interpolation=cv2.INTER_AREA)
    assert len(faces.detect(Picture(room, 0.0))) == 2


def test_a_toy_is_still_nobody(vision: MediaPipeVision) -> None:
    tracker = TrackedVision(vision).open(("faces", "pose"))
    try:
        for number in range(6):
            assert not [seen for seen in tracker.detect(Picture(drawn_teddy(), number / 10)) if seen.kind == "face"]
    finally:
        tracker.close()


# ---------------------------------------------------------------------------------------------------- the mesh


@pytest.mark.parametrize("name", ["sergey.png", "gesture_call.jpg"])
def test_the_mesh_is_that_of_the_published_model(vision: MediaPipeVision, name: str) -> None:
    (ours,) = looked_at(vision, ("face_landmarks",), photo(name))
    (published,) = looked_at(MediaPipeVision(all_models()), ("face_landmarks",), photo(name))
    assert ours.points.shape == (478, 2)
    height, width = photo(name).shape[:2]
    off = np.linalg.norm((ours.points - published.points) * (width, height), axis=1) / (published.box[2] * width)
    assert off.mean() < 0.03  # of the width of the face
    assert off.max() < 0.12
    ours_looks, looks = ours.expression, published.expression
    assert ours_looks is not None
    assert looks is not None
    assert abs(ours_looks.smile - looks.smile) < 0.2
    assert abs(ours_looks.mouth_open - looks.mouth_open) < 0.2
    assert abs(ours_looks.yaw - looks.yaw) < 8
    assert abs(ours_looks.pitch - looks.pitch) < 8


def test_lips_of_a_still_face_rest(vision: MediaPipeVision) -> None:
    """Of a film's still face, noisy from its codec, the opening hardly varies: far less than of lips that move."""
    tracker = vision.open(("face_landmarks",))
    openings = []
    for picture in camera("face_then_gestures_jfk.mp4", 10):
        if picture.time > 3.5:
            break
        for face in tracker.detect(picture):
            assert face.expression is not None
            openings.append(face.expression.mouth_open)
    tracker.close()
    assert len(openings) > 30
    assert np.std(openings) < 0.01


def test_lips_that_part_are_seen(vision: MediaPipeVision) -> None:
    """His portrait with the chin drawn down and the dark of a mouth in the gap."""
    pixels = photo("sergey.png")
    (shut,) = looked_at(vision, ("face_landmarks",), pixels)
    (parted,) = looked_at(vision, ("face_landmarks",), with_open_mouth(pixels, shut))
    assert shut.expression is not None
    assert parted.expression is not None
    assert parted.expression.mouth_open > shut.expression.mouth_open + 0.2


def with_open_mouth(pixels: Pixels, face: Detection) -> Pixels:
    height, width = pixels.shape[:2]
    lips = face.points[[61, 291, 13, 14, 152]] * (width, height)
    split, gap = round(float(lips[2:4, 1].mean())), round(0.18 * float(lips[4, 1] - lips[2, 1]))
    opened = pixels.copy()
    opened[split + gap :] = pixels[split : height - gap]
    left, right = int(lips[0, 0]), int(lips[1, 0])
    opened[split : split + gap] = pixels[split]
    cv2.ellipse(opened, ((left + right) // 2, split + gap // 2), ((right - left) // 2 - 12, gap // 2 + 6), 0, 0, 360,
                (50, 20, 20), cv2.FILLED)  # fmt: skip
    return opened


def test_every_value_of_the_mesh_is_taken_from_its_place() -> None:
    places = gathered().reshape(POINTS, 3)
    assert places.max() == 3 * 468 + 2 * (80 + 71 + 71 + 5 + 5) - 1
    coarse = np.arange(3 * 468).reshape(-1, 3)
    assert (places[1] == coarse[1]).all()  # the nose
    assert places[13, 0] >= 3 * 468  # a lip
    assert (places[:468, 2] == coarse[:, 2]).all()
    flat = places[:, :2].ravel()
    assert len(set(flat.tolist())) == flat.size


def test_no_other_network_is_taken_for_the_mesh(vision: MediaPipeVision) -> None:
    with pytest.raises(ModelError, match="not a tflite model"):
        with_one_mesh(b"no model at all")
    with pytest.raises(ModelError, match="not the face mesh network"):
        with_one_mesh(near_detector(vision))


def near_detector(vision: MediaPipeVision) -> bytes:
    import zipfile

    with zipfile.ZipFile(Path(vision.model("faces"))) as bundle:
        return bundle.read("near.tflite")


# ---------------------------------------------------------------------------------------------------- gestures


def told_of_film(vision: MediaPipeVision) -> list[GestureStarted]:
    tracker = TrackedVision(vision).open(("gestures",))
    happenings, told = SceneEvents(), []
    for picture in camera("face_then_gestures_jfk.mp4", 10):
        told += happenings.update(tracker.detect(picture), picture.time)
    tracker.close()
    return [event for event in told if isinstance(event, GestureStarted)]


@pytest.mark.long
def test_a_hand_that_points_up_is_told_from_its_points_as_by_the_recogniser(vision: MediaPipeVision) -> None:
    """So it is; and the sign for a telephone, which the recogniser takes for a thumb that is up, is none."""
    ours = told_of_film(vision)
    published = told_of_film(MediaPipeVision(all_models()))
    assert [event.gesture for event in ours] == ["pointing up"]
    assert published[-1].gesture == "pointing up"
    assert abs(ours[0].time - published[-1].time) < 0.3


@pytest.mark.parametrize("name", ["gesture_call.jpg", "gesture_four.jpg"])
def test_signs_that_are_none_of_the_seven_are_none(vision: MediaPipeVision, name: str) -> None:
    """A hand's points are rough in the first picture that it is seen in, and gestures need two in a row."""
    tracker = TrackedVision(vision).open(("gestures",))
    happenings, told = SceneEvents(), []
    for number in range(4):
        found = tracker.detect(Picture(photo(name), number / 10))
        told += happenings.update(found, number / 10)
        (hand,) = (seen for seen in found if seen.label == "left")
        assert hand.points.shape == (21, 2)
    tracker.close()
    assert not [event for event in told if isinstance(event, GestureStarted)]
