"""What may be asked here: the answer to ``describe``, and the data of requests. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.interfaces.stt import languages_of
from pipelines.voice.settings import VoiceEngines
from pipelines.voice.spoken_text.languages import language_of
from server.wyoming.wire import WyomingError

LONGEST_TEXT = 32_768
"""Characters of a text to be spoken."""
_MAKER = {"name": "visavis", "url": ""}


def info(voice: VoiceEngines) -> dict[str, Any]:
    """The engines that serve now, as programs of one model each."""
    heard = list(languages_of(voice.stt))
    spoken = list(dict.fromkeys(map(language_of, voice.tts.voices)))
    voices = [_artifact(name, languages=[language_of(name)]) for name in voice.tts.voices]
    asr = {"models": [_artifact(voice.stt.name, languages=heard)], "supports_transcript_streaming": True}
    tts = {"voices": voices, "supports_synthesize_streaming": True}
    handle = {"models": [_artifact(voice.llm.name, languages=spoken)], "supports_handled_streaming": True}
    return {
        "asr": [_artifact("visavis", **asr)],
        "tts": [_artifact("visavis", **tts)],
        "handle": [_artifact("visavis", **handle)],
        **{other: [] for other in ("intent", "wake", "mic", "snd")},
    }


def _artifact(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "attribution": _MAKER, "installed": True, "description": name, "version": None, **more}


class _Data(BaseModel):
    """Of a request. What is not known is let go, as the protocol has it; what is known acts or is refused."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Ping(_Data):
    """``ping``."""

    text: str | None = Field(None, max_length=LONGEST_TEXT)


class Transcribe(_Data):
    """``transcribe``. Names and terms that should be understood are hints, which no recogniser here can use."""

    name: str | None = None
    language: str | None = Field(None, max_length=40)


class Sound(_Data):
    """``audio-start`` and ``audio-chunk``."""

    rate: int = Field(ge=8_000, le=96_000)
    width: Literal[2]
    channels: int = Field(ge=1, le=8)


class VoiceWish(_Data):
    """In whose voice, or in which language."""

    name: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=40)


class SynthesizeStart(_Data):
    """``synthesize-start``."""

    voice: VoiceWish | None = None
    text_format: Literal["text"] | None = None


class Text(_Data):
    """``synthesize-chunk``, and ``transcript`` for the language model."""

    text: str = Field(max_length=LONGEST_TEXT)


class Synthesize(SynthesizeStart, Text):
    """``synthesize``."""


D = TypeVar("D", bound=_Data)


def read_data(kind: type[D], data: Mapping[str, Any]) -> D:
    """The data of an event. Raises :class:`~server.wyoming.wire.WyomingError` naming the first field that is wrong."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
    place = ".".join(map(str, problem["loc"]))
    raise WyomingError("invalid_value", f"{place}: {problem['msg'].replace('Input should be', 'must be')}")
