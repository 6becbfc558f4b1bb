"""Two recognisers as one: a quick one that knows one language, and a slower one that is asked in doubt.

The quick one's transcript is told at once; in doubt the other one hears the same utterance while the end of the turn is
still being decided, and what it hears comes as the transcript's ``better``. A session in which the other one has heard
another language is heard by it alone, until that language is the quick one's again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace

import numpy as np

from media.frames import Samples
from pipelines.errors import PipelineError
from pipelines.interfaces.stt import (
    PLAIN,
    Hearing,
    Recognition,
    SpeechToText,
    Transcript,
    can_hear,
    hearing,
    languages_of,
)
from pipelines.interfaces.vad import VAD_RATE
from pipelines.routing.definition import ForwardingPolicy
from pipelines.runtime.worker import session, spoken_language

log = logging.getLogger(__name__)

_SESSIONS_REMEMBERED = 256
LOST = 0.6
"""Confidence of the quick one below which what it hears is hardly ever of its language."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """When a second opinion is asked for, what it may take, and when it counts. Confidence is in 0–1.

    The values are for Moonshine and Whisper (``tests/benchmarks/ears.py``): of clear English Moonshine's is 0.88 and
    more, with noise at 10 dB 0.74 and more, of noise alone and of other languages hardly ever above 0.6.
    """

    sure: float = 0.84
    """From here on the quick one is believed."""
    lost: float = LOST
    """Below it is likely no speech of its language at all."""
    patience: float = 1.2
    """Seconds that the second opinion may take: by then the turn is over."""
    patience_lost: float = 0.6
    """The same where the quick one is lost, for then the end of the turn waits for it."""
    modesty: float = 0.1
    """By how much the slower one's confidence is lower than the quick one's of what both hear equally well."""
    least: float = 0.4
    """Confidence of the slower one below which what it hears is made up."""
    defer: float = 0.2
    """Seconds before it is asked where the quick one is not lost: of a turn that is over by then the answer would be
    under way, and slower for it."""
    longest: float = 20.0
    """Seconds of an utterance; of a longer one the quick one's transcript is kept."""
    switch: float = 1.0
    """Seconds that an utterance in another language lasts at least before the session is taken to speak it …"""
    switch_confidence: float = 0.5
    """… and how sure the slower one must be of it."""

    @classmethod
    def of(cls, policy: ForwardingPolicy) -> Doubt:
        """As a stage's policy says: below ``min_confidence`` the second one is asked; without the check it hears other
        languages only."""
        if not policy.enable_confidence_check:
            return cls(sure=0.0, lost=0.0)
        return cls(sure=policy.min_confidence, lost=min(LOST, policy.min_confidence))

    def prefers(self, other: Transcript, confidence: float) -> bool:
        """Whether ``other`` is to be believed rather than the quick one's transcript of so much ``confidence``."""
        if not other.text:  # the slower one tells speech from noise better
            return confidence < (self.sure + self.lost) / 2
        if other.confidence is None:
            return True
        return other.confidence >= self.least and other.confidence + self.modesty > confidence


