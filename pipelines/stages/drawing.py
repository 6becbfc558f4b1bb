"""Stages that make pictures: ``text_to_image``, ``text_to_video``, ``image_edit``, ``image_enhance``, by the tasks of
those names."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from media.frames import Picture
from pipelines.errors import PipelineError
from pipelines.execution.work import Work
from pipelines.routing.items import Flow, Text
from pipelines.routing.stage_types import Drawing, Editing, Filming, ImageEnhancing, Strict
from pipelines.stages.reading import hold
from pipelines.stages.units import all_text
from pipelines.vision.images import packed, still

LONGEST_PROMPT = 4_000
"""Characters of what is to be drawn."""


def given(options: Strict) -> dict[str, Any]:
    """Those that have a value."""
    return {name: value for name, value in options.model_dump().items() if value is not None}


async def draw(work: Work) -> Flow:
    """Run ``text_to_image``: one picture of all the text that comes."""
    prompt = await all_text(work, LONGEST_PROMPT)
    if prompt:
        runner = work.engines.task(work.pipeline, work.stage, "text-to-image")
        done = await runner.run({"inputs": prompt}, given(work.options(Drawing)))
        yield await _picture(work, done.output, 0.0)


async def film(work: Work) -> Flow:
    """Run ``text_to_video``: pictures with their times, of all the text that comes and of an image to begin with."""
    options = work.options(Filming)
    prompt, begin = "", None
    async for _, item in work.inbox.tagged():
        if isinstance(item, Text):
            prompt += item.text
        elif isinstance(item, Picture):
            begin = await work.facilities.vision.run(packed, item.pixels)
    if prompt.strip():
        runner = work.engines.task(work.pipeline, work.stage, "text-to-video")
        inputs = {"inputs": prompt.strip()[:LONGEST_PROMPT]} | ({"image": begin} if begin is not None else {})
        done = await runner.run(inputs, given(options))
        for n, frame in enumerate(_frames(done.output)):
            yield await _picture(work, frame, n / options.fps)


async def edit(work: Work) -> Flow:
    """Run ``image_edit``: every picture that comes, as the options and the text that comes with it say."""
    options = given(work.options(Editing))
    prompt = ""
    pictures: list[Picture] = []
    async for _, item in work.inbox.tagged():
        if isinstance(item, Text):
            prompt += item.text
        elif isinstance(item, Picture):
            hold(pictures, item, work)
    parameters = {**options, **({"prompt": prompt.strip()} if prompt.strip() else {})}
    for picture in pictures:
        yield await _changed(work, "image-edit", picture, parameters)


async def enhance(work: Work) -> Flow:
    """Run ``image_enhance``: every picture that comes."""
    options = given(work.options(ImageEnhancing))
    async for picture in work.inbox.pictures():
        yield await _changed(work, "image-enhance", picture, options)


async def _changed(work: Work, task: str, picture: Picture, parameters: Mapping[str, Any]) -> Picture:
    runner = work.engines.task(work.pipeline, work.stage, task)
    data = await work.facilities.vision.run(packed, picture.pixels)
    done = await runner.run({"image": data}, parameters)
    return await _picture(work, done.output, picture.time)


async def _picture(work: Work, output: Any, time: float) -> Picture:
    """A task's output as a picture: a file, in base64 where it is text, alone or in a field."""
    while isinstance(output, Mapping | list | tuple):
        output = output["image"] if isinstance(output, Mapping) else output[0]
    data = base64.b64decode(output.rpartition(",")[2]) if isinstance(output, str) else output
    if not isinstance(data, bytes):
        raise PipelineError("stage_failed", f"stage {work.stage.id}: the model gave no picture")
    return Picture(await work.facilities.vision.run(still, data, "the picture"), time)


def _frames(output: Any) -> Sequence[Any]:
    frames = output["frames"] if isinstance(output, Mapping) else output
    return frames if isinstance(frames, Sequence) and not isinstance(frames, str | bytes) else [frames]
