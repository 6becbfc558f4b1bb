"""What a session may change about how it is seen, while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipelines.vision.detectors import DETECTORS, finding
from pipelines.vision.detectors import DetectorName as DetectorName

Action = Literal["stop_speaking", "end_turn", "mute_camera", "none"]
"""What a gesture may do."""


LONGEST_RETURNED = 3840
"""Pixels of a side of the returned picture, whatever is asked for."""


@dataclass(frozen=True, slots=True)
class OverlaySettings:
    """What is drawn onto the returned picture."""

    boxes: bool = True
    landmarks: bool = True
    labels: bool = True
    captions: bool = True
    """The words of both sides as subtitles."""
    latency: bool = False
    """Frames per second, delay of the picture and age of the overlay in a corner."""


@dataclass(frozen=True, slots=True)
class Background:
    """What becomes of everything that is not a person (needs the detector ``segmentation``)."""

    kind: Literal["keep", "blur", "colour", "image"] = "keep"
    colour: tuple[int, int, int] = (32, 32, 32)
    """Red, green, blue, 0–255."""
    image: bytes = b""
    """JPEG or PNG."""


@dataclass(frozen=True, slots=True)
class TemplateImage:
    """A picture of something to look for."""

    name: str
    """How it is called when it is found."""
    image: bytes
    """JPEG or PNG."""


@dataclass(frozen=True, slots=True)
class VisualCueSettings:
    """How visual cues take part in turn-taking. All off by default."""

    lips: bool = False
    """With a camera on, a voice without lip movement does not interrupt."""
    look_to_talk: bool = False
    """A face that is turned away holds the response back."""
    gestures: tuple[tuple[str, Action], ...] = ()
    """Gesture in words (``open palm``) → what it does."""


@dataclass(frozen=True, slots=True)
class VisionSettings:
    """How one session is seen and what it gets back."""

    enabled: bool = True
    mode: Literal["live", "exact"] = "live"
    """``live`` never waits for a detector: the latest overlay is drawn onto the newest frame. In ``exact`` the overlay
    belongs to exactly this frame, which therefore comes later and perhaps more seldom."""
    detectors: tuple[DetectorName, ...] = field(
        default_factory=lambda: tuple(name for name, row in DETECTORS.items() if row.default)
    )
    templates: tuple[TemplateImage, ...] = ()
    """Pictures of things that are looked for besides, four at most (:mod:`pipelines.vision.templates`)."""
    max_fps: float = 12.0
    """Most pictures that detectors see per second."""
    width: int | None = None
    """Of the returned picture; ``None`` keeps the camera's. The height follows unless it is given."""
    height: int | None = None
    frame_rate: float | None = None
    """Most frames returned per second; ``None`` as they come."""
    bitrate: int | None = None
    """Of the returned video, bits per second; ``None`` lets the encoder adapt."""
    auto_frame: bool = False
    """Return a crop that follows the person smoothly."""
    background: Background = field(default_factory=Background)
    overlay: OverlaySettings = field(default_factory=OverlaySettings)
    looks: VisualCueSettings = field(default_factory=VisualCueSettings)
    attach: Literal["never", "on_request", "always"] = "on_request"
    """When a language model that takes pictures gets one: when it asks for it, or with all that the user says."""
    screen: bool = True
    """Whether the second incoming video is shown to the model. A screen that stands still sends nothing, so only the
    client knows that it is not shared any more."""

    @property
    def needed(self) -> tuple[DetectorName, ...]:
        """The detectors to run: those asked for, and what the background and the visual cues need."""
        looks = self.looks
        faces = finding("face").isdisjoint(self.detectors)
        wanted: tuple[tuple[bool, DetectorName], ...] = (
            (self.background.kind != "keep", "segmentation"),
            (looks.lips and "holistic" not in self.detectors, "face_landmarks"),
            (looks.look_to_talk and faces and not looks.lips, "faces"),
            (any(action != "none" for _, action in looks.gestures), "gestures"),
        )
        return (*self.detectors, *(name for on, name in wanted if on and name not in self.detectors))
