"""``visavis.v1.SpeechService``: speech to text by a pipeline, text to speech as ``POST /v1/audio/speech`` has it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from media.files import ENCODED_RATE, AudioFormat
from pipelines.interfaces.tts import Speech
from pipelines.routing.items import Item, Partial, Text
from pipelines.routing.stage_types import STAGE_TYPES, Medium
from server.grpc.field_names import SPEECH, TRANSCRIBE, renamed
from server.grpc.generated import speech_pb2
from server.grpc.incoming import arriving
from server.grpc.runs import PipelineRuns, by_segments
from server.grpc.shell import Call, bad
from server.http.pipelines.arriving import InputError, pcm
from server.http.rest.requests import validated
from server.http.rest.speech import SpeechBody, SpeechOut, spoken

USUAL = "transcribe"
_SOUND: tuple[Medium, ...] = ("audio",)
RATES, _CHANNELS = (8_000, 96_000), (1, 8)
_FORMATS: dict[int, AudioFormat] = {
    speech_pb2.AUDIO_FORMAT_UNSPECIFIED: "pcm",
    speech_pb2.AUDIO_FORMAT_PCM: "pcm",
    speech_pb2.AUDIO_FORMAT_WAV: "wav",
    speech_pb2.AUDIO_FORMAT_MP3: "mp3",
    speech_pb2.AUDIO_FORMAT_OPUS: "opus",
    speech_pb2.AUDIO_FORMAT_FLAC: "flac",
    speech_pb2.AUDIO_FORMAT_AAC: "aac",
}


class SpeechServicer:
    """The servicer. ``seconds``: how long the next piece of a sound may be on its way."""

    def __init__(self, runs: PipelineRuns, speech: SpeechOut, seconds: float) -> None:
        self._runs = runs
        self._speech = speech
        self._seconds = seconds

    async def transcribe(
        self, requests: AsyncIterator[speech_pb2.TranscribeRequest], call: Call
    ) -> AsyncGenerator[speech_pb2.TranscribeResponse, None]:
        """What is said, while it is said."""
        async with aclosing(arriving(requests, self._seconds)) as coming:
            first = await anext(coming, None)
            if first is None or first.WhichOneof("request") != "config":
                raise bad("config", "the first request must have it", "missing_parameter")
            config = first.config
            with renamed(TRANSCRIBE):
                pipeline = self._runs.pipeline(config.pipeline or USUAL)
            gives = {STAGE_TYPES[one.type].gives for one in pipeline.graph.sinks}
            if "audio" not in pipeline.takes or pipeline.graph.lacking(_SOUND) or "text" not in gives:
                raise bad("config.pipeline", f"{pipeline.id} is none from sound to text")
            with renamed(TRANSCRIBE):
                pipeline = by_segments(pipeline, config.language)
            sound = _Sound(
                _within("config.sample_rate", config.sample_rate or 16_000, RATES),
                _within("config.channels", config.channels or 1, _CHANNELS),
            )
            texts: list[str] = []
            outputs = self._runs.outputs(pipeline, {"audio": sound.items(coming)}, call)
            async with aclosing(outputs):
                async for item in outputs:
                    if isinstance(item, Partial):
                        yield speech_pb2.TranscribeResponse(partial=speech_pb2.TranscribePartial(text=item.text))
                    elif isinstance(item, Text):
                        texts.append(item.text)
                        yield speech_pb2.TranscribeResponse(segment=_segment(item))
        done = speech_pb2.TranscribeDone(text="".join(texts), seconds=sound.seconds)
        yield speech_pb2.TranscribeResponse(done=done)

    async def synthesize(
        self, request: speech_pb2.SynthesizeRequest, call: Call
    ) -> AsyncGenerator[speech_pb2.SynthesizeResponse, None]:
        """The speech, as it is made."""
        if request.format not in _FORMATS:
            raise bad("format", f"legal values are {', '.join(speech_pb2.AudioFormat.keys())}")
        form = _FORMATS[request.format]
        given: dict[str, object] = {"input": request.text, "response_format": form}
        given |= {"voice": request.voice} if request.voice else {}
        given |= {"model": request.model} if request.model else {}
        given |= {"speed": request.speed} if request.HasField("speed") else {}
        with renamed(SPEECH):
            body = validated(SpeechBody, given)
            engine, voice = self._speech.speaker(body)
        said = _Said()
        pieces = said.counted(spoken(body, engine, voice))
        async with self._speech.places.place(), aclosing(pieces):
            if form == "pcm":
                async for piece in pieces:
                    yield speech_pb2.SynthesizeResponse(audio=_samples(piece))
            else:
                async with aclosing(self._speech.encoded(form, pieces)) as encoded:
                    async for data in encoded:
                        audio = speech_pb2.SynthesizedAudio(data=data, sample_rate=ENCODED_RATE)
                        yield speech_pb2.SynthesizeResponse(audio=audio)
        if not said.seconds:
            raise bad("text", "nothing in it makes a sound")
        yield speech_pb2.SynthesizeResponse(done=speech_pb2.SynthesizeDone(model=engine.name, seconds=said.seconds))


@dataclass(slots=True)
class _Said:
    """How much of a text has been said."""

    seconds: float = 0.0

    async def counted(self, spoken: AsyncGenerator[Speech, None]) -> AsyncGenerator[Speech, None]:
        """The same pieces."""
        async with aclosing(spoken) as pieces:
            async for piece in pieces:
                self.seconds += len(piece.samples) / piece.rate
                yield piece


def _samples(piece: Speech) -> speech_pb2.SynthesizedAudio:
    words = [speech_pb2.SpokenWord(text=word.text, start=word.start, end=word.end) for word in piece.words]
    data = piece.samples.astype("<i2").tobytes()
    return speech_pb2.SynthesizedAudio(data=data, sample_rate=piece.rate, words=words)


@dataclass(slots=True)
class _Sound:
    """The sound that a client streams."""

    rate: int
    channels: int
    count: int = 0
    """Bytes so far."""

    @property
    def seconds(self) -> float:
        """Its length so far."""
        return self.count / (2 * self.channels * self.rate)

    async def items(self, requests: AsyncIterator[speech_pb2.TranscribeRequest]) -> AsyncGenerator[Item, None]:
        """As pipelines take it."""
        async with aclosing(pcm(self._bytes(requests), self.rate, self.channels)) as items:
            async for item in items:
                yield item

    async def _bytes(self, requests: AsyncIterator[speech_pb2.TranscribeRequest]) -> AsyncGenerator[bytes, None]:
        async for request in requests:
            if request.WhichOneof("request") != "audio":
                raise InputError(400, "missing_parameter", "audio: all requests but the first must have it", "audio")
            if len(request.audio) % (2 * self.channels):
                message = f"audio: must be whole samples of {self.channels} channels"
                raise InputError(400, "invalid_value", message, "audio")
            self.count += len(request.audio)
            yield request.audio


def _segment(item: Text) -> speech_pb2.TranscribeSegment:
    return speech_pb2.TranscribeSegment(
        text=item.text, start=item.start or 0.0, end=item.end or 0.0, language=item.language or ""
    )


def _within(field: str, value: int, legal: tuple[int, int]) -> int:
    if not legal[0] <= value <= legal[1]:
        raise bad(field, f"must be {legal[0]} to {legal[1]}, not {value}")
    return value
