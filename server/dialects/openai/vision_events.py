"""What the camera shows, as events on the wire: ``vision.*``. Pure."""

from __future__ import annotations

from pipelines.vision.detect import CameraStarted, CameraStopped, VideoEvent, VisionCaughtUp, VisionFellBehind
from pipelines.vision.events import (
    AttentionChanged,
    GestureEnded,
    GestureStarted,
    PersonAppeared,
    PersonLeft,
    SceneChanged,
    VisionEvent,
)
from server.dialects.openai.shapes import Json, milliseconds, seen_object, server_event


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


def vision_event(event: VisionEvent) -> Json:
    """The wire event; ``time_ms`` is the picture's media time in milliseconds."""
    match event:
        case SceneChanged():
            objects = [seen_object(detection) for detection in event.objects]
            return server_event("vision.changed", scene=event.scene, objects=objects, time_ms=milliseconds(event.time))
        case PersonAppeared():
            return server_event("vision.person.appeared", id=event.id, time_ms=milliseconds(event.time))
        case PersonLeft():
            return server_event("vision.person.left", id=event.id, time_ms=milliseconds(event.time))
        case GestureStarted():
            return _gesture("vision.gesture.started", event)
        case GestureEnded():
            return _gesture("vision.gesture.ended", event)
        case AttentionChanged():
            return server_event("vision.attention.changed", attention=event.attention, time_ms=milliseconds(event.time))


def _gesture(kind: str, event: GestureStarted | GestureEnded) -> Json:
    hand = {"hand": event.hand} if event.hand else {}
    return server_event(kind, **hand, gesture=event.gesture, time_ms=milliseconds(event.time))
