"""The stages of pictures and videos, with engines that do as told."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from media.frames import Picture
from pipelines.interfaces.vision import Detection
from pipelines.routing.items import Data, Text
from pipelines.runtime.worker import Worker
from pipelines.stages.detecting import Eye, Rate
from pipelines.stages.scanning import SceneCuts
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.stage_engines import (
    FakeStageEngines,
    FakeTask,
    executing,
    failing,
    gives,
    outputs,
    pipeline,
    spoken,
    text_of,
)
from tests.fakes.vision import FakeVision


def picture(time: float = 0.0, colour: tuple[int, int, int] = (0, 0, 0)) -> Picture:
    return Picture(np.full((96, 128, 3), colour, np.uint8), time)


def png(colour: tuple[int, int, int]) -> bytes:
    done, data = cv2.imencode(".png", picture(colour=colour).pixels[:, :, ::-1])
    assert done
    return data.tobytes()


def colour_of(data: bytes) -> tuple[int, ...]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return tuple(int(value) for value in pixels[0, 0, ::-1])


async def test_text_in_a_picture_is_read_once() -> None:
    task = FakeTask(lambda inputs, parameters: {"text": f"colour {colour_of(inputs['image'])[0]}", "lines": []})
    engines = FakeStageEngines(tasks={"ocr": task})
    stages = pipeline({"id": "read", "type": "image_to_text"})
    async with executing(engines) as executor:
        for colour in (200, 200, 90):
            found = await outputs(executor, stages, {"image": gives(picture(colour=(colour, 0, 0)))})
    assert text_of(found, "read") == "colour 90"
    assert len(task.asked) == 2


async def test_of_a_video_text_is_given_where_it_changes() -> None:
    task = FakeTask(lambda inputs, parameters: {"text": f"colour {colour_of(inputs['image'])[0]}"})
    engines = FakeStageEngines(tasks={"ocr": task})
    video = [picture(n * 0.5, (100 if n < 4 else 50, 0, 0)) for n in range(8)]
    async with executing(engines) as executor:
        found = await outputs(executor, pipeline({"id": "read", "type": "image_to_text"}), {"video": gives(*video)})
    assert [(item.text.strip(), item.start) for _, item in found] == [("colour 100", 0.0), ("colour 50", 2.0)]


async def test_a_picture_is_described_as_asked() -> None:
    task = FakeTask(lambda inputs, parameters: [{"generated_text": f"It is red. {inputs.get('prompt', '')}"}])
    engines = FakeStageEngines(tasks={"image-to-text": task})
    stages = pipeline({"id": "read", "type": "image_to_text", "options": {"mode": "caption", "prompt": "What is it?"}})
    async with executing(engines) as executor:
        found = await outputs(executor, stages, {"image": gives(picture())})
    assert text_of(found, "read") == "It is red. What is it?"


async def test_a_picture_waits_for_the_question_that_comes_with_it() -> None:
    task = FakeTask(lambda inputs, parameters: inputs.get("prompt", ""))
    engines = FakeStageEngines(tasks={"image-to-text": task})
    stages = pipeline({"id": "read", "type": "image_to_text", "options": {"mode": "caption"}})
    asked = asyncio.Event()

    async def question() -> AsyncGenerator[Text]:
        await asked.wait()
        yield Text("What is it?", True)

    async def show() -> AsyncGenerator[Picture]:
        yield picture()
        asked.set()

    async with executing(engines) as executor:
        found = await outputs(executor, stages, {"image": show(), "text": question()})
    assert text_of(found, "read") == "What is it?"


@pytest.mark.parametrize("output", [png((9, 8, 7)), {"image": base64.b64encode(png((9, 8, 7))).decode()}])
async def test_a_picture_is_drawn(output: object) -> None:
    task = FakeTask(lambda inputs, parameters: output)
    engines = FakeStageEngines(tasks={"text-to-image": task})
    draw = {"id": "draw", "type": "text_to_image", "options": {"width": 128, "seed": 1}}
    async with executing(engines) as executor:
        [(_, drawn)] = await outputs(executor, pipeline(draw), {"text": gives(Text("a "), Text("cat", True))})
    assert tuple(drawn.pixels[0, 0]) == (9, 8, 7)
    assert task.asked == [({"inputs": "a cat"}, {"width": 128, "seed": 1})]


async def test_a_video_is_made_of_text_and_a_first_picture() -> None:
    task = FakeTask(lambda inputs, parameters: {"frames": [png((n, n, n)) for n in range(3)]})
    engines = FakeStageEngines(tasks={"text-to-video": task})
    film = {"id": "film", "type": "text_to_video", "inputs": ["input"], "options": {"fps": 4}}
    async with executing(engines) as executor:
        inputs = {"text": gives(Text("waves", True)), "image": gives(picture(colour=(1, 2, 3)))}
        found = await outputs(executor, pipeline(film), inputs)
    assert [item.time for _, item in found] == pytest.approx([0.0, 0.25, 0.5])
    assert colour_of(task.asked[0][0]["image"]) == (1, 2, 3)


@pytest.mark.parametrize("kind", ["edit", "enhance"])
async def test_every_picture_is_changed(kind: str) -> None:
    task = FakeTask(lambda inputs, parameters: png(tuple(value + 1 for value in colour_of(inputs["image"]))))
    engines = FakeStageEngines(tasks={f"image-{kind}": task})
    stages = pipeline({"id": "change", "type": f"image_{kind}"})
    async with executing(engines) as executor:
        found = await outputs(executor, stages, {"image": gives(picture(), picture(colour=(5, 5, 5)))})
    assert [tuple(item.pixels[0, 0]) for _, item in found] == [(1, 1, 1), (6, 6, 6)]


async def test_pictures_of_a_video_are_analysed_at_the_rate_that_is_wanted() -> None:
    vision = FakeVision()
    engines = FakeStageEngines(vision=vision)
    watch = {"id": "watch", "type": "video_analysis", "options": {"max_fps": 5, "annotate": True}}
    async with executing(engines) as executor:
        found = await outputs(executor, pipeline(watch), {"video": gives(*(picture(n / 20) for n in range(20)))})
    told = [item.value for _, item in found if isinstance(item, Data)]
    assert [one["time"] for one in told] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    assert told[0]["detections"] == [{"kind": "face", "id": 0, "box": [0.2, 0.2, 0.2, 0.2], "score": 0.9}]
    assert told[0]["scene"].startswith("one person")
    shown = [item for _, item in found if isinstance(item, Picture)]
    assert len(shown) == 20
    assert all(item.pixels.any() for item in shown), "the face is drawn onto black"
    assert (vision.opened, vision.closed) == (1, 1)


async def test_the_way_of_each_thing_is_told_once_it_has_gone() -> None:
    class Passing(FakeVision):
        """Something crosses in half a second; something else stays."""

        def detect(self, picture: Picture) -> tuple[Detection, ...]:
            passing = Detection("object", 1, (picture.time, 0.4, 0.2, 0.2), 0.8, "car")
            return (
                Detection("object", 0, (0.0, 0.0, 0.1, 0.1), 0.9, "cup"),
                *((passing,) if picture.time < 0.5 else ()),
            )

    watch = {"id": "watch", "type": "video_analysis", "options": {"max_fps": 10, "tracks": True}}
    async with executing(FakeStageEngines(vision=Passing())) as executor:
        found = await outputs(executor, pipeline(watch), {"video": gives(*(picture(n / 10) for n in range(40)))})
    values = [item.value for _, item in found]
    place = next(n for n, one in enumerate(values) if "track" in one)
    car, cup = (one["track"] for one in values if "track" in one)
    assert values[place - 1]["time"] == pytest.approx(2.0), "as it comes, not at the end"
    assert (car["label"], car["id"], car["from"], car["to"], car["pictures"]) == ("car", 1, 0.0, 0.4, 5)
    assert car["path"] == [[n / 10, pytest.approx(n / 10 + 0.1), 0.5] for n in range(5)]
    assert (cup["label"], cup["to"], cup["pictures"]) == ("cup", 3.9, 40)


async def test_a_detector_that_is_not_there_is_named() -> None:
    watch = {"id": "watch", "type": "video_analysis", "options": {"detectors": ["objects"]}}
    async with executing(FakeStageEngines()) as executor:
        _, error = await failing(executor.start(pipeline(watch), {"image": gives(picture())}))
    assert error.code == "detector_unavailable"
    assert "objects" in error.message


class Held:
    """What a fake does on a worker's thread until it is let go; told on the event loop when it begins."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go_on = threading.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> None:
        self._loop.call_soon_threadsafe(self.began.set)
        assert self.go_on.wait(10), "nobody let it go"


