"""How a Whisper listens, and what is refused before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from pipelines.engines.stt.whisper_windows import Guard
from pipelines.errors import STTError

Task = Literal["transcribe", "translate"]
_ENGLISH_OUT_OF_REACH = (".en", "turbo", "distil")
"""In the names of models that were not trained to translate."""
ENGLISH_ONLY = (".en", "-en")
"""Ends of the names of models that know no other language."""
LANGUAGES = tuple(
    """
    af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id is
    it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl
    sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh
    """.split()
)
"""Codes of all languages that some Whisper knows (``faster_whisper.tokenizer``, which takes a second to import)."""


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
    settle_seconds: float = 6.0
    """Speech from which the utterance is cut at its next pause, and what is before it is decoded once and for all."""
    keep_seconds: float = 2.5
    """The end of it that is not cut off: words are understood by what is around them."""
    window_seconds: float = 9.0
    """Speech without a pause is cut at its quietest place when it lasts for longer."""
    context_seconds: float = 0.0
    """Of the sound before the window so much at most, the window included, is shown to a decoder that goes on from what
    was said there; 0: it is shown the words only, as Whisper was trained to."""
    guard: Guard = field(default_factory=Guard)
    """When a short window's text is not believed and 30 s are decoded instead."""


def check(name: str, settings: WhisperSettings) -> None:
    """Refuse what no model of that name can do."""
    if settings.task not in get_args(Task):
        raise STTError("stt_task", f"unknown task {settings.task!r} for Whisper; known: {', '.join(get_args(Task))}")
    if settings.language is not None and settings.language not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        raise STTError("stt_language", f"unknown language {settings.language!r} for Whisper; known: {known}")
    if settings.task == "translate" and not translates(name):
        message = f"{name} was not trained to translate; use a multilingual one such as whisper-base"
        raise STTError("stt_cannot_translate", message)


def translates(name: str) -> bool:
    """Whether the model of that name was trained to translate into English."""
    return not any(part in name for part in _ENGLISH_OUT_OF_REACH)
