"""Who comes and goes, gestures and attention; on made-up detections, and on a real video."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from media.frames import Picture
from pipelines.engines.mediapipe.tasks import MediaPipeVision
from pipelines.interfaces.vision import Detection, Expression
from pipelines.vision.events import (
    AttentionChanged,
    GestureEnded,
    GestureStarted,
    PersonAppeared,
    PersonLeft,
    SceneChanged,
)
from pipelines.vision.scene import SceneEvents
from pipelines.vision.tracking import TrackedVision
from tests.vision_models import all_models, camera, drawn_teddy, photo

STEP = 1 / 16


def face(x: float = 0.4, yaw: float = 0.0) -> Detection:
    return Detection("face", 0, (x, 0.3, 0.2, 0.2), 0.9, expression=Expression(0, 0, 0, yaw, 0))


def hand(gesture: str, number: int = 0, label: str = "right") -> Detection:
    return Detection("hand", number, (0.1, 0.4, 0.1, 0.1), 0.9, label, gesture=gesture)


def body(x: float = 0.5, *, ears: float = 0.05) -> Detection:
    """``ears``: half their distance; negative from behind."""
    points = np.full((33, 2), 0.5, np.float32)
    points[:11] = x, 0.4
    points[7, 0], points[8, 0] = x + ears, x - ears
    return Detection("pose", 0, (0.2, 0.2, 0.6, 0.8), 0.9, "", points)


class Room:
    """Shows pictures a sixteenth of a second apart and keeps what happens, but for the scene's words."""

    def __init__(self, step: float = STEP) -> None:
        self.happenings = SceneEvents()
        self.step = step
        self.time = 0.0
        self.events: list[Any] = []

    def show(self, *detections: Detection, pictures: int = 1) -> list[Any]:
        new: list[Any] = []
        for _ in range(pictures):
            new += self.happenings.update(detections, self.time)
            self.time += self.step
        new = [event for event in new if not isinstance(event, SceneChanged)]
        self.events += new
        return new

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]


def test_somebody_comes_and_goes_once() -> None:
    room = Room()
    room.show(pictures=5)
    room.show(face(), pictures=20)
    room.show(body(), pictures=20)  # turned away: still there
    room.show(face(0.42), body(), pictures=20)
    room.show(pictures=30)
    appeared, left = room.of(PersonAppeared, PersonLeft)
    assert (appeared.id, appeared.time) == (0, 6 * STEP)
    assert (left.id, left.time) == (0, pytest.approx(64 * STEP + 1.5, abs=STEP))
    room.show(face(), pictures=3)
    assert room.of(PersonAppeared)[-1].id == 1


def test_a_second_person_is_another() -> None:
    room = Room()
    room.show(face(0.1), pictures=5)
    room.show(face(0.1), face(0.7), pictures=5)
    assert [event.id for event in room.of(PersonAppeared)] == [0, 1]


def test_a_gesture_begins_in_its_second_picture_and_ends_in_the_second_without() -> None:
    room = Room()
    room.show(hand(""), pictures=4)
    assert room.show(hand("thumbs up")) == []
    assert room.show(hand("thumbs up")) == [GestureStarted("right", "thumbs up", 4 * STEP)]
    assert room.show(hand("thumbs up"), pictures=10) == []
    assert room.show(hand("")) == []
    assert room.show(hand("thumbs up"), pictures=5) == []  # one picture without is nothing
    last = room.time - STEP
    assert room.show(hand(""), pictures=5) == [GestureEnded("right", "thumbs up", last)]


def test_one_gesture_gives_way_to_another() -> None:
    room = Room()
    room.show(hand("open palm"), pictures=4)
    ended, started = room.show(hand("closed fist"), pictures=3)
    assert (ended.gesture, started.gesture) == ("open palm", "closed fist")
    assert started.time > ended.time


def test_a_gesture_ends_when_the_hand_is_gone() -> None:
    room = Room()
    room.show(hand("victory sign", label="left"), pictures=4)
    assert room.show(pictures=6) == []
    (ended,) = room.show(pictures=6)
    assert ended == GestureEnded("left", "victory sign", 3 * STEP)


def test_a_gesture_that_flickers_is_told_once_or_not_at_all() -> None:
    room = Room()
    for _ in range(20):
        room.show(hand("thumbs up"))
        room.show(hand(""))
    assert room.events == []


def test_each_hand_has_its_gesture() -> None:
    room = Room()
    room.show(hand("thumbs up"), hand("open palm", 1, "left"), pictures=3)
    assert [(event.hand, event.gesture) for event in room.events] == [("right", "thumbs up"), ("left", "open palm")]


