"""``POST /v1/audio/speech``: a text as the voices of the conversations say it, sent as it is made."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BeforeValidator, Field

from media.files import CONTENT_TYPES, AudioFormat, Encoder
from pipelines.errors import PipelineError, listed
from pipelines.interfaces.tts import Speech, TextToSpeech, WordTiming
from pipelines.runtime.worker import Worker
from pipelines.voice.clauses import ClauseSplitter
from pipelines.voice.context import approximate_tokens
from pipelines.voice.spoken_text.languages import Tongue
from pipelines.voice.tts import sound_of
from server.http.bodies import json_body
from server.http.rest.engine_names import check_name
from server.http.rest.requests import Body, refuse, validated
from server.http.rest.serving import Places, event_stream

LONGEST_TEXT = 32_768
"""Characters of a text to be spoken."""
VOICES = frozenset("alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split())
"""Names of OpenAI's voices that clients have built in; here each means the server's default voice."""


class SpeechBody(Body):
    """The body."""

    input: str = Field(min_length=1, max_length=LONGEST_TEXT)
    model: str | None = None
    voice: Annotated[
        str,
        BeforeValidator(
            lambda value: value["id"] if isinstance(value, dict) and set(value) == {"id"} else value,
            json_schema_input_type=str | dict[Literal["id"], str],
        ),
    ] = "alloy"
    response_format: AudioFormat = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: Annotated[str, Field(max_length=0)] = ""


class SpeechOut:
    """The handler. Two texts are spoken at a time; ``voice`` is the default one (``None``: the engine's first).

    ``cloned`` speaks where ``voice`` of a request is one of its voices.
    """

    def __init__(
        self, engine: TextToSpeech, voice: str | None, codecs: Worker, cloned: TextToSpeech | None = None
    ) -> None:
        self._engine = engine
        self._voice = voice
        self._codecs = codecs
        self._cloned = cloned
        self.places = Places(2, 32)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """The text of the body, spoken, from its first clause on."""
        body = validated(SpeechBody, await json_body(request))
        return await self._post(request, body, *self.speaker(body))

    def speaker(self, body: SpeechBody) -> tuple[TextToSpeech, str | None]:
        """Who speaks what a body asks for, and in which voice. Raises :class:`HttpError`."""
        if self._cloned is not None and body.voice in self._cloned.voices:
            if body.speed != 1.0:
                raise refuse("speed", "a cloned voice speaks at its own, leave it out")
            return self._cloned, body.voice
        check_name("tts", self._engine.name, body.model)
        voice = self._voice if body.voice in VOICES and body.voice not in self._engine.voices else body.voice
        if voice is not None and voice not in self._engine.voices:
            raise refuse(
                "voice", f"there is none called {body.voice[:60]!r}; legal values are {listed(self._engine.voices)}"
            )
        return self._engine, voice

    async def _post(
        self, request: web.Request, body: SpeechBody, engine: TextToSpeech, voice: str | None
    ) -> web.StreamResponse:
        encoded = self.encoded(body.response_format, spoken(body, engine, voice))
        async with self.places.place(), aclosing(encoded) as pieces:
            first = await anext(pieces, None)  # what fails before it has a status of its own
            if first is None:
                raise refuse("input", "nothing in it makes a sound", "invalid_value")
            if body.stream_format == "sse":
                return await _as_events(request, body, first, pieces)
            return await _as_file(request, body, first, pieces)

    async def encoded(self, kind: AudioFormat, spoken: AsyncGenerator[Speech, None]) -> AsyncGenerator[bytes, None]:
        """The bytes of a file of that kind; none at all where nothing sounds."""
        encoder: Encoder | None = None
        async with aclosing(spoken) as pieces:
            async for piece in pieces:
                if encoder is None:
                    encoder = await self._codecs.run(Encoder, kind)
                if data := await self._codecs.run(encoder.push, piece.samples, piece.rate):
                    yield data
        if encoder is not None and (data := await self._codecs.run(encoder.finish)):
            yield data


async def spoken(body: SpeechBody, engine: TextToSpeech, voice: str | None) -> AsyncGenerator[Speech, None]:
    """The text of a body in pieces. The times of their words count from the beginning of it all."""
    splitter, seconds = ClauseSplitter(), 0.0
    tongue = Tongue(None, voice, engine.voices)
    for clause in (*splitter.push(body.input), *splitter.flush()):
        begin = seconds
        async with aclosing(sound_of(clause, engine, tongue, body.speed)) as pieces:
            async for piece in pieces:
                words = tuple(WordTiming(word.text, begin + word.start, begin + word.end) for word in piece.words)
                yield replace(piece, words=words)
                seconds += len(piece.samples) / piece.rate


async def _as_file(
    request: web.Request, body: SpeechBody, first: bytes, pieces: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPES[body.response_format]})
    await response.prepare(request)
    await response.write(first)
    try:
        async for piece in pieces:
            await response.write(piece)
    except PipelineError as error:  # the status has been sent: the client is to see that the file is not whole
        raise ConnectionResetError(f"the speech broke off: {error}") from error
    await response.write_eof()
    return response


async def _as_events(
    request: web.Request, body: SpeechBody, first: bytes, pieces: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    async with event_stream(request) as events:
        await events.send_audio("speech.audio.delta", first)
        async for piece in pieces:
            await events.send_audio("speech.audio.delta", piece)
        count = approximate_tokens(body.input)
        usage = {"input_tokens": count, "output_tokens": 0, "total_tokens": count}
        await events.send({"type": "speech.audio.done", "usage": usage})
    return events.response
