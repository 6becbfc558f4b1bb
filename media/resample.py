"""Change of sample rate for streams: stateful, so that the joins between chunks make no click."""

from __future__ import annotations

import av
import numpy as np

from media.frames import Samples


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
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None, :], format="s16", layout="mono")
        frame.sample_rate = rate
        return self._join(before, self._resampler.resample(frame))

    def flush(self) -> Samples:
        """What the filter still holds."""
        if self._resampler is None:
            return np.zeros(0, np.int16)
        rest = self._join(np.zeros(0, np.int16), self._resampler.resample(None))
        self._resampler, self._input_rate = None, 0
        return rest

    @staticmethod
    def _join(before: Samples, frames: list[av.AudioFrame]) -> Samples:
        return np.concatenate([before, *(mono(frame) for frame in frames)])


def mono(frame: av.AudioFrame) -> Samples:
    """The samples of a mono s16 frame, shape ``(n,)``."""
    return frame.to_ndarray().reshape(-1).astype(np.int16, copy=False)