def test_attention_is_told_when_it_has_lasted() -> None:
    room = Room()
    room.show(face(), pictures=10)
    room.show(face(yaw=45), pictures=3)  # a glance
    room.show(face(), pictures=10)
    room.show(face(yaw=45), pictures=10)
    room.show(pictures=20)
    room.show(body(), pictures=10)  # the face is not found, but its nose is between the ears
    room.show(body(ears=-0.05), pictures=10)
    told = room.of(AttentionChanged)
    assert [event.attention for event in told] == ["facing", "away", "facing", "away"]


def test_one_who_looks_is_enough() -> None:
    room = Room()
    room.show(face(0.1, yaw=60), face(0.6), pictures=10)
    assert [event.attention for event in room.of(AttentionChanged)] == ["facing"]


def test_when_the_camera_stops_gestures_end_and_people_leave() -> None:
    room = Room()
    room.show(face(), hand("thumbs up"), pictures=5)
    time = 4 * STEP
    assert room.happenings.end() == [GestureEnded("right", "thumbs up", time), PersonLeft(0, time)]
    assert room.happenings.end() == []


def test_the_clock_may_be_set_back() -> None:
    room = Room()
    room.time = 500.0
    room.show(face(), hand("thumbs up"), pictures=10)
    room.time = 0.0
    room.show(face(), hand("thumbs up"), pictures=10)
    assert len(room.of(GestureStarted)) == 1
    assert room.of(GestureEnded, PersonLeft) == []
    room.show(pictures=30)
    assert len(room.of(GestureEnded, PersonLeft)) == 2


# ---------------------------------------------------------------------------------------------------- real pictures


@pytest.fixture(scope="module")
def vision() -> TrackedVision:
    if reason := MediaPipeVision.probe():
        pytest.skip(reason)
    return TrackedVision(MediaPipeVision(all_models()))


@pytest.mark.parametrize("fps", [pytest.param(12.0, marks=pytest.mark.long), 7.0])
def test_gestures_of_a_video_are_told_within_a_third_of_a_second(vision: TrackedVision, fps: float) -> None:
    """A face from the start, thumbs up from 4 s, pointing up from 8 s."""
    tracker, happenings = vision.open(("faces", "gestures", "pose")), SceneEvents()
    told: list[tuple[float, Any]] = []
    for picture in camera("face_then_gestures_jfk.mp4", fps):
        told += [(picture.time, event) for event in happenings.update(tracker.detect(picture), picture.time)]
    tracker.close()
    started = [(time, event) for time, event in told if isinstance(event, GestureStarted)]
    assert [(event.hand, event.gesture) for _, event in started] == [("right", "thumbs up"), ("right", "pointing up")]
    for (time, event), begin in zip(started, (4.0, 8.0), strict=True):
        assert begin <= event.time <= time <= begin + 0.3
    first_person = next(time for time, event in told if isinstance(event, PersonAppeared))
    assert first_person < 1.0
    assert any(isinstance(event, GestureEnded) and event.gesture == "thumbs up" for _, event in told)
    scenes = [event.scene for _, event in told if isinstance(event, SceneChanged)]
    assert scenes[0].startswith("one person, facing the camera")
    assert any("thumbs up" in scene for scene in scenes)
    assert "pointing up" in scenes[-1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sergey.png", "one person, facing the camera, close to the camera, smiling"),
        ("gesture_call.jpg", "one person, left hand raised, facing the camera"),
        ("gesture_four.jpg", "one person, left hand raised"),
    ],
)
def test_photos_are_put_into_words(vision: TrackedVision, name: str, words: str) -> None:
    assert scene_of(vision, photo(name)) == words


def test_neither_a_grey_wall_nor_a_teddy_is_anybody(vision: TrackedVision) -> None:
    assert scene_of(vision, np.full((480, 640, 3), 128, np.uint8)) == "nobody in view"
    assert scene_of(vision, drawn_teddy()) == "nobody in view"


def test_the_face_model_alone_takes_the_teddy_for_a_face(vision: TrackedVision) -> None:
    """Which is why faces need something that speaks for them."""
    tracker = MediaPipeVision(all_models()).open(("faces",))
    (seen,) = tracker.detect(Picture(drawn_teddy(), 0.0))
    tracker.close()
    assert seen.score > 0.7


def scene_of(vision: TrackedVision, pixels: np.ndarray) -> str:
    """What is told of a picture that stays."""
    tracker, happenings = vision.open(("faces", "face_landmarks", "gestures", "pose")), SceneEvents()
    scenes: list[str] = []
    for number in range(10):
        events = happenings.update(tracker.detect(Picture(pixels, number * STEP)), number * STEP)
        scenes += [event.scene for event in events if isinstance(event, SceneChanged)]
    tracker.close()
    return scenes[-1]
