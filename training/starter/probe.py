"""A question of the examination of the starter chat model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipelines.interfaces.llm import Tool


@dataclass(frozen=True, slots=True)
class Probe:
    """A short conversation whose last answer is judged."""

    kind: str
    said: tuple[str, ...]
    """What the user says, turn by turn; the model's own answers come between."""
    good: str
    """A pattern, found anywhere in a good answer (without regard to case), or ``name {arguments}`` of a tool call."""
    scene: str = ""
    """What the camera shows in the last turn."""
    now: datetime | None = None
    tools: tuple[Tool, ...] = ()
    misheard: bool = True
    """Whether recognition errors leave the question answerable: not where the answer copies the words."""
