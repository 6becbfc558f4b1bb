"""The echo of ``--bench-echo``: what a peer says goes straight back, so that the media path is measured alone."""

from __future__ import annotations

import numpy as np

from media.audio_in import QUIET_PEAK
from media.audio_out import AudioOut
from media.channel import Channel
from media.frames import AudioChunk
from media.opus import FRAME_SECONDS, RATE

MOST_FRAMES = 3
"""Frames that may wait to be sent. Without a limit every burst of delay would stay in the echo for good."""


async def echo(chunks: Channel[AudioChunk], out: AudioOut) -> None:
    """Send ``chunks`` (mono, 48 kHz) back until they end.

    In quiet a frame that would wait behind another is left out: delay that a burst has brought is gone after it.
    """
    playout, written = out.open(), 0.0
    async for chunk in chunks:
        assert chunk.rate == RATE
        loud = len(chunk.samples) > 0 and int(np.abs(chunk.samples.astype(np.int32)).max()) > QUIET_PEAK
        waiting = round((written - playout.heard_seconds) / FRAME_SECONDS)
        if waiting < (MOST_FRAMES if loud else 1):
            await playout.write(chunk.samples, RATE)
            written += chunk.seconds
    playout.finish()
