"""``POST /v1/audio/transcriptions`` and ``/translations``: a sound file → its transcript, by whoever listens here.

The file is decoded and searched for speech on a worker's thread, a piece at a time; each part between two pauses is one
utterance for the recogniser, as in a conversation.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Annotated, Any, Literal, TypeVar

from aiohttp import web
from pydantic import BeforeValidator, Field

from media.files import UnreadableFileError, decode
from pipelines.errors import STTError, listed
from pipelines.interfaces.stt import Hearing, SpeechToText, can_hear, hearing, languages_of
from pipelines.interfaces.vad import VAD_RATE, SpeechProbability
from pipelines.runtime.worker import Worker, spoken_language
from pipelines.voice.recordings.segments import Segment, glue, joined, recognised
from pipelines.voice.recordings.spoken_parts import SpokenPart, SpokenParts
from server.http.errors import HttpError
from server.http.multipart import Field as FormField
from server.http.multipart import MultipartError, read_form
from server.http.rest.engine_names import check_name
from server.http.rest.requests import Body, refuse, validated
from server.http.rest.serving import Places, event_stream
from server.http.rest.transcript_formats import (
    CONTENT_TYPES,
    TranscriptFormat,
    plain_json,
    srt,
    usage,
    verbose_json,
    vtt,
)

LARGEST_FILE = 25 << 20
"""Bytes, as at OpenAI."""
LONGEST_SECONDS = 4 * 3600.0
"""Seconds of a sound file."""
_PARTS_AHEAD = 2
"""Parts that may wait for the recogniser."""
_WORD_TIMES = Hearing(word_times=True)
_LISTS = ("timestamp_granularities", "include")
"""Fields that may come more than once, with or without ``[]`` behind their name."""


class TranslationForm(Body):
    """What comes beside the file."""

    model: str | None = None
    prompt: Annotated[str, Field(max_length=0)] = ""
    """No recogniser here takes one."""
    response_format: TranscriptFormat = "json"
    temperature: Annotated[float, Field(ge=0, le=0)] = 0.0
    """The likeliest words are always taken."""


class TranscriptionForm(TranslationForm):
    """The same, and what a transcription alone has."""

    language: str | None = None
    stream: bool = False
    timestamp_granularities: tuple[Literal["segment", "word"], ...] = ()
    include: Annotated[tuple[str, ...], Field(max_length=0)] = ()
    chunking_strategy: Annotated[Literal["auto"], BeforeValidator(lambda value: value.strip('"'))] = "auto"


F = TypeVar("F", bound=TranslationForm)


class Transcriptions:
    """The handlers. Two files are heard at a time."""

    def __init__(self, engine: SpeechToText, vad: SpeechProbability, files: Worker, reader: Worker) -> None:
        self._engine = engine
        self._vad = vad
        self._files = files
        self._reader = reader
        self._places = Places(2, 16)

    async def transcribe(self, request: web.Request) -> web.StreamResponse:
        """What is said in the file."""
        form, data = await self._read(request, TranscriptionForm)
        check_name("stt", self._engine.name, form.model)
        granularities = form.timestamp_granularities or ("segment",)
        if form.timestamp_granularities and form.response_format != "verbose_json":
            raise refuse("timestamp_granularities", "needs response_format verbose_json")
        if form.stream and form.response_format not in ("json", "text"):
            raise refuse("response_format", "must be json or text where stream is true")
        known = languages_of(self._engine)
        if form.language and form.language not in known:
            raise refuse(
                "language", f"{self._engine.name} does not know {form.language[:20]!r}; legal: {listed(known)}"
            )
        if form.language:
            spoken_language.set(form.language)
        if "word" in granularities:
            if not can_hear(self._engine, _WORD_TIMES):
                why = f"{self._engine.name} tells no times of words: ask for segment, or serve a Whisper (--stt-model)"
                raise refuse("timestamp_granularities", why)
            hearing.set(_WORD_TIMES)
        elif form.response_format in ("srt", "vtt") and can_hear(self._engine, _WORD_TIMES):
            hearing.set(_WORD_TIMES)  # subtitles are cut by them
        async with self._places.place():
            if form.stream:
                return await self._stream(request, data)
            segments, seconds = await self._all(data)
        if form.response_format == "verbose_json":
            language = form.language or None
            return web.json_response(verbose_json(segments, seconds, "transcribe", language, granularities))
        return _written(segments, seconds, form.response_format)

    async def translate(self, request: web.Request) -> web.StreamResponse:
        """What is said in the file, in English."""
        form, data = await self._read(request, TranslationForm)
        check_name("stt", self._engine.name, form.model)
        asked = Hearing(translate=True)
        if not can_hear(self._engine, asked):
            remedy = "visavis models pull whisper-base brings one that does (serve it with --stt-model whisper-base)"
            raise HttpError(501, "stt_cannot_translate", f"{self._engine.name} does not translate: {remedy}", "model")
        hearing.set(asked)
        async with self._places.place():
            segments, seconds = await self._all(data)
        if form.response_format == "verbose_json":
            return web.json_response(verbose_json(segments, seconds, "translate", "en", ("segment",)))
        return _written(segments, seconds, form.response_format)

    async def _read(self, request: web.Request, kind: type[F]) -> tuple[F, bytes]:
        """What comes beside the file, and the file. Raises :class:`HttpError`."""
        content_type, body = request.headers.get("Content-Type", ""), await request.read()
        try:
            fields = await self._reader.run(read_form, content_type, body)
        except MultipartError as error:
            raise HttpError(400, "invalid_body", str(error)) from error
        given, file = _fields(fields)
        return validated(kind, given), file

    async def _stream(self, request: web.Request, data: bytes) -> web.StreamResponse:
        parts = SpokenParts(self._vad)
        async with aclosing(self._segments(data, parts)) as segments:
            segment = await anext(segments, None)  # what fails before it has a status of its own
            told: list[Segment] = []
            async with event_stream(request) as events:
                while segment is not None:
                    delta = f"{glue(segment)}{segment.text}" if told else segment.text
                    await events.send({"type": "transcript.text.delta", "delta": delta})
                    told.append(segment)
                    segment = await anext(segments, None)
                done = {"type": "transcript.text.done", "text": joined(told)}
                await events.send({**done, "usage": usage(parts.seconds)})
        return events.response

    async def _all(self, data: bytes) -> tuple[list[Segment], float]:
        """All segments, and the length of the recording in seconds."""
        parts = SpokenParts(self._vad)
        async with aclosing(self._segments(data, parts)) as segments:
            return [segment async for segment in segments], parts.seconds

    async def _segments(self, data: bytes, parts: SpokenParts) -> AsyncGenerator[Segment, None]:
        """The segments in which something was understood."""

        def produce(stop: threading.Event) -> Iterator[SpokenPart]:
            spent = time.thread_time()
            for samples in decode(data, VAD_RATE, LONGEST_SECONDS):
                yield from parts.push(samples)
                if stop.wait(time.thread_time() - spent):  # no more than half of a core: others are talking
                    return
                spent = time.thread_time()
            yield from parts.flush()

        try:
            async with aclosing(self._files.stream(produce, ahead=_PARTS_AHEAD)) as found:
                async for part in found:
                    segment = await recognised(part, self._engine)
                    if segment.text:
                        yield segment
        except UnreadableFileError as error:
            raise HttpError(400, "invalid_file", f"file: {error}", "file") from error
        except STTError as error:
            if error.code == "stt_language":
                raise HttpError(400, error.code, f"language: {error.message}", "language") from error
            raise


def _fields(fields: list[FormField]) -> tuple[dict[str, Any], bytes]:
    """The values of a form, and the bytes of its file. Raises :class:`HttpError`."""
    file: bytes | None = None
    given: dict[str, Any] = {}
    try:
        for field in fields:
            name = field.name.removesuffix("[]")
            if name == "file" and field.filename is not None:
                if file is not None:
                    raise HttpError(400, "invalid_value", "file: there must be one", "file")
                file = field.data
            elif name in _LISTS:
                given.setdefault(name, []).append(field.text)
            elif name in given:
                raise HttpError(400, "invalid_value", f"{name[:60]}: is there twice", name[:60])
            else:
                given[name] = field.text
    except MultipartError as error:
        raise HttpError(400, "invalid_body", str(error)) from error
    if file is None:
        raise HttpError(400, "missing_parameter", "file: there must be a sound file", "file")
    return given, file


def _written(segments: list[Segment], seconds: float, kind: TranscriptFormat) -> web.Response:
    if kind == "json":
        return web.json_response(plain_json(segments, seconds))
    text = srt(segments) if kind == "srt" else vtt(segments) if kind == "vtt" else joined(segments) + "\n"
    return web.Response(text=text, content_type=CONTENT_TYPES[kind])