class SecondOpinion:
    """A speech-to-text engine on ``first``, which knows ``language``, and ``second``."""

    streams_partials = True
    language = "en"

    def __init__(self, first: SpeechToText, second: SpeechToText, *, doubt: Doubt | None = None) -> None:
        self.first = first
        self.second = second
        self.doubt = doubt or Doubt()
        self.forwarded: Counter[tuple[str, str]] = Counter()
        """Utterances that the second one was asked about because the first one doubted, by the names of both."""
        self._spoken: OrderedDict[str, str] = OrderedDict()

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{self.first.name} + {self.second.name}"

    @property
    def languages(self) -> tuple[str, ...]:
        """Those of both."""
        return tuple(dict.fromkeys((self.language, *languages_of(self.second))))

    def can_hear(self, asked: Hearing) -> bool:
        """Whether one of them can."""
        return can_hear(self.first, asked) or can_hear(self.second, asked)

    async def open(self) -> Recognition:
        """Start an utterance of the running session."""
        session_id = session.get()
        alone = hearing.get() != PLAIN and not can_hear(self.first, hearing.get())
        if alone or (spoken_language.get() or self._spoken.get(session_id, self.language)) != self.language:
            return _Noted(self, session_id, await self.second.open())
        return _Doubted(self, session_id, await self.first.open())

    async def close(self) -> None:
        """End both."""
        await self.first.close()
        await self.second.close()

    def heard(self, session_id: str, transcript: Transcript, seconds: float) -> None:
        """Remember what language a session speaks, if the transcript tells it for certain."""
        sure = transcript.confidence is None or transcript.confidence >= self.doubt.switch_confidence
        if session_id and transcript.language and transcript.text and sure and seconds >= self.doubt.switch:
            self._spoken[session_id] = transcript.language
            self._spoken.move_to_end(session_id)
            if len(self._spoken) > _SESSIONS_REMEMBERED:
                self._spoken.popitem(last=False)


class _Noted:
    """An utterance that the second one hears alone."""

    def __init__(self, engine: SecondOpinion, session_id: str, recognition: Recognition) -> None:
        self._engine = engine
        self._session = session_id
        self._recognition = recognition
        self._samples = 0

    async def feed(self, samples: Samples) -> str:
        self._samples += len(samples)
        return await self._recognition.feed(samples)

    async def transcript(self) -> Transcript:
        transcript = await self._recognition.transcript()
        self._engine.heard(self._session, transcript, self._samples / VAD_RATE)
        return transcript

    async def close(self) -> None:
        await self._recognition.close()


class _Doubted:
    """An utterance that the first one hears, kept for the second one."""

    def __init__(self, engine: SecondOpinion, session_id: str, recognition: Recognition) -> None:
        self._engine = engine
        self._session = session_id
        self._recognition = recognition
        self._kept: list[Samples] = []
        self._samples = 0
        self._asked: asyncio.Task[Transcript | None] | None = None

    async def feed(self, samples: Samples) -> str:
        await self._forget()
        self._samples += len(samples)
        if self._samples <= self._engine.doubt.longest * VAD_RATE:
            self._kept.append(samples)
        else:
            self._kept.clear()
        return await self._recognition.feed(samples)

    async def transcript(self) -> Transcript:
        await self._forget()
        transcript = await self._recognition.transcript()
        doubt = self._engine.doubt
        confidence = 0.0 if transcript.confidence is None or not transcript.text else transcript.confidence
        if not self._kept or confidence >= doubt.sure:
            return transcript
        lost = confidence < doubt.lost
        self._asked = asyncio.create_task(self._opinion(confidence), name="second-opinion")
        return replace(transcript, better=self._asked, lost=lost)

    async def close(self) -> None:
        await self._forget()
        await self._recognition.close()

    async def _forget(self) -> None:
        """End what is being asked."""
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()
            await asyncio.wait([asked])

    async def _opinion(self, confidence: float) -> Transcript | None:
        """What the second one hears if that is to be believed; ``None`` if not, if it is late, or if its engine fails.

        It is no more than an opinion.
        """
        engine, doubt = self._engine, self._engine.doubt
        lost = confidence < doubt.lost
        await asyncio.sleep(0.0 if lost else doubt.defer)
        engine.forwarded[engine.first.name, engine.second.name] += 1
        try:
            async with asyncio.timeout(doubt.patience_lost if lost else doubt.patience):
                other = await self._hear_again(np.concatenate(self._kept))
        except TimeoutError:
            return None
        except PipelineError as error:
            log.warning("no second opinion: %s", error)
            return None
        if not doubt.prefers(other, confidence):
            return None
        engine.heard(self._session, other, self._samples / VAD_RATE)
        return other

    async def _hear_again(self, samples: Samples) -> Transcript:
        recognition = await self._engine.second.open()
        try:
            await recognition.feed(samples)
            return await recognition.transcript()
        finally:
            await recognition.close()
