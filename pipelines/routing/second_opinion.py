"""Two recognisers as one: a quick one that knows one language, and a slower one that is asked in doubt.

The quick one's transcript is there while the end of the turn is still being decided; in doubt the other one hears the
same utterance within what is left of that time, so the answer never comes later for it. A session in which the other
one has heard another language is heard by it alone, until that language is the quick one's again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from media.frames import Samples
from pipelines.errors import PipelineError
from pipelines.ports import VAD_RATE, Recognition, SpeechToText, Transcript
from pipelines.worker import session

log = logging.getLogger(__name__)

_SESSIONS_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Doubt:
    """When a second opinion is asked for, and what it may take. Confidence is in 0–1."""

    sure: float = 0.8
    """From here on the quick one is believed."""
    lost: float = 0.6
    """Below it is likely no speech of its language at all."""
    patience: float = 0.25
    """Seconds that the second opinion may take."""
    patience_lost: float = 0.6
    """The same where the quick one is lost: its text would be of no use."""
    longest: float = 20.0
    """Seconds of an utterance; of a longer one the quick one's transcript is kept."""
    switch: float = 1.0
    """Seconds that an utterance in another language lasts at least before the session is taken to speak it."""


@dataclass(slots=True)
class Opinions:
    """What has been asked and found since the start."""

    asked: int = 0
    taken: int = 0
    late: int = 0


class SecondOpinion:
    """Implements :class:`~pipelines.ports.SpeechToText` on ``first``, which knows ``language``, and ``second``."""

    streams_partials = True

    def __init__(
        self, first: SpeechToText, second: SpeechToText, *, language: str = "en", doubt: Doubt | None = None
    ) -> None:
        self.first = first
        self.second = second
        self.language = language
        self.doubt = doubt or Doubt()
        self.opinions = Opinions()
        self._spoken: OrderedDict[str, str] = OrderedDict()

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{self.first.name} + {self.second.name}"

    async def open(self) -> Recognition:
        """Start an utterance of the running session."""
        who = session.get()
        if self._spoken.get(who, self.language) != self.language:
            return _Noted(self, who, await self.second.open())
        return _Doubted(self, who, await self.first.open())

    async def close(self) -> None:
        """End both."""
        await self.first.close()
        await self.second.close()

    def heard(self, who: str, transcript: Transcript, seconds: float) -> None:
        """Remember what language a session speaks, if the transcript tells it for certain."""
        sure = transcript.confidence is None or transcript.confidence >= self.doubt.lost
        if who and transcript.language and transcript.text and sure and seconds >= self.doubt.switch:
            self._spoken[who] = transcript.language
            self._spoken.move_to_end(who)
            if len(self._spoken) > _SESSIONS_REMEMBERED:
                self._spoken.popitem(last=False)


class _Noted:
    """An utterance that the second one hears alone."""

    def __init__(self, ears: SecondOpinion, who: str, recognition: Recognition) -> None:
        self._ears = ears
        self._who = who
        self._recognition = recognition
        self._samples = 0

    async def feed(self, samples: Samples) -> str:
        self._samples += len(samples)
        return await self._recognition.feed(samples)

    async def transcript(self) -> Transcript:
        transcript = await self._recognition.transcript()
        self._ears.heard(self._who, transcript, self._samples / VAD_RATE)
        return transcript

    async def close(self) -> None:
        await self._recognition.close()


class _Doubted:
    """An utterance that the first one hears, kept for the second one."""

    def __init__(self, ears: SecondOpinion, who: str, recognition: Recognition) -> None:
        self._ears = ears
        self._who = who
        self._recognition = recognition
        self._kept: list[Samples] = []
        self._samples = 0
        self._asked: asyncio.Task[Transcript] | None = None

    async def feed(self, samples: Samples) -> str:
        self._samples += len(samples)
        if self._samples <= self._ears.doubt.longest * VAD_RATE:
            self._kept.append(samples)
        else:
            self._kept.clear()
        return await self._recognition.feed(samples)

    async def transcript(self) -> Transcript:
        transcript = await self._recognition.transcript()
        doubt = self._ears.doubt
        confidence = 0.0 if transcript.confidence is None else transcript.confidence
        if not self._kept or (transcript.text and confidence >= doubt.sure):
            return transcript
        lost = confidence < doubt.lost
        other = await self._other(doubt.patience_lost if lost else doubt.patience)
        if other is None or not _is_better(other, confidence):
            return transcript
        self._ears.opinions.taken += 1
        self._ears.heard(self._who, other, self._samples / VAD_RATE)
        return other

    async def close(self) -> None:
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.wait([self._asked])
        await self._recognition.close()

    async def _other(self, patience: float) -> Transcript | None:
        """The second opinion, unless it is late or its engine fails: it is no more than an opinion."""
        if self._asked is not None:
            self._asked.cancel()
        self._ears.opinions.asked += 1
        self._asked = asyncio.create_task(self._hear_again(np.concatenate(self._kept)), name="second-opinion")
        done, _ = await asyncio.wait([self._asked], timeout=patience)
        if not done:
            self._ears.opinions.late += 1
            self._asked.cancel()
            return None
        with suppress(asyncio.CancelledError):
            try:
                return self._asked.result()
            except PipelineError as error:
                log.warning("no second opinion: %s", error)
        return None

    async def _hear_again(self, samples: Samples) -> Transcript:
        recognition = await self._ears.second.open()
        try:
            await recognition.feed(samples)
            return await recognition.transcript()
        finally:
            await recognition.close()


def _is_better(other: Transcript, confidence: float) -> bool:
    """Whether ``other`` is to be believed rather than a transcript of so much ``confidence``."""
    if not other.text:  # the slower one tells speech from noise better
        return True
    return other.confidence is None or other.confidence > confidence
