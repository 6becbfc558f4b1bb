"""The body of a request → what a pipeline is given, as it arrives.

Raw bodies (PCM, WAV, anything FFmpeg reads, pictures, text) are not waited for: a run begins with their first bytes.
JSON and forms are read whole, within :data:`LARGEST_WHOLE`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from aiohttp import hdrs, web
from pydantic import Field

from media.recordings.streamed_files import Reading
from pipelines.interfaces.media_fields import FileBytes
from pipelines.routing.items import Item
from pipelines.routing.stage_types import Medium
from pipelines.runtime.worker import Worker
from server.http.json_input import JsonInputError, read_json
from server.http.multipart import MultipartError, read_form
from server.http.pipelines import arriving
from server.http.pipelines.arriving import LONGEST_VIDEO, Bytes, InputError, first_bytes, kind_of, once
from server.http.rest.requests import Body, refuse, validated

LARGEST_WHOLE = 32 << 20
"""Bytes of a body that is read whole."""
LOWEST_RATE, HIGHEST_RATE, MOST_CHANNELS = 8_000, 48_000, 2
USUAL_RATE = 16_000
LONGEST_CONTEXT = 100
"""Characters of the id of a conversation."""
PCM = ("audio/pcm", "audio/l16", "audio/raw")
JSON, FORM, ANYTHING, TEXT = "application/json", "multipart/form-data", "application/octet-stream", "text/plain"
CONTENT_TYPES = ("audio/pcm", "audio/wav", "audio/*", "video/*", "image/*", TEXT, JSON, FORM, ANYTHING)
"""What is read."""
_FILES: tuple[Medium, ...] = ("audio", "image", "video")
_CONTEXT = re.compile(r"[\w.:-]+", re.ASCII)


class PipelineBody(Body):
    """The body as JSON, or as a form with fields of the same names. Files are base64 or ``data:`` URLs in JSON."""

    text: str | None = Field(None, min_length=1, max_length=arriving.LONGEST_TEXT)
    audio: FileBytes | None = None
    """Any sound file, or with ``rate`` headerless int16 PCM (mono, little endian)."""
    image: FileBytes | None = None
    """JPEG or PNG."""
    video: FileBytes | None = None
    rate: int | None = Field(None, ge=LOWEST_RATE, le=HIGHEST_RATE)
    """Hertz, where ``audio`` is headerless PCM."""
    context_id: Annotated[str, Field(min_length=1, max_length=LONGEST_CONTEXT, pattern=r"^[\w.:-]+$")] | None = None
    """The conversation that this run goes on with."""
    options: Mapping[str, dict[str, Any]] = Field(default_factory=dict)
    """Stage id → options of that stage for this run."""


@dataclass(slots=True)
class Input:
    """What a run is given."""

    media: dict[Medium, AsyncGenerator[Item, None]] = field(default_factory=dict)
    context_id: str | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    async def close(self) -> None:
        """Let go of what nobody has read."""
        for items in self.media.values():
            await items.aclose()


@dataclass(frozen=True, slots=True)
class Workers:
    """Threads of this house."""

    files: Worker
    """One for each file, as long as it lasts."""
    codecs: Worker
    """For short work: pictures, forms, pieces of sound to be encoded."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How a body says what it is."""

    content_type: str
    parameters: Mapping[str, str]
    """Of the content type."""
    query: Mapping[str, str]
    header: str = ""
    """The whole of ``Content-Type``."""

    @classmethod
    def of(cls, request: web.Request) -> Sent:
        """As the request has it; one without a content type may be anything."""
        return cls.named(request.headers.get(hdrs.CONTENT_TYPE, ""), request.query)

    @classmethod
    def named(cls, header: str, query: Mapping[str, str]) -> Sent:
        """As ``Content-Type`` and the query say."""
        kind, _, rest = header.partition(";")
        pairs = (part.partition("=") for part in rest.split(";"))
        found = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs if value}
        return cls(kind.strip().lower() or ANYTHING, found, query, header)

    def check(self) -> None:
        """Raises :class:`InputError` (415) for what is not read, and (400) for parameters that are wrong."""
        family = self.content_type.partition("/")[0]
        if family not in ("audio", "video", "image") and self.content_type not in CONTENT_TYPES:
            message = f"Content-Type: legal values are {', '.join(CONTENT_TYPES)}, not {self.content_type[:60]!a}"
            raise InputError(415, "unsupported_media_type", message, hdrs.CONTENT_TYPE)
        self.form()
        self.answer_rate()
        context = self.query.get("context_id", "x")
        if len(context) > LONGEST_CONTEXT or not _CONTEXT.fullmatch(context):
            message = f"context_id: must be 1 to {LONGEST_CONTEXT} letters, digits and . : _ -"
            raise InputError(400, "invalid_value", message, "context_id")

    def form(self) -> tuple[int, int]:
        """Rate and channels of headerless sound, from the content type or else the query. Raises
        :class:`InputError` (400)."""
        rate = _number("input_rate", self.parameters.get("rate", self.query.get("input_rate")), _RATES)
        channels = _number("channels", self.parameters.get("channels", self.query.get("channels")), _CHANNELS)
        return rate or USUAL_RATE, channels or 1

    def answer_rate(self) -> int | None:
        """Of the answer's sound, from the query. Raises :class:`InputError` (400)."""
        return _number("rate", self.query.get("rate"), _RATES)


