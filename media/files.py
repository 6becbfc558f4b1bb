"""Sound files: any that FFmpeg decodes → mono samples in pieces, and speech → the bytes of a file as it is made.

Blocking, with bounded memory: for a worker's thread. FFmpeg must never open what a file names: a playlist can name any
file of the machine. So only containers that hold their sound themselves are read (``format_whitelist``).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Literal, get_args

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from media.frames import Samples
from media.resample import Resampler, frame_of, mono

CONTAINERS = "wav,w64,aiff,au,caf,flac,mp3,aac,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,amr,ac3,eac3,asf"
"""Names of FFmpeg's demuxers that are used; Opus and Vorbis come in ogg, matroska or webm."""

AudioFormat = Literal["wav", "pcm", "mp3", "opus", "flac", "aac"]
FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)
CONTENT_TYPES: dict[AudioFormat, str] = {
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "aac": "audio/aac",
}
ENCODED_RATE = 24_000
"""Hertz of what is encoded: that of OpenAI's ``pcm``, and one that every codec here takes."""
_CODECS: dict[str, tuple[str, str, int | None]] = {
    "mp3": ("mp3", "libmp3lame", 64_000),
    "opus": ("ogg", "libopus", 32_000),
    "flac": ("flac", "flac", None),
    "aac": ("adts", "aac", 64_000),
}
"""Format → FFmpeg's container and codec, and bits per second."""
_UNKNOWN_SIZE = 0xFFFFFFFF
"""Of a WAV file that is still being made; players read on to the end."""


class UnreadableFileError(ValueError):
    """No sound can be read from a file; the message tells why, in words for its sender."""


class TooLongError(UnreadableFileError):
    """A file lasts longer than it may."""


def decode(data: bytes, rate: int, longest: float) -> Iterator[Samples]:
    """Yield the first audio track of a file as mono samples at ``rate`` hertz, in pieces of well under a second.

    Raises :class:`UnreadableFileError` when there is none or it is broken, and :class:`TooLongError` when it lasts
    longer than ``longest`` seconds.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    left = longest * rate
    try:
        with _opened(data) as container:
            if not container.streams.audio:
                raise UnreadableFileError("there is no audio track in it")
            for frame in container.decode(container.streams.audio[0]):
                frame.pts = None  # one that jumps would make the resampler insert silence
                for part in resampler.resample(frame):
                    left -= part.samples
                    if left < 0:
                        raise TooLongError(f"it is longer than {spoken(longest)}: send it in parts")
                    yield mono(part).copy()
        for part in resampler.resample(None):
            yield mono(part).copy()
    except UnreadableFileError:
        raise
    except (av.FFmpegError, ValueError) as error:  # what PyAV itself finds in a broken file is a ValueError
        what = (error.strerror if isinstance(error, av.FFmpegError) else None) or "it is broken"
        raise UnreadableFileError(f"it is no sound file that can be decoded here: {what}") from error


def spoken(seconds: float) -> str:
    """A limit for people."""
    hours, minutes = seconds / 3600, seconds / 60
    return f"{hours:g} hours" if hours > 1 else f"{minutes:g} minutes" if minutes > 1 else f"{seconds:g} seconds"


def _opened(data: bytes) -> InputContainer:
    options = {"format_whitelist": CONTAINERS}
    return av.open(io.BytesIO(data), "r", options=options, metadata_errors="replace")


class Encoder:
    """Mono samples in, the bytes of one file out, a little later."""

    def __init__(self, kind: AudioFormat, rate: int = ENCODED_RATE) -> None:
        """``rate``: hertz of ``wav`` and ``pcm``; the others have :data:`ENCODED_RATE`."""
        rate = rate if kind in ("wav", "pcm") else ENCODED_RATE
        self._resampler = Resampler(rate)
        self._begin = b"" if kind != "wav" else _wav_header(rate)
        self._coded = _Coded(kind) if kind in _CODECS else None

    def push(self, samples: Samples, rate: int) -> bytes:
        """The next samples, at ``rate`` hertz; returns what is ready of the file."""
        return self._encode(self._resampler.push(samples, rate))

    def finish(self) -> bytes:
        """The rest of the file. Nothing may follow."""
        rest = self._encode(self._resampler.flush())
        return rest if self._coded is None else rest + self._coded.finish()

    def _encode(self, samples: Samples) -> bytes:
        if self._coded is not None:
            return self._coded.push(samples)
        begin, self._begin = self._begin, b""
        return begin + samples.astype("<i2").tobytes()


class _Coded:
    """One of FFmpeg's codecs in its container, written where nothing can be written twice."""

    def __init__(self, kind: str) -> None:
        container, codec, bits = _CODECS[kind]
        self._sink = Sink()
        options = {"write_xing": "0"} if kind == "mp3" else {"page_duration": "200000"} if kind == "opus" else {}
        self._container = av.open(self._sink, "w", format=container, options=options)
        stream = self._container.add_stream(codec, rate=ENCODED_RATE)
        assert isinstance(stream, AudioStream)
        self._stream = stream
        self._stream.codec_context.layout = "mono"
        if bits is not None:
            self._stream.codec_context.bit_rate = bits
        self._samples = 0

    def push(self, samples: Samples) -> bytes:
        if len(samples):
            frame = frame_of(samples, ENCODED_RATE)
            frame.pts, frame.time_base = self._samples, Fraction(1, ENCODED_RATE)
            self._samples += len(samples)
            self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()


class Sink:
    """Where FFmpeg writes: it cannot go back."""

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self.seekable: Callable[[], bool] = lambda: False

    def write(self, data: Any) -> int:
        """Called by FFmpeg."""
        self._written.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """What has been written since the last time."""
        written, self._written = b"".join(self._written), []
        return written


def _wav_header(rate: int) -> bytes:
    """RIFF of 16-bit mono whose length is not known yet (http://soundfile.sapp.org/doc/WaveFormat/)."""
    size = _UNKNOWN_SIZE.to_bytes(4, "little")
    numbers = ((16, 4), (1, 2), (1, 2), (rate, 4), (2 * rate, 4), (2, 2), (16, 2))
    form = b"".join(number.to_bytes(length, "little") for number, length in numbers)
    return b"RIFF" + size + b"WAVEfmt " + form + b"data" + size
