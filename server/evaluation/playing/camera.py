"""The camera of a scenario: grey until something is shown, then a picture, or a clip that stops at its last frame."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from media.clock import Clock
from media.files import TooLongError, UnreadableFileError
from media.frames import Picture, Pixels
from media.video_files import Reading, read
from pipelines.errors import VisionError
from pipelines.vision.images import smaller, still
from server.settings import SettingsError

WIDTH, HEIGHT, FPS = 640, 480, 15
_CLIPS = (".mp4", ".webm", ".mov", ".mkv")
LONGEST_SECONDS = 15.0
"""Of a clip."""
Shown = list[tuple[float, Pixels]]
"""When a picture is shown, from the beginning, and its RGB pixels."""


def shown(path: Path | None) -> Shown:
    """What is to be seen of a file; ``None``: grey. Raises :class:`~server.settings.SettingsError`."""
    if path is None:
        return [(0.0, np.full((HEIGHT, WIDTH, 3), 110, np.uint8))]
    try:
        data = path.read_bytes()
        if path.suffix.lower() not in _CLIPS:
            return [(0.0, _fitted(still(data, path.name)))]
        wanted = Reading(longest=600.0, fps=FPS, longest_side=WIDTH, sound=False)
        return [
            (one.time, _fitted(one.pixels))
            for one in read(io.BytesIO(data), wanted)
            if isinstance(one, Picture) and one.time < LONGEST_SECONDS
        ]
    except (OSError, VisionError, UnreadableFileError, TooLongError) as error:
        raise SettingsError(f"{path} cannot be read as a picture or a clip: {error}") from error


def _fitted(pixels: Pixels) -> Pixels:
    """The picture in the middle of one of the camera's size."""
    small = smaller(pixels, WIDTH)
    if small.shape[0] > HEIGHT:
        small = smaller(pixels, HEIGHT)
    whole = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    top, left = (HEIGHT - small.shape[0]) // 2, (WIDTH - small.shape[1]) // 2
    whole[top : top + small.shape[0], left : left + small.shape[1]] = small
    return whole


class Camera(MediaStreamTrack):
    """Fifteen pictures a second."""

    kind = "video"

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._start: float | None = None
        self._number = 0
        self._shown: Shown = shown(None)
        self._since = 0.0

    def show(self, what: Shown) -> None:
        """From the next picture on."""
        self._shown, self._since = what, self._clock.now()

    async def recv(self) -> av.VideoFrame:
        """The next picture, when it is due. Raises ``MediaStreamError`` after ``stop()``."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._start is None:
            self._start = self._clock.now()
        await self._clock.sleep(self._start + self._number / FPS - self._clock.now())
        passed = self._clock.now() - self._since
        pixels = next((pixels for time, pixels in reversed(self._shown) if time <= passed), self._shown[0][1])
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = self._number, Fraction(1, FPS)
        self._number += 1
        return frame
