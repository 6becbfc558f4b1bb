"""The stock ``openai`` client on the real application, and what its requests are made of."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator
from typing import Any

import av
import numpy as np
import openai

from media.frames import Samples
from pipelines.interfaces.llm import ChatRequest, Cut, Piece, Tool, ToolCall, Usage

HELLO: list[Any] = [{"role": "user", "content": "Hello?"}]
RATE = 16_000


def client_of(url: str, key: str = "not-needed") -> openai.AsyncOpenAI:
    """As people set it up; what fails is not tried again."""
    plain = openai.DefaultAsyncHttpxClient(verify=False)  # to read the machine's certificates takes 0.2 s
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=plain)


class ScriptedModel:
    """A language model that gives these pieces to every request; text, calls, a cut, and tells the cost."""

    name = "scripted"

    def __init__(self, *pieces: Piece | Exception, images: bool = False, tools: bool = True, held: bool = True) -> None:
        self.pieces = pieces
        self.takes_choice = self.takes_format = self.takes_logprobs = held
        self.takes_images = images
        self.takes_tools = tools
        self.requests: list[ChatRequest] = []
        self.usage: Usage | None = Usage(11, 4, 3)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        self.requests.append(request)
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, Cut) and request.on_usage is not None and self.usage is not None:
                request.on_usage(self.usage)
            if isinstance(piece, str) and request.top_logprobs is not None and request.on_logprobs is not None:
                request.on_logprobs([{"token": piece, "logprob": -0.5, "bytes": None, "top_logprobs": []}])
            yield piece
        if request.on_usage is not None and self.usage is not None:
            request.on_usage(self.usage)

    async def close(self) -> None:
        pass


class HangingModel:
    """A language model that says nothing until it is stopped."""

    name = "hanging"

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.stopped = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        self.asked.set()
        try:
            await asyncio.Event().wait()
            yield "never"
        finally:
            self.stopped.set()

    async def close(self) -> None:
        pass


CALL = ToolCall("call_1", "weather", '{"city": "Paris"}')
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
WEATHER = Tool("weather", "The weather in a city.", TOOLS[0]["function"]["parameters"])
"""The same as a model gets it."""


def bursts(*seconds: float, pause: float = 1.2) -> Samples:
    """Loud sound of these lengths with pauses between, 16 kHz; what the loudness detector takes for speech."""
    parts: list[Samples] = [np.zeros(RATE // 2, np.int16)]
    for length in seconds:
        count = np.arange(round(length * RATE))
        parts += [np.where(count % 40 < 20, 8000, -8000).astype(np.int16), np.zeros(round(pause * RATE), np.int16)]
    return np.concatenate(parts)


def sound_file(samples: Samples, container: str = "wav", codec: str = "pcm_s16le", rate: int = RATE) -> bytes:
    """A file of FFmpeg's with these samples (16 kHz)."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate)
        stream.codec_context.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            part.pts = None
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


def seconds_of(data: bytes) -> float:
    """How long the sound in a file is."""
    with av.open(io.BytesIO(data)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
