"""One root error for everything that can go wrong in a pipeline, one subclass per stage.

Foreign exceptions are wrapped where they happen and turned into an event or an HTTP status in one place, so that no
traceback text ever reaches a client.
"""

from __future__ import annotations

from collections.abc import Sequence


class PipelineError(Exception):
    """``code`` is for programs, ``message`` for people, ``stage`` says where."""

    stage = "pipeline"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.stage}: {self.message} ({self.code})"


class ListenError(PipelineError):
    """Voice activity or speech-to-text failed."""

    stage = "listen"


class ThinkError(PipelineError):
    """The language model failed."""

    stage = "think"


class SpeakError(PipelineError):
    """Text-to-speech failed."""

    stage = "speak"


class VisionError(PipelineError):
    """A vision detector failed."""

    stage = "watch"


class ModelError(PipelineError):
    """A model file could not be had, or is not what it should be."""

    stage = "models"


class DefinitionError(PipelineError):
    """A pipeline definition is not valid; the message names file, field and legal values."""

    stage = "definition"


class EngineBusyError(PipelineError):
    """An engine's inbox is full: the caller may try again or give up, nothing was queued."""

    stage = "engine"


def listed(names: Sequence[str], most: int = 40) -> str:
    """``names`` for a message, at most ``most`` of them: some voices have hundreds of speakers."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
