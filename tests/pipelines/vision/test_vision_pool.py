"""Trackers go from one session to the next: time goes on, nothing is remembered, nothing piles up."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

from media.frames import Picture
from pipelines.errors import VisionError
from pipelines.interfaces.vision import Detection
from pipelines.vision.tracker_pool import TrackerPool


class FakeTracker:
    def __init__(self, detectors: Collection[str]) -> None:
        self.detectors = tuple(detectors)
        self.seen: list[Picture] = []
        self.resets = 0
        self.closed = False
        self.broken: Exception | None = None

    def select(self, detectors: Collection[str]) -> None:
        self.detectors = tuple(detectors)

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        assert not self.closed
        if self.broken:
            raise self.broken
        self.seen.append(picture)
        return ()

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.closed = True


class FakeDetector:
    name = "fake"
    detectors = ("faces", "hands")
    unavailable: dict[str, str] = {}  # noqa: RUF012
    kinds = ("face",)

    def __init__(self) -> None:
        self.opened: list[FakeTracker] = []

    def open(self, detectors: Collection[str] | None = None) -> FakeTracker:
        self.opened.append(FakeTracker(detectors or ()))
        return self.opened[-1]

    @property
    def alive(self) -> int:
        return sum(not tracker.closed for tracker in self.opened)


def picture(time: float, level: int = 9) -> Picture:
    return Picture(np.full((4, 4, 3), level, np.uint8), time)


@pytest.fixture
def detector() -> FakeDetector:
    return FakeDetector()


def test_fifty_sessions_one_after_another_open_one_tracker(detector):
    pool = TrackerPool(detector)
    for _ in range(50):
        tracker = pool.open(("faces",))
        tracker.detect(picture(1.0))
        tracker.close()
        tracker.close()
    assert len(detector.opened) == 1
    pool.close()
    assert detector.alive == 0


def test_time_goes_on_across_sessions_and_what_was_followed_is_forgotten(detector):
    pool = TrackerPool(detector)
    for start in (1000.0, 3.0):
        tracker = pool.open(("faces",))
        for n in range(3):
            tracker.detect(picture(start + n / 10))
        tracker.close()
    (inner,) = detector.opened
    times = [seen.time for seen in inner.seen]
    assert times == sorted(set(times))
    assert np.diff(times)[4:6] == pytest.approx([0.1, 0.1])  # the distances within a session are its own
    assert inner.seen[3].pixels.std() == 0  # an empty picture lies between two sessions
    assert inner.seen[3].pixels.shape != inner.seen[2].pixels.shape
    assert inner.resets == 2


def test_only_so_many_are_kept(detector):
    pool = TrackerPool(detector, spare=1)
    lent = [pool.open(("faces",)) for _ in range(5)]
    for tracker in lent:
        tracker.close()
    assert detector.alive == 1


def test_one_that_has_the_detectors_open_is_preferred(detector):
    pool = TrackerPool(detector, spare=2)
    first, second = pool.open(("faces",)), pool.open(("hands",))
    first.close()
    second.close()
    again = pool.open(("hands",))
    assert again.detectors == ("hands",)
    other = pool.open(("objects",))
    assert other.detectors == ("faces",)
    other.select(("objects",))
    assert detector.opened[0].detectors == ("objects",)
    assert len(detector.opened) == 2


FAILURES = [VisionError("faces_failed", "no faces"), KeyError("nobody thought of it")]


@pytest.mark.parametrize("failure", FAILURES, ids=["told", "unforeseen"])
def test_one_that_failed_is_not_handed_on(detector, failure):
    pool = TrackerPool(detector)
    tracker = pool.open(("faces",))
    detector.opened[0].broken = failure
    with pytest.raises(type(failure)):
        tracker.detect(picture(1.0))
    detector.opened[0].broken = None
    tracker.close()
    assert detector.alive == 0
    pool.open(("faces",))
    assert len(detector.opened) == 2


@pytest.mark.parametrize("failure", FAILURES, ids=["told", "unforeseen"])
def test_one_that_fails_when_it_shall_forget_is_closed(detector, failure):
    pool = TrackerPool(detector)
    tracker = pool.open(("faces",))
    tracker.detect(picture(1.0))
    detector.opened[0].broken = failure
    tracker.close()
    assert detector.alive == 0


def test_where_none_is_kept_none_is_made_to_forget(detector):
    tracker = TrackerPool(detector, spare=0).open(("faces",))
    tracker.detect(picture(1.0))
    tracker.close()
    assert len(detector.opened[0].seen) == 1
    assert detector.alive == 0


def test_given_back_to_a_closed_pool_it_is_closed(detector):
    pool = TrackerPool(detector)
    tracker = pool.open(("faces",))
    pool.close()
    tracker.close()
    assert detector.alive == 0


def test_memory_is_given_back_after_each_session(detector):
    released = []
    pool = TrackerPool(detector, release=lambda: released.append(True))
    for session in range(3):
        pool.open(("faces",)).close()
        assert len(released) == session + 1
    assert len(detector.opened) == 1
