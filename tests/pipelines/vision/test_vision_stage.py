"""The vision stage: how often it looks, how it fails, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from media.frames import Picture
from pipelines.errors import VisionError
from pipelines.interfaces.vision import Detection
from pipelines.runtime.worker import Worker
from pipelines.vision.detect import Pace, VisionStage
from pipelines.vision.settings import Background, TemplateImage, VisionSettings, VisualCueSettings
from pipelines.vision.tracker_pool import TrackerPool
from tests.fakes.clock import FakeClock
from tests.fakes.vision import FOUND, FakeVision

WAIT_SECONDS = 10.0
"""After which what should have happened long ago never will."""


class Room:
    """A stage that runs: the test turns the clock and gets the results."""

    def __init__(
        self, vision: FakeVision, worker: Worker, *, max_fps: float = 15.0, duty: float = 0.5, patience: int = 5
    ) -> None:
        self.clock = FakeClock()
        self.vision = vision
        self.results: asyncio.Queue[Picture] = asyncio.Queue()
        self.errors: list[VisionError] = []
        self.asked = 0
        self.settings = VisionSettings(max_fps=max_fps)
        trackers = TrackerPool(vision, spare=0)
        self.stage = VisionStage(trackers, worker, self.clock, self.settings, pace=Pace(duty), patience=patience)
        self.task = asyncio.create_task(self.stage.run(self._picture, self._result, self.errors.append))

    async def _picture(self) -> Picture:
        self.asked += 1
        return Picture(np.zeros((4, 4, 3), np.uint8), self.clock.now())

    def _result(self, detections: tuple[Detection, ...], picture: Picture) -> None:
        assert detections == FOUND
        self.results.put_nowait(picture)

    async def rests(self) -> float:
        """For how many seconds it rests now; it must not have ended."""
        sleeper = asyncio.create_task(self.clock.sleeper())
        await asyncio.wait({sleeper, self.task}, return_when=asyncio.FIRST_COMPLETED)
        assert not self.task.done()
        return await sleeper

    async def stop(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("eyes", threads=2)
    yield worker
    worker.close()


async def test_under_load_pictures_are_looked_at_so_many_times_more_rarely(worker: Worker) -> None:
    room = Room(FakeVision(), worker, max_fps=10)
    room.stage.ease(2.5)
    times = []
    for n in range(6):
        times.append((await room.results.get()).time)
        if n == 3:
            room.stage.ease(1.0)
            left_out = room.stage.left_out
        room.clock.advance(await room.clock.sleeper())
    assert times == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.1])
    assert room.stage.left_out == left_out == pytest.approx(4 * 1.5)
    await room.stop()


async def test_pictures_are_looked_at_no_faster_than_asked(worker: Worker) -> None:
    room = Room(FakeVision(), worker, max_fps=10)
    times = []
    for _ in range(4):
        times.append((await room.results.get()).time)
        room.clock.advance(await room.clock.sleeper())
    assert times == pytest.approx([0.0, 0.1, 0.2, 0.3])
    await room.stop()


async def test_a_slow_detector_keeps_to_its_share_of_the_time(worker: Worker) -> None:
    vision = FakeVision()
    room = Room(vision, worker, max_fps=100, duty=0.25)
    vision.look = lambda: room.clock.advance(0.06)
    await room.results.get()
    assert await room.clock.sleeper() == pytest.approx(0.18)
    await room.stop()


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        (VisionSettings(max_fps=10), [0.0, 0.2, 0.4, 0.5]),
        (VisionSettings(max_fps=2), [0.0, 0.5, 1.0, 1.5]),
        (VisionSettings(max_fps=10, mode="exact"), [0.0, 0.1, 0.2, 0.3]),
        (VisionSettings(max_fps=10, looks=VisualCueSettings(lips=True)), [0.0, 0.1, 0.2, 0.3]),
    ],
    ids=["as usual", "seldom anyway", "exact", "looks matter to the turns"],
)
async def test_looks_give_way_to_a_voice_for_a_while(worker: Worker, settings: VisionSettings, times) -> None:
    room = Room(FakeVision(), worker)
    room.stage.apply(settings)
    room.stage.give_way(0.35)
    seen = []
    for _ in times:
        seen.append((await room.results.get()).time)
        room.clock.advance(await room.clock.sleeper())
    assert seen == pytest.approx(times)
    await room.stop()


async def test_no_look_begins_while_an_answer_is_being_made(worker: Worker) -> None:
    room = Room(FakeVision(), worker, max_fps=10)
    await room.results.get()
    room.stage.rest(0.4)
    while room.results.empty():
        wait = await room.clock.sleeper()
        assert wait <= 0.1 + 1e-9  # it may be taken back at any time
        room.clock.advance(wait)
    assert (await room.results.get()).time == pytest.approx(0.4, abs=0.001)
    await room.stop()


async def test_looks_go_on_as_soon_as_the_answer_begins(worker: Worker) -> None:
    room = Room(FakeVision(), worker, max_fps=10)
    await room.results.get()
    room.stage.rest(60.0)
    for _ in range(4):
        room.clock.advance(await room.clock.sleeper())
    room.stage.rest(0.0)
    room.clock.advance(await room.clock.sleeper())
    assert (await room.results.get()).time == pytest.approx(0.3, abs=0.06)
    await room.stop()


@pytest.mark.parametrize(
    "settings",
    [VisionSettings(max_fps=10, mode="exact"), VisionSettings(max_fps=10, looks=VisualCueSettings(look_to_talk=True))],
    ids=["exact", "looks matter to the turns"],
)
async def test_looks_that_are_waited_for_do_not_rest(worker: Worker, settings: VisionSettings) -> None:
    room = Room(FakeVision(), worker)
    room.stage.apply(settings)
    room.stage.rest(60.0)
    for time in (0.0, 0.1, 0.2):
        assert (await room.results.get()).time == pytest.approx(time)
        room.clock.advance(await room.clock.sleeper())
    await room.stop()


async def test_the_picture_is_taken_after_the_rest(worker: Worker) -> None:
    room = Room(FakeVision(), worker)
    await room.results.get()
    await room.clock.sleeper()
    assert room.asked == 1
    room.clock.advance(5.0)
    assert (await room.results.get()).time == 5.0
    await room.stop()


async def test_the_tracker_lives_on_the_worker_and_is_closed_when_cancelled(worker: Worker) -> None:
    vision = FakeVision()
    room = Room(vision, worker)
    await room.results.get()
    await room.stop()
    assert (vision.opened, vision.closed) == (1, 1)
    assert all(name.startswith("eyes") for name in vision.threads)


async def test_cancelled_while_looking_it_closes_after_that(worker: Worker) -> None:
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def look() -> None:
        loop.call_soon_threadsafe(began.set)
        go_on.wait()

    vision = FakeVision(look)
    room = Room(vision, worker)
    await began.wait()
    room.task.cancel()
    await asyncio.sleep(0)
    assert vision.closed == 0
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await room.task
    assert vision.closed == 1
    assert room.results.empty()


async def test_cancelled_twice_it_still_closes(worker: Worker) -> None:
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def look() -> None:
        loop.call_soon_threadsafe(began.set)
        go_on.wait()

    vision = FakeVision(look)
    room = Room(vision, worker)
    await began.wait()
    room.task.cancel()
    await asyncio.sleep(0)
    await room.stop()
    go_on.set()
    await worker.run(vision.was_closed.wait)
    assert vision.closed == 1


async def test_an_error_is_told_once_and_what_works_goes_on(worker: Worker) -> None:
    failures = [VisionError("hand_failed", "no hands"), None, VisionError("hand_failed", "no hands"), None]

    def look() -> None:
        if failures and (error := failures.pop(0)):
            raise error

    room = Room(FakeVision(look), worker)
    for _ in range(2):  # a failure, a rest, a result
        room.clock.advance(await room.clock.sleeper())
        await room.results.get()
        room.clock.advance(await room.clock.sleeper())
    assert [error.code for error in room.errors] == ["hand_failed"]
    await room.stop()


async def test_it_gives_up_after_repeated_failures_and_never_spins(worker: Worker) -> None:
    def look() -> None:
        raise VisionError("vision_closed", "no detector works")

    vision = FakeVision(look)
    room = Room(vision, worker, patience=3, max_fps=10)
    for _ in range(3):
        assert await room.clock.sleeper() == pytest.approx(0.1)
        room.clock.advance(0.1)
        await asyncio.sleep(0)
    await worker.run(vision.was_closed.wait)
    assert room.asked == 3
    assert len(room.errors) == 1
    assert not room.stage.looking
    await room.stop()
    assert vision.closed == 1


async def test_other_detectors_are_a_new_chance(worker: Worker) -> None:
    vision = FakeVision()
    vision.broken = VisionError("vision_unusable", "no model")
    room = Room(vision, worker, patience=1)
    room.clock.advance(await room.clock.sleeper())
    vision.broken = None
    room.stage.apply(replace(room.settings, detectors=("faces",)))
    await room.results.get()
    assert vision.selected[-1] == ("faces",)
    assert room.stage.looking
    await room.stop()


async def test_detectors_change_while_it_runs(worker: Worker) -> None:
    vision = FakeVision()
    room = Room(vision, worker)
    await room.results.get()
    room.stage.apply(replace(room.settings, detectors=("hands",)))
    room.clock.advance(await room.clock.sleeper())
    await room.results.get()
    assert vision.selected[-1] == ("hands",)
    assert vision.opened == 1
    await room.stop()


async def test_switched_off_it_looks_at_nothing_and_gives_the_tracker_back(worker: Worker) -> None:
    vision = FakeVision()
    room = Room(vision, worker)
    await room.results.get()
    room.stage.apply(replace(room.settings, enabled=False))
    room.clock.advance(await room.clock.sleeper())
    await worker.run(vision.was_closed.wait)
    assert (vision.closed, room.asked, room.stage.looking) == (1, 1, False)
    room.stage.apply(room.settings)
    await room.results.get()
    assert vision.opened == 2
    await room.stop()


async def test_detectors_that_cannot_be_opened_are_told_and_given_up(worker: Worker) -> None:
    vision = FakeVision()
    vision.broken = VisionError("vision_unusable", "libEGL.so.1 is missing")
    room = Room(vision, worker, patience=2)
    for _ in range(2):
        room.clock.advance(await room.clock.sleeper())
        await asyncio.sleep(0)
    assert [error.message for error in room.errors] == ["libEGL.so.1 is missing"]
    assert (room.asked, vision.opened, vision.closed) == (0, 0, 0)
    assert room.clock.waits == []
    await room.stop()


async def test_a_busy_worker_costs_a_picture_and_no_error() -> None:
    busy = Worker("busy", inbox=1)
    hold = threading.Event()
    try:
        began = asyncio.Event()
        loop = asyncio.get_running_loop()

        def occupy() -> None:
            loop.call_soon_threadsafe(began.set)
            hold.wait()

        blocked = [asyncio.create_task(busy.run(occupy))]
        await began.wait()
        blocked.append(asyncio.create_task(busy.run(hold.wait)))  # fills the inbox
        await asyncio.sleep(0)
        room = Room(FakeVision(), busy)
        pause = await room.clock.sleeper()
        assert room.errors == []
        hold.set()
        await asyncio.gather(*blocked)
        await busy.run(lambda: None)
        room.clock.advance(pause)
        await room.results.get()
        await room.stop()
    finally:
        hold.set()
        busy.close()


class Crowd:
    """Others who keep a worker busy with a full inbox until they are let go."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._leave = threading.Event()
        self._jobs: list[asyncio.Task[object]] = []

    async def come(self) -> None:
        """One job is at work, and one waits in an inbox that has room for one."""
        began, loop = asyncio.Event(), asyncio.get_running_loop()

        def occupy() -> None:
            loop.call_soon_threadsafe(began.set)
            self._leave.wait(WAIT_SECONDS)

        self._jobs.append(asyncio.create_task(self._worker.run(occupy)))
        await began.wait()
        await self.wait()

    async def wait(self) -> None:
        """One more job waits."""
        self._jobs.append(asyncio.create_task(self._worker.run(self._leave.wait, WAIT_SECONDS)))
        await asyncio.sleep(0)

    async def go(self) -> None:
        self._leave.set()
        await asyncio.gather(*self._jobs)


