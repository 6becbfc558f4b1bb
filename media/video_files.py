"""Video files: any that FFmpeg decodes → pictures and sound in the order of their times, and pictures → a file.

Blocking, with bounded memory: for a worker's thread. As with sound files (:mod:`media.files`) only containers that hold
their tracks themselves are read, and nothing that a file names is opened.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, Literal, get_args

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from media.files import Sink, TooLongError, UnreadableFileError, spoken
from media.frames import AudioChunk, Picture, Pixels, Samples, reduced
from media.resample import Resampler, frame_of, mono
from media.video_convert import beginning, problem, upright

CONTAINERS = "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,ogg,mpegts,mpeg,flv,asf"
"""Names of FFmpeg's demuxers that are used."""
MOST_PIXELS = 4096 * 2304
"""Of a picture that is decoded at all: a few bytes can claim 16,383 × 16,383, for which a decoder would take 2 GB."""
_LIMITED = {"max_pixels": str(MOST_PIXELS)}
"""A decoder's options."""
MOST_PER_SECOND = 240
"""Pictures of a file for each second that it may last: all are decoded, whatever is asked for."""
VideoFormat = Literal["mp4", "webm"]
FORMATS: tuple[VideoFormat, ...] = get_args(VideoFormat)
CONTENT_TYPES: dict[VideoFormat, str] = {"mp4": "video/mp4", "webm": "video/webm"}
_ENCODERS: dict[VideoFormat, tuple[tuple[str, ...], str, int]] = {
    "mp4": (("libx264", "libopenh264", "mpeg4"), "aac", 48_000),
    "webm": (("libvpx", "libvpx-vp9"), "libopus", 48_000),
}
"""Format → codecs of pictures, of which the first that is here is taken, and codec and rate of its sound."""
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}
"""An MP4 that is written where nothing can be written twice, half a second at a time."""
_QUICK = {
    "libx264": {"preset": "veryfast", "tune": "zerolatency", "crf": "26"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "20"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "32"},
}
_TICKS = Fraction(1, 90_000)
_KEY_EVERY = 48
"""Pictures from one key frame to the next, at most: what a fragment holds back."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is wanted of a file."""

    longest: float
    """Seconds: what lasts longer is refused."""
    fps: float = 12.0
    """Pictures a second, at most."""
    longest_side: int | None = 1280
    """Pixels: larger pictures are made smaller."""
    rate: int = 16_000
    """Hertz of the sound."""
    pictures: bool = True
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file tells of itself; it may be wrong."""

    width: int
    height: int
    fps: float | None
    seconds: float | None
    has_sound: bool


def facts(source: bytes | BinaryIO) -> Facts:
    """What the file tells. Raises :class:`UnreadableFileError`."""
    try:
        with _opened(source) as container:
            track = _pictures_of(container)
            if not track.width:
                raise UnreadableFileError("the size of its pictures is not told, or too large")
            seconds = container.duration / av.time_base if container.duration else None
            fps = float(track.average_rate) if track.average_rate else None
            return Facts(track.width, track.height, fps, seconds, bool(container.streams.audio))
    except (av.FFmpegError, ValueError) as error:
        raise _unreadable(error) from error


def read(source: bytes | BinaryIO, wanted: Reading) -> Iterator[Picture | AudioChunk]:
    """Yield pictures (RGB) and mono sound of a file, in the order in which it holds them: by their times, to
    about a second.

    Times count from the earlier track's beginning. A file without sound gives pictures alone. Raises
    :class:`UnreadableFileError` when there is no video track or it is broken, and :class:`TooLongError`.
    """
    try:
        with _opened(source) as container:
            tracks: list[VideoStream | AudioStream] = []
            video = _pictures_of(container)
            if wanted.pictures:
                tracks.append(video)
            if wanted.sound:
                tracks += [track for track in container.streams.audio[:1] if track.codec_context is not None]
            if tracks:
                yield from _decoded(container, tracks, wanted)
    except UnreadableFileError:
        raise
    except (av.FFmpegError, ValueError) as error:  # what PyAV itself finds in a broken file is a ValueError
        raise _unreadable(error) from error


def _decoded(
    container: InputContainer, tracks: list[VideoStream | AudioStream], wanted: Reading
) -> Iterator[Picture | AudioChunk]:
    origin = beginning(tracks)
    eye, ear = _Eye(wanted, origin), _Ear(wanted, origin)
    for packet in container.demux(*tracks):
        if packet.size > MOST_PIXELS * 4:
            raise UnreadableFileError("one of its frames is too large")
        for frame in packet.decode():
            if isinstance(frame, av.VideoFrame):
                yield from eye.pictures(frame)
            elif isinstance(frame, av.AudioFrame):
                yield from ear.chunks(frame)
    yield from ear.rest()


class _Eye:
    """Frames as they are decoded → the pictures that are wanted."""

    def __init__(self, wanted: Reading, origin: float) -> None:
        self._wanted = wanted
        self._origin = origin
        self._count = 0
        self._next = 0.0
        self._last = -1.0
        self._reformat = VideoReformatter()

    def pictures(self, frame: av.VideoFrame) -> Iterator[Picture]:
        self._count += 1
        if self._count > self._wanted.longest * MOST_PER_SECOND:
            raise TooLongError(f"it holds more than {MOST_PER_SECOND} pictures for each second that it may last")
        if frame.width * frame.height > MOST_PIXELS:
            raise UnreadableFileError(f"its pictures are too large: {frame.width} x {frame.height}")
        time = frame.time - self._origin if frame.time is not None else max(0.0, self._last)
        if time > self._wanted.longest:
            raise TooLongError(f"it is longer than {spoken(self._wanted.longest)}: send it in parts")
        if time < self._next - 1e-6 or time <= self._last:
            return
        self._next = max(self._next, time) + 1.0 / self._wanted.fps if time > self._next + 1.0 else self._step(time)
        self._last = time
        width, height = reduced(frame.width, frame.height, self._wanted.longest_side)
        way = Interpolation.AREA if (width, height) != (frame.width, frame.height) else None
        rgb = self._reformat.reformat(frame, width, height, "rgb24", interpolation=way, threads=1)
        yield Picture(upright(np.ascontiguousarray(rgb.to_ndarray(), np.uint8), frame), time)

    def _step(self, time: float) -> float:
        """When the next picture is due: on a grid, so that 30 pictures a second become 12 and not 10."""
        due = self._next + 1.0 / self._wanted.fps
        return due if due > time else time + 1.0 / self._wanted.fps


class _Ear:
    """Frames as they are decoded → mono samples whose times follow one another without a gap."""

    def __init__(self, wanted: Reading, origin: float) -> None:
        self._wanted = wanted
        self._origin = origin
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=wanted.rate)
        self._begin: float | None = None
        self._count = 0

    def chunks(self, frame: av.AudioFrame) -> Iterator[AudioChunk]:
        if self._begin is None:
            self._begin = max(0.0, frame.time - self._origin) if frame.time is not None else 0.0
        frame.pts = None  # one that jumps would make the resampler insert silence
        for part in self._resampler.resample(frame):
            yield self._chunk(mono(part).copy())

    def rest(self) -> Iterator[AudioChunk]:
        if self._begin is not None:
            for part in self._resampler.resample(None):
                yield self._chunk(mono(part).copy())

    def _chunk(self, samples: Samples) -> AudioChunk:
        time = (self._begin or 0.0) + self._count / self._wanted.rate
        self._count += len(samples)
        if self._count > self._wanted.longest * self._wanted.rate:
            raise TooLongError(f"it is longer than {spoken(self._wanted.longest)}: send it in parts")
        return AudioChunk(samples, self._wanted.rate, time)


def _opened(source: bytes | BinaryIO) -> InputContainer:
    options = {"format_whitelist": CONTAINERS, **_LIMITED}  # FFmpeg decodes some pictures to tell what is in a file
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    return av.open(file, "r", options=options, metadata_errors="replace")


def _pictures_of(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise UnreadableFileError("there is no video track in it")
    track = container.streams.video[0]
    context = track.codec_context
    if context is None:
        raise UnreadableFileError("its pictures are of a kind that cannot be decoded here")
    if context.width * context.height > MOST_PIXELS:
        raise UnreadableFileError(f"its pictures are too large: {context.width} x {context.height}")
    context.options = _LIMITED  # what the file's header says may be wrong
    track.thread_type = "NONE"  # others are talking, and each of a decoder's threads holds a picture
    return track


def _unreadable(error: Exception) -> UnreadableFileError:
    if isinstance(error, UnreadableFileError):
        return error
    return UnreadableFileError(f"it is no video file that can be decoded here: {problem(error, MOST_PIXELS)}")


class VideoEncoder:
    """Pictures with their times, and sound, in; the bytes of one file out, a little later.

    All pictures are brought to the given size, less an odd row or column. ``sound``: whether there will be any. Both
    are to be pushed in the order of their times, roughly: what is ahead is held back.
    """

    def __init__(self, kind: VideoFormat, width: int, height: int, *, fps: float = 30.0, sound: bool = False) -> None:
        self._sink = Sink()
        options = _FRAGMENTS if kind == "mp4" else {"live": "1"}
        self._container = av.open(self._sink, "w", format=kind, options=options)
        codecs, audio, self._rate = _ENCODERS[kind]
        codec = next((name for name in codecs if name in av.codecs_available), codecs[-1])
        width, height = max(2, width & ~1), max(2, height & ~1)
        stream = self._container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        assert isinstance(stream, VideoStream)
        self._video = stream
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.gop_size, context.thread_count = _TICKS, _KEY_EVERY, 1
        context.bit_rate = max(300_000, width * height * 3)
        context.options = _QUICK.get(codec, {})
        self._audio: AudioStream | None = None
        if sound:
            track = self._container.add_stream(audio, rate=self._rate)
            assert isinstance(track, AudioStream)
            track.codec_context.layout = "mono"
            track.codec_context.bit_rate = 64_000
            self._audio = track
        self._resampler = Resampler(self._rate)
        self._reformat = VideoReformatter()
        self._last = -1
        self._samples = 0

    def picture(self, pixels: Pixels, time: float) -> bytes:
        """The next picture, shown from ``time`` (seconds) on; one that is not after the last is left out."""
        ticks = round(time / _TICKS)
        if ticks <= self._last:
            return b""
        self._last = ticks
        native = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        context = self._video.codec_context
        frame = self._reformat.reformat(native, context.width, context.height, "yuv420p", threads=1)
        frame.pts, frame.time_base = ticks, _TICKS
        self._container.mux(self._video.encode(frame))
        return self._sink.take()

    def sound(self, samples: Samples, rate: int) -> bytes:
        """The next samples at ``rate`` hertz. Raises :class:`ValueError` for a file that was to have no sound."""
        if self._audio is None:
            raise ValueError("this file has no sound")
        self._encode(self._resampler.push(samples, rate))
        return self._sink.take()

    def finish(self) -> bytes:
        """The rest of the file. Nothing may follow."""
        if self._audio is not None:
            self._encode(self._resampler.flush())
            self._container.mux(self._audio.encode(None))
        self._container.mux(self._video.encode(None))
        self._container.close()
        return self._sink.take()

    def _encode(self, samples: Samples) -> None:
        if len(samples) and self._audio is not None:
            frame = frame_of(samples, self._rate)
            frame.pts, frame.time_base = self._samples, Fraction(1, self._rate)
            self._samples += len(samples)
            self._container.mux(self._audio.encode(frame))
