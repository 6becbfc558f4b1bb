"""Things by name with YOLOX (https://github.com/Megvii-BaseDetection/YOLOX, Apache-2.0; Ge et al., arXiv:2107.08430) on
ONNX Runtime: boxes of the 80 kinds of everyday things of COCO.

The network takes a square picture in BGR, values 0–255, the rest filled with grey 114, and gives for each cell of grids
of 8, 16 and 32 pixels: an offset, the logarithm of a size, how likely a thing is there, and how likely it is of each
kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from media.frames import Pixels
from pipelines.engines.onnx_session import open_session
from pipelines.errors import ModelError

COCO = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, "
    "mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush"
).split(", ")
_STRIDES = (8, 16, 32)
_GREY = 114
_SAME = 0.45
"""Intersection over union above which two boxes of a kind are one thing."""
_MOST_CANDIDATES = 1000
_LARGEST_LOGARITHM = 10.0
"""Of a size in cells; what is beyond is no thing, and would overflow."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing; edges as fractions of the picture, as far as they lie in it."""

    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float


class Yolox:
    """One network. Raises :class:`ModelError` (``model_broken``) for a file that is none. Blocking; releases the
    interpreter while it computes."""

    def __init__(self, file: Path, threads: int = 1) -> None:
        try:
            self._session = open_session(file, threads)
            (entry,), (exit_,) = self._session.get_inputs(), self._session.get_outputs()
            _, channels, height, width = entry.shape
            cells = sum((height // stride) * (width // stride) for stride in _STRIDES)
            if (channels, tuple(exit_.shape[1:])) != (3, (cells, 5 + len(COCO))):
                raise ValueError(f"its output is {exit_.shape}")
        except Exception as error:  # ONNX Runtime's have no common base
            raise ModelError("model_broken", f"{file.name} is no YOLOX for COCO: {str(error)[:200]}") from error
        self._name = entry.name
        self._size = (int(height), int(width))
        self._grid, self._stride = _cells(*self._size)

    def find(self, pixels: Pixels, least: float, most: int) -> list[Thing]:
        """What is in an RGB picture with a score of ``least`` or more, the surest first."""
        height, width = pixels.shape[:2]
        square, ratio = letterboxed(pixels, self._size)
        (raw,) = self._session.run(None, {self._name: square})
        found = _things(raw[0], self._grid, self._stride, least)
        scale = np.array([width, height, width, height], np.float32) * ratio
        things = []
        for label, score, box in found[:most]:
            left, top, right, bottom = (min(1.0, max(0.0, float(edge))) for edge in box / scale)
            things.append(Thing(COCO[label], score, left, top, right, bottom))
        return things

    def close(self) -> None:
        """Free it. Idempotent."""
        self._session = None


def letterboxed(pixels: Pixels, size: tuple[int, int]) -> tuple[NDArray[np.float32], float]:
    """The picture at the top left of one of ``size`` (rows, columns), as the network wants it, and how much larger."""
    ratio = min(size[0] / pixels.shape[0], size[1] / pixels.shape[1])
    width, height = max(1, round(pixels.shape[1] * ratio)), max(1, round(pixels.shape[0] * ratio))
    square = np.full((*size, 3), _GREY, np.uint8)
    square[:height, :width] = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)[..., ::-1]
    return np.ascontiguousarray(square.transpose(2, 0, 1)[None], np.float32), ratio


def _cells(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of each cell its column and row, and how many pixels it is wide."""
    grids, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        grids.append(np.stack((columns, rows), 2).reshape(-1, 2))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(grids).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _things(
    raw: NDArray[np.float32], grid: NDArray[np.float32], stride: NDArray[np.float32], least: float
) -> list[tuple[int, float, NDArray[np.floating[Any]]]]:
    """Kind, score and corners in pixels of each thing, the surest first."""
    scores = raw[:, 4:5] * raw[:, 5:]
    labels = scores.argmax(1)
    best = scores.max(1)
    likely = np.flatnonzero(best >= max(least, 1e-3))
    likely = likely[np.argsort(-best[likely], kind="stable")][:_MOST_CANDIDATES]
    centres = (raw[likely, :2] + grid[likely]) * stride[likely]
    halves = np.exp(np.minimum(raw[likely, 2:4], _LARGEST_LOGARITHM)) * stride[likely] / 2
    corners = np.concatenate((centres - halves, centres + halves), 1)
    kept = distinct(corners, labels[likely])
    return [(int(labels[likely[n]]), float(best[likely[n]]), corners[n]) for n in kept]


def distinct(corners: NDArray[np.floating[Any]], labels: NDArray[Any], same: float = _SAME) -> Sequence[int]:
    """Which boxes remain when of those of a kind that overlap only the surest counts; they come the surest first."""
    kept: list[int] = []
    areas = np.prod(np.maximum(corners[:, 2:] - corners[:, :2], 0), axis=1)
    for n in range(len(corners)):
        rivals = [k for k in kept if labels[k] == labels[n]]
        if rivals:
            least = np.maximum(corners[rivals, :2], corners[n, :2])
            most = np.minimum(corners[rivals, 2:], corners[n, 2:])
            shared = np.prod(np.maximum(most - least, 0), axis=1)
            if (shared > same * (areas[rivals] + areas[n] - shared)).any():
                continue
        kept.append(n)
    return kept
