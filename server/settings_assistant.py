"""Settings of how the assistant behaves, whatever it is reached over: a part of :mod:`server.settings`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from server.settings_sources import NamedPath


class AssistantSettings(BaseSettings):
    """What it says by itself, how long it waits, and whether it may be recorded."""

    instructions: str | None = Field(None, max_length=20_000)
    """Who the assistant is and how it is to answer, in place of the pipeline's ``instructions``."""
    greeting: str | None = Field(None, max_length=1_000)
    """What it says first in every conversation; empty: nothing. Default: the pipeline's ``greeting``."""
    idle_prompt_seconds: float | None = Field(None, ge=0, le=3_600)
    """Seconds of silence after which it speaks up once, until the user says something; 0: never."""
    idle_prompt: str | None = Field(None, max_length=1_000)
    """What it says then; empty: what the language model thinks of."""
    idle_end_minutes: float | None = Field(None, ge=0, le=1_440)
    """Minutes without a word of the user after which a session ends; 0: never."""
    recordings: NamedPath | None = None
    """A folder for recordings of sessions whose clients ask for that. Default: nothing can be recorded."""
    recording_minutes: float = Field(60.0, gt=0, le=1_440)
    """The longest recording of a session."""
    recording_mb: int = Field(1024, ge=1)
    """The most megabytes that the recording of a session may take."""

    @model_validator(mode="after")
    def _is_recorded(self) -> Self:
        for name in ("recording_minutes", "recording_mb"):
            if name in self.model_fields_set and self.recordings is None:
                raise ValueError(f"{name}: needs recordings, the folder that they are kept in")
        return self
