"""Pictures of printed text as cameras and screens show it: turned, in shadow, askew, small, light on dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]


def page(
    lines: Sequence[str],
    size: int = 40,
    paper: tuple[int, int, int] = (250, 249, 245),
    ink: tuple[int, int, int] = (20, 20, 25),
    margin: int = 40,
) -> Pixels:
    """The lines on paper, RGB."""
    font = ImageFont.load_default(size)
    width = max(int(font.getlength(line)) for line in lines) + 2 * margin
    height = int(size * 1.6) * len(lines) + 2 * margin
    picture = Image.new("RGB", (width, height), paper)
    draw = ImageDraw.Draw(picture)
    for n, line in enumerate(lines):
        draw.text((margin, margin + n * int(size * 1.6)), line, ink, font)
    return np.asarray(picture)


def on_table(
    paper: Pixels, width: int, height: int, turn: float = 0.0, lean: float = 0.0, scale: float = 0.8
) -> Pixels:
    """The paper on a table of wood: turned by degrees, its far edge shorter by the share ``lean``."""
    rng = np.random.default_rng(5)
    grain = cv2.GaussianBlur(rng.normal(0, 25, (height, width)).astype(np.float32), (0, 0), 2)
    table = np.clip(np.array([125.0, 90.0, 60.0]) + grain[..., None], 0, 255).astype(np.uint8)
    rows, columns = paper.shape[:2]
    fit = scale * min(width / columns, height / rows)
    half = np.array([columns, rows]) * fit / 2
    corners = np.array([[-1 + lean, -1], [1 - lean, -1], [1, 1], [-1, 1]], np.float32) * half
    angle = np.radians(turn)
    turned = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    target = (turned + np.array([width, height]) / 2).astype(np.float32)
    source = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    laid = cv2.warpPerspective(paper, matrix, (width, height), flags=cv2.INTER_AREA)
    mask = cv2.warpPerspective(np.full((rows, columns), 255, np.uint8), matrix, (width, height))
    return np.where(mask[..., None] > 127, laid, table).astype(np.uint8)


def shadowed(picture: Pixels) -> Pixels:
    """A hand's soft shadow falls on it."""
    rows, columns = picture.shape[:2]
    y, x = np.mgrid[0:rows, 0:columns]
    shade = 1 - 0.55 / (1 + np.exp(-(x / columns + y / rows - 1.0) * 12))
    return np.clip(picture * shade[..., None], 0, 255).astype(np.uint8)


def photographed(picture: Pixels, noise: float = 6.0, blur: float = 0.7, quality: int = 75) -> Pixels:
    """As a cheap camera gives it: soft, noisy, compressed."""
    rng = np.random.default_rng(3)
    soft = cv2.GaussianBlur(picture, (0, 0), blur)
    noisy = np.clip(soft + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(noisy, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def png(pixels: Pixels) -> bytes:
    """As a file."""
    done, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()


@dataclass(frozen=True)
class Printed:
    """A picture and what is to be read in it."""

    name: str
    lines: tuple[str, ...]
    make: Callable[[tuple[str, ...]], Pixels]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def pixels(self) -> Pixels:
        return self.make(self.lines)


NOTE = (
    "Dear Anna, the train leaves at 8:45",
    "from platform 12. Please bring the",
    "tickets and two bottles of water.",
)
LABEL = ("Store in a cool, dry place.", "Best before: 14 March 2027", "Contains milk, soy and nuts.")
BILL = ("Total amount due: $1,284.50", "Invoice No. 2026-0417", "Payable within 30 days")
SIGN = ("EMERGENCY EXIT", "Keep this door closed")

PRINTED = (
    Printed("flat", NOTE, lambda lines: page(lines)),
    Printed("turned", NOTE, lambda lines: photographed(on_table(page(lines), 960, 540, turn=14))),
    Printed("turned back", LABEL, lambda lines: photographed(on_table(page(lines), 960, 540, turn=-20, scale=0.75))),
    Printed("in shadow", BILL, lambda lines: photographed(shadowed(on_table(page(lines), 960, 540)))),
    Printed("askew", LABEL, lambda lines: photographed(on_table(page(lines), 960, 540, turn=5, lean=0.18))),
    Printed("small print", NOTE + LABEL, lambda lines: page(lines, size=13, margin=12)),
    Printed("dark mode", BILL, lambda lines: page(lines, 22, paper=(24, 26, 32), ink=(225, 228, 235))),
    Printed("upside down", NOTE, lambda lines: photographed(on_table(page(lines), 960, 540, turn=178))),
    Printed("on its side", BILL, lambda lines: photographed(on_table(page(lines), 540, 960, turn=90))),
    Printed("a webcam", SIGN, lambda lines: photographed(on_table(page(lines, 60), 640, 480, turn=-4), 8.0, 1.0, 60)),
)
