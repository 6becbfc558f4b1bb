"""Engines of the benchmark profile: they cost nothing, so that what is measured is the server around them.

The voice is a tone that changes between 440 and 880 Hz from one response of a session to the next: that is how a
measuring client tells two responses apart that touch. Engines know no session, so the text carries the tone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import numpy as np

from media.frames import Samples
from pipelines.engines.registry import Built, Found, Site
from pipelines.errors import TTSError
from pipelines.interfaces.llm import ChatRequest, Message
from pipelines.interfaces.stt import Transcript
from pipelines.interfaces.tts import Speech, WordTiming

HEARD = "what can you do for me"
"""What every utterance is recognised as."""
RESPONSES = ("I can do a great many things for you.", "We can do a great many things for you!")
"""The two responses that alternate. Their first word tells them apart, for that is what an interruption leaves."""
TONES = (440.0, 880.0)
"""Hertz of the response with the same index."""
RATE = 24_000
"""Hertz."""
CHUNK_SECONDS = 0.1
"""Whole periods of both tones, so that chunks join without a click."""


class BenchRecognizer:
    """A speech recogniser that needs no time and always hears :data:`HEARD`."""

    name = "bench"
    streams_partials = False

    async def open(self) -> BenchRecognition:
        """Start an utterance."""
        return BenchRecognition()

    async def close(self) -> None:
        """Nothing to end."""


class BenchRecognition:
    """One utterance; partials stay empty until a transcript has been asked for."""

    def __init__(self) -> None:
        self._samples = 0
        self._partial = ""

    async def feed(self, samples: Samples) -> str:
        """Count the samples."""
        self._samples += len(samples)
        return self._partial

    async def transcript(self) -> Transcript:
        """:data:`HEARD`, or nothing when nothing was fed."""
        if self._samples:
            self._partial = HEARD
        return Transcript(self._partial, confidence=1.0)

    async def close(self) -> None:
        """Nothing to give back."""


class BenchModel:
    """A language model that needs no time and says one short sentence, so that a response is one clause."""

    name = "bench"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """Yield the response whose turn it is, in one piece."""
        yield RESPONSES[_turn(request.messages)]

    async def close(self) -> None:
        """Nothing to close."""


def _turn(messages: tuple[Message, ...]) -> int:
    """Which of the two responses comes next.

    It is reckoned from the last response that is remembered, because old turns may have been forgotten; each line the
    user said since then has been given a response, or is now. (Unanswered lines are joined into one message.)
    """
    said = 0
    for message in reversed(messages):
        if message.role == "user":
            said += message.content.count("\n") + 1
        elif message.role == "assistant":
            return (int(_tone(message.content)) + said) % 2
    return (said + 1) % 2


def _tone(text: str) -> bool:
    """Which response ``text`` is the beginning of."""
    return text.startswith(RESPONSES[1].split()[0])


class BenchVoice:
    """A voice that plays, for each text, ``seconds`` of a sine of amplitude 0.3."""

    name = "bench"
    voices: tuple[str, ...] = ("tone",)

    def __init__(self, seconds: float = 3.0) -> None:
        self._seconds = seconds
        time = np.arange(round(CHUNK_SECONDS * RATE)) / RATE
        self._chunks = tuple((0.3 * 32767 * np.sin(2 * np.pi * tone * time)).astype(np.int16) for tone in TONES)

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Yield chunks of 0.1 s whose words are spread evenly; any text but the second of :data:`RESPONSES` sounds low.

        Raises :class:`~pipelines.errors.TTSError` for an unknown voice.
        """
        if voice is not None and voice not in self.voices:
            raise TTSError("unknown_voice", f"there is no voice {voice!r}; it can be {', '.join(self.voices)}")
        chunk = self._chunks[_tone(text)]
        total = round(self._seconds / speed * RATE)
        words = _spread(text.split(), total / RATE)
        for begin in range(0, total, len(chunk)):
            samples = chunk[: total - begin]
            until = (begin + len(samples)) / RATE
            yield Speech(samples, RATE, tuple(word for word in words if begin / RATE <= word.start < until))
            await asyncio.sleep(0)  # others get their turn, as with an engine that works

    async def close(self) -> None:
        """Nothing to end."""


def _spread(words: list[str], seconds: float) -> list[WordTiming]:
    """Words of equal length that fill ``seconds``."""
    each = seconds / max(1, len(words))
    return [WordTiming(word, n * each, (n + 1) * each) for n, word in enumerate(words)]


async def build_stt(site: Site, found: Found) -> Built[BenchRecognizer]:
    """See :data:`pipelines.engines.registry.Build`, also for the others."""
    return Built(BenchRecognizer())


async def build_llm(site: Site, found: Found) -> Built[BenchModel]:
    """The language model."""
    return Built(BenchModel())


async def build_tts(site: Site, found: Found) -> Built[BenchVoice]:
    """The voice, with a tone as long as asked for."""
    return Built(BenchVoice(site.asked.tone_seconds))