@pytest.fixture
async def narrow() -> AsyncIterator[Worker]:
    """A worker with room for one job beside that at work."""
    worker = Worker("narrow", inbox=1)
    yield worker
    worker.close()


async def test_switched_off_while_the_worker_is_full_it_can_be_switched_on_again(narrow: Worker) -> None:
    vision = FakeVision()
    room = Room(vision, narrow)
    await room.results.get()
    crowd = Crowd(narrow)
    await crowd.come()
    room.stage.apply(replace(room.settings, enabled=False))
    for _ in range(3):  # the rest, and two attempts to give the tracker back
        assert await room.rests() <= 0.1
        room.clock.advance(1.0)
    again = await room.rests()
    assert vision.closed == 0
    await crowd.go()
    room.clock.advance(again)
    assert await asyncio.to_thread(vision.was_closed.wait, WAIT_SECONDS)
    room.stage.apply(room.settings)
    await room.results.get()
    assert (vision.opened, vision.closed) == (2, 1)
    await room.stop()


async def test_what_nobody_thought_of_ends_it_and_run_again_it_looks(worker: Worker) -> None:
    failures: list[Exception] = [KeyError("nobody thought of it")]

    def look() -> None:
        if failures:
            raise failures.pop()

    vision = FakeVision(look)
    room = Room(vision, worker)
    with pytest.raises(KeyError):
        await room.task
    assert (vision.opened, vision.closed, room.stage.looking) == (1, 1, False)
    room.task = asyncio.create_task(room.stage.run(room._picture, room._result, room.errors.append))
    room.clock.advance(await room.rests())
    assert room.stage.looking
    assert room.results.qsize() == 1
    await room.stop()
    assert (vision.opened, vision.closed) == (2, 2)


