"""Settings of predictions (:mod:`pipelines.foresight`): a part of :mod:`server.settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings


class ForesightSettings(BaseSettings):
    """Who makes the videos of predictions."""

    foresight_generator: Path | None = None
    """A folder with an LTX pipeline of diffusers that makes the videos of predictions up. Its licence is not a free
    one: naming it here is agreeing to that. Default: what moves in the pictures goes on."""
    foresight_adapter: Path | None = None
    """A folder with a trained adapter for it, and beside that folder those of the models that it was trained with."""
    foresight_steps: int | None = Field(None, ge=1, le=200)
    """Steps of the generator. Default: 8 for one that is called distilled, else 30."""

    @field_validator("foresight_generator", "foresight_adapter")
    @classmethod
    def _is_a_whole_path(cls, value: Path | None) -> Path | None:
        """No shell expands ``~`` in the environment or in a file."""
        return value if value is None else value.expanduser()

    @model_validator(mode="after")
    def _is_used(self) -> Self:
        for name in ("foresight_adapter", "foresight_steps"):
            if getattr(self, name) is not None and self.foresight_generator is None:
                raise ValueError(f"{name}: needs foresight_generator, the folder of the generator")
        return self
