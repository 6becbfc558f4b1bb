"""``video_summary``: a video in a few sentences, from what is said, what it shows, and its key frames."""

from __future__ import annotations

from contextlib import aclosing

from media.frames import Picture
from pipelines.execution.work import Work
from pipelines.interfaces.llm import Image
from pipelines.routing.items import Flow, Text
from pipelines.routing.stage_types import Scanning, Summing, Thinking
from pipelines.stages.generating import Chat
from pipelines.stages.scanning import Scan
from pipelines.stages.units import MOST_CHARACTERS, too_long
from pipelines.vision.images import snapshot

INSTRUCTIONS = (
    "You are given what is said in a video, and in parentheses what it shows, with times. "
    "Say in a few sentences what the video is about."
)


async def sum_up(work: Work) -> Flow:
    """Run the stage. Key frames are spread over the whole: of too many every second one is left out."""
    options = work.options(Summing)
    scanning = Scanning(**{name: getattr(options, name) for name in Scanning.model_fields})
    lines: list[str] = []
    frames: list[Image] = []
    step, met, size = 1, 0, 0
    async with aclosing(Scan(work, scanning)) as found, aclosing(found.items()) as items:
        async for item in items:
            if isinstance(item, Text):
                lines.append(f"[{item.start or 0.0:.0f} s] {item.text.strip()}")
                size += len(lines[-1])
            elif isinstance(item, Picture) and options.key_frames:
                if met % step == 0:
                    frames.append(await work.facilities.vision.run(snapshot, item.pixels))
                met += 1
                if len(frames) > options.key_frames:
                    frames, step = frames[::2], step * 2
            if size > MOST_CHARACTERS:
                raise too_long(work, MOST_CHARACTERS)
    if not lines and not frames:
        return
    thinking = Thinking(instructions=options.instructions or INSTRUCTIONS, max_tokens=options.max_tokens)
    chat = Chat(work.engines.model(work.pipeline, work.stage), thinking, work)
    async with aclosing(chat.respond("\n".join(lines) or "(see the pictures)", frames)) as texts:
        async for text in texts:
            yield text
