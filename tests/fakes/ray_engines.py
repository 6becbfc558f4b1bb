"""What replicas run in tests: engines that do what their row's ``model`` says, importable by a replica's process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator

import numpy as np

from pipelines.engines.remote.replica import Loaded
from pipelines.engines.remote.rows import Place, Row
from pipelines.errors import EngineBusyError, LLMError, STTError, TTSError
from pipelines.interfaces.llm import ChatRequest, Cut, Piece, ToolCall, Usage
from pipelines.interfaces.stt import Transcript
from pipelines.interfaces.task import Done
from pipelines.interfaces.tts import Speech, WordTiming
from pipelines.runtime.worker import session, spoken_language

BUILD = f"{__name__}:build"


async def build(row: Row, place: Place) -> Loaded:
    engine = {"stt": Ears, "llm": Brain, "tts": Voice}.get(row.stage, Doer)(row.model)
    return Loaded(row.stage, engine, row.model)


class Ears:
    """Hears who asks, in which process, and how much; ``together`` tells how many are heard at the time."""

    open_now = 0

    streams_partials = True
    languages = ("en", "de")

    def __init__(self, model: str) -> None:
        self.name = model

    async def open(self) -> Ears:
        Ears.open_now += 1
        return Ears(self.name)

    async def feed(self, samples: np.ndarray) -> str:
        self.samples = len(samples)
        return ""

    async def transcript(self) -> Transcript:
        if self.name == "deaf":
            raise STTError("stt_failed", "it hears nothing")
        if self.name == "together":
            await asyncio.sleep(0.05)
            return Transcript(str(Ears.open_now))
        if self.name == "slow":
            await asyncio.sleep(30)
        text = f"{self.samples} samples of {session.get() or 'nobody'} in {spoken_language.get()} by {os.getpid()}"
        return Transcript(text, 0.9, "en")

    async def close(self) -> None:
        Ears.open_now -= 1


class Brain:
    """Counts as far as asked, a number every ``model`` milliseconds where that is a number, and tells its process."""

    takes_images = True
    adapters = ("calm",)

    def __init__(self, model: str) -> None:
        self.name = model
        self.ended = 0

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        last = request.messages[-1].content
        pause = int(self.name) / 1000 if self.name.isdigit() else 0.0
        if last == "who?":
            yield f"{os.getpid()}"
            return
        if last == "how often were you stopped?":
            yield f"{self.ended}"
            return
        if last == "busy":
            raise EngineBusyError("engine_busy", "too much to do")
        if last == "break":
            raise ValueError("a defect")
        try:
            for number in range(int(last)):
                yield f"{number} "
                if self.name == "breaks" and number == 2:
                    raise LLMError("llm_failed", "out of numbers")
                if self.name == "dies" and number == 2:
                    os._exit(1)
                await asyncio.sleep(pause)
            if request.tools:
                yield ToolCall("call_1", request.tools[0].name, "{}")
            if request.on_usage is not None:
                request.on_usage(Usage(7, 0, int(last)))
            yield Cut()
        finally:
            self.ended += 1

    async def probe(self) -> None:
        if self.name == "ill":
            raise LLMError("llm_failed", "it is ill")

    async def close(self) -> None:
        pass


class Voice:
    """A word is 0.1 s of silence."""

    voices = ("low", "high")

    def __init__(self, model: str) -> None:
        self.name = model

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        if voice is not None and voice not in self.voices:
            raise TTSError("unknown_voice", f"there is no voice {voice!r}")
        for n, word in enumerate(text.split()):
            if self.name == "hoarse" and n == 2:
                raise TTSError("tts_failed", "hoarse")
            yield Speech(np.zeros(1600, np.int16), 16_000, (WordTiming(word, n * 0.1, n * 0.1 + 0.1),))

    async def close(self) -> None:
        pass


class Doer:
    """Gives its inputs back."""

    def __init__(self, model: str) -> None:
        self.name = model

    async def run(self, inputs: dict, parameters: dict | None = None) -> Done:
        return Done({"inputs": inputs, "parameters": parameters})

    async def stream(self, inputs: dict, parameters: dict | None = None) -> AsyncGenerator[object, None]:
        for piece in inputs.values():
            yield piece
        yield await self.run(inputs, parameters)
