"""Pictures → the bytes of a video file as it is made. Blocking: for a worker's thread."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, get_args

import av
import numpy as np
from av.video.stream import VideoStream

from media.files import Sink
from media.frames import Picture

VideoFormat = Literal["mp4", "webm"]
VIDEO_FORMATS: tuple[VideoFormat, ...] = get_args(VideoFormat)
_CLOCK = 90_000
"""Ticks a second."""
_CODECS: dict[VideoFormat, tuple[str, dict[str, str], dict[str, str]]] = {
    "mp4": (
        "libx264",
        {"preset": "veryfast", "tune": "zerolatency"},
        {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    ),
    "webm": ("libvpx", {"deadline": "realtime", "cpu-used": "8"}, {"live": "1", "cluster_time_limit": "500"}),
}
"""Format → FFmpeg's codec, its options and those of the container, which nothing is written to twice."""


class VideoEncoder:
    """Pictures of one size with growing times in; those of another size are made to fit."""

    def __init__(self, kind: VideoFormat, fragment_seconds: float = 0.5) -> None:
        """``fragment_seconds``: how much of an MP4 is ready at a time."""
        self._kind = kind
        self._written = Sink()
        codec, self._codec_options, options = _CODECS[kind]
        if kind == "mp4":
            options = {**options, "frag_duration": str(round(fragment_seconds * 1e6))}
        self._codec = codec
        self._container = av.open(self._written, "w", format=kind, options=options)
        self._stream: VideoStream | None = None
        self._last = -1

    def push(self, picture: Picture) -> bytes:
        """The next picture; returns what is ready of the file."""
        stream = self._stream or self._begin(picture)
        pixels = np.ascontiguousarray(picture.pixels[: picture.height & ~1, : picture.width & ~1])
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame = frame.reformat(width=stream.width, height=stream.height, format="yuv420p", threads=1)
        self._last = max(self._last + 1, round(picture.time * _CLOCK))
        frame.pts, frame.time_base = self._last, Fraction(1, _CLOCK)
        self._container.mux(stream.encode(frame))
        return self._written.take()

    def finish(self) -> bytes:
        """The rest of the file. Nothing may follow."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._written.take()

    def _begin(self, picture: Picture) -> VideoStream:
        stream = self._container.add_stream(self._codec, rate=30, options=self._codec_options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = max(2, picture.width & ~1), max(2, picture.height & ~1)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        stream.codec_context.thread_count = 1
        self._stream = stream
        return stream