async def test_cancelled_while_the_worker_is_full_nobody_waits_for_what_is_under_way(narrow: Worker) -> None:
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def look() -> None:
        loop.call_soon_threadsafe(began.set)
        assert go_on.wait(WAIT_SECONDS), "the event loop stood still"

    vision = FakeVision(look)
    room = Room(vision, narrow)
    await began.wait()
    crowd = Crowd(narrow)
    await crowd.wait()
    room.task.cancel()
    await asyncio.sleep(0)
    assert vision.closed == 0
    go_on.set()
    await crowd.go()
    with pytest.raises(asyncio.CancelledError):
        await room.task
    assert vision.closed == 1
    assert all(name.startswith("narrow") for name in vision.threads)


async def test_a_worker_that_closes_while_it_looks_gives_the_tracker_back_after_that(worker: Worker) -> None:
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def look() -> None:
        loop.call_soon_threadsafe(began.set)
        assert go_on.wait(WAIT_SECONDS), "the event loop stood still"

    vision = FakeVision(look)
    room = Room(vision, worker)
    await began.wait()
    worker.close()
    await room.stop()
    assert vision.closed == 0
    go_on.set()
    assert await asyncio.to_thread(vision.was_closed.wait, WAIT_SECONDS)
    assert all(name.startswith("eyes") for name in vision.threads)


