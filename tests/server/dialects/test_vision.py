"""``session.vision``: what is given changes, what is wrong is named, and what is told can be sent back."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.vision.settings import TemplateImage, VisionSettings
from server.dialects.openai.settings import RefusedError, offered_wishes
from server.dialects.openai.vision import VisionPatch, merge_vision, vision_json


def still() -> bytes:
    """A PNG."""
    return cv2.imencode(".png", np.arange(3072, dtype=np.uint8).reshape(32, 32, 3))[1].tobytes()


LOGO = base64.b64encode(still()).decode()


def merged(patch: dict, settings: VisionSettings | None = None) -> VisionSettings:
    return merge_vision(settings or VisionSettings(), VisionPatch.model_validate(patch))


def test_what_is_left_out_stays_as_it_is():
    settings = merged({"mode": "exact", "width": 320, "overlay": {"labels": False}, "looks": {"lips": True}})
    assert merged({}, settings) == settings
    after = merged({"overlay": {"latency": True}, "background": {"kind": "blur"}}, settings)
    assert (after.mode, after.width, after.overlay.labels, after.overlay.latency) == ("exact", 320, False, True)
    assert after.background.kind == "blur"
    assert after.looks.lips


def test_null_takes_a_size_back():
    settings = merged({"width": 320, "height": 240, "frame_rate": 10, "bitrate": 300_000})
    nulls = dict.fromkeys(("width", "height", "frame_rate", "bitrate"))
    assert merged(nulls, settings) == VisionSettings()


def test_everything_else():
    image = still()
    settings = merged(
        {
            "enabled": False,
            "detectors": ["gestures", "faces", "gestures"],
            "max_fps": 5,
            "auto_frame": True,
            "background": {"kind": "image", "colour": "#0a14ff", "image": base64.b64encode(image).decode()},
            "looks": {"look_to_talk": True, "gestures": {"open palm": "stop_speaking"}},
        }
    )
    assert settings.detectors == ("gestures", "faces")
    assert settings.background.colour == (10, 20, 255)
    assert settings.background.image == image
    assert settings.looks.gestures == (("open palm", "stop_speaking"),)
    uri = f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
    assert merged({"background": {"image": uri, "colour": [1, 2, 3]}}).background.image == image


@pytest.mark.parametrize(
    ("patch", "named"),
    [
        ({"mode": "fast"}, ("mode", "live", "exact")),
        ({"detectors": ["cats"]}, ("detectors", "faces", "holistic")),
        ({"detectors": "faces"}, ("detectors", "list")),
        ({"enabled": None}, ("enabled", "bool")),
        ({"max_fps": 0}, ("max_fps", "greater than 0")),
        ({"width": 4}, ("width", "16")),
        ({"height": 9000}, ("height", "3840")),
        ({"frame_rate": 0.1}, ("frame_rate", "1")),
        ({"bitrate": 1}, ("bitrate", "50000")),
        ({"codec": "av1"}, ("codec", "vp8", "h264")),
        ({"fps": 3}, ("'fps'", "frame_rate", "max_fps")),
        ({"overlay": {"box": True}}, ("overlay", "'box'", "boxes")),
        ({"background": {"kind": "beach"}}, ("background", "blur")),
        ({"background": {"colour": "red"}}, ("colour", "#rrggbb")),
        ({"background": {"colour": [1, 2, 300]}}, ("colour", "255")),
        ({"background": {"image": "!"}}, ("image", "base64")),
        ({"background": {"image": base64.b64encode(b"GIF89a").decode()}}, ("image", "JPEG")),
        ({"templates": [{"name": "", "image": LOGO}]}, ("templates.0.name", "1 character")),
        ({"templates": [{"name": "logo", "image": "aGVsbG8="}]}, ("templates.0.image", "neither a JPEG nor a PNG")),
        ({"templates": [{"name": "logo", "image": LOGO}] * 5}, ("templates", "at most 4")),
        ({"looks": {"gestures": {"wave": "none"}}}, ("gestures", "open palm")),
        ({"looks": {"gestures": {"open palm": "explode"}}}, ("gestures", "stop_speaking")),
    ],
)
def test_a_bad_value_is_named_with_the_legal_ones(patch, named):
    with pytest.raises(ValidationError) as refused:
        VisionPatch.model_validate(patch)
    (problem, *_) = refused.value.errors()
    text = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    assert all(word in text for word in named), text


def test_what_is_told_can_be_sent_back():
    settings = merged({"mode": "exact", "looks": {"gestures": {"open palm": "end_turn"}}, "detectors": ["faces"]})
    told = vision_json(settings, "vp8", {})
    assert told["codec"] == "vp8"
    del told["unavailable"]
    assert merged(told) == settings


def test_pictures_to_look_for_replace_those_before_and_are_told_by_name():
    settings = merged({"templates": [{"name": "logo", "image": f"data:image/png;base64,{LOGO}"}]})
    assert settings.templates == (TemplateImage("logo", still()),)
    assert vision_json(settings, None, {})["templates"] == [{"name": "logo", "image_bytes": len(still())}]
    assert merged({}, settings) == settings
    assert merged({"templates": []}, settings).templates == ()


def test_a_background_needs_the_outlines():
    assert merged({"detectors": ["faces"]}).needed == ("faces",)
    assert merged({"detectors": ["faces"], "background": {"kind": "blur"}}).needed == ("faces", "segmentation")


def test_detectors_that_cannot_be_used_are_told_with_the_reason():
    told = vision_json(VisionSettings(), None, {"pose": "no model"})
    assert told["detectors"] == ["faces", "hands"]
    assert told["unavailable"] == {"pose": "no model"}
    settings = merged({"background": {"image": base64.b64encode(still()).decode()}})
    size = len(still())
    assert vision_json(settings, None, {})["background"] == {"kind": "keep", "colour": "#202020", "image_bytes": size}


def test_an_offer_may_say_how_it_wants_to_be_seen():
    wish = offered_wishes({"type": "offer", "session": {"vision": {"codec": "h264", "width": 320}}}).vision
    assert wish.codec == "h264"
    assert merge_vision(VisionSettings(), wish).width == 320
    for silent in ({"type": "offer"}, {"session": None}, {"session": {"vision": None}}, {"session": 7}):
        assert offered_wishes(silent).vision.given() == {}


def test_a_bad_wish_in_an_offer_is_named():
    with pytest.raises(RefusedError) as refused:
        offered_wishes({"type": "offer", "session": {"vision": {"codec": "av1"}}})
    assert (refused.value.param, refused.value.code) == ("session.vision.codec", "invalid_value")
    assert "h264" in str(refused.value)
    with pytest.raises(RefusedError, match=r"^session\.vision: must be an object$"):
        offered_wishes({"type": "offer", "session": {"vision": 7}})
    with pytest.raises(RefusedError, match=r"^session\.vision: there is no field 'faces'; the fields are attach"):
        offered_wishes({"type": "offer", "session": {"vision": {"faces": True}}})
