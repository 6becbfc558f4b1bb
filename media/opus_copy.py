"""What Opus leaves of a sound: encoded and decoded again, at once and off any event loop."""

from __future__ import annotations

import numpy as np

from media.frames import Samples
from media.opus import FRAME, RATE, OpusDecoder, OpusEncoder, OpusSettings
from media.resample import Resampler

_DELAY = 312
"""Samples at 48 kHz by which the codec is late."""


def through_opus(samples: Samples, rate: int, bitrate: int) -> Samples:
    """Mono ``samples`` at ``rate`` hertz, shape ``(n,)``, as they come out of the codec; of the same length and place.

    Blocking: about 3 ms for a second of sound.
    """
    up, down = Resampler(RATE), Resampler(rate)
    wide = np.concatenate([up.push(samples, rate), up.flush()])
    wide = np.pad(wide, (0, -(len(wide) + _DELAY) % FRAME + _DELAY))
    encoder = OpusEncoder(OpusSettings(bitrate=bitrate))
    decoder = OpusDecoder()
    heard = []
    for n in range(len(wide) // FRAME):
        packet = encoder.encode(wide[n * FRAME : (n + 1) * FRAME], n)
        heard.append(decoder.decode(bytes(packet)).copy())
    sound = np.concatenate([np.zeros(0, np.int16), *heard])[_DELAY:]
    narrow = np.concatenate([down.push(sound, RATE), down.flush()])
    return np.pad(narrow, (0, max(0, len(samples) - len(narrow))))[: len(samples)]
