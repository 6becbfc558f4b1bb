"""``audio_to_text``: what is said, utterance by utterance while the sound still comes, with partials of the present
one.

Sound that comes faster than it is spoken, as from a file, is not heard twice: there are partials only while the
recogniser has nothing else to do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from media.frames import Samples
from pipelines.errors import STTError, foreign_errors, only_logged
from pipelines.execution.work import Facilities, Work
from pipelines.interfaces.stt import Hearing, Recognition, SpeechToText, can_hear, hearing, streams_partials
from pipelines.interfaces.vad import VAD_RATE
from pipelines.routing.items import Flow, Partial, Sound, Text
from pipelines.routing.stage_types import Listening
from pipelines.runtime.worker import spoken_language
from pipelines.voice.recordings.segments import Segment, glue, recognised, segment_of, settled
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
    engine = work.engines.recognizer(work.pipeline, work.stage)
    if not can_hear(engine, asked):
        what = "translate" if asked.translate else "tell the times of words"
        raise STTError("stt_unable", f"{engine.name} does not {what}; a Whisper does (model: whisper-base)")
    hearing.set(asked)
    if language is not None:
        spoken_language.set(language)
    ear = Ear(engine, work.facilities, partials=partials and streams_partials(engine))
    before = False
    try:
        async with aclosing(ear.hear(work.inbox.sounds(), lambda: work.inbox.drained)) as items:
            async for item in items:
                if isinstance(item, Partial):
                    yield item
                    continue
                for text in _texts(item, before=before, english=asked.translate):
                    yield text
                before = True
    finally:
        await ear.close()


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

    def __init__(self, engine: SpeechToText, facilities: Facilities, *, partials: bool) -> None:
        self._engine = engine
        self._worker = facilities.worker
        self._partials = partials
        self._parts = SpokenParts(facilities.vad)
        self._resampler = facilities.resampler(VAD_RATE)
        self._recognition: Recognition | None = None
        self._begin = self._fed = 0  # samples of the recording between which the recogniser has heard it
        self._shown = ""

    async def hear(
        self, sounds: AsyncIterator[Sound], is_drained: Callable[[], bool]
    ) -> AsyncGenerator[Partial | Segment]:
        """Segments in which something was understood; before each, what is understood of it so far, if that is wanted.

        ``is_drained`` tells whether all has been taken that there is of the sound so far.
        """
        async for sound in sounds:
            samples = self._resampler.push(sound.samples, sound.rate)
            for begin in range(0, len(samples), _STEP):
                piece = samples[begin : begin + _STEP]
                for part in await self._worker.run(self._cut, piece):
                    if (segment := await self._understood(part)).text:
                        yield segment
            if self._partials and is_drained() and (text := await self._so_far()):
                yield Partial(text)
        for part in await self._worker.run(self._rest):
            if (segment := await self._understood(part)).text:
                yield segment

    async def close(self) -> None:
        """Give the decoder back."""
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
                self._recognition = await self._engine.open()
                self._begin = begin
            text = await self._recognition.feed(new)
        self._fed = begin + len(new)
        if text == self._shown:
            return ""
        self._shown = text
        return text

    async def _understood(self, part: SpokenPart) -> Segment:
        """The part that has ended."""
        start = round(part.start * VAD_RATE)
        end = start + len(part.samples)
        recognition, self._shown = self._recognition, ""
        try:
            if recognition is None or self._begin != start or self._fed > end + _SLACK:
                return await recognised(part, self._engine)  # it heard more than this part, or nothing of it
            with foreign_errors(STTError, "stt_failed", self._engine.name):
                if self._fed < end:
                    await recognition.feed(part.samples[self._fed - start :])
                return segment_of(part, await settled(recognition))
        finally:
            self._fed = end
            await self.close()
