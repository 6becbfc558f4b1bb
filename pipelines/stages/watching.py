"""``video_analysis``: what each picture shows and who is followed through them, as data with times; annotated pictures
where they are asked for."""

from __future__ import annotations

from contextlib import aclosing

import numpy as np

from media.frames import Picture, Pixels
from pipelines.execution.work import Work
from pipelines.interfaces.vision import Detection
from pipelines.routing.items import Data, Flow
from pipelines.routing.stage_types import Watching
from pipelines.stages.detecting import Eye, Rate, as_json, as_track
from pipelines.vision.overlay import draw
from pipelines.vision.track_log import TrackLog


async def watch(work: Work) -> Flow:
    """Run the stage. Pictures between those that are looked at are annotated with what was found last."""
    options = work.options(Watching)
    rate = Rate(options.max_fps)
    found: tuple[Detection, ...] = ()
    log = TrackLog()
    async with aclosing(Eye(work, options.detectors)) as eye:
        async for picture in work.inbox.pictures():
            if rate.admits(picture.time):
                found = await eye.look(picture)
                told = [as_json(one, landmarks=options.landmarks, trails=options.trails) for one in found]
                yield Data({"time": round(picture.time, 3), "scene": eye.in_words(found), "detections": told})
                for way in log.see(found, picture.time) if options.tracks else ():
                    yield Data({"track": as_track(way)})
            if options.annotate:
                pixels = await work.facilities.vision.run(_annotated, picture.pixels, found)
                yield Picture(pixels, picture.time)
        for way in log.end():
            yield Data({"track": as_track(way)})


def _annotated(pixels: Pixels, found: tuple[Detection, ...]) -> Pixels:
    canvas = np.ascontiguousarray(pixels).copy()
    draw(canvas, found)
    return canvas
