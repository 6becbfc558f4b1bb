"""Text and video side by side: sizes, order, failures of either, cancelling."""

from __future__ import annotations

import asyncio

import cv2
import numpy as np
import pytest

from pipelines.errors import ModelError
from pipelines.foresight.events import By, Completed, Frame, Started, TextChunk, TextDone, VideoDone, VideoFailed
from pipelines.foresight.events import VideoStartedOver as StartedOver
from pipelines.foresight.executor import Makers, foresee
from pipelines.foresight.filming import Scene
from pipelines.foresight.progress import Progress
from pipelines.foresight.quality import Grain, plan_for
from pipelines.foresight.service import Foresight
from pipelines.runtime.worker import Worker
from tests.fakes.engines import FakeModel
from tests.fakes.foresight import FakeDescriber, FakeFilmer, Told
from tests.fakes.moving import moving
from tests.fakes.tasks import FakeTasks

LTX = Grain(32, 8)


@pytest.fixture
def worker():
    made = Worker("test")
    yield made
    made.close()


@pytest.fixture
def scene():
    return Scene(np.zeros((48, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("quality", "picture", "grain", "expected"),
    [
        ("low", (500, 500), None, (256, 256, 15)),
        ("medium", (500, 500), None, (512, 512, 30)),
        ("high", (500, 500), None, (768, 768, 60)),
        ("low", (500, 500), LTX, (256, 256, 17)),
        ("medium", (500, 500), LTX, (512, 512, 33)),
        ("high", (500, 500), LTX, (768, 768, 57)),
        ("medium", (640, 480), None, (592, 444, 30)),
        ("medium", (640, 480), LTX, (576, 448, 33)),
        ("medium", (1280, 720), LTX, (672, 384, 33)),
        ("low", (4000, 10), None, (512, 128, 15)),
    ],
)
def test_a_quality_becomes_what_can_be_made_in_the_shape_of_the_picture(quality, picture, grain, expected):
    plan = plan_for(quality, *picture, grain)
    assert (plan.width, plan.height, plan.frames) == expected


def test_a_prediction_is_over_when_both_halves_have_ended_in_whatever_order():
    picture = np.zeros((2, 2, 3), np.uint8)
    plan = plan_for("low", 2, 2)
    for text_first in (True, False):
        progress = Progress(plan, By("push-in"))
        assert [type(one) for one in progress.start(picture)] == [Started, Frame]
        progress.words("a")
        for _ in range(plan.frames - 1):
            assert len(progress.frame(picture, 2.0)) == 1
        assert progress.frame(picture, 1.0) == []
        ends = [progress.text_ended, progress.video_ended]
        for end in ends if text_first else reversed(ends):
            assert progress.complete() == []
            assert len(end()) == 1
            assert end() == []
        assert progress.complete() == [Completed("a")]
        assert progress.complete() == progress.words("b") == progress.video_failed("x", "y") == []


def test_a_video_that_ends_early_has_failed():
    progress = Progress(plan_for("low", 2, 2), By("push-in"))
    progress.start(np.zeros((2, 2, 3), np.uint8))
    (failed,) = progress.video_ended()
    assert failed.code == "video_incomplete"


async def test_the_picture_is_the_first_frame_and_nothing_is_computed_before_it(worker, scene):
    told = Told()
    await foresee(scene, "low", Makers(FakeDescriber(), FakeFilmer(), worker), told)
    started, first, *_ = told.events
    assert isinstance(started, Started)
    assert (first.index, first.pts, first.confidence) == (0, 0.0, 1.0)
    assert first.pixels.shape == (started.plan.height, started.plan.width, 3)
    assert [frame.index for frame in told.of(Frame)] == list(range(15))
    assert [frame.pts for frame in told.of(Frame)][:2] == [0.0, pytest.approx(1 / 15)]
    assert told.events[-1] == Completed("A cat. ")
    assert len(told.of(VideoDone)) == len(told.of(TextDone)) == 1


async def test_text_comes_before_any_made_frame_though_the_video_goes_on_at_once(worker, scene):
    """The video waits for nothing but its own work; the words are there while it is at it."""
    told, work = Told(), asyncio.Event()
    running = asyncio.create_task(foresee(scene, "low", Makers(FakeDescriber(), FakeFilmer(work.wait), worker), told))
    while not told.of(TextDone):  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert "".join(chunk.text for chunk in told.of(TextChunk)) == "A cat. "
    assert len(told.of(Frame)) == 1
    work.set()
    await running
    assert len(told.of(Frame)) == 15


async def test_a_failure_of_the_video_leaves_the_text(worker, scene):
    told = Told()
    filmer = FakeFilmer(errors=[ModelError("model_broken", "it is broken")], frames_before=3)
    await foresee(scene, "low", Makers(FakeDescriber(), filmer, worker), told)
    assert told.of(VideoFailed) == [VideoFailed("model_broken", "it is broken")]
    assert told.events[-1] == Completed("A cat. ")


async def test_a_failure_of_the_text_leaves_the_video(worker, scene):
    told = Told()
    describer = FakeDescriber(error=ModelError("model_broken", "it is broken"))
    await foresee(scene, "low", Makers(describer, FakeFilmer(), worker), told)
    assert told.of(TextDone) == [TextDone("model_broken", "it is broken")]
    assert len(told.of(VideoDone)) == 1


UNFORESEEN = [cv2.error("it does not fit"), KeyError("nobody thought of it")]


@pytest.mark.parametrize("error", UNFORESEEN, ids=["OpenCV", "a defect"])
async def test_what_nobody_thought_of_in_one_half_leaves_the_other(worker, scene, error):
    told = Told()
    await foresee(scene, "low", Makers(FakeDescriber(error=error), FakeFilmer(), worker), told)
    assert [one.code for one in told.of(TextDone)] == ["text_failed"]
    assert len(told.of(VideoDone)) == 1
    told = Told()
    await foresee(scene, "low", Makers(FakeDescriber(), FakeFilmer(errors=[error], frames_before=3), worker), told)
    assert [one.code for one in told.of(VideoFailed)] == ["video_failed"]
    assert told.events[-1] == Completed("A cat. ")


async def test_without_room_it_is_made_once_more_and_smaller(worker, scene):
    full = ModelError("out_of_memory", "no room")
    told, filmer = Told(), FakeFilmer(errors=[full], frames_before=2, grain=LTX)
    await foresee(scene, "medium", Makers(FakeDescriber(), filmer, worker), told)
    assert [plan.quality for plan in filmer.plans] == ["medium", "low"]
    (again,) = told.of(StartedOver)
    assert again.plan.width % 32 == 0
    assert told.of(VideoDone)[0].frames == 17

    told, filmer = Told(), FakeFilmer(errors=[full, full])
    await foresee(scene, "medium", Makers(FakeDescriber(), filmer, worker), told)
    assert told.of(VideoFailed) == [VideoFailed("out_of_memory", "no room")]


async def test_cancelling_ends_both_halves(worker, scene):
    never, told = asyncio.Event(), Told()
    describer, filmer = FakeDescriber(before=never.wait), FakeFilmer(never.wait)
    running = asyncio.create_task(foresee(scene, "low", Makers(describer, filmer, worker), told))
    while not filmer.plans:  # noqa: ASYNC110
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert describer.closed
    assert filmer.closed.is_set()


async def test_frames_are_made_on_another_thread_than_words(worker):
    """So that nothing of the video can hold the text up: what is left is how processors are shared (below)."""
    foresight, moved = Foresight(), Scene(moving(1), moving(0), 1 / 15)
    try:
        for film in (foresight.makers(moved).filmer, foresight.makers(Scene(moved.picture)).filmer):
            told, turns = Told(), [0]

            async def spin(turns=turns, told=told) -> None:
                while not told.of(VideoDone):
                    turns[0] += 1
                    await asyncio.sleep(0)

            counting = asyncio.create_task(spin())
            await foresee(moved, "low", Makers(FakeDescriber(), film, worker), told)
            await counting
            assert len(told.of(Frame)) == 15
            assert turns[0] > 5 * 15, "the event loop stood still while frames were made"
    finally:
        foresight.close()


async def test_who_describes_and_who_films_is_chosen_by_what_is_here(scene):
    class Looks(FakeModel):
        takes_images = True

    moved = Scene(scene.picture, scene.picture, 0.1)
    chat, tasks = Looks("A cat."), FakeTasks(image_to_text=[{"generated_text": "A dog."}])
    for given, expected in (
        ((lambda: chat, lambda: tasks), "A cat."),
        ((lambda: FakeModel(), lambda: tasks), "A dog."),
        ((lambda: None, lambda: FakeTasks()), "This is one picture"),
    ):
        foresight = Foresight(*given)
        try:
            told = Told()
            await foresight.foresee(scene, "low", told)
            assert told.events[-1].text.startswith(expected)
            assert foresight.makers(scene).filmer.method == "push-in"
            assert foresight.makers(moved).filmer.method == "motion-extrapolation"
        finally:
            foresight.close()
    assert chat.requests[0].messages[-1].images
