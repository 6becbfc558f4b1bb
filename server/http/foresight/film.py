"""A video as a file that grows: fragmented MP4, which plays from its first fragment on and wherever it is cut off."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import IO

from media.frames import Picture, Pixels
from media.recordings.video_encoder import VideoEncoder
from pipelines.runtime.worker import Worker

FRAGMENT_SECONDS = 0.2


class Waiters:
    """Wakes all who wait for a change."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Is set at the next change; take it before looking at what may change."""
        return self._next

    def wake(self) -> None:
        """Something has changed."""
        self._next.set()
        self._next = asyncio.Event()


class Film:
    """The file at ``path``, which ``worker`` writes."""

    def __init__(self, path: Path, worker: Worker) -> None:
        self.path = path
        self.size = 0
        """Bytes that can be read."""
        self.whole = False
        self.over = False
        """Nothing more comes, whether it is whole or not."""
        self.grown = Waiters()
        self._worker = worker
        self._encoder: VideoEncoder | None = None
        self._file: IO[bytes] | None = None

    async def push(self, pixels: Pixels, pts: float) -> None:
        """The next frame. Raises ``OSError``."""
        self._grow(await self._worker.run(self._push, pixels, pts))

    async def finish(self) -> None:
        """The last frame has come. Raises ``OSError``."""
        self._grow(await self._worker.run(self._finish))
        self.whole = True
        self.end()

    def end(self) -> None:
        """No more frames come. Idempotent."""
        self.over = True
        self.grown.wake()

    async def remove(self) -> None:
        """Delete it."""
        self.end()
        await self._worker.run(self._remove)

    def _grow(self, size: int) -> None:
        if size != self.size:
            self.size = size
            self.grown.wake()

    # ------------------------------------------------------------------------------------------------ thread

    def _push(self, pixels: Pixels, pts: float) -> int:
        if self._encoder is None:
            self._encoder = VideoEncoder("mp4", FRAGMENT_SECONDS)
            self._file = self.path.open("wb")
        return self._write(self._encoder.push(Picture(pixels, pts)))

    def _finish(self) -> int:
        assert self._encoder is not None, "there is a frame at least"
        size = self._write(self._encoder.finish())
        self._close()
        return size

    def _write(self, data: bytes) -> int:
        assert self._file is not None
        if data:
            self._file.write(data)
            self._file.flush()
        return self._file.tell()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._encoder = None

    def _remove(self) -> None:
        self._close()
        self.path.unlink(missing_ok=True)
