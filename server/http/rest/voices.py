"""``POST /v1/audio/voices``: a recording of a voice, whose speaker has agreed → an id that ``/v1/audio/speech`` takes.

Recordings are kept in memory alone, until they are deleted or the server ends; nothing of them is logged.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BeforeValidator, Field

from pipelines.errors import PipelineError, TTSError
from pipelines.interfaces.task import CALLERS_FAULT, TaskError, Tasks
from pipelines.interfaces.tts import Speech
from pipelines.runtime.worker import Worker
from pipelines.tasks.audio.sounds import as_samples, samples_of, wav_file
from pipelines.tasks.audio.voice_cloning import LONGEST_REFERENCE, reference_of
from server.http.errors import HttpError
from server.http.multipart import MultipartError, read_form
from server.http.rest.requests import Body, refuse, validated

TASK = "voice-cloning"
RATE = 24_000
"""Hertz of what is kept of a recording."""
MOST_VOICES = 32
"""Voices that are kept at a time."""
LARGEST_RECORDING = 16 << 20
"""Bytes of a file."""
_LONGEST_ANSWER = 600.0
"""Seconds that a model may speak for one clause."""
_FILES = ("file", "audio_sample")
"""Names of the field with the recording."""


class VoiceForm(Body):
    """What comes beside the file."""

    name: str = Field(min_length=1, max_length=100)
    consent: Annotated[
        Literal["true"],
        BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
    ]
    """That whoever speaks in the recording has agreed to be spoken as."""


@dataclass(frozen=True, slots=True)
class _Voice:
    name: str
    recording: bytes = field(repr=False)
    """WAV."""


class ClonedVoices:
    """The voices that have been given, which speak as a :class:`~pipelines.interfaces.tts.TextToSpeech` does."""

    name = TASK

    def __init__(self, tasks: Tasks, reader: Worker) -> None:
        self._tasks = tasks
        self._reader = reader
        self._voices: dict[str, _Voice] = {}

    @property
    def voices(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(self._voices)

    async def post(self, request: web.Request) -> web.Response:
        """Take a voice."""
        if why := await self._reader.run(self._tasks.why_not, TASK):
            raise HttpError(501, "model_not_here", f"no voice can be cloned here: {why}")
        self._check_room()
        content_type, body = request.headers.get("Content-Type", ""), await request.read()
        name, recording = await self._reader.run(_read, content_type, body)
        self._check_room()  # others may have come meanwhile
        identifier = f"voice_{secrets.token_hex(12)}"
        self._voices[identifier] = _Voice(name, recording)
        return web.json_response({"id": identifier, "object": "audio.voice", "name": name})

    def _check_room(self) -> None:
        if len(self._voices) >= MOST_VOICES:
            raise HttpError(409, "too_many_voices", f"{MOST_VOICES} voices are here: delete one first")

    async def delete(self, request: web.Request) -> web.Response:
        """Forget a voice."""
        identifier = request.match_info["id"]
        if self._voices.pop(identifier, None) is None:
            raise HttpError(404, "voice_not_found", "there is no such voice", "id")
        return web.json_response({"id": identifier, "object": "audio.voice.deleted", "deleted": True})

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak one clause. Raises :class:`TTSError`, or what the task does."""
        found = self._voices.get(voice or "")
        if found is None:
            raise TTSError("unknown_voice", "this voice has been deleted")
        try:
            runner = self._tasks.runner(TASK)
            done = await runner.run({"inputs": text, "reference": found.recording}, {"consent": True})
            rate = int(done.output["sampling_rate"])
            file = base64.b64decode(done.output["audio"])
            samples = await self._reader.run(samples_of, file, rate, _LONGEST_ANSWER)
        except TaskError as error:
            raise TTSError(error.code, error.message) from error
        yield Speech(samples, rate)

    async def close(self) -> None:
        """Forget all voices."""
        self._voices.clear()


def _read(content_type: str, body: bytes) -> tuple[str, bytes]:
    """The name of a voice, and its recording as a WAV file. Blocking. Raises :class:`HttpError`."""
    given: dict[str, Any] = {}
    file: bytes | None = None
    place = _FILES[0]
    try:
        for one in read_form(content_type, body):
            if one.name in _FILES and one.filename is not None:
                if file is not None:
                    raise HttpError(400, "invalid_value", f"{one.name}: there must be one", one.name)
                file, place = one.data, one.name
            elif one.name in given:
                raise HttpError(400, "invalid_value", f"{one.name[:60]}: is there twice", one.name[:60])
            else:
                given[one.name] = one.text
    except MultipartError as error:
        raise HttpError(400, "invalid_body", str(error)) from error
    form = validated(VoiceForm, given)
    if file is None:
        raise HttpError(400, "missing_parameter", f"{place}: there must be a sound file of 1 to 30 s", place)
    if len(file) > LARGEST_RECORDING:
        raise refuse(place, f"is larger than {LARGEST_RECORDING >> 20} MiB", "input_too_long")
    try:
        return form.name, wav_file(as_samples(reference_of(file, RATE, place)), RATE)
    except TaskError as error:
        raise HttpError(400, error.code, error.message, place) from error


def http_error(error: PipelineError, names: dict[str, str]) -> Exception:
    """A task's error for whoever asked over HTTP, with its field as the request names it; others as they are."""
    if not isinstance(error, TaskError):
        return error
    if error.code == "model_not_here":
        return HttpError(501, error.code, error.message)
    if error.code not in CALLERS_FAULT:
        return error
    where, _, words = error.message.partition(": ")
    name = names.get(where, where)
    return HttpError(400, error.code, f"{name}: {words}", name)


assert LONGEST_REFERENCE == 30.0, "the words above say so"
