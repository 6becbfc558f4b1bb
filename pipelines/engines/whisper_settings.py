"""How a Whisper listens, and what is refused before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from pipelines.engines.whisper_windows import Guard
from pipelines.errors import ListenError

Task = Literal["transcribe", "translate"]
_ENGLISH_OUT_OF_REACH = (".en", "turbo", "distil")
"""In the names of models that were not trained to translate."""


@dataclass(frozen=True, slots=True)
class WhisperSettings:
    """How to listen."""

    language: str | None = None
    """Code such as ``en``; ``None``: detected in each utterance."""
    task: Task = "transcribe"
    """``translate``: into English, whatever is spoken."""
    word_timestamps: bool = False
    """Give the words of final transcripts their times: one more pass of the decoder."""
    partial_seconds: float = 0.6
    """New audio after which a partial transcript is begun, unless one is still being made; 0: no partials."""
    window_seconds: float = 28.0
    """A longer utterance is cut at a quiet place, and what is before it is decoded once and for all."""
    guard: Guard = field(default_factory=Guard)
    """When a short window's text is not believed and 30 s are decoded instead."""


def check(name: str, settings: WhisperSettings) -> None:
    """Refuse what no model of that name can do."""
    if settings.task not in get_args(Task):
        raise ListenError("stt_task", f"unknown task {settings.task!r} for Whisper; known: {', '.join(get_args(Task))}")
    if settings.language is not None and settings.language not in known_languages():
        known = ", ".join(sorted(known_languages()))
        raise ListenError("stt_language", f"unknown language {settings.language!r} for Whisper; known: {known}")
    if settings.task == "translate" and any(part in name for part in _ENGLISH_OUT_OF_REACH):
        message = f"{name} was not trained to translate; use a multilingual one such as whisper-base"
        raise ListenError("stt_cannot_translate", message)


def known_languages() -> tuple[str, ...]:
    """Codes of all languages that some Whisper knows."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    return tuple(_LANGUAGE_CODES)
