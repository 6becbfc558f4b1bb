"""What the camera shows, as events on the wire: ``vision.*``. Pure."""

from __future__ import annotations

from pipelines.vision.events import (
    AttentionChanged,
    GestureEnded,
    GestureStarted,
    PersonAppeared,
    PersonLeft,
    SceneChanged,
    VisionEvent,
)
from server.dialects.realtime_shapes import Json, milliseconds, seen_object, server_event


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
