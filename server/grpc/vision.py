"""``visavis.v1.VisionService``: frames of a camera or a film in, what is in them out, followed from frame to frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from media.channel import Channel, ChannelClosedError
from media.clock import Clock
from pipelines.errors import VisionError
from pipelines.interfaces.vision import Detection
from pipelines.runtime.worker import Worker
from pipelines.text import unknown
from pipelines.vision.detect import Looker, Pace
from pipelines.vision.detectors import DETECTORS
from pipelines.vision.settings import VisionSettings
from server.engines.build import Engines
from server.grpc.frames import Shown, shown
from server.grpc.generated import vision_pb2
from server.grpc.incoming import arriving
from server.grpc.shell import Call, bad
from server.http.pipelines.arriving import InputError
from server.http.pipelines.places import Places
from server.http.pipelines.runs import held
from server.http.pipelines.wishes import asked

_USUAL_FPS = 30.0
_MOST_FPS = 240.0


@dataclass(frozen=True, slots=True)
class Watching:
    """What watchers of frames share: the engines, a worker that decodes, the places of pipelines, and the clock."""

    engines: Engines
    codecs: Worker
    places: Places
    clock: Clock

    @asynccontextmanager
    async def looker(self, detectors: tuple[str, ...], call: Call) -> AsyncIterator[Looker]:
        """Somebody who looks for ``detectors`` (none: those of new sessions), at one of the places.

        Raises :class:`~pipelines.errors.VisionError`, and :class:`~server.http.errors.HttpError`.
        """
        settings = self._settings(detectors)
        trackers, worker = self.engines.trackers, self.engines.vision_worker
        if trackers is None:
            raise VisionError("detector_unavailable", "; ".join(set(self.engines.unavailable_detectors.values())))
        wanted = asked(call.headers, self._no_backends)
        async with held(self.places, wanted):
            looker = Looker(trackers)
            try:
                await worker.run(looker.set, settings)
                yield looker
            finally:
                await looker.close_on(worker)

    async def look(self, looker: Looker, one: Shown) -> tuple[Detection, ...]:
        """All that is found. Raises :class:`~pipelines.errors.VisionError`."""
        return await self.engines.vision_worker.run(looker.detect, one.picture)

    def _settings(self, detectors: tuple[str, ...]) -> VisionSettings:
        unavailable = self.engines.unavailable_detectors
        for n, name in enumerate(detectors):
            if name not in DETECTORS:
                raise bad(f"detectors.{n}", unknown("detector", name[:60], tuple(DETECTORS)))
            if name in unavailable:
                raise VisionError("detector_unavailable", f"detectors.{n}: {name}: {unavailable[name]}")
        usual = VisionSettings()
        there = tuple(name for name in usual.detectors if name not in unavailable)
        return replace(usual, detectors=detectors or there)

    @staticmethod
    def _no_backends() -> tuple[str, ...]:
        return ()


class VisionServicer:
    """The servicer. ``seconds``: how long the next frame may be on its way."""

    def __init__(self, watching: Watching, seconds: float) -> None:
        self._watching = watching
        self._seconds = seconds

    async def watch(
        self, requests: AsyncIterator[vision_pb2.WatchRequest], call: Call
    ) -> AsyncGenerator[vision_pb2.WatchResponse, None]:
        """What is in the frames, frame by frame."""
        async with aclosing(arriving(requests, self._seconds)) as coming:
            first = await anext(coming, None)
            if first is None or first.WhichOneof("request") != "config":
                raise bad("config", "the first request must have it", "missing_parameter")
            fps = first.config.max_fps or _USUAL_FPS
            if not 0 < fps <= _MOST_FPS:
                raise bad("config.max_fps", f"must be above 0 and up to {_MOST_FPS:g}, not {fps:g}")
            async with self._watching.looker(tuple(first.config.detectors), call) as looker:
                pictures = shown(_frames(coming), self._watching.codecs)
                every = first.config.every_frame
                looking = self._every(looker, pictures) if every else self._live(looker, pictures, fps)
                async with aclosing(looking):
                    async for response in looking:
                        yield response

    async def _every(
        self, looker: Looker, pictures: AsyncGenerator[Shown, None]
    ) -> AsyncGenerator[vision_pb2.WatchResponse, None]:
        async with aclosing(pictures):
            async for one in pictures:
                yield _response(one, await self._watching.look(looker, one), 0)

    async def _live(
        self, looker: Looker, pictures: AsyncGenerator[Shown, None], fps: float
    ) -> AsyncGenerator[vision_pb2.WatchResponse, None]:
        slot: Channel[Shown] = Channel(1)
        clock, pace = self._watching.clock, Pace()

        async def fill() -> None:
            try:
                async with aclosing(pictures):
                    async for one in pictures:
                        slot.put(one)
            finally:
                slot.close()

        filling = asyncio.create_task(fill(), name="grpc-frames")
        try:
            while True:
                try:
                    one = await slot.get()
                except ChannelClosedError:
                    break
                began = clock.now()
                found = await self._watching.look(looker, one)
                spent = clock.now() - began
                yield _response(one, found, slot.dropped)
                due = began + pace.interval(spent, fps)
                if not slot.closed and (rest := due - clock.now()) > 0:
                    await clock.sleep(rest)
                    pace.woke(clock.now() - due)
            await filling
        finally:
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)


async def _frames(requests: AsyncIterator[vision_pb2.WatchRequest]) -> AsyncGenerator[vision_pb2.Frame, None]:
    async for request in requests:
        if request.WhichOneof("request") != "frame":
            raise InputError(400, "missing_parameter", "frame: all requests but the first must have it", "frame")
        yield request.frame


def _response(one: Shown, found: tuple[Detection, ...], passed_over: int) -> vision_pb2.WatchResponse:
    told = [detection_message(detection) for detection in found]
    return vision_pb2.WatchResponse(frame=one.number, time=one.picture.time, detections=told, passed_over=passed_over)


def detection_message(found: Detection) -> vision_pb2.Detection:
    """One detection for clients."""
    x, y, width, height = found.box
    return vision_pb2.Detection(
        kind=found.kind,
        id=found.id,
        box=vision_pb2.Box(x=x, y=y, width=width, height=height),
        score=found.score,
        label=found.label,
        points=found.points.reshape(-1).tolist(),
        gesture=found.gesture,
        trail=found.trail.reshape(-1).tolist(),
    )
