"""The thread that decodes a camera: small pictures, only the newest, nothing that is waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest

from media.video_decoder import LONGEST_SIDE, VideoDecoder
from tests.fakes.peer import picture_frame


@cache
def encoded(codec: str, width: int, height: int, frames: int = 5) -> list[bytes]:
    """Pictures of grey levels 40, 60, …; the first is a key frame."""
    context = av.CodecContext.create({"VP8": "libvpx", "H264": "libx264"}[codec], "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base = Fraction(1, 30)
    context.options = {"VP8": {"lag-in-frames": "0", "deadline": "realtime"}, "H264": {"tune": "zerolatency"}}[codec]
    packets = []
    for n in range(frames):
        frame = picture_frame(width, height, 40 + 20 * n)
        frame.pts, frame.time_base = n, Fraction(1, 30)
        packets += context.encode(frame)
    return [bytes(packet) for packet in packets + context.encode(None)]


class Screen:
    """What a decoder delivers, and the thread it comes on."""

    def __init__(self) -> None:
        self.frames: list[av.VideoFrame] = []
        self.changed = asyncio.Event()
        self.decoder = VideoDecoder(asyncio.get_running_loop(), self.take)

    def take(self, frame: av.VideoFrame) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.frames.append(frame)
        self.changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


@pytest.fixture
async def screen():
    screen = Screen()
    yield screen
    screen.decoder.close()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_pictures_come_out_with_their_timestamps(screen, codec):
    for n, data in enumerate(encoded(codec, 320, 240)):
        assert screen.decoder.put(codec, data, n * 3000)
        await screen.until(lambda n=n: len(screen.frames) == n + 1)
    assert [frame.pts for frame in screen.frames] == [0, 3000, 6000, 9000, 12000]
    grey = [np.median(frame.to_ndarray(format="gray")) for frame in screen.frames]
    assert grey == [pytest.approx(40 + 20 * n, abs=4) for n in range(5)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((3840, 2160), (1280, 720)), ((1080, 2340), (590, 1280)), ((1920, 1080), (1920, 1080))],
)
async def test_what_is_larger_than_anybody_needs_is_made_small_on_the_thread(screen, size, expected):
    screen.decoder.put("VP8", encoded("VP8", *size, frames=1)[0], 7)
    await screen.until(lambda: screen.frames)
    assert (screen.frames[0].width, screen.frames[0].height) == expected
    assert max(expected) <= LONGEST_SIDE
    assert screen.frames[0].pts == 7


async def test_a_loop_that_is_late_gets_the_newest_picture_only(screen, monkeypatch):
    loop, held = asyncio.get_running_loop(), []
    decoded = threading.Event()
    monkeypatch.setattr(screen.decoder, "_loop", type("Late", (), {"call_soon_threadsafe": held.append}))
    post = screen.decoder._post

    def watched(frame: av.VideoFrame) -> None:
        post(frame)
        if frame.pts == 4:
            decoded.set()

    monkeypatch.setattr(screen.decoder, "_post", watched)
    for n, data in enumerate(encoded("VP8", 320, 240)):
        screen.decoder.put("VP8", data, n)
    await loop.run_in_executor(None, decoded.wait, 10)
    assert len(held) == 1
    held[0]()
    assert [frame.pts for frame in screen.frames] == [4]


async def test_broken_frames_are_counted_and_the_next_key_frame_is_seen(screen):
    first = encoded("VP8", 320, 240)[0]
    screen.decoder.put("VP8", first[:9] + bytes(40), 0)
    screen.decoder.put("VP8", b"\x01broken", 1)
    screen.decoder.put("VP8", first, 2)
    await screen.until(lambda: screen.frames and screen.frames[-1].pts == 2)
    assert screen.decoder.broken >= 1


async def test_a_picture_of_16383_pixels_a_side_is_not_even_tried(screen):
    first = encoded("VP8", 320, 240)[0]
    huge = first[:6] + b"\xff\x3f\xff\x3f" + first[10:]
    with pytest.raises(ValueError, match="16383"):
        screen.decoder.put("VP8", huge, 0)


async def test_without_a_picture_there_is_no_thread_and_after_the_end_none_either(screen):
    before = threading.active_count()
    assert screen.decoder._thread is None
    screen.decoder.put("VP8", encoded("VP8", 320, 240)[0], 0)
    assert threading.active_count() == before + 1
    screen.decoder.close()
    screen.decoder.close()
    await asyncio.get_running_loop().run_in_executor(None, screen.decoder._thread.join, 10)
    assert not screen.decoder._thread.is_alive()
    assert not screen.decoder.put("VP8", encoded("VP8", 320, 240)[0], 1)
