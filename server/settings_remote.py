"""Settings of engines on other machines, which Ray Serve runs: a part of :mod:`server.settings`."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from pipelines.errors import listed
from pipelines.text import unknown
from server.settings_foresight import ForesightSettings

REMOTE_STAGES = ("stt", "llm", "tts", "foresight")
"""Stages of the conversation, and the generator of predictions; pipelines name a backend of kind ``ray``."""


class RemoteSettings(ForesightSettings):
    """Where Ray is, and which stages it serves."""

    ray_address: str | None = None
    """Ray cluster with engines, as HOST:PORT of its head, or ``auto``; this machine is one of its nodes."""
    ray_application: str = Field("visavis", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,40}$")
    """Name under which its engines were deployed."""
    remote_stages: Annotated[tuple[str, ...], NoDecode] = ()
    """Stages that are asked there first: ``stt``, ``llm``, ``tts``, ``foresight``; the engines of this machine stand
    by."""
    remote_seconds: float = Field(2.0, gt=0, le=60)
    """Seconds that an engine there has to begin, and between two pieces; then one of this machine does the work."""

    @field_validator("remote_stages", mode="before")
    @classmethod
    def _split_stages(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("remote_stages")
    @classmethod
    def _are_stages(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in REMOTE_STAGES:
                raise ValueError(unknown("stage", name, REMOTE_STAGES))
        if len(set(value)) < len(value):
            raise ValueError(f"{listed(value)}: names a stage twice")
        return value

    @field_validator("ray_address")
    @classmethod
    def _is_cluster(cls, value: str | None) -> str | None:
        if value is None or value == "auto":
            return value
        if value.startswith("ray://"):
            raise ValueError(
                "must be HOST:PORT of the cluster's head or auto, with this machine as one of its nodes "
                "(ray start --address=HEAD:6379); Ray's own client, ray://, cannot ask engines one by one"
            )
        if not re.fullmatch(r"[A-Za-z0-9._-]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}", value):
            raise ValueError(f"must be HOST:PORT of the cluster's head, such as 10.0.0.5:6379, or auto, not {value!r}")
        return value

    @model_validator(mode="after")
    def _is_ray_named(self) -> Self:
        if "foresight" in self.remote_stages and self.foresight_generator is not None:
            raise ValueError("foresight_generator: remote_stages names foresight, too: one of the two makes the videos")
        for name in ("remote_stages", "ray_application", "remote_seconds"):
            if name in self.model_fields_set and getattr(self, name) and self.ray_address is None:
                raise ValueError(f"{name}: needs ray_address, such as 10.0.0.5:6379")
        return self
