"""A detector that finds the same face in every picture, as slowly or as badly as the test says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar

from media.frames import Picture
from pipelines.errors import VisionError
from pipelines.interfaces.vision import Detection

FOUND = (Detection("face", 0, (0.2, 0.2, 0.2, 0.2), 0.9),)


class FakeVision:
    """Finds a face in every picture; ``look`` may take time or raise."""

    name = "fake-vision"
    kinds = ("face",)
    detectors = ("faces", "hands", "pose")
    unavailable: ClassVar[dict[str, str]] = {}

    def __init__(self, look: Callable[[], None] = lambda: None) -> None:
        self.look = look
        self.broken: VisionError | None = None
        """Raised by :meth:`open`."""
        self.selected: list[tuple[str, ...]] = []
        self.opened = 0
        self.closed = 0
        self.was_closed = threading.Event()
        self.looking = threading.Lock()
        self.threads: set[str] = set()

    def open(self, detectors: tuple[str, ...] | None = None) -> FakeVision:
        self.threads.add(threading.current_thread().name)
        if self.broken:
            raise self.broken
        self.opened += 1
        return self

    def select(self, detectors: tuple[str, ...]) -> None:
        self.threads.add(threading.current_thread().name)
        self.selected.append(tuple(detectors))

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        self.threads.add(threading.current_thread().name)
        with self.looking:
            self.look()
        return FOUND

    def close(self) -> None:
        assert not self.looking.locked(), "closed while it was looking"
        self.threads.add(threading.current_thread().name)
        self.closed += 1
        self.was_closed.set()
