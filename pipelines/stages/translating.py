"""``audio_translate``: speech in any language → English text → English speech, utterance by utterance.

The model that the stage names is the recogniser; the voice is told by the option of that name.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from pipelines.execution.work import Work
from pipelines.interfaces.stt import Hearing
from pipelines.routing.items import Flow, Text
from pipelines.routing.stage_types import Translating
from pipelines.stages.listening import heard
from pipelines.stages.speaking import Wanted, spoken

ENGLISH = "en"


async def translate(work: Work) -> Flow:
    """Run the stage."""
    options = work.options(Translating)
    voice = work.engines.voice(work.pipeline, work.beside)
    wanted = Wanted(options.voice, options.speed, ENGLISH)
    async with (
        aclosing(_english(work, options.language)) as texts,
        aclosing(spoken(texts, voice, wanted, work)) as sounds,
    ):
        async for sound in sounds:
            yield sound


async def _english(work: Work, language: str | None) -> AsyncGenerator[Text]:
    async with aclosing(heard(work, language, Hearing(translate=True), partials=False)) as items:
        async for item in items:
            if isinstance(item, Text):
                yield item
