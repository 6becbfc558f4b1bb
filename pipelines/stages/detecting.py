"""What pictures show, for the stages of videos: a detector at a rate that is wanted, off the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from media.frames import Picture
from pipelines.errors import VisionError, foreign_errors, only_logged
from pipelines.execution.work import Work
from pipelines.interfaces.vision import Detection
from pipelines.vision.detect import Looker
from pipelines.vision.detectors import DetectorName
from pipelines.vision.scene import describe
from pipelines.vision.settings import VisionSettings
from pipelines.vision.track_log import Way
from pipelines.vision.tracker_pool import TrackerPool


class Rate:
    """Lets through so many pictures per second of media time, at most. Pure."""

    def __init__(self, fps: float) -> None:
        self._interval = 1.0 / fps
        self._next: float | None = None

    def admits(self, time: float) -> bool:
        """Whether the picture at ``time`` seconds is its turn; one from before the last one begins anew."""
        if self._next is not None and self._next - self._interval <= time < self._next - 1e-6:
            return False
        late = self._next is None or not 0 <= time - self._next < self._interval
        self._next = (time if late or self._next is None else self._next) + self._interval
        return True


class Eye:
    """The detectors of one run, opened with the first picture."""

    def __init__(self, work: Work, detectors: Sequence[DetectorName] = ()) -> None:
        stage = work.stage if work.stage.type == "video_analysis" else work.beside
        self._engine = work.engines.vision(work.pipeline, stage)
        self._worker = work.facilities.vision
        missing = [name for name in detectors if name not in self._engine.detectors]
        if missing:
            why = "; ".join(f"{name}: {self._engine.unavailable.get(name, 'is not there')}" for name in missing)
            raise VisionError("detector_unavailable", f"options.detectors: {why}")
        self._settings = VisionSettings(detectors=tuple(detectors)) if detectors else VisionSettings()
        self._looker = Looker(TrackerPool(self._engine, spare=0))
        self._scene = ""

    async def look(self, picture: Picture) -> tuple[Detection, ...]:
        """All that is found. Raises :class:`VisionError`."""
        with foreign_errors(VisionError, "vision_failed", self._engine.name):
            if not self._looker.is_set(self._settings):
                await self._worker.run(self._looker.set, self._settings)
            return await self._worker.run(self._looker.detect, picture)

    def in_words(self, found: Sequence[Detection]) -> str:
        """The scene; what is near a limit stays as it was said last."""
        self._scene = describe(found, self._scene)
        return self._scene

    async def aclose(self) -> None:
        """Free the detectors, those too that are being opened or are at work for somebody who has left. Idempotent."""
        with only_logged(f"closing {self._engine.name}"):
            await self._looker.close_on(self._worker)


def as_json(found: Detection, *, landmarks: bool, trails: bool) -> dict[str, Any]:
    """One detection for clients; coordinates are fractions of the picture."""
    told: dict[str, Any] = {
        "kind": found.kind,
        "id": found.id,
        "box": [round(float(value), 4) for value in found.box],
        "score": round(float(found.score), 3),
    }
    if found.label:
        told["label"] = found.label
    if found.gesture:
        told["gesture"] = found.gesture
    if landmarks and len(found.points):
        told["points"] = [[round(float(x), 4), round(float(y), 4)] for x, y in found.points]
    if trails and len(found.trail):
        told["trail"] = [[round(float(x), 4), round(float(y), 4)] for x, y in found.trail]
    return told


def as_track(way: Way) -> dict[str, Any]:
    """The whole way of one thing for clients; ``path``: time in seconds, and the centre in fractions of the picture."""
    told: dict[str, Any] = {"kind": way.kind, "id": way.id}
    if way.label:
        told["label"] = way.label
    return told | {
        "from": round(way.points[0][0], 3),
        "to": round(way.last, 3),
        "pictures": way.seen,
        "score": round(float(way.score), 3),
        "path": [[round(time, 3), round(x, 4), round(y, 4)] for time, x, y in way.points],
    }
