"""What the overlay costs, and the picture of it in the documentation.

``python -m tests.benchmarks.overlay`` prints milliseconds per picture of 640x480, the median of 300, with a face mesh,
two hands, a body and an object, both captions and the read-out; ``--picture docs/overlay.png`` draws a made-up person.
"""

from __future__ import annotations

import argparse
import statistics
import time

import cv2
import numpy as np
from rich.console import Console

from pipelines.interfaces.vision import Detection
from pipelines.vision.captions import Caption
from pipelines.vision.overlay import Readout, draw
from pipelines.vision.settings import OverlaySettings

WIDTH, HEIGHT = 640, 480
EVERYTHING = OverlaySettings(latency=True)
CAPTIONS = (
    Caption("user", "Was siehst du? What is in my hand?"),
    Caption("assistant", "I see one person, facing the camera, with a thumb up, and a cup on the right.", final=False),
)
READOUT = Readout(30.0, 0.012, 0.045, 0.312)
SKIN, SHIRT, HAIR, EYES = (233, 190, 160), (70, 98, 150), (72, 52, 40), (40, 34, 32)


def hand(left: float, top: float, size: float, label: str, gesture: str = "") -> Detection:
    """A thumb up: 21 points in a box of ``size``."""
    across = [0.5, 0.36, 0.3, 0.33, 0.36, 0.4, 0.66, 0.6, 0.5, 0.42, 0.7, 0.62, 0.52, 0.44, 0.7, 0.62, 0.54, 0.48, 0.68]
    down = [
        0.98,
        0.8,
        0.58,
        0.32,
        0.06,
        0.46,
        0.48,
        0.56,
        0.55,
        0.58,
        0.6,
        0.68,
        0.67,
        0.7,
        0.72,
        0.79,
        0.78,
        0.8,
        0.82,
    ]
    across, down = [*across, 0.62, 0.56], [*down, 0.88, 0.87]
    points = np.array([across, down], np.float32).T * (size * HEIGHT / WIDTH, size) + (left, top)
    if label == "left":
        points[:, 0] = 2 * left + size * HEIGHT / WIDTH - points[:, 0]
    box = (left, top, size * HEIGHT / WIDTH, size)
    return Detection("hand", 0, box, 0.95, label, points.astype(np.float32), gesture)


def body() -> Detection:
    points = np.full((33, 2), 0.5, np.float32)
    places = {11: (0.63, 0.62), 12: (0.37, 0.62), 13: (0.7, 0.82), 14: (0.28, 0.8), 15: (0.73, 1.1), 16: (0.24, 0.6)}
    places |= {23: (0.58, 1.2), 24: (0.42, 1.2)}
    for n in range(17, 33):
        points[n] = places.get(n, (0.5, 1.4))
    for n, place in places.items():
        points[n] = place
    return Detection("pose", 0, (0.2, 0.1, 0.6, 0.9), 0.9, "", points)


def face(mesh: bool) -> Detection:
    key = np.array([(0.45, 0.33), (0.55, 0.33), (0.5, 0.4), (0.5, 0.47), (0.41, 0.36), (0.59, 0.36)], np.float32)
    angle = np.arange(478) * 2.4
    spread = np.sqrt(np.arange(478) / 478)
    round_ = np.stack((0.5 + 0.09 * spread * np.cos(angle), 0.36 + 0.15 * spread * np.sin(angle)), axis=1)
    return Detection("face", 0, (0.4, 0.19, 0.2, 0.36), 0.96, "", round_.astype(np.float32) if mesh else key)


def detections(mesh: bool) -> list[Detection]:
    cup = Detection("object", 0, (0.8, 0.66, 0.13, 0.2), 0.87, "cup")
    return [face(mesh), body(), hand(0.14, 0.3, 0.34, "right", "thumbs up"), cup]


def person(light: bool) -> np.ndarray:
    """A made-up person in a made-up room, RGB."""
    top, bottom = ((238, 240, 236), (206, 212, 206)) if light else ((38, 44, 58), (16, 18, 26))
    down = np.linspace(0, 1, HEIGHT)[:, None, None]
    room = np.array(top) * (1 - down) + np.array(bottom) * down
    picture = np.repeat(room, WIDTH, axis=1).astype(np.uint8)

    def ellipse(x: float, y: float, wide: float, high: float, colour: tuple[int, int, int]) -> None:
        centre, axes = (round(x * WIDTH), round(y * HEIGHT)), (round(wide * WIDTH), round(high * HEIGHT))
        cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    ellipse(0.5, 1.02, 0.2, 0.44, SHIRT)
    cv2.line(picture, (192, 400), (166, 300), SHIRT, 46, cv2.LINE_AA)
    ellipse(0.5, 0.34, 0.105, 0.19, HAIR)
    ellipse(0.5, 0.55, 0.04, 0.08, SKIN)
    ellipse(0.5, 0.37, 0.088, 0.165, SKIN)
    for x in (0.46, 0.54):
        ellipse(x, 0.335, 0.009, 0.014, EYES)
    cv2.ellipse(picture, (320, 212), (20, 11), 0, 10, 170, (150, 70, 70), 3, cv2.LINE_AA)
    ellipse(0.255, 0.51, 0.055, 0.1, SKIN)
    cv2.line(picture, (154, 215), (155, 172), SKIN, 22, cv2.LINE_AA)
    cv2.rectangle(picture, (520, 330), (580, 408), (190, 60, 60), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (584, 368), (16, 20), 0, 0, 360, (190, 60, 60), 6, cv2.LINE_AA)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="write the picture of the documentation there instead")
    where = parser.parse_args().picture
    if where:
        halves = []
        for light in (True, False):
            pixels = person(light)
            draw(pixels, detections(mesh=False), EVERYTHING, CAPTIONS, READOUT)
            halves.append(pixels)
        cv2.imwrite(where, cv2.cvtColor(np.hstack(halves), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
        return
    found = [*detections(mesh=True), hand(0.72, 0.3, 0.34, "left", "open palm")]
    picture, took = person(True), []
    for _ in range(300):
        pixels = picture.copy()
        began = time.perf_counter()
        draw(pixels, found, EVERYTHING, CAPTIONS, READOUT)
        took.append(1000 * (time.perf_counter() - began))
    Console().print(
        f"{statistics.median(took):.2f} ms median, {sorted(took)[-4]:.2f} ms the third worst, of {len(took)} pictures"
    )


if __name__ == "__main__":
    main()
