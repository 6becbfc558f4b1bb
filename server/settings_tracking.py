"""Settings of what the server notes of itself, and of what follows from it: a part of :mod:`server.settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings

from pipelines.text import in_home
from server.settings_sources import NamedPath, not_empty


class TrackingSettings(BaseSettings):
    """History of resources, error reports, and pools that grow and shrink."""

    history_folder: NamedPath | None = None
    """A folder in which the history of resources outlives the server. Default: it is kept in memory, for three days."""
    history_mb: int = Field(64, ge=1)
    """The most megabytes that it may take there; the oldest is deleted."""
    error_reports: Literal["off"] | Path = "off"
    """A folder for reports of unexpected errors, which hold nothing that was said; ``off``: none are written."""
    scale_pools: bool = True
    """Whether threads and processes of engines grow and shrink by how long work waits for them."""

    @field_validator("error_reports", mode="before")
    @classmethod
    def _is_named(cls, value: object) -> object:
        """Before the two kinds of values are tried: an empty text is neither."""
        return not_empty(value)

    @field_validator("error_reports")
    @classmethod
    def _is_folder(cls, value: Path | Literal["off"]) -> Path | Literal["off"]:
        """No shell expands ``~`` in the environment or in a file."""
        return in_home(value) if isinstance(value, Path) else value

    @model_validator(mode="after")
    def _is_kept(self) -> Self:
        if "history_mb" in self.model_fields_set and self.history_folder is None:
            raise ValueError("history_mb: needs history_folder, the folder that the history is kept in")
        return self
