"""The scene in words, and when a change of it is told."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.interfaces.vision import Detection, Expression
from pipelines.vision.scene import SceneTracker, describe


def face(x: float = 0.4, *, size: float = 0.2, turn: float = 0.0, number: int = 0) -> Detection:
    """``turn``: how far the nose is from the middle, in ear distances."""
    box = (x, 0.3, size, size)
    ears = np.array([x + 0.1 * size, x + 0.9 * size])
    nose = ears.mean() + turn * np.ptp(ears)
    across = [x + 0.3 * size, x + 0.7 * size, nose, nose, *ears]
    return Detection("face", number, box, 0.9, "", np.array([(a, 0.35) for a in across], np.float32))


def mesh(x: float = 0.4, *, smile: float = 0.0, yaw: float = 0.0, pitch: float = 0.0) -> Detection:
    """A face whose expression is known."""
    looks = Expression(0.0, smile, 0.0, yaw, pitch)
    return Detection("face", 0, (x, 0.3, 0.2, 0.2), 0.9, "", np.full((478, 2), 0.5, np.float32), expression=looks)


def hand(x: float, y: float, label: str = "right", number: int = 0, gesture: str = "") -> Detection:
    """Its centre is at ``x``, ``y``."""
    return Detection("hand", number, (x - 0.05, y - 0.05, 0.1, 0.1), 0.9, label, gesture=gesture)


def thing(name: str) -> Detection:
    return Detection("object", 0, (0.1, 0.1, 0.1, 0.1), 0.8, name)


def pose(shoulder_y: float = 0.6) -> Detection:
    points = np.full((33, 2), 0.5, np.float32)
    points[11], points[12] = (0.7, shoulder_y), (0.3, shoulder_y)
    return Detection("pose", 0, (0.2, 0.2, 0.6, 0.8), 0.9, "", points)


SIDE = 0.9
"""A turn of the head at which one ear is nearly hidden."""


@pytest.mark.parametrize(
    ("detections", "words"),
    [
        ([], "nobody in view"),
        ([thing("person"), thing("cup")], "one person, a cup"),
        ([thing("person"), thing("person"), hand(0.5, 0.5)], "two people"),
        ([hand(0.5, 0.5)], "one hand visible"),
        ([hand(0.2, 0.5), hand(0.8, 0.5, number=1)], "two hands visible"),
        ([face()], "one person, facing the camera"),
        ([pose()], "one person"),
        ([face(), pose()], "one person, facing the camera"),
        ([face(turn=SIDE)], "one person, looking away"),
        ([face(size=0.04)], "one person"),
        ([face(0.2, size=0.6)], "one person, facing the camera, close to the camera"),
        ([face(0.1), face(0.6, number=1)], "two people"),
        ([face(n / 10, size=0.1, number=n) for n in range(7)], "many people"),
        # with a body, the shoulder line decides
        ([face(), pose(0.6), hand(0.2, 0.4)], "one person, right hand raised, facing the camera"),
        ([face(), pose(0.6), hand(0.2, 0.58)], "one person, one hand visible, facing the camera"),
        ([pose(0.6), hand(0.2, 0.4), hand(0.8, 0.4, "left", 1)], "one person, both hands raised"),
        ([pose(0.6), hand(0.2, 0.8), hand(0.8, 0.4, "left", 1)], "one person, left hand raised"),
        ([pose(0.6), hand(0.2, 0.8), hand(0.8, 0.8, "left", 1)], "one person, both hands visible"),
        ([pose(0.6), hand(0.2, 0.4, label="")], "one person, one hand raised"),
        # without one, the chin of the face
        ([face(turn=SIDE), hand(0.2, 0.5)], "one person, right hand raised, looking away"),
        ([face(turn=SIDE), hand(0.2, 0.6)], "one person, one hand visible, looking away"),
        ([face(0.1), face(0.6, number=1), hand(0.7, 0.4)], "two people, one hand raised"),
        ([face(0.1), face(0.6, number=1), hand(0.7, 0.9)], "two people"),
        # what a face and a hand express
        ([mesh()], "one person, facing the camera"),
        ([mesh(yaw=30)], "one person, looking away"),
        ([mesh(pitch=-40)], "one person, looking away"),
        ([mesh(smile=0.8)], "one person, facing the camera, smiling"),
        ([pose(), hand(0.2, 0.4, gesture="thumbs up")], "one person, right hand raised, thumbs up"),
        (
            [mesh(smile=0.8), hand(0.2, 0.4, gesture="victory sign"), thing("cup")],
            "one person, right hand raised, facing the camera, smiling, victory sign, a cup",
        ),
        ([mesh(0.1, smile=0.8), face(0.6, number=1)], "two people"),
        # things
        ([thing("cup"), thing("apple")], "nobody in view, an apple, a cup"),
        ([face(0.1), face(0.6, number=1), thing("cup"), thing("cup")], "two people, a cup"),
        ([thing(name) for name in "fedcba"], "nobody in view, an a, a b, a c, a d"),
        # an outline alone is nobody
        ([Detection("person", 0, (0.2, 0.2, 0.5, 0.8), 0.9)], "nobody in view"),
    ],
)
def test_the_scene_is_said_in_words(detections: list[Detection], words: str) -> None:
    assert describe(detections) == words


def test_what_was_said_holds_until_it_is_clearly_untrue() -> None:
    half_turned = [face(turn=0.25)]
    assert describe(half_turned) == "one person, looking away"
    assert describe(half_turned, "one person, facing the camera") == "one person, facing the camera"
    assert describe([face(turn=0.4)], "one person, facing the camera") == "one person, looking away"
    assert describe([mesh(smile=0.4)]) == "one person, facing the camera"
    assert describe([mesh(smile=0.4)], "one person, smiling").endswith(", smiling")


class Camera:
    """Feeds a tracker with pictures a tenth of a second apart."""

    def __init__(self, step: float = 0.1) -> None:
        self.tracker = SceneTracker()
        self.step = step
        self.count = 0
        self.told: list[tuple[str, float]] = []
        self.objects: tuple[Detection, ...] = ()
        self.exact = True
        """Whether what is told has to be what is seen in that picture."""

    def show(self, *detections: Detection, pictures: int = 1) -> list[str]:
        """What was told in these pictures."""
        before = len(self.told)
        for _ in range(pictures):
            time = self.count * self.step
            self.count += 1
            if changed := self.tracker.update(detections, time):
                assert changed.objects == detections or not self.exact
                self.objects = changed.objects
                assert changed.time == time
                self.told.append((changed.scene, round(time, 3)))
        return [scene for scene, _ in self.told[before:]]


def test_a_scene_is_told_once_when_it_has_lasted() -> None:
    camera = Camera()
    camera.show(pictures=20)
    camera.show(pose(), pictures=20)
    assert camera.told == [("nobody in view", 0.4), ("one person", 2.4)]


def test_missed_pictures_are_not_told() -> None:
    camera = Camera()
    camera.show(pose(), pictures=6)
    for _ in range(10):
        assert camera.show(pictures=3) == []
        assert camera.show(pose(), pictures=2) == []


def test_a_single_odd_picture_is_not_told_however_slow_the_pictures_come() -> None:
    camera = Camera(step=1.0)
    camera.show(pose(), pictures=3)
    camera.show()
    camera.show(pose(), pictures=3)
    assert [scene for scene, _ in camera.told] == ["one person"]


def test_other_objects_are_told_though_the_words_are_the_same() -> None:
    camera = Camera()
    assert camera.show(pose(), pictures=6) == ["one person"]
    assert camera.show(pose(), face(size=0.04), pictures=6) == ["one person"]
    assert camera.show(pose(), face(size=0.04), pictures=6) == []


@pytest.mark.parametrize("pattern", ["10", "100", "1100", "1000"])
def test_what_comes_and_goes_keeps_nothing_else_from_being_told(pattern: str) -> None:
    camera = Camera()
    shown = [face(), hand(0.2, 0.9)]
    for n in range(100):
        camera.show(*shown[: 1 + int(pattern[n % len(pattern)])])
    assert camera.told == [("one person, facing the camera", pytest.approx(0.5, abs=0.11))]
    for n in range(20):
        camera.show(thing("cup"), *shown[: 1 + int(pattern[n % len(pattern)])])
    assert [scene for scene, _ in camera.told[1:]] == ["one person, facing the camera, a cup"]


def test_what_was_told_stays_while_it_flickers_and_is_told_with_what_else_changes() -> None:
    camera = Camera()
    camera.show(face(), hand(0.2, 0.9), pictures=10)
    camera.exact = False
    for n in range(30):
        camera.show(*([face(), hand(0.2, 0.9), thing("cup")] if n % 2 else [face(), thing("cup")]))
    both = "one person, one hand visible, facing the camera"
    assert [scene for scene, _ in camera.told] == [both, f"{both}, a cup"]
    assert {found.kind for found in camera.objects} == {"face", "hand", "object"}


def test_words_that_flicker_keep_no_others_from_being_told() -> None:
    camera = Camera()
    for n in range(30):
        camera.show(mesh(smile=0.9 * (n % 2)), hand(0.2, 0.9, gesture=("", "victory sign")[n % 2]))
    assert [scene for scene, _ in camera.told] == ["one person, one hand visible, facing the camera"]


def test_what_comes_in_one_after_the_other_is_told_together() -> None:
    camera = Camera()
    camera.show(pictures=10)
    camera.show(pose(), pictures=2)
    assert camera.show(pose(), face(), pictures=10) == ["one person, facing the camera"]


def test_a_camera_that_starts_anew_goes_on_being_watched() -> None:
    camera = Camera()
    camera.show(pictures=30)
    camera.count = 0
    assert camera.show(pose(), pictures=6) == ["one person"]