class SlowToOpen(FakeVision):
    def __init__(self, opening: Held) -> None:
        super().__init__()
        self.opening = opening

    def open(self, detectors: tuple[str, ...] | None = None) -> FakeVision:
        self.opening()
        return super().open(detectors)


@pytest.mark.parametrize("opens", [True, False], ids=["while detectors are opened", "while they look"])
async def test_who_leaves_a_video_leaves_no_detectors(opens: bool) -> None:
    held = Held()
    vision = SlowToOpen(held) if opens else FakeVision(held)
    stages = pipeline({"id": "watch", "type": "video_analysis"})
    worker = Worker("eyes", threads=3)
    work: Any = SimpleNamespace(
        stage=stages.stages[0],
        pipeline=stages,
        engines=FakeStageEngines(vision=vision),
        facilities=SimpleNamespace(vision=worker),
    )
    eye = Eye(work)

    async def looks() -> None:
        async with aclosing(eye):
            await eye.look(picture())

    leaving = asyncio.create_task(looks())
    await held.began.wait()
    leaving.cancel()
    await asyncio.sleep(0)
    await worker.run(int)  # on the third thread: whatever was to be closed on the second has begun
    assert vision.closed == 0
    held.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await worker.run(int)
    worker.close()
    assert (vision.opened, vision.closed) == (1, 1)


