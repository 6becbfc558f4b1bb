"""Settings of predictions (:mod:`pipelines.foresight`): a part of :mod:`server.settings`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from server.settings_sources import NamedPath


class ForesightSettings(BaseSettings):
    """Who makes the videos of predictions."""

    foresight_generator: NamedPath | None = None
    """A folder with an LTX pipeline of diffusers that makes the videos of predictions up. Its licence is not a free
    one: naming it here is agreeing to that. Default: what moves in the pictures goes on."""
    foresight_adapter: NamedPath | None = None
    """A folder with a trained adapter for it, and beside that folder those of the models that it was trained with."""
    foresight_steps: int | None = Field(None, ge=1, le=200)
    """Steps of the generator. Default: 8 for one that is called distilled, else 30."""

    @model_validator(mode="after")
    def _is_used(self) -> Self:
        for name in ("foresight_adapter", "foresight_steps"):
            if getattr(self, name) is not None and self.foresight_generator is None:
                raise ValueError(f"{name}: needs foresight_generator, the folder of the generator")
        return self
