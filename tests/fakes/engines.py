"""Engines without a model, at the seams of :mod:`pipelines.interfaces`: they do what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import numpy as np

from pipelines.errors import PipelineError, STTError, TTSError
from pipelines.interfaces.llm import ChatRequest
from pipelines.interfaces.stt import Transcript
from pipelines.interfaces.tts import Speech, WordTiming


class LoudnessVad:
    """Speech is what is loud."""

    name = "loudness"

    def open(self) -> LoudnessVad:
        return self

    def probability(self, window: np.ndarray) -> float:
        return 1.0 if np.abs(window.astype(int)).mean() > 100 else 0.0

    def reset(self) -> None:
        pass


class FakeRecognizer:
    """Hears the next of ``texts`` in each utterance; an exception in the list is raised instead."""

    name = "fake-stt"
    streams_partials = True

    def __init__(self, *texts: str | Exception) -> None:
        self.texts = list(texts)
        self.opened = 0
        self.closed = 0
        self.gate = asyncio.Event()
        """Transcripts wait for it."""
        self.gate.set()
        self.heard: list[np.ndarray] = []
        self.better: asyncio.Future[Transcript | None] | None = None
        """What comes with the transcripts as the opinion of somebody else."""
        self.lost = False
        """Whether they are of no use without it."""
        self.language: str | None = None

    async def open(self) -> FakeRecognition:
        self.opened += 1
        text = self.texts.pop(0) if self.texts else ""
        return FakeRecognition(self, text)

    async def close(self) -> None:
        pass


class FakeRecognition:
    """One utterance; one word of the text is known after each 0.2 s of audio."""

    def __init__(self, engine: FakeRecognizer, text: str | Exception) -> None:
        self._engine = engine
        self._text = text
        self._samples: list[np.ndarray] = []

    async def feed(self, samples: np.ndarray) -> str:
        if isinstance(self._text, Exception):
            raise self._text
        self._samples.append(samples)
        words = self._text.split()
        return " ".join(words[: int(sum(map(len, self._samples)) / 3200)])

    async def transcript(self) -> Transcript:
        await self._engine.gate.wait()
        if isinstance(self._text, Exception):
            raise self._text
        self._engine.heard.append(np.concatenate(self._samples))
        better = self._engine.better
        task = None if better is None else asyncio.create_task(_result(better))
        return Transcript(self._text, language=self._engine.language, better=task, lost=self._engine.lost)

    async def close(self) -> None:
        self._engine.closed += 1


async def _result(better: asyncio.Future[Transcript | None]) -> Transcript | None:
    return await better


class FakeModel:
    """Answers with the next of ``answers`` word by word; records what it was asked."""

    name = "fake-llm"

    def __init__(self, *answers: str | PipelineError) -> None:
        self.answers = list(answers)
        self.requests: list[ChatRequest] = []
        self.cancelled = 0
        self.gate = asyncio.Event()
        """Words wait for it."""
        self.gate.set()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else "Yes."
        try:
            if isinstance(answer, PipelineError):
                raise answer
            for word in answer.split():
                await self.gate.wait()
                yield f"{word} "
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled += 1
            raise

    async def close(self) -> None:
        pass


class FakeVoice:
    """Every word takes 0.25 s of a loud square wave."""

    name = "fake-tts"
    rate = 16_000

    def __init__(self, fails: bool | Exception = False, voices: tuple[str, ...] = ("square", "other")) -> None:
        self.fails = fails
        self.voices = voices
        self.said: list[str] = []
        self.asked: list[str | None] = []
        """In which voice."""

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        if self.fails:
            raise self.fails if isinstance(self.fails, Exception) else TTSError("tts_failed", "the fake is hoarse")
        self.said.append(text)
        self.asked.append(voice)
        for n, word in enumerate(text.split()):
            samples = np.where(np.arange(self.rate // 4) % 40 < 20, 8000, -8000).astype(np.int16)
            yield Speech(samples, self.rate, (WordTiming(word, n * 0.25, (n + 1) * 0.25),))

    async def close(self) -> None:
        pass


class FakePlayout:
    """A reply that is heard as fast as the test says."""

    def __init__(self, on_flush: Callable[[], None]) -> None:
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.seconds = 0.0
        self.heard_seconds = 0.0
        self.finished = False
        self._on_flush = on_flush

    async def write(self, samples: np.ndarray, rate: int) -> None:
        self.seconds += len(samples) / rate

    def finish(self) -> None:
        self.finished = True
        self.play(0.0)

    def flush(self) -> float:
        if not self.ended.is_set():
            self._on_flush()
            self.ended.set()
        return self.heard_seconds

    def play(self, seconds: float) -> None:
        """Let ``seconds`` of it be heard."""
        self.heard_seconds = min(self.seconds, self.heard_seconds + seconds)
        if self.heard_seconds > 0:
            self.started.set()
        if self.finished and self.heard_seconds >= self.seconds:
            self.ended.set()


class FakeOut:
    """Where replies sound."""

    def __init__(self) -> None:
        self.playouts: list[FakePlayout] = []
        """What sounds or has sounded."""
        self.prepared = 0
        self.ducks: list[float] = []
        self.flushes = 0

    def prepare(self) -> FakePlayout:
        def flushed() -> None:
            self.flushes += 1

        self.prepared += 1
        return FakePlayout(flushed)

    def play(self, playout: FakePlayout) -> None:
        self.playouts.append(playout)

    def duck(self, decibels: float) -> None:
        self.ducks.append(decibels)


def crashed() -> STTError:
    return STTError("stt_crashed", "the recogniser has ended unexpectedly")