class Changing(FakeVision):
    """Finds a hand from the third picture on."""

    seen = 0

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        self.seen += 1
        return super().detect(picture) if self.seen < 3 else (Detection("hand", 0, (0.1, 0.1, 0.1, 0.1), 0.9),)


async def test_a_video_is_told_with_times() -> None:
    task = FakeTask(lambda inputs, parameters: {"text": "EXIT" if colour_of(inputs["image"])[0] else ""})
    engines = FakeStageEngines(stt=FakeRecognizer("hello there"), vision=Changing(), tasks={"ocr": task})
    video = [spoken(1.0), *(picture(float(n), (0 if n < 3 else 255, 0, 0)) for n in range(4))]
    scan = {"id": "scan", "type": "video_to_text", "model": "mine", "options": {"read_text": True}}
    async with executing(engines) as executor:
        found = await outputs(executor, pipeline(scan), {"video": gives(*video)})
    assert sorted((item.start, item.text.strip()) for _, item in found) == [
        (0.0, "(one person)"),
        (0.0, "hello there"),
        (2.0, "(one hand visible)"),
        (3.0, "“EXIT”"),
    ]
    assert len(text_of(found, "scan").splitlines()) == 4
    assert engines.models == {"recognizer": "mine", "vision": "auto", "ocr": "auto"}


async def test_a_video_is_summed_up_with_its_key_frames() -> None:
    engines = FakeStageEngines(stt=FakeRecognizer("we bake bread"), llm=FakeModel("Somebody bakes bread."))
    colours = [(250, 0, 0), (250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250)]
    video = [spoken(1.0), *(picture(float(n), colour) for n, colour in enumerate(colours))]
    stage = {"id": "sum", "type": "video_summary", "model": "mine", "options": {"key_frames": 3}}
    async with executing(engines) as executor:
        found = await outputs(executor, pipeline(stage), {"video": gives(*video)})
    assert text_of(found, "sum").strip() == "Somebody bakes bread."
    assert engines.models == {"recognizer": "auto", "vision": "auto", "model": "mine"}
    [request] = engines.llm.requests
    assert "[0 s] we bake bread" in request.messages[-1].content
    assert "(one person)" in request.messages[-1].content
    assert len(request.messages[-1].images) == 3, "five scenes, of which every second one is kept"


async def test_a_model_is_told_what_changes_in_a_video_and_shown_its_newest_picture() -> None:
    engines = FakeStageEngines(vision=Changing(), llm=FakeModel("I see."))
    stages = (
        {"id": "watch", "type": "video_analysis", "inputs": ["input"]},
        {"id": "think", "type": "text_generation", "inputs": ["input", "watch"]},
    )
    inputs = {"text": gives(Text("What is there?", True)), "video": gives(*(picture(float(n)) for n in range(5)))}
    async with executing(engines) as executor:
        await outputs(executor, pipeline(*stages, parallel_stages=True), inputs)
    [message] = engines.llm.requests[0].messages
    assert message.content == "At 0.0 s: one person\nAt 2.0 s: one hand visible\n\nWhat is there?"
    assert len(message.images) == 1


def test_a_rate_lets_through_what_is_its_turn() -> None:
    rate = Rate(10)
    assert [n for n in range(12) if rate.admits(n / 30)] == [0, 3, 6, 9]
    assert rate.admits(5.0)
    assert rate.admits(0.0), "a time before begins anew"


def test_cuts_are_where_the_colours_change() -> None:
    cuts = SceneCuts()
    noise = np.random.default_rng(1).integers(0, 20, (96, 128, 3)).astype(np.uint8)
    scenes = [noise, noise + 5, noise + np.array([200, 0, 0], np.uint8), noise + np.array([205, 0, 0], np.uint8)]
    assert [cuts.is_cut(pixels.astype(np.uint8)) for pixels in scenes][0::2] == [True, True]
    assert not cuts.is_cut(scenes[-1])
