"""Recognition and voices of servers: ``/audio/transcriptions``, ``/audio/translations`` and ``/audio/speech``
(https://platform.openai.com/docs/api-reference/audio)."""

from __future__ import annotations

import math
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import aiohttp
import numpy as np

from media.frames import Samples
from pipelines.errors import STTError, TTSError
from pipelines.interfaces.stt import Hearing, Transcript, hearing
from pipelines.interfaces.tts import Speech, WordTiming
from pipelines.interfaces.vad import VAD_RATE
from pipelines.runtime.worker import spoken_language
from server.engines.remote.rest import RemoteError, Rest

LONGEST_SECONDS = 600.0
"""Of an utterance, 19 MB."""
DEFAULT_VOICE = "alloy"
"""A name that every such server takes for its own default."""
PIECE_SECONDS = 0.1
"""Of speech that is handed on at a time, at least."""
LONGEST_HEADER = 4096
"""Bytes before the samples of a WAV file."""


class RemoteRecognizer:
    """Implements :class:`~pipelines.interfaces.stt.SpeechToText`, of whole utterances: they cannot be streamed."""

    streams_partials = False

    def __init__(self, rest: Rest, model: str) -> None:
        self.name = f"{rest.server} {model}" if model else rest.server
        self.rest = rest
        self.model = model

    def can_hear(self, asked: Hearing) -> bool:
        """All of it, as far as is known."""
        return True

    async def open(self) -> _Utterance:
        """Start an utterance."""
        return _Utterance(self, hearing.get(), spoken_language.get())

    async def close(self) -> None:
        """End the connections."""
        await self.rest.close()


class _Utterance:
    """One utterance."""

    def __init__(self, engine: RemoteRecognizer, asked: Hearing, language: str | None) -> None:
        self._engine = engine
        self._asked = asked
        self._language = language
        self._samples: list[Samples] = []
        self._seconds = 0.0

    async def feed(self, samples: Samples) -> str:
        self._seconds += len(samples) / VAD_RATE
        if self._seconds > LONGEST_SECONDS:
            raise STTError("stt_too_long", f"an utterance of more than {LONGEST_SECONDS:g} s is not sent to a server")
        self._samples.append(samples)
        return ""

    async def transcript(self) -> Transcript:
        if not self._samples:
            return Transcript("")
        form = aiohttp.FormData()
        form.add_field("file", wav(np.concatenate(self._samples)), filename="speech.wav", content_type="audio/wav")
        form.add_field("model", self._engine.model or "whisper-1")
        form.add_field("response_format", "verbose_json")
        if self._asked.word_times:
            form.add_field("timestamp_granularities[]", "word")
        if self._language and not self._asked.translate:
            form.add_field("language", self._language)
        path = "/audio/translations" if self._asked.translate else "/audio/transcriptions"
        try:
            found = await self._engine.rest.json(path, form=form)
        except RemoteError as error:
            raise STTError(error.code.replace("remote_", "stt_"), error.message) from error
        return transcript_of(found)

    async def close(self) -> None:
        self._samples.clear()


def wav(samples: Samples, rate: int = VAD_RATE) -> bytes:
    """Mono int16 ``samples`` as a WAV file."""
    data = samples.astype("<i2").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16,
                       b"data", len(data))  # fmt: skip
    return head + data


def transcript_of(found: dict[str, Any]) -> Transcript:
    """What a server tells, as ``verbose_json``; servers leave out what they do not know. Pure."""
    text = found.get("text")
    if not isinstance(text, str):
        raise STTError("stt_bad_answer", "the server's transcript has no text")
    likely = [
        segment["avg_logprob"]
        for segment in _rows(found.get("segments"))
        if isinstance(segment.get("avg_logprob"), int | float)
    ]
    confidence = math.exp(min(0.0, sum(likely) / len(likely))) if likely else None
    words = tuple(
        WordTiming(str(word["word"]).strip(), float(word["start"]), float(word["end"]))
        for word in _rows(found.get("words"))
        if isinstance(word.get("start"), int | float) and isinstance(word.get("end"), int | float) and "word" in word
    )
    language = found.get("language")
    return Transcript(text.strip(), confidence, language if isinstance(language, str) else None, words)


def _rows(value: object) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


class RemoteVoice:
    """Implements :class:`~pipelines.interfaces.tts.TextToSpeech`; words have no times there."""

    def __init__(self, rest: Rest, model: str) -> None:
        self.name = f"{rest.server} {model}" if model else rest.server
        self.voices = (DEFAULT_VOICE,)
        self._rest = rest
        self._model = model

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak one clause, in pieces as they come. Raises :class:`TTSError`."""
        body = {
            "model": self._model or "tts-1",
            "input": text,
            "voice": voice or DEFAULT_VOICE,
            "response_format": "wav",
            "speed": speed,
        }
        stream = WavStream()
        try:
            async with aclosing(self._rest.stream("/audio/speech", body=body)) as pieces:
                async for piece in pieces:
                    if (speech := stream.push(piece)) is not None:
                        yield speech
            if (speech := stream.push(b"", end=True)) is not None:
                yield speech
        except RemoteError as error:
            raise TTSError(error.code.replace("remote_", "tts_"), error.message) from error

    async def close(self) -> None:
        """End the connections."""
        await self._rest.close()


class WavStream:
    """A WAV file that comes piece by piece: mono or not, 16 bits. Pure."""

    def __init__(self) -> None:
        self._data = b""
        self._rate = self._channels = 0

    def push(self, data: bytes, *, end: bool = False) -> Speech | None:
        """The next bytes; speech once there is enough of it. Raises :class:`TTSError` (``tts_bad_answer``)."""
        self._data += data
        if not self._rate and not self._begin():
            if end or len(self._data) > LONGEST_HEADER:
                raise TTSError("tts_bad_answer", "the server's speech is no WAV file of 16 bits")
            return None
        frame = 2 * self._channels
        if len(self._data) < (1 if end else PIECE_SECONDS * self._rate * frame):
            return None
        whole = len(self._data) // frame * frame
        samples, self._data = np.frombuffer(self._data[:whole], "<i2"), self._data[whole:]
        if not len(samples):
            return None
        mono = samples.reshape(-1, self._channels).mean(1).astype(np.int16) if self._channels > 1 else samples
        return Speech(mono.astype(np.int16), self._rate)

    def _begin(self) -> bool:
        """Whether the header is complete; then the samples are what is left."""
        data, place = self._data, 12
        while len(data) >= place + 8 and data[:4] == b"RIFF":
            kind, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
            if kind == b"data":
                self._data = data[place + 8 :]
                return self._rate > 0
            if kind == b"fmt " and len(data) >= place + 24:
                coded, channels, rate = struct.unpack("<HHI", data[place + 8 : place + 16])
                bits = int.from_bytes(data[place + 22 : place + 24], "little")
                if coded not in (1, 0xFFFE) or bits != 16 or not 1 <= channels <= 8 or not 4000 <= rate <= 192_000:
                    raise TTSError("tts_bad_answer", "the server's speech is no WAV file of 16 bits")
                self._rate, self._channels = rate, channels
            place += 8 + size + size % 2
        self._rate = 0
        return False
