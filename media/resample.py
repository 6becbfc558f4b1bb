"""Change of sample rate for streams: stateful, so that the joins between chunks make no click."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.filter import Graph

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
        self._graph: Graph | None = None

    def push(self, samples: Samples, rate: int) -> Samples:
        """Samples at ``rate`` hertz in, shape ``(n,)``; samples at the output rate out."""
        if rate == self.rate and self._graph is None:
            return samples
        before = self.flush() if rate != self._input_rate else samples[:0]
        if rate == self.rate:
            return np.concatenate([before, samples])
        if self._graph is None:
            self._graph, self._input_rate = _graph(rate, self.rate), rate
        made = self._through(self._graph, frame_of(samples, rate))
        return made[0] if len(made) == 1 and not len(before) else np.concatenate([before, *made])

    def flush(self) -> Samples:
        """What the filter still holds."""
        if self._graph is None:
            return _NOTHING
        rest = np.concatenate([_NOTHING, *self._through(self._graph, None)])
        self.close()
        return rest

    def close(self) -> None:
        """Free the filter's memory with what it holds; the next samples start afresh. Idempotent."""
        self._graph, self._input_rate = None, 0

    @staticmethod
    def _through(graph: Graph, frame: av.AudioFrame | None) -> list[Samples]:
        graph.push(frame)
        made: list[Samples] = []
        while True:
            try:
                pulled = graph.pull()
            except (av.BlockingIOError, EOFError):  # nothing yet, and nothing any more
                return made
            assert isinstance(pulled, av.AudioFrame)
            made.append(mono(pulled))


def _graph(origin: int, target: int) -> Graph:
    """libswresample between two rates, on the caller's thread.

    :class:`av.AudioResampler` builds the same, but with two idle threads for each resampler.
    """
    graph = Graph()
    graph.threads = 1
    source = graph.add("abuffer", sample_rate=f"{origin}", sample_fmt="s16", channel_layout="mono")
    form = graph.add("aformat", sample_rates=f"{target}", sample_fmts="s16", channel_layouts="mono")
    sink = graph.add("abuffersink")
    source.link_to(form)
    form.link_to(sink)
    graph.configure()
    return graph


def frame_of(samples: Samples, rate: int) -> av.AudioFrame:
    """Mono samples, shape ``(n,)``, as a frame of FFmpeg's; ``n`` must not be 0."""
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
    plane: Any = frame.planes[0]  # takes any buffer, though its stub asks for bytes
    plane.update(np.ascontiguousarray(samples))
    frame.sample_rate = rate
    return frame


def mono(frame: av.AudioFrame) -> Samples:
    """The samples of a mono s16 frame, shape ``(n,)``."""
    plane: Any = frame.planes[0]
    samples: Samples = np.frombuffer(plane, np.int16, frame.samples)  # a view: to_ndarray would copy three times
    return samples
