"""What each detector costs: milliseconds per picture and megabytes per session.

    python -m tests.benchmarks.detectors --picture PHOTO [--models DIR] [--repeat 100]

PHOTO, scaled to 640x480, should show a person with a raised hand. DIR is a folder as for ``visavis serve --models``;
models of the store are found without it, and what is not here is said. Each detector is measured in a process of its
own. ``wall`` is the median time of one look, ``cpu`` the processor time of a look over all threads, ``MiB`` what the
second session adds to the process's memory (the first also pays for the library), ``open`` the time to open it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from media.frames import Picture, Pixels
from pipelines.engines.mediapipe.tasks import MediaPipeVision
from pipelines.models.store import ModelStore
from pipelines.vision.compositor import AutoFrame, Backdrop, cropped
from pipelines.vision.detectors import DETECTORS, DetectorName
from pipelines.vision.scene import SceneEvents
from pipelines.vision.settings import Background, TemplateImage
from pipelines.vision.templates import Templates
from pipelines.vision.tracking import Tracking
from server.settings import load_settings

WARM_UP = 5


def main() -> None:
    """Measure, or one detector of it in a process of its own."""
    options = _options()
    console = Console()
    if options.only:
        console.print(json.dumps(_measure(options.only, _model(options, options.only), options)), soft_wrap=True)
        return
    table = Table("detector", "wall ms", "cpu ms", "MiB", "open ms")
    for name in DETECTORS:
        if _model(options, name) is None:
            table.add_row(name, "no model", "", "", "")
            continue
        command = [sys.executable, "-m", "tests.benchmarks.detectors", "--only", name, *sys.argv[1:]]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        table.add_row(name, *(f"{result[key]:.1f}" for key in ("wall", "cpu", "mib", "open")))
        print(name, result, file=sys.stderr, flush=True)  # noqa: T201 - seen while the others are measured
    console.print(table)
    console.print(_others(options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--repeat", type=int, default=100)
    parser.add_argument("--only", choices=DETECTORS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _model(options: argparse.Namespace, name: DetectorName) -> Path | None:
    store = ModelStore(load_settings({}).model_cache, options.models)
    found = (store.here(model_id) for model_id in DETECTORS[name].models)
    return next((files.path for files in found if files is not None), None)


def _photo(options: argparse.Namespace) -> Pixels:
    pixels = cv2.imread(str(options.picture))
    if pixels is None:
        raise SystemExit(f"{options.picture} is no picture")
    return np.asarray(cv2.cvtColor(cv2.resize(pixels, (640, 480)), cv2.COLOR_BGR2RGB), np.uint8)


def _measure(name: DetectorName, model: Path | None, options: argparse.Namespace) -> dict[str, float]:
    assert model is not None
    pixels = _photo(options)
    vision = MediaPipeVision({name: model})
    first = vision.open((name,))
    first.detect(Picture(pixels, 0.0))
    before = _memory()
    began = time.perf_counter()
    tracker = vision.open((name,))
    opened = time.perf_counter() - began
    walls, used = [], 0.0
    for number in range(WARM_UP + options.repeat):
        if number == WARM_UP:
            used = time.process_time()
        began = time.perf_counter()
        tracker.detect(Picture(pixels, number / 12))
        walls.append(time.perf_counter() - began)
    used = time.process_time() - used
    cost = {"wall": 1000 * median(walls[WARM_UP:]), "cpu": 1000 * used / options.repeat, "open": 1000 * opened}
    cost["mib"] = _memory() - before
    tracker.close()
    first.close()
    return cost


def _others(options: argparse.Namespace) -> Table:
    """What follows on detection, in milliseconds of processor time."""
    pixels = _photo(options)
    usable = {name: model for name in DETECTORS if name != "holistic" and (model := _model(options, name))}
    tracker = MediaPipeVision(usable).open(tuple(usable))
    found = tracker.detect(Picture(pixels, 0.0))
    tracker.close()
    tracking, happenings, framing = Tracking(), SceneEvents(), AutoFrame()
    logo = cv2.imencode(".png", pixels[100:260, 200:360, ::-1])[1].tobytes()
    absent, present = Templates([TemplateImage("logo", logo)]), Templates([TemplateImage("logo", logo)])
    blur, colour = Backdrop(Background("blur")), Backdrop(Background("colour"))
    wall = np.ascontiguousarray(pixels[::-1])
    work = {
        "tracking": lambda time: tracking.update(found, time),
        "scene and events": lambda time: happenings.update(found, time),
        "template, absent": lambda time: absent.find(wall),
        "template, present": lambda time: present.find(pixels),
        "background, blur": lambda time: blur.paint(pixels, found),
        "background, colour": lambda time: colour.paint(pixels, found),
        "auto-frame": lambda time: cropped(pixels, framing.update(found, time), (640, 480)),
    }
    table = Table("afterwards", "cpu ms")
    for name, run in work.items():
        for number in range(WARM_UP):
            run(number / 12)
        began = time.process_time()
        for number in range(WARM_UP, WARM_UP + options.repeat):
            run(number / 12)
        table.add_row(name, f"{1000 * (time.process_time() - began) / options.repeat:.2f}")
    return table


def _memory() -> float:
    """MiB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


if __name__ == "__main__":
    main()