async def test_a_closed_worker_ends_it(worker: Worker) -> None:
    vision = FakeVision()
    room = Room(vision, worker)
    await room.results.get()
    worker.close()
    room.clock.advance(await room.clock.sleeper())
    await room.task
    assert room.errors == []
    assert vision.closed == 1


async def test_the_end_of_the_camera_ends_it(worker: Worker) -> None:
    class CameraEndedError(Exception):
        pass

    async def ended() -> Picture:
        raise CameraEndedError

    vision = FakeVision()
    stage = VisionStage(TrackerPool(vision, spare=0), worker, FakeClock(), VisionSettings())
    with pytest.raises(CameraEndedError):
        await stage.run(ended, lambda *_: None, lambda _: None)
    assert vision.closed == 1


async def test_pictures_to_look_for_and_backgrounds_take_effect_while_it_runs(worker: Worker) -> None:
    vision = FakeVision()
    sought: list[tuple[TemplateImage, ...]] = []
    vision.look_for = sought.append  # type: ignore[attr-defined]
    room = Room(vision, worker)
    await room.results.get()
    logo = TemplateImage("logo", b"")
    settings = replace(room.settings, detectors=(), templates=(logo,), background=Background("blur"))
    room.stage.apply(settings)
    for _ in range(2):  # one that was under way may come first
        room.clock.advance(await room.clock.sleeper())
        await room.results.get()
    assert vision.selected[-1] == ("segmentation",)
    assert sought == [(logo,)]
    room.stage.apply(replace(settings, background=Background()))
    for _ in range(2):
        room.clock.advance(await room.clock.sleeper())
        await room.results.get()
    assert vision.selected[-1] == ()  # what is sought is enough to look for
    assert sought == [(logo,)]
    await room.stop()
