"""Files that are decoded while they arrive, and videos that are written while they are made."""

from __future__ import annotations

import asyncio
import io
import itertools
import threading
from typing import Any

import av
import numpy as np
import pytest

from media.files import UnreadableFileError
from media.frames import AudioChunk, Picture
from media.recordings.streamed_files import BytePipe, Reading, pieces
from media.recordings.video_encoder import VideoEncoder
from tests.media.odd_films import WAYS, beginning_at, corners, lying, turned_corners, with_a_large_picture
from tests.patience import PATIENCE
from tests.server.http.rest.clients import bursts, sound_file

ALL = Reading(pictures=True)


def video(kind: str, count: int = 12) -> bytes:
    """Pictures of growing brightness, ten a second."""
    encoder = VideoEncoder("webm" if kind == "webm" else "mp4")
    made = [encoder.push(Picture(np.full((64, 96, 3), min(255, 20 * n), np.uint8), n / 10)) for n in range(count)]
    return b"".join([*made, encoder.finish()])


def indexed_at_its_end() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream: Any = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for n in range(10):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), n, np.uint8), format="rgb24")))
        output.mux(stream.encode(None))
    data = file.getvalue()
    assert data.index(b"mdat") < data.index(b"moov")
    return data


async def read(data: bytes, wanted: Reading = ALL, size: int = 500) -> list[AudioChunk | Picture]:
    """What is decoded of a file that comes in pieces."""
    pipe = BytePipe(1000)
    found: list[AudioChunk | Picture] = []
    reading = asyncio.create_task(asyncio.to_thread(lambda: found.extend(pieces(pipe, wanted, lambda: False))))
    async with asyncio.timeout(PATIENCE):
        for start in range(0, len(data), size):
            await pipe.pour(data[start : start + size])
        pipe.end()
        await reading
    return found


@pytest.mark.parametrize("kind", ["mp4", "webm"])
async def test_a_video_is_written_and_read_again(kind):
    found = await read(video(kind))
    pictures = [piece for piece in found if isinstance(piece, Picture)]
    assert [round(picture.time, 2) for picture in pictures] == [n / 10 for n in range(12)]
    assert pictures[0].pixels.shape == (64, 96, 3)
    means = [picture.pixels.mean() for picture in pictures]
    assert means == sorted(means)


async def test_an_index_at_the_end_is_waited_for():
    assert len(await read(indexed_at_its_end())) == 10


async def test_sound_keeps_its_rate_and_counts_its_time():
    sound = bursts(1.0)
    found = await read(sound_file(sound, "ogg", "libopus", 48_000))
    chunks = [piece for piece in found if isinstance(piece, AudioChunk)]
    assert {chunk.rate for chunk in chunks} == {48_000}
    assert chunks[-1].end == pytest.approx(len(sound) / 16_000, abs=0.05)
    assert all(after.time == pytest.approx(before.end) for before, after in itertools.pairwise(chunks))


async def test_pictures_come_before_the_file_has_ended():
    noise, encoder = np.random.default_rng(3), VideoEncoder("webm")
    pictures = [Picture(noise.integers(0, 255, (96, 128, 3), np.uint8), n / 10) for n in range(40)]
    data, pipe = b"".join([*map(encoder.push, pictures), encoder.finish()]), BytePipe()
    first = threading.Event()

    def look() -> None:
        for _ in pieces(pipe, ALL, lambda: False):
            first.set()

    looking = asyncio.create_task(asyncio.to_thread(look))
    await pipe.pour(data[: len(data) * 3 // 4])
    assert await asyncio.to_thread(first.wait, PATIENCE)
    pipe.end()
    await looking


async def test_who_pours_waits_and_is_let_go_when_nobody_reads():
    pipe = BytePipe(10)
    pouring = asyncio.create_task(pipe.pour(bytes(20)))
    done, _ = await asyncio.wait([pouring], timeout=0.05)
    assert not done
    assert len(await asyncio.to_thread(pipe.read, 15)) == 15
    await asyncio.wait_for(pouring, PATIENCE)
    pouring = asyncio.create_task(pipe.pour(bytes(20)))
    pipe.abandon()
    await asyncio.wait_for(pouring, PATIENCE)
    await pipe.pour(bytes(1000))
    assert pipe.read() == b""


@pytest.mark.parametrize(
    ("data", "wanted", "words"),
    [
        (b"no file at all" * 100, ALL, "no file that can be decoded"),
        (b"", ALL, "no file that can be decoded"),
        (b"#EXTM3U\nfile:///etc/passwd\n", ALL, "no file that can be decoded"),
        (video("mp4"), Reading(), "no audio track"),
        (video("mp4"), Reading(pictures=True, longest=0.5), "longer than 0.5 s"),
    ],
    ids=["junk", "empty", "playlist", "silent", "long"],
)
async def test_what_cannot_be_read_is_explained(data, wanted, words):
    with pytest.raises(UnreadableFileError, match=words):
        await read(data, wanted)


async def test_large_pictures_are_made_smaller():
    found = await read(video("webm", 2), Reading(pictures=True, longest_side=48))
    assert {piece.pixels.shape for piece in found if isinstance(piece, Picture)} == {(32, 48, 3)}


async def test_a_picture_that_is_larger_than_the_file_says_is_not_decoded():
    with pytest.raises(UnreadableFileError, match="its pictures are too large: at most 16777216 pixels"):
        await read(with_a_large_picture((64, 48), (4112, 4096)), size=1 << 16)
    with pytest.raises(UnreadableFileError, match="its pictures have 5000x16 pixels; at most 4096 a side"):
        await read(with_a_large_picture((64, 48), (5000, 16)))


@pytest.mark.parametrize(("way", "quarters", "mirrored"), WAYS)
async def test_what_was_filmed_sideways_is_turned(way, quarters, mirrored):
    found = await read(lying(way))
    assert corners(found[0].pixels) == turned_corners(quarters, mirrored)


@pytest.mark.parametrize("first", [0.0, 700.0])
async def test_times_count_from_the_beginning_of_the_earlier_track(first):
    found = await read(beginning_at(first, sound_after=0.5), Reading(pictures=True, longest=10.0))
    pictures = [piece.time for piece in found if isinstance(piece, Picture)]
    sounds = [piece for piece in found if isinstance(piece, AudioChunk)]
    assert [pictures[0], pictures[-1]] == pytest.approx([0.0, 0.9], abs=0.05)
    assert sounds[0].time == pytest.approx(0.5, abs=0.05)
    assert sounds[-1].end == pytest.approx(1.5, abs=0.1)
