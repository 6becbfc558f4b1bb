"""Pre-roll: the last moments of audio, kept so that no first syllable is lost when speech is noticed late."""

from __future__ import annotations

from collections import deque

import numpy as np

from media.frames import AudioChunk, Samples


class AudioRing:
    """The last ``seconds`` of a stream of chunks."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._chunks: deque[AudioChunk] = deque()

    def push(self, chunk: AudioChunk) -> None:
        """Add the next chunk and forget what is older than ``seconds`` before its end."""
        self._chunks.append(chunk)
        while self._chunks[0].end <= chunk.end - self.seconds:
            self._chunks.popleft()

    def since(self, time: float) -> Samples:
        """All samples kept whose chunk ends after media time ``time``; shape ``(n,)``, possibly empty."""
        kept = [chunk.samples for chunk in self._chunks if chunk.end > time]
        return np.concatenate(kept) if kept else np.zeros(0, np.int16)
