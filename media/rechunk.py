"""Any size in, fixed size out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from media.frames import AudioChunk


class Rechunker:
    """Cuts a stream of chunks into windows of exactly ``size`` samples, keeping media time.

    When a chunk does not start where the last one ended, the incomplete window before it is dropped: a window never
    spans a hole.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._held: AudioChunk | None = None

    def push(self, chunk: AudioChunk) -> Iterator[AudioChunk]:
        """The windows that ``chunk`` completes, oldest first."""
        held = self._held
        if held is not None and abs(held.end - chunk.time) < 0.5 / chunk.rate:
            chunk = AudioChunk(np.concatenate([held.samples, chunk.samples]), chunk.rate, held.time)
        whole = len(chunk.samples) - len(chunk.samples) % self.size
        for start in range(0, whole, self.size):
            yield self._part(chunk, start, start + self.size)
        self._held = self._part(chunk, whole, len(chunk.samples)) if whole < len(chunk.samples) else None

    @staticmethod
    def _part(chunk: AudioChunk, start: int, stop: int) -> AudioChunk:
        return AudioChunk(chunk.samples[start:stop], chunk.rate, chunk.time + start / chunk.rate)
