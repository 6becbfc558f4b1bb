"""A remote audio track → chunks of 16 kHz mono, without holes and never stopping.

aiortc queues the frames of a track that nobody reads without bound, so this reads for as long as the track lives.
"""

from __future__ import annotations

import asyncio

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from media.channel import Channel
from media.frames import AudioChunk, silence
from media.resample import mono

STALL_SECONDS = 0.2
"""Without a frame for this long, silence is made up: turn-taking counts audio time and must not stand still when a
client mutes by sending nothing (DTX, a removed track)."""
LONGEST_FILL_SECONDS = 1.0
"""A hole in the timestamps is filled with silence up to this length; a longer one was a pause of the sender, for which
silence has been made up already."""
CAPACITY_CHUNKS = 250
"""5 s of 20 ms frames may wait for the conversation before the oldest are dropped."""


class AudioIn:
    """Owns the reading of one track; ``chunks`` is where the audio comes out and is closed when the track ends.

    The media time of a chunk is the length of audio delivered before it, so it never jumps.
    """

    def __init__(self, track: MediaStreamTrack, rate: int) -> None:
        self.chunks: Channel[AudioChunk] = Channel(CAPACITY_CHUNKS)
        self.lost_seconds = 0.0
        """Silence put in for holes in the sender's timestamps (lost packets)."""
        self.stalled_seconds = 0.0
        """Silence made up while nothing arrived."""
        self._track = track
        self._rate = rate
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
        self._delivered = 0
        self._next_pts: int | None = None
        self._stalled = False

    async def run(self) -> None:
        """Read until the track ends."""
        try:
            while True:
                try:
                    async with asyncio.timeout(STALL_SECONDS if self._next_pts is not None else None):
                        frame = await self._track.recv()
                except TimeoutError:
                    self._stall()
                    continue
                if isinstance(frame, av.AudioFrame):
                    self._take(frame)
        except MediaStreamError:
            pass
        finally:
            self.chunks.close()

    def _take(self, frame: av.AudioFrame) -> None:
        pts, rate = frame.pts or 0, frame.sample_rate
        if self._next_pts is not None and pts > self._next_pts and not self._stalled:
            missing = (pts - self._next_pts) / rate
            if missing <= LONGEST_FILL_SECONDS:
                self.lost_seconds += missing
                self._deliver(silence(missing, self._rate))
        self._stalled = False
        self._next_pts = pts + frame.samples
        for resampled in self._resampler.resample(frame):
            self._deliver(mono(resampled))

    def _stall(self) -> None:
        self._stalled = True
        self.stalled_seconds += STALL_SECONDS
        self._deliver(silence(STALL_SECONDS, self._rate))

    def _deliver(self, samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> None:
        if len(samples):
            self.chunks.put(AudioChunk(samples, self._rate, self._delivered / self._rate))
            self._delivered += len(samples)
