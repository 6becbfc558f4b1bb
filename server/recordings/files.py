"""The files of one recording, written as it goes on: a WAV, JSON lines, and a WebM. Blocking, for a worker's thread.

What has been written can be read at any time: nothing is to be put in order at the end.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from media.frames import Samples, VideoFrame
from media.video_convert import Converter
from media.video_files import VideoEncoder
from server.recordings.stereo import RATE, Sides, Stereo, mono

LEAST_FREE_MB = 64
"""Of the disk: with less left nothing more is written, for others need it, too."""
LARGEST_WAVE = (1 << 32) - (1 << 20)
"""Bytes; the head of a WAV cannot tell of more."""
FPS = 12.0
LONGEST_SIDE = 1280
"""Pixels of the video."""


class DiskFullError(Exception):
    """There is no room for more."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What has come in a moment."""

    user: tuple[Samples, ...] = ()
    user_rate: int = 16_000
    assistant: tuple[Samples, ...] = ()
    """At 48 kHz."""
    events: tuple[tuple[float, Mapping[str, Any]], ...] = ()
    """Seconds of the recording, and the event as clients are told."""


class RecordingFiles:
    """``stem`` is the path without its ending. Raises ``OSError`` and :class:`DiskFullError`; then close it."""

    def __init__(self, stem: Path, *, sound: bool, video: bool) -> None:
        self.size = 0
        """Bytes written so far."""
        self._stem = stem
        stem.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_room()
        self._open: list[IO[bytes]] = []
        self._sides = Sides()
        try:
            self._events = self._new(".jsonl")
            self._wave = self._new(".wav") if sound else None
            self._video = self._new(".webm") if video else None
            if self._wave is not None:
                self._wave.write(_wave_head(0))
        except BaseException:
            with suppress(OSError):
                self._let_go()
            raise
        self._wave_bytes = 0
        self._encoder: VideoEncoder | None = None
        self._converter = Converter()
        self._origin = 0.0
        """Second of the recording at which the video begins: with the first picture."""

    def write(self, batch: Batch) -> None:
        """The next moment."""
        self._check_room()
        for samples in batch.user:
            self._sides.user.push(samples, batch.user_rate)
        for samples in batch.assistant:
            self._sides.assistant.push(samples, 48_000)
        self._sound(self._sides.take())
        self._tell(batch.events)

    def picture(self, frame: VideoFrame, time: float) -> None:
        """What the camera shows from ``time`` on, in seconds of the recording."""
        if self._video is None:
            return
        pixels = self._converter.picture(frame, LONGEST_SIDE).pixels
        if self._encoder is None:
            height, width = pixels.shape[:2]
            self._encoder = VideoEncoder("webm", width, height, fps=FPS, sound=self._wave is not None)
            self._origin = self._wave_bytes / (4 * RATE) if self._wave is not None else time
        self._put(self._video, self._encoder.picture(pixels, max(0.0, time - self._origin)))

    def close(self) -> None:
        """Write what is left, as far as there is room. Idempotent."""
        try:
            if self._open:
                self._sound(self._sides.rest())
                if self._encoder is not None and self._video is not None:
                    self._put(self._video, self._encoder.finish())
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Close every file, also where the last of one cannot be written any more. Raises what the first raised."""
        with ExitStack() as stack:
            for file in self._open:
                stack.callback(file.close)
            self._open.clear()

    def _sound(self, stereo: Stereo) -> None:
        if self._wave is None or not len(stereo):
            return
        if self._wave_bytes + stereo.nbytes > LARGEST_WAVE:
            raise DiskFullError("a WAV cannot be longer")
        self._put(self._wave, np_bytes(stereo))
        self._wave_bytes += stereo.nbytes
        at = self._wave.tell()
        self._wave.seek(0)
        self._wave.write(_wave_head(self._wave_bytes))
        self._wave.seek(at)
        self._wave.flush()
        if self._video is not None and self._encoder is not None:
            self._put(self._video, self._encoder.sound(mono(stereo), RATE))

    def _tell(self, events: Iterable[tuple[float, Mapping[str, Any]]]) -> None:
        lines = [json.dumps({"at": round(at, 3), **event}, ensure_ascii=False) for at, event in events]
        if lines:
            self._put(self._events, ("\n".join(lines) + "\n").encode())
            self._events.flush()

    def _put(self, file: IO[bytes], data: bytes) -> None:
        file.write(data)
        self.size += len(data)

    def _new(self, ending: str) -> IO[bytes]:
        path = self._stem.with_name(self._stem.name + ending)
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        self._open.append(file)
        return file

    def _check_room(self) -> None:
        disk = os.statvfs(self._stem.parent)
        if disk.f_bavail * disk.f_frsize < LEAST_FREE_MB << 20:
            raise DiskFullError(f"the disk has less than {LEAST_FREE_MB} MB left")


def np_bytes(stereo: Stereo) -> bytes:
    """Samples as a WAV has them."""
    return stereo.astype("<i2").tobytes()


def _wave_head(size: int) -> bytes:
    """Of a WAV with ``size`` bytes of 16-bit samples for two sides."""
    form = struct.pack("<HHIIHH", 1, 2, RATE, RATE * 4, 4, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + (b"data" + struct.pack("<I", size))
    )
