"""``audio_to_text``: what is said, utterance by utterance while the sound still comes, with partials of the present
one.

Sound that comes faster than it is spoken, as from a file, is not heard twice: there are partials only while the
recogniser has nothing else to do.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from media.frames import Samples
from pipelines.errors import STTError, foreign_errors, only_logged
from pipelines.execution.work import Work
from pipelines.interfaces.stt import Hearing, Recognition, can_hear, hearing, streams_partials
from pipelines.interfaces.vad import VAD_RATE
from pipelines.routing.items import Flow, Partial, Sound, Text
from pipelines.routing.stage_types import Listening
from pipelines.runtime.worker import spoken_language
from pipelines.voice.recordings.segments import Segment, glue, moved, recognised, segment_of, settled
from pipelines.voice.recordings.spoken_parts import SpokenPart, SpokenParts

_STEP = VAD_RATE // 2
"""Samples that voice activity is asked about at once: half a second, about 2 ms."""
_LEAST = VAD_RATE // 10
"""New samples that the recogniser is given while somebody speaks."""
_SLACK = VAD_RATE // 4
"""Samples of silence that a recogniser may have heard beyond the end of the part."""


async def listen(work: Work) -> Flow:
    """Run the stage."""
    options = work.options(Listening)
    asked = Hearing(options.translate, options.word_times)
    async with aclosing(heard(work, options.language, asked, partials=work.streams)) as items:
        async for item in items:
            yield item


async def heard(work: Work, language: str | None, asked: Hearing, *, partials: bool) -> AsyncGenerator[Partial | Text]:
    """What is said in the sound that comes into the stage's inbox."""
    async with aclosing(Ear(work, language, asked, partials=partials)) as ear:
        async for sound in work.inbox.sounds():
            async with aclosing(ear.push(sound)) as items:
                async for item in items:
                    yield item
        async with aclosing(ear.finish()) as items:
            async for item in items:
                yield item


def _texts(segment: Segment, *, before: bool, english: bool) -> list[Text]:
    """A segment as text that is added to the one before, in one piece or word by word."""
    space = glue(segment)
    language = "en" if english else segment.language
    lead = space if before else ""
    if not segment.words:
        return [Text(lead + segment.text, True, segment.start, segment.end, language)]
    last = len(segment.words) - 1
    return [
        Text((lead if n == 0 else space) + word.text, n == last, word.start, word.end, language)
        for n, word in enumerate(segment.words)
    ]


class Ear:
    """One sound on its way through voice activity and the recogniser."""

    def __init__(self, work: Work, language: str | None, asked: Hearing, *, partials: bool) -> None:
        """Raises :class:`STTError` (``stt_unable``) when the recogniser cannot do what is asked."""
        listens = work.stage.type in ("audio_to_text", "audio_translate", "video_to_text")
        self._engine = work.engines.recognizer(work.pipeline, work.stage if listens else work.beside)
        if not can_hear(self._engine, asked):
            what = "translate" if asked.translate else "tell the times of words"
            raise STTError("stt_unable", f"{self._engine.name} does not {what}; a Whisper does (model: whisper-base)")
        self._context = (language, asked)
        self._work = work
        self._inbox = work.inbox
        self._facilities = work.facilities
        self._partials = partials and streams_partials(self._engine)
        self._parts = SpokenParts(self._facilities.vad)
        self._resampler = self._facilities.resampler(VAD_RATE)
        self._recognition: Recognition | None = None
        self._begin = self._fed = 0  # samples of the recording between which the recogniser has heard it
        self._shown = ""
        self._said = False

    async def push(self, sound: Sound) -> AsyncGenerator[Partial | Text]:
        """The next sound. What was understood of utterances that have ended; of one that goes on what is understood so
        far, if that is wanted and there is nothing else to do."""
        samples = self._resampler.push(sound.samples, sound.rate)
        for begin in range(0, len(samples), _STEP):
            for part in await self._facilities.worker.run(self._cut, samples[begin : begin + _STEP]):
                for text in await self._understood(part):
                    yield text
        if self._partials and self._inbox.drained and (so_far := await self._so_far()):
            yield Partial(so_far)

    async def finish(self) -> AsyncGenerator[Text]:
        """The sound has ended."""
        for part in await self._facilities.worker.run(self._rest):
            for text in await self._understood(part):
                yield text

    async def aclose(self) -> None:
        """Give the decoder back. Idempotent."""
        recognition, self._recognition = self._recognition, None
        if recognition is not None:
            with only_logged(f"closing {self._engine.name}"):
                await recognition.close()

    def _cut(self, samples: Samples) -> list[SpokenPart]:
        return list(self._parts.push(samples))

    def _rest(self) -> list[SpokenPart]:
        return [*self._parts.push(self._resampler.flush()), *self._parts.flush()]

    async def _so_far(self) -> str:
        """What is understood of the part that is running; empty when that is known, or nothing."""
        begin, new = self._parts.running(self._fed)
        if len(new) < _LEAST:
            return ""
        with foreign_errors(STTError, "stt_failed", self._engine.name):
            if self._recognition is None:
                self._ask()
                self._recognition = await self._engine.open()
                self._begin = begin
            text = await self._recognition.feed(new)
        self._fed = begin + len(new)
        if text == self._shown:
            return ""
        self._shown = text
        return text

    async def _understood(self, part: SpokenPart) -> list[Text]:
        """What is said in the part that has ended, nothing if that is nothing."""
        segment = await self._segment(part)
        if not segment.text:
            return []
        texts = _texts(segment, before=self._said, english=self._context[1].translate)
        self._said = True
        return texts

    async def _segment(self, part: SpokenPart) -> Segment:
        start = round(part.start * VAD_RATE)
        end = start + len(part.samples)
        recognition, self._shown = self._recognition, ""
        try:
            if recognition is None or self._begin != start or self._fed > end + _SLACK:
                return await self._afresh(part)  # it heard more than this part, or nothing of it
            with foreign_errors(STTError, "stt_failed", self._engine.name):
                if self._fed < end:
                    await recognition.feed(part.samples[self._fed - start :])
                return segment_of(part, await settled(recognition))
        finally:
            self._fed = end
            await self.aclose()

    async def _afresh(self, part: SpokenPart) -> Segment:
        """The part as a whole, or as it was understood before; times then count from where it is now."""
        self._ask()
        sound = hashlib.sha256(part.samples.tobytes()).digest()
        alone = SpokenPart(part.samples, 0.0)

        async def understood() -> AsyncGenerator[Segment]:
            yield await recognised(alone, self._engine)

        language = self._context[0] or spoken_language.get()
        key = (sound, self._engine.name, language, self._context[1])
        async with aclosing(self._work.replayed(key, understood)) as segments:
            return moved(await anext(segments), part.start)

    def _ask(self) -> None:
        """Tell the recogniser, through the running task, what the next utterance is to be heard for."""
        language, asked = self._context
        hearing.set(asked)
        if language is not None:
            spoken_language.set(language)
