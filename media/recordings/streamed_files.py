"""Files of sound and moving pictures that are decoded while they arrive.

An event loop pours bytes into a :class:`BytePipe`; on a worker's thread :func:`pieces` decodes them with FFmpeg. The
pipe is bounded: who pours waits. FFmpeg cannot go back in it, so an MP4 whose index comes last is put into a
temporary file first. As in :mod:`media.files`, only containers are read that hold everything themselves.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import av
from av.container import InputContainer

from media.files import CONTAINERS, UnreadableFileError
from media.frames import AudioChunk, Picture
from media.resample import mono
from media.video_convert import Converter, beginning, problem, upright

ROOM = 1 << 20
"""Bytes that may wait in a pipe."""
HEAD = 64
"""Bytes that are looked at to tell what a file is."""
_IN_MEMORY = 4 << 20
"""Bytes of a temporary file that are not on the disk yet."""
_VIDEO_CONTAINERS = f"{CONTAINERS},avi,mpegts,flv,mpeg"
_LARGEST_SIDE = 4096
"""Pixels of a video."""
_MOST_PIXELS = _LARGEST_SIDE**2
_LIMITED = {"max_pixels": str(_MOST_PIXELS)}
"""A decoder's options."""


class BytePipe:
    """Bytes from an event loop to one thread, in order, at most about ``room`` of them waiting."""

    def __init__(self, room: int = ROOM) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = room
        self._data = bytearray()
        self._change = threading.Condition()
        self._drained = asyncio.Event()
        self._ended = False
        self.seekable: Callable[[], bool] = lambda: False

    async def pour(self, data: bytes) -> None:
        """Add bytes; waits while the pipe is full. What comes after :meth:`end` is let go."""
        with self._change:
            if self._ended:
                return
            self._data += data
            self._change.notify()
            if len(self._data) < self._room:
                return
            self._drained.clear()
        await self._drained.wait()

    def end(self) -> None:
        """No more will come. From any thread; idempotent."""
        with self._change:
            self._ended = True
            self._change.notify()
        self._tell()

    def abandon(self) -> None:
        """Nobody reads any more. From any thread; idempotent."""
        with self._change:
            self._data.clear()
        self.end()

    def read(self, size: int = -1) -> bytes:
        """Blocking: some bytes, at most ``size``; none at the end."""
        with self._change:
            while not self._data and not self._ended:
                self._change.wait()
            count = len(self._data) if size < 0 else min(size, len(self._data))
            taken = bytes(self._data[:count])
            del self._data[:count]
            has_room = len(self._data) < self._room
        if has_room:
            self._tell()
        return taken

    def _tell(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._drained.set)
        except RuntimeError:  # the loop has ended, and with it whoever pours
            return


@dataclass(frozen=True, slots=True)
class Reading:
    """What is wanted of a file."""

    rate: int | None = None
    """Hertz of the sound; ``None``: the file's own."""
    sound: bool = True
    pictures: bool = False
    longest: float = 600.0
    """Seconds."""
    longest_side: int = 1280
    """Pixels: larger pictures are made smaller."""


def pieces(pipe: BytePipe, wanted: Reading, stop: Callable[[], bool]) -> Iterator[AudioChunk | Picture]:
    """Blocking: sound and pictures of a file as they come, with their times in the file.

    Raises :class:`UnreadableFileError`. ``stop``: whether nobody wants more.
    """
    head = b""
    while len(head) < HEAD and (data := pipe.read(HEAD - len(head))):
        head += data
    source = _Joined(head, pipe)
    try:
        if _index_may_come_last(head):
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
                while (data := source.read(1 << 16)) and not stop():
                    file.write(data)
                file.seek(0)
                yield from _decoded(file, wanted, stop)
        else:
            yield from _decoded(source, wanted, stop)
    except (av.FFmpegError, ValueError) as error:  # what PyAV itself finds in a broken file is a ValueError
        if isinstance(error, UnreadableFileError):
            raise
        why = problem(error, _MOST_PIXELS)
        raise UnreadableFileError(f"it is no file that can be decoded here: {why}") from error
    finally:
        pipe.abandon()