_RATES, _CHANNELS = (LOWEST_RATE, HIGHEST_RATE), (1, MOST_CHANNELS)


def _number(name: str, given: str | None, legal: tuple[int, int]) -> int | None:
    if given is None:
        return None
    if not re.fullmatch(r"\d{1,9}", given, re.ASCII) or not legal[0] <= int(given) <= legal[1]:
        message = f"{name}: must be a whole number from {legal[0]} to {legal[1]}, not {given[:60]!a}"
        raise InputError(400, "invalid_value", message, name)
    return int(given)


async def body_of(request: web.Request, seconds: float, most: int) -> AsyncGenerator[bytes, None]:
    """The body as it arrives: nothing may be longer on its way than ``seconds``, and no body larger than ``most``.

    Raises :class:`InputError` (408, 413, 400).
    """
    if (request.content_length or 0) > most:
        raise _too_large(most)
    count = 0
    while True:
        try:
            async with asyncio.timeout(seconds):
                data = await request.content.readany()
        except TimeoutError as error:
            message = f"nothing more of the body arrived within {seconds:g} s"
            raise InputError(408, "request_timeout", message) from error
        except (web.RequestPayloadError, ConnectionError) as error:
            message = "the body is not what Content-Encoding or Transfer-Encoding say it is, or has not come whole"
            raise InputError(400, "invalid_body", message) from error
        if not data:
            return
        count += len(data)
        if count > most:
            raise _too_large(most)
        yield data


def _too_large(most: int) -> InputError:
    return InputError(413, "body_too_large", f"the body is too large: at most {most:,} bytes are taken here")


async def input_of(sent: Sent, body: Bytes, takes: tuple[Medium, ...], workers: Workers) -> Input:
    """What ``body`` holds for a pipeline that takes these media. Raises :class:`InputError`, and
    :class:`~server.http.errors.HttpError` (400)."""
    context_id = sent.query.get("context_id")
    if sent.content_type == TEXT:
        return Input({"text": arriving.text(body, "the body")}, context_id)
    if sent.content_type in PCM:
        return Input({"audio": arriving.pcm(body, *sent.form())}, context_id)
    if sent.content_type in (JSON, FORM):
        data = await arriving.whole(body, LARGEST_WHOLE, "the body")
        read = validated(PipelineBody, await workers.codecs.run(_fields, sent, data))
        if None not in (context_id, read.context_id) and context_id != read.context_id:
            raise refuse("context_id", "is another one than that of the query", "invalid_value")
        found = _input(read, takes, workers)
        found.context_id = read.context_id or context_id
        return found
    family = sent.content_type.partition("/")[0]
    if sent.content_type == ANYTHING:
        head, body = await first_bytes(body)
        if not head:
            raise InputError(400, "invalid_body", "the body is empty")
        family = kind_of(head)
    medium, items = _file(family, body, takes, workers, "the body")
    return Input({medium: items}, context_id)


def _input(read: PipelineBody, takes: tuple[Medium, ...], workers: Workers) -> Input:
    found = Input(context_id=read.context_id, options=read.options)
    if read.rate is not None and read.audio is None:
        raise refuse("rate", "needs audio", "invalid_value")
    if read.text is not None:
        found.media["text"] = arriving.text(once(read.text.encode()), "text")
    for name in _FILES:
        data: bytes | None = getattr(read, name)
        if data is None:
            continue
        if name == "audio" and read.rate is not None:
            found.media["audio"] = arriving.pcm(once(data), read.rate, 1)
            continue
        medium, items = _file(name, once(data), takes, workers, name)
        if medium in found.media:
            raise refuse(name, f"this pipeline takes its {medium}, which is given already", "invalid_value")
        found.media[medium] = items
    if not found.media:
        raise InputError(400, "missing_parameter", f"the body must hold one of {', '.join(takes)}", takes[0])
    return found


def _file(
    family: str, body: Bytes, takes: tuple[Medium, ...], workers: Workers, param: str
) -> tuple[Medium, AsyncGenerator[Item, None]]:
    """A file as what the pipeline takes of it: of a video perhaps only the sound."""
    if family == "image":
        return "image", arriving.picture(body, workers.codecs, param)
    if family == "video" and ("video" in takes or "audio" not in takes):
        wanted = Reading(pictures=True, longest=LONGEST_VIDEO)
        return "video", arriving.decoded(body, workers.files, wanted, param)
    return "audio", arriving.sound(body, workers.files, param)


def _fields(sent: Sent, data: bytes) -> Any:
    """Blocking: what JSON or a form says. Raises :class:`InputError`."""
    try:
        if sent.content_type == JSON:
            return read_json(data)
        fields: dict[str, Any] = {}
        for one in read_form(sent.header, data):
            if one.name in fields:
                raise InputError(400, "invalid_value", f"{one.name[:60]}: is there twice", one.name[:60])
            fields[one.name] = one.data if one.name in _FILES else one.text
            if one.name == "options":
                fields[one.name] = read_json(one.data)
        return fields
    except (JsonInputError, MultipartError) as error:
        code = error.code if isinstance(error, JsonInputError) else "invalid_body"
        raise InputError(400, code, f"the body cannot be read: {error}") from error
