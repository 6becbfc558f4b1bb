"""Settings of what is given up, and who is refused, while there is too much to do: a part of :mod:`server.settings`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings


class LoadSettings(BaseSettings):
    """The limits of what is measured, and the reserve."""

    shedding: Literal["auto", "off"] = "auto"
    """``auto``: while a measurement is above its limit, vision, partial transcripts and speculation are given up one
    after another, and then new sessions refused. ``off``: nothing is; the number of sessions alone is limited."""
    shed_late_ms: float = Field(40.0, ge=5, le=1_000)
    """Milliseconds that the event loop, or the sound that is sent, may be late."""
    shed_wait_ms: float = Field(500.0, ge=50, le=10_000)
    """Milliseconds that a request may wait for an engine of the conversation."""
    shed_cpu_percent: float = Field(95.0, ge=10, le=100)
    """Share of its processors that this process may take; of the time in which something waits for one, too."""
    shed_memory_percent: float = Field(92.0, ge=10, le=100)
    """Share of the memory (of the machine, or of the container) that may be taken; above it nobody new is let in."""
    reserved_sessions: int = Field(0, ge=0)
    """Places among ``max_sessions`` for sessions of priority ``high`` or ``critical`` alone."""

    @model_validator(mode="after")
    def _limit_something(self) -> Self:
        limits = ("shed_late_ms", "shed_wait_ms", "shed_cpu_percent", "shed_memory_percent")
        if self.shedding == "off" and (given := [name for name in limits if name in self.model_fields_set]):
            raise ValueError(f"{given[0]}: needs shedding, which is off")
        return self
