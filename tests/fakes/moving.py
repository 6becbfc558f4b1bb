"""A synthetic camera: a textured wall that slides past and a disc that crosses it, exactly as known."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from media.frames import Pixels

WALL, DISC = (-3.0, -1.0), (6.0, -3.0)
"""Pixels a frame."""


def moving(n: float, size: tuple[int, int] = (256, 256)) -> Pixels:
    """The frame ``n``; ``size`` is width and height."""
    width, height = size
    slide = np.array([[1, 0, WALL[0] * n - 40], [0, 1, WALL[1] * n - 40]], np.float32)
    wall = cv2.warpAffine(_wall(), slide, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    rows, columns = np.mgrid[0:height, 0:width]
    away = np.hypot(columns - 60 - DISC[0] * n, rows - 100 - DISC[1] * n)
    cover = np.clip(30.5 - away, 0, 1)[..., None]
    return np.asarray((wall * (1 - cover) + np.array([220, 60, 40]) * cover).round(), np.uint8)


@cache
def _wall() -> Pixels:
    noise = np.random.default_rng(1).integers(0, 256, (600, 600, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 6)
    return np.asarray(((soft - soft.mean()) * 12 + 128).clip(0, 255), np.uint8)


def psnr(one: Pixels, other: Pixels) -> float:
    """Likeness in decibels; infinite for the same picture."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return float("inf") if not error else 10 * np.log10(255**2 / error)
