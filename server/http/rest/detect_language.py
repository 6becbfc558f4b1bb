"""``POST /detect-language``: which language is spoken in a sound file, as whisper-asr-webservice answers.

https://ahmetoner.com/whisper-asr-webservice/endpoints/
"""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import BeforeValidator

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Tasks
from pipelines.runtime.worker import Worker
from pipelines.tasks.audio.audio_language_detection import language_name
from server.http.errors import HttpError
from server.http.multipart import Field as FormField
from server.http.multipart import MultipartError, read_form
from server.http.rest.requests import Body, validated
from server.http.rest.serving import Places
from server.http.rest.voices import http_error

TASK = "audio-language-detection"
FILE = "audio_file"


class LanguageQuery(Body):
    """What stands in the address."""

    encode: Annotated[bool, BeforeValidator(lambda value: value.lower() == "true" if isinstance(value, str) else value)]
    """There whether FFmpeg decodes the file, which it always does here: it must be true."""


class DetectLanguage:
    """The handler. Two files are heard at a time."""

    def __init__(self, tasks: Tasks, reader: Worker) -> None:
        self._tasks = tasks
        self._reader = reader
        self._places = Places(2, 16)

    async def post(self, request: web.Request) -> web.Response:
        """The language of a file's first 30 s, and how likely it is that."""
        query = validated(LanguageQuery, {"encode": "true", **request.query})
        if not query.encode:
            raise HttpError(400, "unsupported_value", "encode: must be true", "encode")
        content_type, body = request.headers.get("Content-Type", ""), await request.read()
        try:
            fields = await self._reader.run(read_form, content_type, body)
        except MultipartError as error:
            raise HttpError(400, "invalid_body", str(error)) from error
        try:
            async with self._places.place():
                done = await self._tasks.runner(TASK).run({"inputs": _file(fields)}, {"top_k": 1})
        except PipelineError as error:
            raise http_error(error, {"inputs": FILE}) from error
        best = done.output[0]
        name = await self._reader.run(language_name, best["label"])
        answer = {"detected_language": name, "language_code": best["label"], "confidence": best["score"]}
        return web.json_response(answer)


def _file(fields: list[FormField]) -> bytes:
    for one in fields:
        if one.name != FILE:
            raise HttpError(400, "unknown_parameter", f"{one.name[:60]}: the only field is {FILE}", one.name[:60])
    if len(fields) != 1:
        raise HttpError(400, "missing_parameter", f"{FILE}: there must be one sound file", FILE)
    return fields[0].data
