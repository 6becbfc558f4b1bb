"""The text that comes, unit by unit."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from pipelines.errors import PipelineError
from pipelines.execution.work import Work
from pipelines.routing.items import Text

MOST_CHARACTERS = 200_000
"""Of one unit."""


async def units(work: Work) -> AsyncGenerator[Text]:
    """Each utterance, sentence or answer as one text, as soon as it ends."""
    held: list[Text] = []
    async for text in work.inbox.texts():
        held.append(text)
        if sum(len(one.text) for one in held) > MOST_CHARACTERS:
            raise too_long(work, MOST_CHARACTERS)
        if text.final:
            if unit := _joined(held):
                yield unit
            held = []
    if unit := _joined(held):
        yield unit


async def all_text(work: Work, most: int = MOST_CHARACTERS) -> str:
    """All of it, at most so many characters."""
    said = ""
    async for text in work.inbox.texts():
        said += text.text
        if len(said) > most:
            raise too_long(work, most)
    return said.strip()


def too_long(work: Work, most: int) -> PipelineError:
    """More text came than the stage works on at once."""
    return PipelineError("input_too_long", f"stage {work.stage.id}: a text is longer than {most} characters")


def _joined(texts: list[Text]) -> Text | None:
    said = "".join(text.text for text in texts).strip()
    return Text(said, True, texts[0].start, texts[-1].end, texts[-1].language) if said else None
