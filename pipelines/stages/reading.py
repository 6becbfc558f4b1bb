"""``image_to_text``: what is written in pictures (task ``ocr``), or what they show (task ``image-to-text``)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from media.frames import Picture
from pipelines.errors import PipelineError
from pipelines.execution.work import Work
from pipelines.interfaces.task import TaskRunner
from pipelines.routing.items import Flow, Text
from pipelines.routing.stage_types import Reading
from pipelines.stages.detecting import Rate
from pipelines.vision.images import packed

READ, DESCRIBE = "ocr", "image-to-text"
MOST_HELD = 32
"""Pictures that wait for the words that come with them."""


async def read(work: Work) -> Flow:
    """Run the stage. Words that come are the question; images wait for all of them. Of a video, text is given when it
    is another than before."""
    options = work.options(Reading)
    rate = Rate(options.max_fps)
    waits = "text" in work.inbox.sources.values()
    asked, before, first = options.prompt, "", True
    held: list[Picture] = []
    async for source, item in work.inbox.tagged():
        is_video = work.inbox.sources[source] == "video"
        if isinstance(item, Text):
            asked += item.text
        elif isinstance(item, Picture) and waits and not is_video:
            hold(held, item, work)
        elif isinstance(item, Picture) and (not is_video or rate.admits(item.time)):
            text = await _said(work, options, item, asked)
            if text and not (is_video and text == before):
                time = item.time if is_video else None
                yield Text(text if first else f"\n{text}", True, time, time)
                first = False
            before = text
    for picture in held:
        if text := await _said(work, options, picture, asked):
            yield Text(text if first else f"\n{text}", True)
            first = False


def hold(held: list[Picture], picture: Picture, work: Work) -> None:
    """Keep a picture until all words have come. Raises :class:`PipelineError` when there are too many."""
    held.append(picture)
    if len(held) > MOST_HELD:
        what = f"at most {MOST_HELD} pictures wait for the words that come with them"
        raise PipelineError("input_too_long", f"stage {work.stage.id}: {what}")


async def _said(work: Work, options: Reading, picture: Picture, asked: str) -> str:
    if options.mode == "ocr":
        return await read_text(work, picture)
    return await _described(work, picture, asked.strip())


async def read_text(work: Work, picture: Picture) -> str:
    """What is written in a picture, in reading order."""
    reads = work.stage.type == "image_to_text"
    runner = work.engines.task(work.pipeline, work.stage if reads else work.beside, READ)
    pixels = picture.pixels
    key = (READ, pixels.shape, hashlib.sha256(pixels.tobytes()).digest())

    async def make() -> AsyncGenerator[str]:
        yield _text(await _answer(work, runner, picture, {}))

    async with aclosing(work.replayed(key, make)) as texts:
        return await anext(texts)


async def _described(work: Work, picture: Picture, prompt: str) -> str:
    runner = work.engines.task(work.pipeline, work.stage, DESCRIBE)
    return _text(await _answer(work, runner, picture, {"prompt": prompt} if prompt else {}))


async def _answer(work: Work, runner: TaskRunner, picture: Picture, more: Mapping[str, Any]) -> Any:
    data = await work.facilities.vision.run(packed, picture.pixels)
    return (await runner.run({"image": data, **more})).output


def _text(output: Any) -> str:
    """Of a task's output: a text, or the one in it."""
    if isinstance(output, str):
        return output.strip()
    if isinstance(output, Mapping):
        return next((str(output[name]).strip() for name in ("text", "generated_text") if name in output), "")
    return _text(output[0]) if output else ""
