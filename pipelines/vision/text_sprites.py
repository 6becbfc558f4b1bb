"""Text as little pictures that are made once and laid over many frames. Any script that OpenCV's own fonts know.

OpenCV 5 carries TrueType fonts with Latin, Greek, Cyrillic and Chinese letters; no font file of the machine is read.
Its font objects may not be used by two threads at a time (letters then come out wrong now and then), so all drawing
of letters goes through one lock, and nearly always it is not needed: the cache has the text already.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from media.frames import Pixels

Colour = tuple[int, int, int]
"""RGB."""
_Mask = NDArray[np.uint8]
_Alpha = NDArray[np.float32]

CACHE_BYTES = 16 << 20
PLATE: Colour = (10, 13, 18)
REGULAR, BOLD = 420, 620
"""Weights of the font, 100 to 900."""
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A picture with soft edges, shape ``(height, width, 3)`` each."""

    ink: Pixels
    """What is added, already weighed by its opacity."""
    clear: Pixels
    """How much of the picture below shows through, 0–255."""

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.ink.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.ink.shape[0])

    def lay(self, canvas: Pixels, x: int, y: int) -> None:
        """Onto ``canvas`` with the top left corner at ``x``, ``y``; what lies outside is left out."""
        left, top = max(0, x), max(0, y)
        right, bottom = min(canvas.shape[1], x + self.width), min(canvas.shape[0], y + self.height)
        if right <= left or bottom <= top:
            return
        part = slice(top - y, bottom - y), slice(left - x, right - x)
        below = canvas[top:bottom, left:right]
        canvas[top:bottom, left:right] = cv2.add(cv2.multiply(below, self.clear[part], scale=1 / 255), self.ink[part])


@dataclass(frozen=True, slots=True)
class Style:
    """How a plate with text looks. Hashable: the cache's key."""

    size: int
    """Pixels from the top of a capital letter to the line's end."""
    colour: Colour = (255, 255, 255)
    weight: int = REGULAR
    plate: float = 0.66
    """Opacity of the dark plate behind, 0–1."""
    accent: Colour | None = None
    """Of a bar at the left edge."""
    opacity: float = 1.0
    """Of all of it."""


class _Cache:
    """The plates used last, within so many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._sprites: OrderedDict[tuple[tuple[str, ...], Style], Sprite] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, lines: tuple[str, ...], style: Style) -> Sprite:
        with self._lock:
            sprite = self._sprites.get((lines, style))
            if sprite is not None:
                self._sprites.move_to_end((lines, style))
                return sprite
        sprite = _plate(lines, style)
        with self._lock:
            if (lines, style) not in self._sprites:
                self._sprites[lines, style] = sprite
                self._bytes += 2 * sprite.ink.nbytes
            while self._bytes > self._limit and len(self._sprites) > 1:
                _, old = self._sprites.popitem(last=False)
                self._bytes -= 2 * old.ink.nbytes
        return sprite


_cache = _Cache(CACHE_BYTES)


def plate(lines: Sequence[str], style: Style) -> Sprite:
    """``lines`` below each other on a dark translucent plate with round corners."""
    return _cache.get(tuple(lines), style)


def text_width(text: str, size: int, weight: int = REGULAR) -> int:
    """Pixels that ``text`` is wide."""
    return sum(_word_width(word, size, weight) for word in text.split()) + _space(size) * max(0, len(text.split()) - 1)


def wrap(text: str, width: int, size: int, weight: int = REGULAR) -> list[str]:
    """Lines of at most ``width`` pixels, filled from the beginning: what stands there stays while the text grows."""
    lines: list[str] = []
    room = 0
    for word in text.split():
        needs = _word_width(word, size, weight)
        if lines and needs + _space(size) <= room:
            lines[-1] += f" {word}"
            room -= needs + _space(size)
        else:
            lines.append(word)
            room = width - needs
    return lines


@lru_cache(maxsize=4)
def _font(name: str) -> cv2.FontFace:
    return cv2.FontFace(name)


@lru_cache(maxsize=4096)
def _word_width(word: str, size: int, weight: int) -> int:
    with _lock:
        return int(cv2.getTextSize((0, 0), word, (0, 0), _font("sans"), size, weight)[2]) + 1


def _space(size: int) -> int:
    return max(2, round(0.27 * size))


def _plate(lines: tuple[str, ...], style: Style) -> Sprite:
    """Letters over a soft dark edge over the plate, flattened into what is added and what shows through."""
    size = style.size
    pad, bar = round(0.5 * size), round(0.24 * size) if style.accent else 0
    width = max((text_width(line, size, style.weight) for line in lines), default=0) + 2 * pad + bar
    letters = _letters(lines, style, width, pad + bar)
    shape = _rounded(width, len(letters), round(0.42 * size))
    edge = cv2.GaussianBlur(cv2.dilate(letters, np.ones((3, 3), np.uint8)), (5, 5), 0) / np.float32(255)
    alpha = np.maximum(shape * np.float32(style.plate), edge * np.float32(0.8))[..., None]
    ink = alpha * np.array(PLATE, np.float32)
    if style.accent is not None:
        strip = shape.copy()
        strip[:, bar:] = 0
        alpha, ink = _over(alpha, ink, strip, style.accent)
    alpha, ink = _over(alpha, ink, np.asarray(letters / 255, np.float32), style.colour)
    clear = np.repeat(np.rint(255 * (1 - alpha * style.opacity)).astype(np.uint8), 3, axis=2)
    return Sprite(np.rint(ink * style.opacity).astype(np.uint8), clear)


def _letters(lines: tuple[str, ...], style: Style, width: int, left: int) -> _Mask:
    """White on black, word by word, so that widths add up to what was measured."""
    size, step = style.size, round(1.36 * style.size)
    letters: _Mask = np.zeros((step * len(lines) + round(0.44 * size), width), np.uint8)
    for n, line in enumerate(lines):
        x, y = left, step * n + round(1.24 * size)
        for word in line.split():
            with _lock:
                cv2.putText(letters, word, (x, y), 255, _font("sans"), size, style.weight)
            x += _word_width(word, size, style.weight) + _space(size)
    return letters


def _over(alpha: _Alpha, ink: _Alpha, mask: _Alpha, colour: Colour) -> tuple[_Alpha, _Alpha]:
    mask = mask[..., None]
    return alpha + mask * (1 - alpha), ink * (1 - mask) + mask * np.array(colour, np.float32)


def _rounded(width: int, height: int, radius: int) -> _Alpha:
    """1 inside a rectangle with round corners, 0 outside, softly in between."""
    x = np.abs(np.arange(width) - (width - 1) / 2) - (width / 2 - radius)
    y = np.abs(np.arange(height) - (height - 1) / 2) - (height / 2 - radius)
    far = np.hypot(np.maximum(x, 0)[None, :], np.maximum(y, 0)[:, None])
    return np.asarray(np.clip(radius + 0.5 - far, 0, 1), np.float32)
