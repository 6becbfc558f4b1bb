"""One source and its followers: none holds it up, and without one nothing is done."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from av.video.frame import PictureType

from media.audio_out import AudioOut
from media.channel import Channel, ChannelClosedError
from media.fan_out import FanOut, Relay
from media.opus import FRAME, RATE
from media.video_tracks import OwnFrames, VideoOut
from tests.fakes.clock import FakeClock
from tests.fakes.peer import picture_frame


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_follower_gets_items_as_they_are_changed_when_they_come():
    source: FanOut[int] = FanOut(3)
    factor = 2
    plain, changed = source.follow(), source.follow(lambda item: factor * item)
    source.put(1)
    factor = 100
    source.put(2)
    factor = 0
    assert (plain.take(), changed.take()) == ([1, 2], [2, 200])


async def test_a_slow_follower_loses_the_oldest_and_no_other_does():
    source: FanOut[int] = FanOut(3)
    source.put(0)
    slow, quick = source.follow(), source.follow()
    taken = []
    for item in range(1, 6):
        source.put(item)
        taken += quick.take()
    assert taken == [1, 2, 3, 4, 5]
    assert slow.take() == [3, 4, 5]
    source.leave(slow)
    source.leave(slow)
    assert len(source) == 1
    source.close()
    with pytest.raises(ChannelClosedError):
        await quick.get()
    with pytest.raises(ChannelClosedError):
        await source.follow().get()


async def test_a_relay_follows_from_the_first_frame_it_is_asked_for_until_it_is_stopped():
    source: FanOut = FanOut(1)
    relay = Relay("video", source)
    assert relay.kind == "video"
    assert not len(source)
    waiting = asyncio.create_task(relay.recv())
    await settle()
    assert len(source) == 1
    frame = picture_frame()
    source.put(frame)
    assert await waiting is frame
    relay.stop()
    assert not len(source)
    with pytest.raises(MediaStreamError):
        await relay.recv()


async def test_a_relay_ends_with_its_source():
    source: FanOut = FanOut(1)
    relay = Relay("audio", source)
    waiting = asyncio.create_task(relay.recv())
    await settle()
    source.close()
    with pytest.raises(MediaStreamError):
        await waiting


@pytest.mark.parametrize(("width", "height"), [(640, 480), (322, 242), (2, 2)])
def test_frames_of_ones_own_share_the_picture_and_nothing_else(width, height):
    own = OwnFrames()
    shared = picture_frame(width, height, noise=True, pts=7)
    one, other = own(shared), OwnFrames()(shared)
    one.pict_type = PictureType.I
    assert shared.pict_type == other.pict_type == PictureType.NONE
    for frame in (one, other):
        assert (frame.pts, frame.time_base) == (7, shared.time_base)
        assert (frame.to_ndarray() == shared.to_ndarray()).all()
        assert frame.planes[0].buffer_ptr == shared.planes[0].buffer_ptr
    larger = own(picture_frame(width + 2, height + 4, pts=8))
    assert (larger.width, larger.height, larger.pts) == (width + 2, height + 4, 8)


class Rendered:
    """A video source whose pictures are counted as they are made."""

    def __init__(self) -> None:
        self.made = 0
        self.camera: Channel = Channel(1)
        self.out = VideoOut(self._render)
        self.out.connect(self.camera)

    async def _render(self, frame):
        self.made += 1
        return frame


async def test_nothing_is_rendered_while_nobody_follows():
    source = Rendered()
    running = asyncio.create_task(source.out.run())
    source.camera.put(picture_frame(pts=1))
    await settle()
    assert source.made == 0
    follower = source.out.followers.follow()
    assert (await follower.get()).pts == 1  # the newest that was there
    source.out.followers.leave(follower)
    source.camera.put(picture_frame(pts=2))
    await settle()
    made = source.made
    for pts in range(3, 9):
        source.camera.put(picture_frame(pts=pts))
        await settle()
    assert source.made == made
    source.camera.close()
    again = source.out.followers.follow()
    await running
    source.out.stop()
    with pytest.raises(ChannelClosedError):
        while True:
            await again.get()


@pytest.fixture
async def voice():
    """``out, clock`` of a voice that no sender takes."""
    clock = FakeClock(100.0)
    out = AudioOut(clock)
    running = asyncio.create_task(out.run())
    await settle()
    yield out, clock
    out.stop()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def pass_time(clock: FakeClock, packets: int) -> None:
    for _ in range(packets):
        await settle()
        clock.advance(0.02)
    await settle()


async def test_a_voice_that_nobody_takes_does_nothing(voice):
    out, clock = voice
    await pass_time(clock, 5)
    assert out._number == 0
    assert not clock.waits


async def test_followers_get_every_packet_as_it_is_due(voice):
    out, clock = voice
    one, other = out.followers.follow(), out.followers.follow()
    playout = out.mixer.open()
    await playout.write(np.full(3 * FRAME, 9000, np.int16), RATE)
    playout.finish()
    await pass_time(clock, 6)
    packets = one.take()
    assert [packet.pts for packet in packets] == [n * FRAME for n in range(7)]
    assert other.take() == packets
    assert playout.ended.is_set()


async def test_what_sounds_when_the_last_follower_leaves_is_played_to_its_end(voice):
    out, clock = voice
    follower = out.followers.follow()
    playout = out.mixer.open()
    await playout.write(np.full(10 * FRAME, 9000, np.int16), RATE)
    playout.finish()
    await pass_time(clock, 3)
    out.followers.leave(follower)
    await pass_time(clock, 10)
    assert playout.ended.is_set()
    await pass_time(clock, 2)
    assert not clock.waits  # and then it rests


async def test_what_is_said_without_followers_is_played_at_its_pace(voice):
    out, clock = voice
    await pass_time(clock, 20)  # 0.4 s of rest: nothing is caught up with
    playout = out.mixer.open()
    await playout.write(np.full(5 * FRAME, 9000, np.int16), RATE)
    playout.finish()
    await pass_time(clock, 2)
    assert 0.02 <= playout.heard_seconds <= 0.061
    await pass_time(clock, 5)
    assert playout.ended.is_set()
    number = out._number
    await pass_time(clock, 20)
    again = out.mixer.open()
    await again.write(np.full(5 * FRAME, 9000, np.int16), RATE)
    await pass_time(clock, 2)
    assert 0.02 <= again.heard_seconds <= 0.061
    assert out._number >= number + 20


@pytest.mark.parametrize("for_followers", [False, True])
async def test_nothing_is_said_to_nobody(for_followers):
    out = AudioOut(FakeClock(), for_followers=for_followers)
    assert (out.mixer.prepare() is None) is for_followers
    follower = out.followers.follow()
    assert out.mixer.prepare() is not None
    out.followers.leave(follower)
    assert (out.mixer.prepare() is None) is for_followers
    out.stop()
