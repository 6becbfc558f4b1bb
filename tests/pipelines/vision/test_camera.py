"""The camera of one session: live and exact, slow and stuck detectors, cameras that stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest

from media.channel import Channel, ChannelClosedError
from media.frames import Picture
from media.video_convert import Converter
from pipelines.errors import VisionError
from pipelines.interfaces.vision import Detection
from pipelines.runtime.supervision import Supervisor
from pipelines.vision.camera import STOPPED_SECONDS, STUCK_SECONDS, Camera, Watchers
from pipelines.vision.compositor import Compositor, Painter
from pipelines.vision.detect import CameraStarted, CameraStopped, VisionCaughtUp, VisionFellBehind
from pipelines.vision.events import SceneChanged
from pipelines.vision.settings import OverlaySettings, VisionSettings
from tests.conftest import fake_engines
from tests.fakes.clock import FakeClock
from tests.fakes.peer import picture_frame
from tests.fakes.vision import FakeVision

BARE = OverlaySettings(labels=False)


class Eyes(FakeVision):
    """Remembers what it was shown, and waits at the gate when that is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Picture] = []
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        self.shown.append(replace(picture, pixels=picture.pixels.copy()))
        self.began.set()
        self.gate.wait()
        return super().detect(picture)


class Room:
    """A camera whose frames the test shows one by one."""

    def __init__(self, vision: FakeVision | None, settings: VisionSettings) -> None:
        self.clock = FakeClock(100.0)
        self.events: list[Any] = []
        self.engines = fake_engines(vision=vision)
        optional = Supervisor(self.events.append, self.clock)
        self.frames: Channel[av.VideoFrame] = Channel(1000)
        self.looks: asyncio.Queue[Picture] = asyncio.Queue()
        watchers = Watchers(
            self.events.append, self.events.append, lambda found, picture: self.looks.put_nowait(picture)
        )
        self.camera = Camera(self.engines, Converter(), self.clock, settings, watchers, optional)
        painter = Painter(self.engines.drawing_worker, Converter(), settings)
        self.compositor = Compositor(self.camera, painter, self.clock, tuple, self.events.append)
        self.task = asyncio.create_task(self.camera.run(self.frames))

    def apply(self, settings: VisionSettings) -> None:
        self.camera.apply(settings)
        self.compositor.apply(settings)

    async def show(self, time: float, level: int = 128, width: int = 320, height: int = 240) -> av.VideoFrame:
        """A grey camera frame; returns it when it has been taken."""
        frame = picture_frame(width, height, level, round(time * 90_000))
        self.frames.put(frame)
        await until(lambda: not len(self.frames))
        return frame

    async def returned(self) -> av.VideoFrame | None:
        return await self.compositor.render(await self.camera.returns.get())

    async def rest(self) -> None:
        """Let the pause between two looks pass."""
        await until(lambda: any(wait < 0.9 for wait in self.clock.waits))
        self.clock.advance(self.clock.waits[0])

    def named(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def room_with(vision: FakeVision | None, **settings: Any) -> AsyncIterator[Room]:
    room = Room(vision, VisionSettings(**{"overlay": BARE, **settings}))
    yield room
    if isinstance(vision, Eyes):
        vision.gate.set()
    room.frames.close()
    await room.task
    await room.engines.close()


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until something on another thread or task has happened."""
    while not condition():  # noqa: ASYNC110 - there is no event for most of it
        await asyncio.sleep(0)


def is_drawn_upon(frame: av.VideoFrame | None) -> bool:
    assert frame is not None
    return bool(np.ptp(frame.to_ndarray(format="gray")) > 20)


async def test_without_detectors_the_frame_itself_comes_back():
    async with room_with(None) as room:
        for n in range(3):
            frame = await room.show(n / 30)
            assert await room.returned() is frame


async def test_while_an_answer_is_being_made_every_third_picture_goes_back():
    async with room_with(None) as room:
        counts = []
        for standing_back in (False, True, False):
            room.camera.stand_back(10.0 if standing_back else 0.0)
            came = 0
            for n in range(30):
                room.clock.advance(1 / 30)
                await room.show(n / 30)
                if len(room.camera.returns):
                    came += await room.returned() is not None
            counts.append(came)
        assert counts == [30, 10, 30]


async def test_under_load_fewer_pictures_go_back():
    async with room_with(None) as room:
        counts = []
        for rarer in (1.0, 2.0, 3.0, 1.0):
            room.camera.ease(rarer)
            came = 0
            for n in range(30):
                room.clock.advance(1 / 30)
                await room.show(n / 30)
                if len(room.camera.returns):
                    came += await room.returned() is not None
            counts.append(came)
        assert counts == [30, 15, 10, 30]


async def test_live_a_stuck_detector_holds_nothing_up():
    eyes = Eyes()
    eyes.gate.clear()
    async with room_with(eyes) as room:
        await room.show(0.0)
        await until(eyes.began.is_set)
        for n in range(1, 50):
            frame = await room.show(n / 30)
            assert await room.returned() is frame
        assert len(eyes.shown) == 1


async def test_live_the_overlay_is_drawn_onto_the_newest_frame():
    async with room_with(Eyes()) as room:
        await room.show(0.0)
        await room.looks.get()
        frame = await room.show(0.1, level=60)
        drawn = await room.returned()
        assert is_drawn_upon(drawn)
        assert (drawn.pts, drawn.time_base) == (frame.pts, frame.time_base)
        assert abs(float(np.median(drawn.to_ndarray(format="gray"))) - 60) < 8


async def test_an_old_overlay_is_not_drawn():
    eyes = Eyes()
    async with room_with(eyes) as room:
        await room.show(0.0)
        await room.looks.get()
        eyes.gate.clear()
        late = await room.show(5.0)
        assert await room.returned() is late


async def test_exact_what_was_looked_at_is_what_comes_back():
    eyes = Eyes()
    async with room_with(eyes, mode="exact") as room:
        await room.show(0.0, level=30)  # while the detectors open, the video is live
        await room.looks.get()
        await room.rest()
        await until(lambda: len(room.camera.returns))
        await room.camera.returns.get()
        for n in range(1, 6):
            frame = await room.show(n / 10, level=40 * n)
            drawn = await room.returned()
            assert is_drawn_upon(drawn)
            assert drawn.pts == frame.pts
            assert eyes.shown[-1].time == pytest.approx(n / 10)
            assert abs(float(np.median(eyes.shown[-1].pixels)) - 40 * n) < 4
            await room.rest()


async def test_exact_nothing_queues_behind_a_slow_detector():
    eyes = Eyes()
    async with room_with(eyes, mode="exact") as room:
        await room.show(0.0)
        await room.looks.get()
        await room.rest()
        eyes.gate.clear()
        eyes.began.clear()
        await room.show(1.0)
        await until(eyes.began.is_set)
        for n in range(20):
            await room.show(1.1 + n / 30)
        assert len(room.camera.returns) <= 1
        eyes.gate.set()
        await room.looks.get()
        await room.rest()
        newest = await room.looks.get()
        assert newest.time == pytest.approx(1.1 + 19 / 30)


async def test_exact_a_stuck_detector_lets_the_video_go_on():
    eyes = Eyes()
    async with room_with(eyes, mode="exact") as room:
        await room.show(0.0)
        await room.looks.get()
        await room.rest()
        eyes.gate.clear()
        eyes.began.clear()
        await room.show(1.0)
        await until(eyes.began.is_set)
        await room.show(1.1)
        await room.camera.returns.get()  # the first one's
        assert not len(room.camera.returns)
        room.clock.advance(STUCK_SECONDS)
        live = await room.show(4.0)
        assert await room.returned() is live


async def test_exact_without_a_detector_that_works_the_video_is_live():
    vision = FakeVision()
    vision.broken = VisionError("vision_unusable", "no library")
    async with room_with(vision, mode="exact") as room:
        for n in range(5):
            frame = await room.show(n / 30)
            assert await room.returned() is frame
        await until(lambda: room.named(VisionError))
        assert room.named(VisionError)[0].message == "no library"


async def test_the_mode_can_change_at_any_time():
    eyes = Eyes()
    async with room_with(eyes) as room:
        await room.show(0.0)
        await room.looks.get()
        await room.returned()
        room.apply(VisionSettings(mode="exact", overlay=BARE))
        await room.rest()
        await room.show(0.5)
        exact = await room.returned()
        assert is_drawn_upon(exact)
        room.apply(VisionSettings(overlay=BARE))
        frame = await room.show(0.6)
        assert (await room.returned()).pts == frame.pts


async def test_switched_off_nothing_is_drawn_or_looked_at():
    eyes = Eyes()
    async with room_with(eyes) as room:
        await room.show(0.0)
        await room.looks.get()
        room.apply(VisionSettings(enabled=False))
        frame = await room.show(0.1)
        assert await room.returned() is frame
        assert room.camera.scene == ""
        await room.rest()
        await until(lambda: not room.camera._stage.looking)
        for n in range(5):
            await room.show(1.0 + n)
        assert len(eyes.shown) <= 2


async def test_a_camera_that_stops_and_starts_again_is_told_and_forgotten():
    async with room_with(Eyes()) as room:
        for n in range(30):
            await room.show(n / 10)
            await room.looks.get()
            await room.rest()
        assert room.named(SceneChanged)
        assert room.camera.scene
        await until(lambda: room.clock.waits)
        while not room.named(CameraStopped):
            room.clock.advance(0.5)
            await asyncio.sleep(0)
            assert room.clock.now() < 100 + 30 + 2 * STOPPED_SECONDS
        assert room.camera.scene == ""
        await room.show(60.0)
        assert [(event.width, event.height) for event in room.named(CameraStarted)] == [(320, 240)] * 2


async def test_another_resolution_is_told():
    async with room_with(None) as room:
        await room.show(0.0)
        await room.show(0.1, width=640, height=480)
        assert [event.width for event in room.named(CameraStarted)] == [320, 640]


async def test_falling_behind_and_catching_up_are_told_and_counted():
    eyes = Eyes()
    async with room_with(eyes) as room:
        await room.show(0.0)
        await room.looks.get()
        eyes.gate.clear()
        for n in range(1, 30):
            await room.show(n / 10)
        (behind,) = room.named(VisionFellBehind)
        assert behind.lag > 1.0
        assert room.camera.is_behind
        eyes.gate.set()
        for n in range(30, 60):
            await room.rest()
            await room.show(n / 10)
            await room.looks.get()
        assert len(room.named(VisionCaughtUp)) == 1
        assert room.camera.lag.frames == 59
        assert room.camera.lag.seconds > 10


async def test_the_returned_picture_has_the_size_and_the_rate_asked_for():
    async with room_with(None, width=160, frame_rate=10.0) as room:
        sizes = []
        for n in range(30):
            await room.show(n / 30)
            frame = await room.returned()
            if frame is not None:
                sizes.append((frame.width, frame.height))
        assert sizes == [(160, 120)] * 10


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 2), (3, 5), (33, 17), (641, 479), (3840, 2160)])
@pytest.mark.parametrize("mode", ["live", "exact"])
async def test_frames_of_every_size_are_survived(width, height, mode):
    async with room_with(Eyes(), mode=mode) as room:
        await room.show(0.0, width=width, height=height)
        await room.looks.get()
        await room.rest()
        frame = await room.show(0.2, width=width, height=height)
        await room.looks.get()
        back = await room.returned()
        assert back.pts == frame.pts
        assert back.width % 2 == back.height % 2 == 0
        assert max(back.width, back.height) <= 1920


async def test_the_end_of_the_camera_is_the_end_of_the_returned_video():
    async with room_with(Eyes()) as room:
        await room.show(0.0)
        room.frames.close()
        await room.task
        await room.camera.returns.get_all()
        with pytest.raises(ChannelClosedError):
            await room.camera.returns.get()
