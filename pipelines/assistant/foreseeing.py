"""A prediction within a session: from its last camera frames, into the picture that goes back.

What was asked last counts: a new question ends the prediction before. The film plays over the camera's own frames,
which keep the time, and is gone when it is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from media.channel import Channel, Policy
from media.clock import Clock
from media.frames import Picture, Pixels, VideoFrame
from pipelines.foresight.events import Event, Frame, Started, TextChunk, TextDone, VideoDone, VideoFailed
from pipelines.foresight.events import VideoStartedOver as StartedOver
from pipelines.foresight.filming import Scene
from pipelines.foresight.quality import FPS, Quality
from pipelines.foresight.service import Foresight

log = logging.getLogger(__name__)

QUALITY: Quality = "medium"
APART_SECONDS = 0.06
"""Between the two frames that movement is seen in, at least."""
PATIENCE_SECONDS = 0.5
"""For so long another frame is waited for."""
HOLD_SECONDS = 1.0
"""The last frame stays for so long."""
CANNOT = "I can't see enough to say what happens next."
_LOOK_SECONDS = 0.01


class Showing:
    """A film as it plays: which of its frames is due. Pure; times are seconds of one clock."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._frames: list[tuple[Pixels, str]] = []
        self._began: float | None = None
        self.over = False

    def add(self, frame: Frame, now: float) -> None:
        """The next frame. It plays from the first that was made; until then the camera is shown."""
        sure = "" if frame.confidence is None else f" {100 * frame.confidence:.0f} %"
        self._frames.append((frame.pixels, f"{self._label}{sure}"))
        if frame.index == 1:
            self._began = now

    def at(self, now: float) -> tuple[Pixels, str] | None:
        """The frame that is due, and what is written on it; ``None`` before it begins and when it has ended."""
        if self._began is None or not self._frames:
            return None
        due = int((now - self._began) * FPS)
        if self.over and due > len(self._frames) + HOLD_SECONDS * FPS:
            self._frames.clear()
            return None
        return self._frames[min(due, len(self._frames) - 1)]


@dataclass(slots=True)
class _Asked:
    """A question, where the words go, and the film once it has begun."""

    prompt: str
    words: Channel[str] = field(default_factory=lambda: Channel(4096, Policy.DROP_NEWEST))
    given_up: bool = False
    film: Showing | None = None


class Foreseeing:
    """The predictions of one session. ``newest``: the camera's newest frame; ``picture``: the same in RGB."""

    def __init__(
        self,
        foresight: Foresight,
        clock: Clock,
        newest: Callable[[], VideoFrame | None],
        picture: Callable[[VideoFrame], Awaitable[Picture]],
    ) -> None:
        self._foresight = foresight
        self._clock = clock
        self._newest = newest
        self._picture = picture
        self._questions: Channel[_Asked] = Channel(1)
        self._running: asyncio.Task[None] | None = None
        self._showing: Showing | None = None

    def shown(self) -> tuple[Pixels, str] | None:
        """What is shown instead of the camera now."""
        return None if self._showing is None else self._showing.at(self._clock.now())

    async def foresee(self, prompt: str) -> AsyncGenerator[str, None]:
        """The words of a new prediction; closing it before the last of them ends the prediction, too."""
        asked = _Asked(prompt)
        self._questions.put(asked)
        try:
            async for text in asked.words:
                yield text
        finally:
            if not asked.words.closed:
                asked.given_up = True
                self.end()

    def end(self) -> None:
        """End the prediction and its film, which plays on when all words have long been given."""
        self._showing = None
        if self._running is not None:
            self._running.cancel()

    async def run(self) -> None:
        """Work on what is asked, until cancelled."""
        try:
            async for asked in self._questions:
                if self._running is not None:
                    self._running.cancel()
                if not asked.given_up:
                    self._running = asyncio.create_task(self._predict(asked), name="foreseeing")
        finally:
            if self._running is not None:
                self._running.cancel()
                await asyncio.gather(self._running, return_exceptions=True)

    async def _predict(self, asked: _Asked) -> None:
        try:
            scene = await self._scene(asked.prompt)
            if scene is None:
                asked.words.put(CANNOT)
            else:
                await self._foresight.foresee(scene, QUALITY, partial(self._take, asked))
        except asyncio.CancelledError:
            if self._showing is asked.film:
                self._showing = None
            raise
        except Exception:  # the answer must end, whatever failed
            log.exception("a prediction failed")
            asked.words.put(CANNOT)
        finally:
            asked.words.close()
            if asked.film is not None:
                asked.film.over = True

    async def _take(self, asked: _Asked, event: Event) -> None:
        film = asked.film
        match event:
            case Started(_, by):
                asked.film = self._showing = Showing(by.method)
            case StartedOver() if self._showing is not None:
                asked.film = self._showing = Showing("generated")
            case TextChunk(text):
                asked.words.put(text)
            case TextDone(code):
                if code:
                    asked.words.put(CANNOT)
                asked.words.close()
            case Frame() if film is not None:
                film.add(event, self._clock.now())
            case VideoDone() | VideoFailed() if film is not None:
                film.over = True

    async def _scene(self, prompt: str) -> Scene | None:
        """The newest frame, and one before it."""
        first = self._newest()
        if first is None:
            return None
        later, until = first, self._clock.now() + PATIENCE_SECONDS
        while _seconds(first, later) < APART_SECONDS and self._clock.now() < until:
            await self._clock.sleep(_LOOK_SECONDS)
            later = self._newest() or later
        now, seconds = await self._picture(later), _seconds(first, later)
        if seconds < APART_SECONDS or (first.width, first.height) != (later.width, later.height):
            return Scene(now.pixels, prompt=prompt)
        return Scene(now.pixels, (await self._picture(first)).pixels, seconds, prompt)


def _seconds(first: VideoFrame, later: VideoFrame) -> float:
    return (later.time or 0.0) - (first.time or 0.0)
