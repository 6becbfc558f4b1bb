"""PP-OCR on ONNX Runtime: one network finds lines of text, one tells which way up they are, one reads them.

The preparation of the pictures is that of PaddleOCR, as its configurations state it: BGR, 8-bit values to -1…1.
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
from pipelines.tasks.image.printed_text.regions import Region, cut_out, regions, rows

DETECTOR, READER, TURNER = "*_det_*.onnx", "*_rec_*.onnx", "*_cls_*.onnx"
"""Names of the files in the folder of a model; the last may be absent."""
SHORTER_SIDE, LONGER_SIDE = 544, 1280
"""Pixels that the detector sees: small pictures are enlarged to the first, large ones reduced to the second."""
_STRIDE = 32
LINE_HEIGHT = 48
_LONGEST_LINE = 3200
"""Pixels of a line at that height."""
_TURN_WIDTH = 192
_TURNED = 0.9
"""Probability from which a line counts as upside down."""
_BATCH = 8
_MOST_PADDING = 1.5
"""Lines share a batch while the longest is no more than so many times the shortest."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """What was read in one place."""

    text: str
    score: float
    """Mean probability of its characters, 0–1."""
    region: Region


class TextReader:
    """Reads what is printed in pictures. Blocking; one call at a time."""

    def __init__(self, folder: Path, threads: int = 1, providers: Sequence[Any] = ("CPUExecutionProvider",)) -> None:
        self._detector = open_session(_only(folder, DETECTOR), threads, providers)
        self._reader = open_session(_only(folder, READER), threads, providers)
        turner = next(iter(sorted(folder.glob(TURNER))), None)
        self._turner = open_session(turner, threads, providers) if turner is not None else None
        listed = self._reader.get_modelmeta().custom_metadata_map.get("character", "")
        self._characters = ["", *listed.splitlines(), " "]
        classes = self._reader.get_outputs()[0].shape[-1]
        if classes != len(self._characters):
            told = len(self._characters) - 2
            raise ModelError(
                "model_broken", f"{READER}: the network has {classes} classes, its alphabet {told} characters"
            )

    def read(self, pixels: Pixels, least_score: float = 0.5) -> list[list[Line]]:
        """The lines in the RGB picture by rows, in reading order. Those less sure than ``least_score`` are left out."""
        height, width = pixels.shape[:2]
        colours = np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR), np.uint8)
        found = regions(self._probabilities(colours), width, height)
        pieces = [cut_out(colours, region, LINE_HEIGHT, _LONGEST_LINE) for region in found]
        for n in self._upside_down(pieces):
            found[n] = found[n].turned
            pieces[n] = np.ascontiguousarray(pieces[n][::-1, ::-1])
        texts = self._texts(pieces)
        kept = [n for n, (text, score) in enumerate(texts) if text.strip() and score >= least_score]
        lines = [Line(texts[n][0].strip(), texts[n][1], found[n]) for n in kept]
        return [[lines[n] for n in row] for row in rows([line.region for line in lines])]

    def _probabilities(self, colours: Pixels) -> NDArray[np.float32]:
        height, width = colours.shape[:2]
        scale = max(1.0, SHORTER_SIDE / min(height, width))
        scale = min(scale, LONGER_SIDE / max(height, width))
        size = tuple(max(_STRIDE, round(side * scale / _STRIDE) * _STRIDE) for side in (width, height))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        seen = _normalised(cv2.resize(colours, size, interpolation=how))
        (marked,) = self._detector.run(None, {self._detector.get_inputs()[0].name: seen[None]})
        return np.asarray(marked[0, 0], np.float32)

    def _upside_down(self, pieces: Sequence[Pixels]) -> list[int]:
        """Of the lines, those that have to be turned."""
        if self._turner is None or not pieces:
            return []
        seen = np.zeros((len(pieces), 3, LINE_HEIGHT, _TURN_WIDTH), np.float32)
        for n, piece in enumerate(pieces):
            width = min(_TURN_WIDTH, piece.shape[1])
            seen[n, :, :, :width] = _normalised(cv2.resize(piece, (width, LINE_HEIGHT)))
        (told,) = self._turner.run(None, {self._turner.get_inputs()[0].name: seen})
        return [n for n, probability in enumerate(told[:, 1]) if probability > _TURNED]

    def _texts(self, pieces: Sequence[Pixels]) -> list[tuple[str, float]]:
        texts = [("", 0.0)] * len(pieces)
        for batch in _alike([piece.shape[1] for piece in pieces]):
            widest = max(pieces[n].shape[1] for n in batch)
            seen = np.zeros((len(batch), 3, LINE_HEIGHT, widest), np.float32)
            for row, n in enumerate(batch):
                seen[row, :, :, : pieces[n].shape[1]] = _normalised(pieces[n])
            (told,) = self._reader.run(None, {self._reader.get_inputs()[0].name: seen})
            for row, n in enumerate(batch):
                texts[n] = self._decoded(told[row])
        return texts

    def _decoded(self, told: NDArray[np.float32]) -> tuple[str, float]:
        """Connectionist temporal classification, greedily: runs of one class are one character, class 0 is none."""
        best, sure = told.argmax(axis=1), told.max(axis=1)
        new = (best != 0) & np.append(True, best[1:] != best[:-1])
        text = "".join(self._characters[n] for n in best[new])
        return text, float(sure[new].mean()) if text else 0.0


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise ModelError("model_broken", f"{folder.name} holds no {pattern}")
    return found[0]


def _normalised(colours: Any) -> NDArray[np.float32]:
    """``(rows, columns, 3)`` of 8 bits → ``(3, rows, columns)`` of -1…1."""
    return np.ascontiguousarray(np.asarray(colours, np.float32).transpose(2, 0, 1) / 127.5 - 1.0)


def _alike(widths: Sequence[int]) -> list[list[int]]:
    """Indices in batches of similar widths."""
    batches: list[list[int]] = []
    for n in sorted(range(len(widths)), key=widths.__getitem__):
        if batches and len(batches[-1]) < _BATCH and widths[n] <= _MOST_PADDING * widths[batches[-1][0]]:
            batches[-1].append(n)
        else:
            batches.append([n])
    return batches
