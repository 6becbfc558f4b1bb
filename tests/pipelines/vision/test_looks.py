"""Lips, heads and gestures over time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipelines.interfaces.vision import Detection, Expression
from pipelines.vision.settings import DetectorName, VisionSettings, VisualCueSettings
from pipelines.vision.visual_cues import Looks

FPS = 12.0


def face(mouth: float = 0.02, yaw: float = 0.0, pitch: float = 0.0, id: int = 0) -> Detection:
    return Detection("face", id, (0.4, 0.3, 0.2, 0.3), 0.9, expression=Expression(mouth, 0, 0, yaw, pitch))


def hand(gesture: str) -> Detection:
    return Detection("hand", 0, (0.1, 0.3, 0.1, 0.1), 0.9, "left", gesture=gesture)


def talking(time: float) -> float:
    """About four syllables a second."""
    return 0.15 + 0.15 * float(np.sin(2 * np.pi * 4 * time + 0.3))


def still(time: float) -> float:
    return 0.02 + 0.005 * float(np.sin(37 * time))


class Watcher:
    def __init__(self, **settings: object) -> None:
        self.looks = Looks(VisualCueSettings(**settings))  # type: ignore[arg-type]
        self.time = 0.0
        self.actions: list[str] = []

    def see(self, seconds: float, make: Callable[[float], list[Detection]], fps: float = FPS) -> None:
        for _ in range(round(seconds * fps)):
            self.time += 1 / fps
            self.actions += self.looks.update(make(self.time), self.time, self.time)

    @property
    def lips(self) -> bool | None:
        return self.looks.lips(self.time)

    @property
    def attentive(self) -> bool | None:
        return self.looks.attentive(self.time)


@pytest.mark.parametrize("fps", [8.0, 12.0, 30.0])
def test_lips_that_move_are_noticed_within_half_a_second_and_rest_within_one(fps: float) -> None:
    watcher = Watcher()
    watcher.see(1.0, lambda time: [face(still(time))], fps)
    assert watcher.lips is False
    watcher.see(0.5, lambda time: [face(talking(time))], fps)
    assert watcher.lips is True
    watcher.see(3.0, lambda time: [face(talking(time))], fps)
    assert watcher.lips is True
    watcher.see(1.1, lambda time: [face(still(time))], fps)
    assert watcher.lips is False


def test_nothing_is_said_of_lips_that_were_hardly_seen() -> None:
    watcher = Watcher()
    assert watcher.lips is None
    watcher.see(0.2, lambda time: [face(still(time))])
    assert watcher.lips is None
    watcher.see(1.0, lambda time: [Detection("face", 0, (0.4, 0.3, 0.2, 0.3), 0.9)])  # no landmarks are looked for
    assert watcher.lips is None


def test_pictures_and_faces_may_be_missing() -> None:
    watcher = Watcher()
    rng = np.random.default_rng(3)
    watcher.see(0.6, lambda time: [face(talking(time))], 30)
    for _ in range(60):
        watcher.see(0.1, lambda time: [face(talking(time))] if rng.random() < 0.6 else [], 30)
        assert watcher.lips is True


def test_stale_pictures_say_nothing() -> None:
    watcher = Watcher()
    watcher.see(1.0, lambda time: [face(talking(time))])
    assert watcher.looks.lips(watcher.time + 0.5) is True
    assert watcher.looks.lips(watcher.time + 0.7) is None
    assert watcher.looks.attentive(watcher.time + 0.7) is None


def test_a_face_that_leaves_takes_its_lips_along() -> None:
    watcher = Watcher()
    watcher.see(1.0, lambda time: [face(still(time))])
    watcher.see(0.7, lambda time: [])
    assert watcher.lips is None


def test_anybodys_lips_count() -> None:
    watcher = Watcher()
    watcher.see(1.0, lambda time: [face(still(time)), face(talking(time), id=1)])
    assert watcher.lips is True


def test_time_that_goes_back_starts_anew() -> None:
    watcher = Watcher()
    watcher.see(1.0, lambda time: [face(talking(time))])
    watcher.time = 0.0
    watcher.see(0.1, lambda time: [face(still(time))])
    assert watcher.lips is None


def test_a_head_that_turns_away_is_noticed_and_a_glance_is_not() -> None:
    watcher = Watcher()
    watcher.see(0.5, lambda time: [face()])
    assert watcher.attentive is True
    watcher.see(0.25, lambda time: [face(yaw=50)])
    assert watcher.attentive is True
    watcher.see(0.5, lambda time: [face()])
    watcher.see(0.5, lambda time: [face(yaw=-50)])
    assert watcher.attentive is False
    watcher.see(0.1, lambda time: [face(yaw=5)])
    assert watcher.attentive is True, "turning back counts at once"
    watcher.see(0.5, lambda time: [face(pitch=-45)])
    assert watcher.attentive is False


def test_a_head_at_the_limit_does_not_flicker() -> None:
    watcher = Watcher()
    watcher.see(0.5, lambda time: [face(yaw=19)])
    watcher.see(1.0, lambda time: [face(yaw=22 + 4 * float(np.sin(9 * time)))])
    assert watcher.attentive is True
    watcher.see(1.0, lambda time: [face(yaw=50)])
    watcher.see(1.0, lambda time: [face(yaw=24 + 2 * float(np.sin(9 * time)))])
    assert watcher.attentive is False


def test_the_back_of_a_head_is_turned_away_and_an_empty_room_is_nothing() -> None:
    watcher = Watcher()
    watcher.see(0.5, lambda time: [face()])
    watcher.see(0.3, lambda time: [])
    assert watcher.attentive is True, "missed for a moment"
    watcher.see(1.0, lambda time: [])
    assert watcher.attentive is False
    watcher.see(10.0, lambda time: [])
    assert watcher.attentive is None


def test_somebody_who_faces_the_camera_is_enough() -> None:
    watcher = Watcher()
    watcher.see(1.0, lambda time: [face(yaw=60), face(id=1)])
    assert watcher.attentive is True


def test_a_gesture_acts_once_and_again_after_a_pause() -> None:
    watcher = Watcher(gestures=(("open palm", "stop_speaking"), ("thumbs up", "none")))
    watcher.see(0.15, lambda time: [hand("open palm")])
    assert watcher.actions == [], "not held long enough"
    watcher.see(2.0, lambda time: [hand("open palm"), hand("thumbs up")])
    assert watcher.actions == ["stop_speaking"]
    watcher.see(0.3, lambda time: [])
    watcher.see(1.0, lambda time: [hand("open palm")])
    assert watcher.actions == ["stop_speaking"], "a hand that was missed for a moment has not gone"
    watcher.see(1.0, lambda time: [hand("closed fist")])
    watcher.see(1.0, lambda time: [hand("open palm")])
    assert watcher.actions == ["stop_speaking"] * 2


def test_flickering_gestures_do_not_act() -> None:
    watcher = Watcher(gestures=(("open palm", "stop_speaking"),))
    for _ in range(5):
        watcher.see(0.1, lambda time: [hand("open palm")], 30)
        watcher.see(0.4, lambda time: [], 30)
    assert watcher.actions == []


@pytest.mark.parametrize(
    ("detectors", "looks", "needed"),
    [
        (("hands",), VisualCueSettings(), ("hands",)),
        (("hands",), VisualCueSettings(lips=True), ("hands", "face_landmarks")),
        (("holistic",), VisualCueSettings(lips=True, look_to_talk=True), ("holistic",)),
        (("hands",), VisualCueSettings(look_to_talk=True), ("hands", "faces")),
        (("faces",), VisualCueSettings(look_to_talk=True), ("faces",)),
        ((), VisualCueSettings(gestures=(("open palm", "stop_speaking"),)), ("gestures",)),
        ((), VisualCueSettings(gestures=(("open palm", "none"),)), ()),
    ],
)
def test_looks_bring_their_detectors_along(
    detectors: tuple[DetectorName, ...], looks: VisualCueSettings, needed: tuple[DetectorName, ...]
) -> None:
    assert VisionSettings(detectors=detectors, looks=looks).needed == needed
