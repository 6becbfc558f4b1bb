"""When vision falls behind the camera, and when it has caught up. Pure: media time in, events out."""

from __future__ import annotations

from dataclasses import dataclass

LIMIT_SECONDS = 0.35
"""An overlay older than this visibly trails a moving hand."""
HOLD_SECONDS = 1.0
"""How long it must last to be told: one slow picture is no news."""


@dataclass(frozen=True, slots=True)
class VisionFellBehind:
    """The overlay trails the camera. The video itself stays live."""

    lag: float
    """Seconds between the newest frame and the picture that the overlay belongs to."""
    time: float
    """Media time in seconds."""


@dataclass(frozen=True, slots=True)
class VisionCaughtUp:
    """The overlay is close to the camera again."""

    lag: float
    time: float


@dataclass(frozen=True, slots=True)
class CameraStopped:
    """No frame has come for a while: switched off, frozen, or cut off. What was seen no longer counts."""

    time: float


@dataclass(frozen=True, slots=True)
class CameraStarted:
    """Frames come, for the first time or again."""

    time: float
    width: int
    height: int


VideoEvent = VisionFellBehind | VisionCaughtUp | CameraStopped | CameraStarted


class LagWatch:
    """Given the lag of every frame, says when it has become too large and when it is small again.

    The limit grows with the time between two pictures (``1 / max_fps``), which is lag that was asked for.
    """

    def __init__(self, limit: float = LIMIT_SECONDS, hold: float = HOLD_SECONDS) -> None:
        self.behind = False
        """Whether vision trails now."""
        self._limit = limit
        self._hold = hold
        self._since: float | None = None
        """Since when it has been otherwise than ``behind`` says."""

    def update(self, lag: float, time: float, max_fps: float) -> VisionFellBehind | VisionCaughtUp | None:
        """Take the lag of the frame at media time ``time``; both in seconds."""
        limit = self._limit + 1 / max_fps
        otherwise = lag < 0.7 * limit if self.behind else lag > limit
        if not otherwise:
            self._since = None
            return None
        if self._since is None or time < self._since:
            self._since = time
        if time - self._since < self._hold:
            return None
        self._since, self.behind = None, not self.behind
        return VisionFellBehind(lag, time) if self.behind else VisionCaughtUp(lag, time)
