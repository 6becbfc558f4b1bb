"""What the camera offers to a conversation, and pictures for models that take them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, get_args

from media.clock import Clock
from pipelines.interfaces.llm import Image

Source = Literal["camera", "screen"]
SOURCES: tuple[Source, ...] = get_args(Source)
HOLD_SECONDS = 8.0
"""How long a reply waits for a face that is turned away to turn back."""

_LOOK_SECONDS = 0.1
"""How often is looked whether it has."""


def _unknown() -> bool | None:
    return None


async def _no_picture(source: Source) -> Image | None:
    return None


@dataclass(frozen=True, slots=True)
class Sight:
    """Asked whenever it matters; each function answers at once. Without a camera, nothing is known."""

    lips: Callable[[], bool | None] = _unknown
    """Whether the lips of a face that is seen move. ``None`` when unknown, or when that shall not matter."""
    attentive: Callable[[], bool | None] = _unknown
    """Whether somebody faces the camera. ``None`` when unknown, or when that shall not matter."""
    sources: Callable[[], tuple[Source, ...]] = tuple
    """What can be looked at now by a model that takes images."""
    always: Callable[[], bool] = bool
    """Whether the newest camera picture goes with everything the user says."""
    picture: Callable[[Source], Awaitable[Image | None]] = _no_picture
    """What the camera or the screen shows now."""


async def look_back(sight: Sight, clock: Clock, given_up: Callable[[], bool]) -> bool:
    """Wait until the face that is turned away turns back, or the camera knows nothing of it any more.

    ``False`` when it has not within 8 s, or when ``given_up`` says so.
    """
    until = clock.now() + HOLD_SECONDS
    while not given_up() and clock.now() < until:
        await clock.sleep(_LOOK_SECONDS)
        if sight.attentive() is not False:
            return True
    return False
