"""Bytes that arrive → items for a pipeline, as they arrive: sound at once, files by a decoder on a worker's thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from media.files import UnreadableFileError
from media.frames import Picture, Samples
from media.recordings.streamed_files import BytePipe, Reading, pieces
from media.recordings.wave_reader import PcmReader, WavReader, is_plain_wav
from pipelines.errors import PipelineError, VisionError
from pipelines.routing.items import Item, Sound, Text
from pipelines.runtime.worker import Worker
from pipelines.vision.images import LARGEST_FILE, still

LONGEST_TEXT = 1 << 18
"""Bytes of a text."""
LONGEST_SOUND = 4 * 3600.0
"""Seconds of a sound."""
LONGEST_VIDEO = 600.0
"""Seconds of a video."""
_SOUND_SECONDS = 0.25
"""Of the longest piece."""
_AHEAD = 4
"""Pieces that a decoder may be ahead."""
Bytes = AsyncIterator[bytes]


class InputError(PipelineError):
    """What was sent is not what it should be; ``status`` is HTTP's word for it, ``param`` names the field."""

    stage = "input"

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(code, message)
        self.status = status
        self.param = param


async def once(data: bytes) -> AsyncGenerator[bytes, None]:
    """Bytes that are here already."""
    yield data


async def first_bytes(body: Bytes, least: int = 32) -> tuple[bytes, Bytes]:
    """At least so many bytes of the beginning, if there are as many; and all of it again."""
    head = b""
    while len(head) < least:
        data = await anext(body, None)
        if not data:
            break
        head += data

    async def again() -> AsyncGenerator[bytes, None]:
        if head:
            yield head
        async for data in body:
            yield data

    return head, again()


async def whole(body: Bytes, most: int, what: str) -> bytes:
    """All of it. Raises :class:`InputError` (413) for more than ``most`` bytes."""
    data = bytearray()
    async for part in body:
        data += part
        if len(data) > most:
            raise InputError(413, "body_too_large", f"{what}: at most {most:,} bytes are taken", what)
    return bytes(data)


async def pcm(body: Bytes, rate: int, channels: int) -> AsyncGenerator[Item, None]:
    """Headerless int16, little endian."""
    reader, count, is_empty = PcmReader(channels), 0, True
    async for data in body:
        is_empty = False
        for part in _cut(reader.push(data), rate):
            yield Sound(part, rate, count / rate)
            count += len(part)
    if is_empty:
        raise InputError(400, "invalid_body", "the sound is empty: nothing of it was sent")


async def wav(body: Bytes, param: str) -> AsyncGenerator[Item, None]:
    """An uncompressed WAV file."""
    reader, count = WavReader(), 0
    try:
        async for data in body:
            samples = reader.push(data)
            for part in _cut(samples, reader.rate or 1):
                yield Sound(part, reader.rate, count / reader.rate)
                count += len(part)
        reader.finish()
    except UnreadableFileError as error:
        raise InputError(400, "invalid_file", f"{param}: {error}", param) from error


async def sound(body: Bytes, worker: Worker, param: str) -> AsyncGenerator[Item, None]:
    """The sound of any file."""
    head, body = await first_bytes(body)
    found = wav(body, param) if is_plain_wav(head) else decoded(body, worker, Reading(longest=LONGEST_SOUND), param)
    async with aclosing(found):
        async for item in found:
            yield item


async def decoded(body: Bytes, worker: Worker, wanted: Reading, param: str) -> AsyncGenerator[Item, None]:
    """A file through FFmpeg, on a thread that is taken as long as it lasts."""
    pipe = BytePipe()

    async def pour() -> None:
        try:
            async for data in body:
                await pipe.pour(data)
        finally:
            pipe.end()

    pouring = asyncio.create_task(pour(), name="pour")
    try:
        async with aclosing(worker.stream(lambda stop: pieces(pipe, wanted, stop.is_set), ahead=_AHEAD)) as found:
            async for piece in found:
                yield piece if isinstance(piece, Picture) else Sound(piece.samples, piece.rate, piece.time)
        if pouring.done():
            await pouring  # a body that broke off is no file that ends here
    except UnreadableFileError as error:
        if pouring.done():
            await pouring
        raise InputError(400, "invalid_file", f"{param}: {error}", param) from error
    finally:
        pipe.abandon()
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)


async def picture(body: Bytes, worker: Worker, param: str) -> AsyncGenerator[Item, None]:
    """A still picture."""
    data = await whole(body, LARGEST_FILE, param)
    try:
        yield Picture(await worker.run(still, data, param), 0.0)
    except VisionError as error:
        raise InputError(400, "invalid_file", error.message, param) from error


async def text(body: Bytes, param: str) -> AsyncGenerator[Item, None]:
    """A text, which is one unit."""
    data = await whole(body, LONGEST_TEXT, param)
    try:
        words = data.decode()
    except UnicodeDecodeError as error:
        raise InputError(400, "invalid_body", f"{param}: is no UTF-8 text", param) from error
    if not words.strip():
        raise InputError(400, "invalid_value", f"{param}: is empty", param)
    yield Text(words, final=True)


def kind_of(head: bytes) -> str:
    """``image``, ``video`` or ``audio``: what a file most likely is that begins so."""
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return "image"
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    moving = brand not in (b"", b"M4A ", b"M4B ") or head.startswith((b"\x1aE\xdf\xa3", b"FLV\x01"))
    return "video" if moving or (head.startswith(b"RIFF") and head[8:12] == b"AVI ") else "audio"


def _cut(samples: Samples, rate: int) -> list[Samples]:
    step = max(1, round(rate * _SOUND_SECONDS))
    return [samples[start : start + step] for start in range(0, len(samples), step)]