class _Joined:
    """What has been read, and then the rest; for FFmpeg."""

    def __init__(self, head: bytes, pipe: BytePipe) -> None:
        self._head = head
        self._pipe = pipe
        self.seekable: Callable[[], bool] = lambda: False

    def read(self, size: int = -1) -> bytes:
        if self._head:
            count = len(self._head) if size < 0 else size
            taken, self._head = self._head[:count], self._head[count:]
            return taken
        return self._pipe.read(size)


def _index_may_come_last(head: bytes) -> bool:
    """Whether it is an MP4 whose first box beside ``ftyp`` is not its index (ISO/IEC 14496-12, 4.2)."""
    if head[4:8] != b"ftyp":
        return False
    place = int.from_bytes(head[:4], "big")
    if place < 8 or place + 8 > len(head):
        return True
    return head[place + 4 : place + 8] not in (b"moov", b"moof", b"sidx", b"styp")


def _decoded(source: IO[bytes] | _Joined, wanted: Reading, stop: Callable[[], bool]) -> Iterator[AudioChunk | Picture]:
    options = {"format_whitelist": _VIDEO_CONTAINERS, **_LIMITED}  # FFmpeg decodes some to tell what is in a file
    opened: Any = source
    with av.open(opened, "r", options=options, metadata_errors="replace") as container:
        streams = _streams(container, wanted)
        origin = beginning(streams)
        sights, sounds = _Sights(wanted.longest_side, origin), _Sounds(wanted.rate, origin)
        for packet in container.demux(streams):
            for frame in packet.decode():
                if stop():
                    return
                if isinstance(frame, av.AudioFrame):
                    made: Iterator[AudioChunk | Picture] = sounds.push(frame)
                elif isinstance(frame, av.VideoFrame):
                    made = iter((sights.picture(frame),))
                else:
                    continue
                for piece in made:
                    if piece.time > wanted.longest:
                        raise UnreadableFileError(f"it is longer than {wanted.longest:g} s: send it in parts")
                    yield piece
        yield from sounds.finish()


def _streams(container: InputContainer, wanted: Reading) -> list[Any]:
    audio = container.streams.audio[:1] if wanted.sound else ()
    video = container.streams.video[:1] if wanted.pictures else ()
    if not audio and not video:
        what = "neither a video nor an audio track" if wanted.pictures else "no audio track"
        raise UnreadableFileError(f"there is {what} in it")
    for stream in video:
        _check_size(stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.options = _LIMITED  # what the file's header says may be wrong
        stream.codec_context.thread_count = 1
    return [*audio, *video]


def _check_size(width: int, height: int) -> None:
    if max(width, height) > _LARGEST_SIDE:
        raise UnreadableFileError(f"its pictures have {width}x{height} pixels; at most {_LARGEST_SIDE} a side")


class _Sights:
    """Frames of a video track → pictures, with times since ``origin`` in the file."""

    def __init__(self, longest_side: int, origin: float) -> None:
        self._longest_side = longest_side
        self._origin = origin
        self._converter = Converter()

    def picture(self, frame: av.VideoFrame) -> Picture:
        _check_size(frame.width, frame.height)
        picture = self._converter.picture(frame, self._longest_side)
        return Picture(upright(picture.pixels, frame), max(0.0, picture.time - self._origin))


class _Sounds:
    """Frames of an audio track → mono, with times counted in samples from where it begins: timestamps may jump."""

    def __init__(self, rate: int | None, origin: float) -> None:
        self._rate = rate
        self._origin = origin
        self._begin: float | None = None
        self._resampler: av.AudioResampler | None = None
        self._count = 0

    def push(self, frame: av.AudioFrame) -> Iterator[AudioChunk]:
        if self._begin is None:
            self._begin = max(0.0, frame.time - self._origin) if frame.time is not None else 0.0
        frame.pts = None  # one that jumps would make the resampler insert silence
        if self._resampler is None:
            self._rate = self._rate or frame.sample_rate
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=self._rate)
        return self._chunks(frame)

    def finish(self) -> Iterator[AudioChunk]:
        return self._chunks(None)

    def _chunks(self, frame: av.AudioFrame | None) -> Iterator[AudioChunk]:
        if self._resampler is None or self._rate is None:
            return
        for part in self._resampler.resample(frame):
            if part.samples:
                yield AudioChunk(mono(part).copy(), self._rate, (self._begin or 0.0) + self._count / self._rate)
                self._count += part.samples
