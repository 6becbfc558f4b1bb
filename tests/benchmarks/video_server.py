"""A server for measuring video: the real application and the real detectors, but stub engines for speech.

    python -m tests.benchmarks.video_server --port 8099 --vision mediapipe|slow|none [--look-ms 200]

``slow`` finds a face after ``--look-ms`` milliseconds, without using the processor. Ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import uvloop
from aiohttp import web

from media.frames import Picture
from pipelines.engines.mediapipe.tasks import MediaPipeVision
from pipelines.interfaces.vision import Detection, VisionDetector
from pipelines.models.store import ModelStore
from pipelines.vision.detectors import DETECTORS, DetectorName
from pipelines.vision.tracking import TrackedVision
from server.cli.serve import SWITCH_SECONDS, _stop_signals
from server.engines.vision import first_fetched
from server.http.app import create_app
from server.settings import load_settings
from server.transports.webrtc import ice
from tests.conftest import fake_engines


class SlowVision:
    """Finds the same face in every picture, after a while."""

    name = "slow"
    kinds = ("face",)
    detectors: tuple[DetectorName, ...] = tuple(name for name, row in DETECTORS.items() if row.basic)
    unavailable: ClassVar[dict[DetectorName, str]] = {}

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def open(self, detectors: Collection[DetectorName] | None = None) -> SlowVision:
        return self

    def select(self, detectors: Collection[DetectorName]) -> None:
        pass

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        time.sleep(self._seconds)
        return (Detection("face", 0, (0.4, 0.4, 0.2, 0.3), 0.9),)

    def close(self) -> None:
        pass


def mediapipe() -> VisionDetector:
    """The detectors whose models are here or come from the package index."""
    store = ModelStore(Path.home() / ".cache" / "visavis" / "models")
    models = {}
    for name, row in DETECTORS.items():
        found = store.ensure(first_fetched(store.catalogue, name)) if row.basic else store.here(row.models[0])
        if found:
            models[name] = found.path
    return TrackedVision(MediaPipeVision(models))


async def run(options: argparse.Namespace) -> None:
    logging.basicConfig(level="WARNING")
    sys.setswitchinterval(SWITCH_SECONDS)
    ice.gather_from(["127.0.0.1"])
    makers = {"mediapipe": mediapipe, "slow": lambda: SlowVision(options.look_ms / 1000), "none": lambda: None}
    engines = fake_engines(vision=makers[options.vision]())
    settings = load_settings({"ice_address": "127.0.0.1", "max_sessions": 8})
    gc.collect()
    gc.freeze()
    runner = web.AppRunner(create_app(settings, engines), access_log=None)
    await runner.setup()
    with _stop_signals() as stop:
        await web.TCPSite(runner, "127.0.0.1", options.port).start()
        print("ready", flush=True)  # noqa: T201 - the client waits for it
        await stop.wait()
    await runner.cleanup()
    await engines.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--vision", choices=["mediapipe", "slow", "none"], default="mediapipe")
    parser.add_argument("--look-ms", type=float, default=200.0)
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        uvloop.run(run(options))


if __name__ == "__main__":
    main()
