"""Change of sample rate for streams: stateful, so that the joins between chunks make no click."""

from __future__ import annotations

import av
import numpy as np

from media.frames import Samples

_NOTHING = np.zeros(0, np.int16)


class Resampler:
    """Mono s16 from any rate to ``rate`` hertz, with libswresample.

    The filter holds back a few samples (under 1 ms at 48 kHz) that :meth:`flush` returns; after it the resampler
    starts afresh. A change of input rate in mid-stream flushes by itself.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._input_rate = 0
        self._resampler: av.AudioResampler | None = None

    def push(self, samples: Samples, rate: int) -> Samples:
        """Samples at ``rate`` hertz in, shape ``(n,)``; samples at the output rate out."""
        if rate == self.rate and self._resampler is None:
            return samples
        before = self.flush() if rate != self._input_rate else samples[:0]
        if rate == self.rate:
            return np.concatenate([before, samples])
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=self.rate)
            self._input_rate = rate
        made = [mono(frame) for frame in self._resampler.resample(frame_of(samples, rate))]
        return made[0] if len(made) == 1 and not len(before) else np.concatenate([before, *made])

    def flush(self) -> Samples:
        """What the filter still holds."""
        if self._resampler is None:
            return _NOTHING
        rest = np.concatenate([_NOTHING, *(mono(frame) for frame in self._resampler.resample(None))])
        self._resampler, self._input_rate = None, 0
        return rest


def frame_of(samples: Samples, rate: int) -> av.AudioFrame:
    """Mono samples, shape ``(n,)``, as a frame of FFmpeg's; ``n`` must not be 0."""
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
    frame.planes[0].update(np.ascontiguousarray(samples).view(np.uint8))
    frame.sample_rate = rate
    return frame


def mono(frame: av.AudioFrame) -> Samples:
    """The samples of a mono s16 frame, shape ``(n,)``."""
    return np.frombuffer(frame.planes[0], np.int16, frame.samples)  # a view: to_ndarray would copy three times
