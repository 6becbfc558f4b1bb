"""``image_to_text``: what is written in pictures (task ``ocr``), or what they show (task ``image-to-text``)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from media.frames import Picture
from pipelines.execution.work import Work
from pipelines.interfaces.task import TaskRunner
from pipelines.routing.items import Flow, Text
from pipelines.routing.stage_types import Reading
from pipelines.stages.detecting import Rate
from pipelines.vision.images import packed

READ, DESCRIBE = "ocr", "image-to-text"


async def read(work: Work) -> Flow:
    """Run the stage. Of a video, text is given when it is another than before. Words that come are the question."""
    options = work.options(Reading)
    rate = Rate(options.max_fps)
    asked, before, first = options.prompt, "", True
    async for source, item in work.inbox.tagged():
        if isinstance(item, Text):
            asked += item.text
            continue
        is_video = work.inbox.sources[source] == "video"
        if not isinstance(item, Picture) or (is_video and not rate.admits(item.time)):
            continue
        text = await (read_text(work, item) if options.mode == "ocr" else _described(work, item, asked.strip()))
        if text and not (is_video and text == before):
            time = item.time if is_video else None
            yield Text(text if first else f"\n{text}", True, time, time)
            first = False
        before = text


async def read_text(work: Work, picture: Picture) -> str:
    """What is written in a picture, in reading order."""
    runner = work.engines.task(work.pipeline, work.stage, READ)
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
