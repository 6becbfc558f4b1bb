"""What becomes of everything that is not a person: blurred, of one colour, or another picture; with soft edges.

What is not known to be a person is background: where no outline has been found, all of the picture is, so that nothing
shows that was meant to be hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from media.frames import Pixels, reduced
from pipelines.interfaces.vision import Detection
from pipelines.vision.images import still
from pipelines.vision.settings import Background

_SMALL = 96
"""Pixels of the longer side at which the background is blurred: nothing finer is to be seen anyway."""
_BLUR = 2.5
"""Standard deviation in those pixels: a fortieth of the picture."""
_NEW = 0.6
"""Share of the newest outline; the rest is the one before, against flicker."""
_FROM, _TO = 80, 180
"""Of 255: below is background, above is the person, between them the edge is feathered."""

_FEATHER = np.clip((np.arange(256) - _FROM) / (_TO - _FROM), 0, 1)
_FEATHER = (_FEATHER * _FEATHER * (3 - 2 * _FEATHER)).astype(np.float32)
"""Mask → how much of the person shows, a smooth step."""

_Mask = NDArray[np.uint8]
_Weights = NDArray[np.float32]


class Backdrop:
    """The background of one session's returned picture."""

    def __init__(self, settings: Background) -> None:
        self._kind = settings.kind
        self._colour = settings.colour
        self._packed = settings.image
        self._image: Pixels | None = None
        self._fitted: Pixels | None = None
        self._latest: _Mask | None = None
        self._smooth: _Weights | None = None

    def paint(self, pixels: Pixels, detections: Sequence[Detection]) -> Pixels:
        """``pixels`` (RGB) with the background replaced; a new array.

        Raises :class:`~pipelines.errors.VisionError` (``image_unusable``) once, when the picture for the background
        cannot be used; its colour stands in from then on.
        """
        if self._kind == "keep" or not pixels.size:
            return pixels
        person = self._weights(next((found.mask for found in detections if found.mask is not None), None))
        height, width = pixels.shape[:2]
        if self._kind == "image" and self._image is None:
            self._kind = "colour"
            self._image = still(self._packed, "background.image")
            self._kind = "image"
        if person is None:
            return self._behind(pixels, np.zeros((1, 1), np.float32))
        weights = np.asarray(cv2.resize(person, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        behind = self._behind(pixels, person)
        return np.asarray(cv2.blendLinear(np.ascontiguousarray(pixels), behind, weights, 1.0 - weights), np.uint8)

    def _weights(self, mask: _Mask | None) -> _Weights | None:
        """How much of the person shows, at the mask's size."""
        if mask is None:
            self._latest = self._smooth = None
            return None
        if mask is not self._latest:
            fresh = np.asarray(cv2.GaussianBlur(_FEATHER[mask], (0, 0), 1.0), np.float32)
            old = self._smooth
            self._smooth = fresh if old is None or old.shape != fresh.shape else _NEW * fresh + (1 - _NEW) * old
            self._latest = mask
        return self._smooth

    def _behind(self, pixels: Pixels, person: _Weights) -> Pixels:
        height, width = pixels.shape[:2]
        if self._kind == "blur":
            return _blurred(pixels, person)
        if self._fitted is None or self._fitted.shape != pixels.shape:
            plain = np.empty_like(pixels, order="C")
            plain[:] = self._colour
            self._fitted = plain if self._image is None else _covering(self._image, width, height)
        return self._fitted.copy()


def _blurred(pixels: Pixels, person: _Weights) -> Pixels:
    """The background alone, blurred: the person is left out of it, or a halo of them would glow around them."""
    height, width = pixels.shape[:2]
    size = reduced(width, height, _SMALL)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    share = 1.0 - cv2.resize(person, size, interpolation=cv2.INTER_AREA) + 1e-3
    total = cv2.GaussianBlur(small * share[..., None], (0, 0), _BLUR)
    soft = total / cv2.GaussianBlur(share, (0, 0), _BLUR)[..., None]
    return np.asarray(cv2.resize(np.clip(soft, 0, 255).astype(np.uint8), (width, height)), np.uint8)


def _covering(image: Pixels, width: int, height: int) -> Pixels:
    """The middle of ``image`` in the picture's shape, scaled to cover it.

    It is cut out before it is scaled: all of a picture of 4096x1 would be scaled to gigabytes.
    """
    rows, columns = image.shape[:2]
    scale = max(width / columns, height / rows)
    across, down = min(columns, max(1, round(width / scale))), min(rows, max(1, round(height / scale)))
    left, top = (columns - across) // 2, (rows - down) // 2
    middle = image[top : top + down, left : left + across]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(middle, (width, height), interpolation=how), np.uint8)
