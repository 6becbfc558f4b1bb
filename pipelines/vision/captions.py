"""The words of both sides as subtitles. Pure: voice events and time in, lines out.

What the user says is shown while it is recognised; of an answer is shown what has been heard so far. When a side has
said what it had to say, its words stand a little and fade.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.voice.events import (
    PartialTranscript,
    ResponseAudioStopped,
    ResponseFailed,
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
    ResponseText,
    SpeechDropped,
    TranscriptFailed,
    UserTurn,
)

HOLD_SECONDS = 2.5
"""How long words stand after the last of them."""
FADE_SECONDS = 0.8
_LONGEST = 240
"""Characters kept: two lines at the end are all that is ever shown."""

Speaker = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Caption:
    """What one side is saying or has just said."""

    speaker: Speaker
    text: str
    final: bool = True
    """Whether the words may no longer change."""
    opacity: float = 1.0
    """0–1; less while it fades."""


@dataclass(slots=True)
class _Line:
    text: str = ""
    final: bool = True
    began: float = 0.0
    changed: float = 0.0
    over: bool = True
    """Whether this side has finished: only then it fades."""


class Captions:
    """The subtitles of one session. Times are wall seconds of one clock."""

    def __init__(self) -> None:
        self._user, self._assistant = _Line(), _Line()
        self._spoken = False

    def take(self, event: object, now: float) -> None:
        """What has happened; events without words change nothing."""
        match event:
            case PartialTranscript():
                self._hear(event.text, False, now)
            case UserTurn():
                self._hear(event.text, True, now)
            case TranscriptFailed() | SpeechDropped():
                self._user.over = True
            case ResponseStarted():
                self._assistant = _Line(began=now, changed=now, over=False)
                self._spoken = event.spoken
            case ResponseText() if not self._spoken:
                self._say(f"{self._assistant.text} {event.text}".strip(), now)
            case ResponseGenerated() if not self._spoken:
                self._assistant.over = True
            case ResponseInterrupted():
                self._assistant.over = True
                self._say(event.heard, now)
            case ResponseFailed() if self._spoken:
                pass  # what was said before is still being heard
            case ResponseAudioStopped() | ResponseFailed():
                self._assistant.over = True
                self._assistant.changed = now
            case _:
                pass

    def heard(self, words: str, now: float) -> None:
        """What of the running answer has been heard so far; empty when none is being given."""
        if words and self._spoken and not self._assistant.over:
            self._say(words, now)

    def at(self, now: float) -> tuple[Caption, ...]:
        """What is to be seen, who began first at the top."""
        lines: list[tuple[Speaker, _Line]] = [("user", self._user), ("assistant", self._assistant)]
        lines.sort(key=lambda line: line[1].began)
        captions = []
        for speaker, line in lines:
            age = now - line.changed - HOLD_SECONDS if line.over else 0.0
            opacity = min(1.0, max(0.0, 1.0 - age / FADE_SECONDS))
            if line.text and opacity > 0:
                captions.append(Caption(speaker, line.text, line.final, opacity))
        return tuple(captions)

    def _hear(self, text: str, final: bool, now: float) -> None:
        line = self._user
        if line.final and line.over:
            line.began = now
        if text != line.text or final != line.final:
            line.changed = now
        line.text, line.final, line.over = _end_of(text), final, True  # a partial that is dropped must fade, too

    def _say(self, text: str, now: float) -> None:
        text = _end_of(text)
        if text != self._assistant.text:
            self._assistant.text, self._assistant.changed = text, now


def _end_of(text: str) -> str:
    """The last words of ``text``, cut where a block of words begins, so that the cut moves seldom."""
    while len(text) > _LONGEST:
        text = text[_LONGEST // 2 :].partition(" ")[2]
    return text
