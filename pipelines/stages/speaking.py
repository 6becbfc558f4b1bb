"""``text_to_audio``: text is spoken clause by clause while it still comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial

from pipelines.execution.work import Work
from pipelines.interfaces.tts import TextToSpeech
from pipelines.routing.items import Flow, Sound, Text
from pipelines.routing.stage_types import Speaking
from pipelines.voice.clauses import ClauseSplitter
from pipelines.voice.spoken_text.languages import Tongue
from pipelines.voice.tts import said


async def speak(work: Work) -> Flow:
    """Run the stage."""
    options = work.options(Speaking)
    engine = work.engines.voice(work.pipeline, work.stage)
    wanted = Wanted(options.voice, options.speed, options.language)
    async with aclosing(spoken(work.inbox.texts(), engine, wanted, work)) as sounds:
        async for sound in sounds:
            yield sound


class Wanted:
    """How the text is to sound."""

    def __init__(self, voice: str | None, speed: float, language: str | None) -> None:
        self.voice = voice
        self.speed = speed
        self.language = language


async def spoken(texts: AsyncIterator[Text], engine: TextToSpeech, wanted: Wanted, work: Work) -> AsyncGenerator[Sound]:
    """What ``engine`` says, from the first clause on, which is short; then sentences."""
    seconds, tongue = 0.0, None
    async with aclosing(_clauses(texts)) as clauses:
        async for clause, language in clauses:
            tongue = tongue or Tongue(wanted.language or language, wanted.voice, engine.voices)
            voice = tongue.voice_of(clause)
            say = partial(said, clause, engine, voice, wanted.speed)
            async with aclosing(work.replayed((clause, engine.name, voice, wanted.speed), say)) as pieces:
                async for piece in pieces:
                    yield Sound(piece.samples, piece.rate, seconds)
                    seconds += len(piece.samples) / piece.rate


async def _clauses(texts: AsyncIterator[Text]) -> AsyncGenerator[tuple[str, str | None], None]:
    """Clauses as soon as they are known, and the language that was told of the text."""
    splitter, language = ClauseSplitter(), None
    async for text in texts:
        language = text.language or language
        for clause in splitter.push(text.text):
            yield clause, language
        for clause in splitter.settle() if text.final else ():
            yield clause, language
    for clause in splitter.flush():
        yield clause, language
