"""How the video itself is doing, as events on the wire. Pure."""

from __future__ import annotations

from pipelines.vision.lag import CameraStarted, CameraStopped, VideoEvent, VisionCaughtUp, VisionFellBehind
from server.dialects.realtime_shapes import Json, milliseconds, server_event


def video_event(event: VideoEvent) -> Json:
    """``vision.lag``: vision fell behind or has caught up; ``vision.camera``: frames come or have stopped."""
    match event:
        case VisionFellBehind():
            return server_event("vision.lag", state="behind", lag_ms=milliseconds(event.lag))
        case VisionCaughtUp():
            return server_event("vision.lag", state="caught_up", lag_ms=milliseconds(event.lag))
        case CameraStopped():
            return server_event("vision.camera", state="stopped")
        case CameraStarted():
            return server_event("vision.camera", state="live", width=event.width, height=event.height)
