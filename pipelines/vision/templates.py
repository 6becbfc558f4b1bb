"""Finds a picture that the client supplies in what the camera shows: a logo, a cup, a page.

By normalised correlation on a small grey picture, at sizes a twelfth apart: it finds the thing from the side it was
pictured from, upright, anywhere, at 10 to 90 % of the picture's size; a plain shape is also found in others like it.
The cost is bounded: while a picture is not found, a few sizes are tried in each camera picture, in turn; once it is,
only those near the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from media.frames import Pixels
from pipelines.errors import VisionError
from pipelines.interfaces.vision import Detection
from pipelines.vision.images import smaller, still
from pipelines.vision.settings import TemplateImage

MOST_TEMPLATES = 4
"""Things that one session may look for by their pictures."""
_SIDE = 160
"""Pixels of the camera picture's longer side when it is searched."""
_SIZES = tuple(0.1 * 1.08**step for step in range(30))
"""Longer side of the thing in longer sides of the picture."""
_PER_PICTURE = 5
"""Sizes tried in one picture while the thing is not found; every other one, so that three pictures try them all."""
_PERHAPS, _FOUND = 0.55, 0.7
"""Correlation, -1 to 1, from which sizes beside are tried, and from which the thing is said to be there."""
_LEAST_SIDE = 16
_LEAST_DETAIL = 10.0
"""Standard deviation of the grey values; below it is a plain surface, which is everywhere."""

_Grey = NDArray[np.uint8]


@dataclass(slots=True)
class _Template:
    name: str
    grey: _Grey
    next: int = 0
    """Which size to try next."""
    last: int | None = None
    """The size at which it was found in the picture before."""


class Templates:
    """The pictures that one session looks for."""

    def __init__(self, images: Sequence[TemplateImage] = ()) -> None:
        """Raises :class:`VisionError` (``template_unusable`` or ``image_unusable``) naming the picture and the rule."""
        if len(images) > MOST_TEMPLATES:
            raise VisionError("template_unusable", f"{len(images)} templates; at most {MOST_TEMPLATES} are looked for")
        self._templates = [_Template(image.name, _usable(image)) for image in images]

    def find(self, pixels: Pixels) -> list[Detection]:
        """Those that are in the RGB picture, of kind ``object`` with their names as labels. About 5 ms per template."""
        if not self._templates or min(pixels.shape[:2]) < 1:
            return []
        grey = _grey(pixels)
        found = (_search(template, grey) for template in self._templates)
        return [detection for detection in found if detection is not None]


def _usable(image: TemplateImage) -> _Grey:
    pixels = still(image.image, f"template {image.name!r}")
    height, width = pixels.shape[:2]
    if min(height, width) < _LEAST_SIDE:
        message = f"template {image.name!r} has {width}x{height} pixels; it needs {_LEAST_SIDE} a side"
        raise VisionError("template_unusable", message)
    grey = _grey(pixels)
    if float(grey.std()) < _LEAST_DETAIL:
        raise VisionError("template_unusable", f"template {image.name!r} is a plain surface, which is found anywhere")
    return grey


def _grey(pixels: Pixels) -> _Grey:
    return np.asarray(cv2.cvtColor(smaller(pixels, _SIDE), cv2.COLOR_RGB2GRAY), np.uint8)


def _search(template: _Template, grey: _Grey) -> Detection | None:
    if template.last is None:
        steps = [(template.next + 2 * n) % len(_SIZES) for n in range(_PER_PICTURE)]
        template.next = (template.next + 2 * _PER_PICTURE) % len(_SIZES)
    else:
        steps = [template.last]
    best = _best(template, grey, steps)
    if best is not None and best.score >= _PERHAPS:
        best = max(best, _best(template, grey, [best.step - 1, best.step + 1]) or best, key=lambda match: match.score)
    if best is None or best.score < _FOUND:
        template.last = None
        return None
    template.last = best.step
    return Detection("object", 0, best.box, best.score, template.name)


def _best(template: _Template, grey: _Grey, steps: Sequence[int]) -> _Match | None:
    tried = [_match(template, grey, step) for step in steps if 0 <= step < len(_SIZES)]
    return max((match for match in tried if match is not None), key=lambda match: match.score, default=None)


@dataclass(frozen=True, slots=True)
class _Match:
    score: float
    step: int
    box: tuple[float, float, float, float]


def _match(template: _Template, grey: _Grey, step: int) -> _Match | None:
    rows, columns = grey.shape
    scale = _SIZES[step] * max(rows, columns) / max(template.grey.shape)
    height, width = (max(1, round(side * scale)) for side in template.grey.shape)
    if height > rows or width > columns or min(height, width) < 5:
        return None
    wanted = cv2.resize(template.grey, (width, height), interpolation=cv2.INTER_AREA)
    scores: Any = cv2.matchTemplate(grey, wanted, cv2.TM_CCOEFF_NORMED)
    _, score, _, (x, y) = cv2.minMaxLoc(np.nan_to_num(scores, posinf=0.0, neginf=0.0))
    box = x / columns, y / rows, width / columns, height / rows
    return _Match(min(1.0, float(score)), step, box)
