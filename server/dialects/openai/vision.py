"""``session.vision``: what a client may change about how it is seen, and how that is told back; and ``vision.*``, which
tells what the camera shows. Pure.

Only what is given changes. These are fields of ours, so unlike elsewhere an unknown one is an error, not a wish of some
other service.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipelines.errors import VisionError, listed
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
from pipelines.vision.images import check_still
from pipelines.vision.settings import LONGEST_RETURNED, Action, DetectorName, TemplateImage, VisionSettings
from pipelines.vision.templates import MOST_TEMPLATES
from server.dialects.openai.shapes import Json, milliseconds, seen_object, server_event

VideoCodec = Literal["vp8", "h264"]
GestureName = Literal[
    "thumbs up", "thumbs down", "open palm", "closed fist", "pointing up", "victory sign", "love sign",
]  # fmt: skip


def _colour(value: object) -> object:
    """``#rrggbb`` or three numbers."""
    if isinstance(value, str) and len(value) == 7 and value.startswith("#"):
        try:
            return tuple(bytes.fromhex(value[1:]))
        except ValueError:
            pass
    if isinstance(value, list | tuple) and len(value) == 3:
        return tuple(value)
    raise ValueError('a colour is "#rrggbb" or three numbers 0–255')


def _image(value: object) -> object:
    """A data URI or bare base64 → bytes."""
    if not isinstance(value, str):
        raise ValueError("an image is base64 or a data URI of a JPEG or PNG")
    try:
        data = base64.b64decode(value.partition(",")[2] if value.startswith("data:") else value, validate=True)
    except binascii.Error as error:
        raise ValueError("an image is base64 or a data URI of a JPEG or PNG") from error
    if data:
        try:
            check_still(data, "an image")
        except VisionError as error:
            raise ValueError(error.message) from error
    return data


def _few(value: object) -> object:
    """Counted before each of them is looked at: that takes time."""
    if isinstance(value, Mapping) and len(value) > len(get_args(GestureName)):
        raise ValueError(f"there are {len(get_args(GestureName))} gestures, not {len(value)}")
    return value


_Byte = Annotated[int, Field(ge=0, le=255)]
_Side = Annotated[int, Field(ge=16, le=LONGEST_RETURNED)]


class _Patch(BaseModel):
    """Defaults are never used: what is not given is not touched."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := [name for name in data if name not in cls.model_fields]):
            raise ValueError(f"there is no field {unknown[0]!r}; the fields are {listed(sorted(cls.model_fields))}")
        return data

    def given(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class _Overlay(_Patch):
    boxes: bool = True
    landmarks: bool = True
    labels: bool = True
    captions: bool = True
    latency: bool = False


class _Background(_Patch):
    kind: Literal["keep", "blur", "colour", "image"] = "keep"
    colour: Annotated[tuple[_Byte, _Byte, _Byte], BeforeValidator(_colour)] = (0, 0, 0)
    image: Annotated[bytes, BeforeValidator(_image)] = b""


class _Template(_Patch):
    name: str = Field(min_length=1, max_length=40)
    image: Annotated[bytes, BeforeValidator(_image)]


class _Looks(_Patch):
    lips: bool = False
    look_to_talk: bool = False
    gestures: Annotated[dict[GestureName, Action], BeforeValidator(_few)] = Field(default_factory=dict)


class VisionPatch(_Patch):
    """The fields of ``session.vision``; ``null`` for ``width``, ``height``, ``frame_rate`` and ``bitrate`` means as it
    comes."""

    enabled: bool = True
    mode: Literal["live", "exact"] = "live"
    detectors: list[DetectorName] = Field(default_factory=list, max_length=32)
    templates: list[_Template] = Field(default_factory=list, max_length=MOST_TEMPLATES)
    max_fps: float = Field(12.0, gt=0, le=60)
    width: _Side | None = None
    height: _Side | None = None
    frame_rate: float | None = Field(None, ge=1, le=60)
    bitrate: int | None = Field(None, ge=50_000, le=20_000_000)
    codec: VideoCodec | None = None
    """Only in an offer: which codec to answer with, if the offer has it."""
    auto_frame: bool = False
    background: _Background = Field(default_factory=_Background)
    overlay: _Overlay = Field(default_factory=_Overlay)
    looks: _Looks = Field(default_factory=_Looks)
    attach: Literal["never", "on_request", "always"] = "on_request"
    screen: bool = True


def merge_vision(settings: VisionSettings, patch: VisionPatch) -> VisionSettings:
    """Settings with the given fields changed and all others kept."""
    given = patch.given()
    given.pop("codec", None)
    if "detectors" in given:
        given["detectors"] = tuple(dict.fromkeys(patch.detectors))
    if "templates" in given:
        given["templates"] = tuple(TemplateImage(template.name, template.image) for template in patch.templates)
    if "overlay" in given:
        given["overlay"] = replace(settings.overlay, **patch.overlay.given())
    if "background" in given:
        given["background"] = replace(settings.background, **patch.background.given())
    if "looks" in given:
        looks = patch.looks.given()
        if "gestures" in looks:
            looks["gestures"] = tuple(patch.looks.gestures.items())
        given["looks"] = replace(settings.looks, **looks)
    return replace(settings, **given)


def vision_json(settings: VisionSettings, codec: str | None, unavailable: Mapping[DetectorName, str]) -> Json:
    """The settings in effect, as ``session.vision``. Of images only the size is told."""
    shown = asdict(settings)
    shown["detectors"] = [name for name in settings.detectors if name not in unavailable]
    shown["unavailable"] = dict(unavailable)
    shown["codec"] = codec
    shown["templates"] = [{"name": sought.name, "image_bytes": len(sought.image)} for sought in settings.templates]
    image = shown["background"].pop("image")
    shown["background"]["colour"] = "#" + bytes(settings.background.colour).hex()
    if image:
        shown["background"]["image_bytes"] = len(image)
    shown["looks"]["gestures"] = dict(settings.looks.gestures)
    return shown


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
