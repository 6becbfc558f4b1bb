"""The routes of voices and languages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from server.http.openapi.rows import Operation, json_answer
from server.http.openapi.shapes import Shape, SoundFile
from server.http.rest.voices import VoiceForm


class VoiceUpload(VoiceForm):
    """A recording of 1 to 30 s, whose speaker has agreed; the file may also be called ``audio_sample``."""

    file: SoundFile


class GivenVoice(Shape):
    """A voice that ``/v1/audio/speech`` takes."""

    id: str
    object: Literal["audio.voice"]
    name: str


class DeletedVoice(Shape):
    """One that is forgotten."""

    id: str
    object: Literal["audio.voice.deleted"]
    deleted: Literal[True]


class LanguageUpload(Shape):
    """A sound file."""

    audio_file: SoundFile


class DetectedLanguage(Shape):
    """The likeliest language."""

    detected_language: str
    """Its name in English."""
    language_code: str
    confidence: Annotated[float, Field(ge=0, le=1)]


AUDIO_TASKS = (
    Operation(
        "POST",
        "/v1/audio/voices",
        "REST",
        "Take a voice to speak with",
        {200: json_answer("the voice", GivenVoice)},
        {"multipart/form-data": VoiceUpload},
        refuses=(409, 501),
        words="It is kept in memory alone, until it is deleted or the server ends.",
    ),
    Operation(
        "DELETE",
        "/v1/audio/voices/{id}",
        "REST",
        "Forget a voice",
        {200: json_answer("it is forgotten", DeletedVoice)},
        refuses=(404,),
    ),
    Operation(
        "POST",
        "/detect-language",
        "REST",
        "Which language is spoken in a sound file (whisper-asr-webservice)",
        {200: json_answer("the likeliest language", DetectedLanguage)},
        {"multipart/form-data": LanguageUpload},
        query={"encode": ({"type": "boolean", "const": True}, "Must be true, if it is there.")},
        refuses=(501,),
    ),
)
