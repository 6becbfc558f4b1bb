"""THE table of detectors: what each finds, what opens it, which models it needs, and what people call it.

Settings, the composition of the server, ``doctor``, the checks of models, ``/v1/engines`` and with it the page's
switches, and the table in ``docs/reference/vision.md`` come from here. Another detector is a function that opens it,
and a row (``docs/how-to/write-an-engine.md``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator

from pipelines.text import unknown

DetectionKind = Literal["face", "hand", "pose", "object", "person"]
Colour = tuple[int, int, int]
"""Red, green, blue, 0–255."""
KINDS: dict[DetectionKind, Colour | None] = {
    "face": (255, 206, 92),
    "hand": (92, 225, 255),
    "pose": (150, 242, 170),
    "person": None,
    "object": (214, 170, 255),
}
"""What is found, in the order in which it is told → the colour of its boxes and lines; ``None``: it is not drawn."""


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """One detector."""

    name: str
    """As in ``session.vision.detectors``."""
    finds: tuple[DetectionKind, ...]
    about: str
    """What it finds, for the documentation."""
    open: str
    """``module:function``, an :data:`~pipelines.engines.mediapipe.parts.Opener`."""
    label: str = ""
    """Of its switch on the page; empty: it has none."""
    task: str = ""
    """Of its models in the catalogue."""
    models: tuple[str, ...] = ()
    """Models of the catalogue that serve it, the preferred first; the first that lies in a package is fetched first.
    Without any it needs none."""
    brings: tuple[str, ...] = ()
    """Detectors whose results its own include: they rest while it runs."""
    default: bool = False
    """Whether a new session uses it."""
    basic: bool = False
    """Whether its model is fetched for the profile ``embedded``, too: all of those lie in one package."""
    alike: bool = False
    """Whether one of its models is as good as another."""


_ROWS = (
    DetectorSpec(
        "faces", ("face",), "faces up to some five metres away",
        "pipelines.engines.mediapipe.faces:open_faces", "Faces",
        "face-detection", ("mediapipe-face-detectors", "mediapipe-face-detector"), default=True, basic=True,
    ),
    DetectorSpec(
        "face_landmarks", ("face",), "faces with 478 points: mouth, smile, eyes, where the head is turned",
        "pipelines.engines.mediapipe.faces:open_face_landmarks", "Expressions",
        "face-landmarks", ("mediapipe-face-landmarker", "mediapipe-face-mesh"), basic=True,
    ),
    DetectorSpec(
        "hands", ("hand",), "hands with 21 points, left or right",
        "pipelines.engines.mediapipe.hands:open_hands", "Hands",
        "hand-landmarks", ("mediapipe-hand-landmarker",), default=True, basic=True,
    ),
    DetectorSpec(
        "gestures", ("hand",),
        "the same, and `thumbs up`, `thumbs down`, `open palm`, `closed fist`, `pointing up`, `victory sign`, "
        "`love sign`",
        "pipelines.engines.mediapipe.hands:open_gestures", "Gestures",
        "gestures", ("mediapipe-gesture-recognizer", "mediapipe-hand-landmarker"), brings=("hands",), basic=True,
    ),
    DetectorSpec(
        "pose", ("pose",), "bodies with 33 points",
        "pipelines.engines.mediapipe.bodies:open_pose", "Body",
        "pose-landmarks", ("mediapipe-pose-landmarker",), default=True, basic=True,
    ),
    DetectorSpec(
        "segmentation", ("person",), "the outline of people, for the background",
        "pipelines.engines.mediapipe.bodies:open_segmentation", "Outline",
        "person-segmentation", ("mediapipe-selfie-segmenter", "mediapipe-selfie-segmenter-published"), alike=True,
    ),
    DetectorSpec(
        "objects", ("object",),
        "things of everyday life by name; people, too, where no detector of faces or bodies looks",
        "pipelines.engines.mediapipe.objects:open_objects", "Things",
        "object-detection", ("yolox-nano", "mediapipe-efficientdet-lite0"), alike=True,
    ),
    DetectorSpec(
        "holistic", ("face", "hand", "pose"), "one person's face, hands and body at once",
        "pipelines.engines.mediapipe.bodies:open_holistic",
        task="holistic-landmarks", models=("mediapipe-holistic-landmarker",), brings=("hands", "pose"),
    ),
)  # fmt: skip
DETECTORS: dict[str, DetectorSpec] = {row.name: row for row in _ROWS}
"""By name, in the order in which they are told."""


def _known(name: str) -> str:
    if name not in DETECTORS:
        raise ValueError(unknown("detector", name, tuple(DETECTORS)))
    return name


DetectorName = Annotated[str, AfterValidator(_known)]
"""A name in the table; what clients send is held to that."""


def finding(kind: DetectionKind) -> set[str]:
    """The detectors that find things of this kind."""
    return {name for name, row in DETECTORS.items() if kind in row.finds}


def without_replaced(names: Collection[str]) -> list[str]:
    """``names`` without those whose results another of them brings along."""
    replaced = {other for name in names for other in DETECTORS[name].brings}
    return [name for name in names if name not in replaced]
