"""``video_to_text``: what is said in a video and what it shows, with times; and the same as material for
``video_summary``, with the key frames. The model that a stage ``video_to_text`` names is the recogniser, that of a
``video_summary`` the language model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from media.frames import Picture, Pixels
from pipelines.execution.work import Work
from pipelines.interfaces.stt import Hearing
from pipelines.routing.items import Flow, Partial, Sound, Text
from pipelines.routing.stage_types import Scanning
from pipelines.stages.detecting import Eye, Rate
from pipelines.stages.listening import Ear
from pipelines.stages.reading import read_text

CUT = 0.3
"""Share of the colours that has to change for a picture to begin another scene."""


async def scan(work: Work) -> Flow:
    """Run the stage: a line for what is said, in parentheses for what is seen, in quotation marks for what is read."""
    first = True
    async with aclosing(Scan(work, work.options(Scanning))) as found, aclosing(found.items()) as items:
        async for item in items:
            if isinstance(item, Partial):
                yield item
            elif isinstance(item, Text):
                line = item.text.strip()
                yield replace(item, text=line if first else f"\n{line}")
                first = False


class Scan:
    """One video: what is said in it and seen in it, as it comes."""

    def __init__(self, work: Work, options: Scanning) -> None:
        self._work = work
        self._options = options
        self._rate = Rate(options.max_fps)
        self._cuts = SceneCuts()
        self._ear: Ear | None = None
        self._eye: Eye | None = None
        self._seen = self._read = ""

    async def items(self) -> AsyncGenerator[Partial | Text | Picture]:
        """Lines in the order of arrival, and each picture that begins another scene."""
        async for _, item in self._work.inbox.tagged():
            if isinstance(item, Sound) and self._options.speech:
                async with aclosing(self._heard(item)) as texts:
                    async for text in texts:
                        yield text
            elif isinstance(item, Picture) and self._rate.admits(item.time):
                for found in await self._looked(item):
                    yield found
        if self._ear is not None:
            async with aclosing(self._ear.finish()) as last:
                async for text in last:
                    yield text

    async def aclose(self) -> None:
        """Give back what has been opened. Idempotent."""
        if self._ear is not None:
            await self._ear.aclose()
        if self._eye is not None:
            await self._eye.aclose()

    def _heard(self, sound: Sound) -> AsyncGenerator[Partial | Text]:
        if self._ear is None:
            asked, partials = Hearing(self._options.translate), self._work.streams
            self._ear = Ear(self._work, self._options.language, asked, partials=partials)
        return self._ear.push(sound)

    async def _looked(self, picture: Picture) -> list[Text | Picture]:
        """What is new in a picture."""
        found: list[Text | Picture] = []
        if await self._work.facilities.vision.run(self._cuts.is_cut, picture.pixels):
            found.append(picture)
        if self._options.scene:
            self._eye = self._eye or Eye(self._work)
            words = self._eye.in_words(await self._eye.look(picture))
            if words != self._seen:
                found.append(Text(f"({words})", True, picture.time, picture.time, "en"))
            self._seen = words
        if self._options.read_text:
            words = " ".join((await read_text(self._work, picture)).split())
            if words and words != self._read:
                found.append(Text(f"“{words}”", True, picture.time, picture.time))
            self._read = words
        return found


@dataclass(slots=True)
class SceneCuts:
    """Tells the pictures that begin another scene, by their colours (a histogram of hue and saturation). Pure."""

    before: NDArray[np.floating] | None = None

    def is_cut(self, pixels: Pixels) -> bool:
        """Whether the next picture does; the first one does."""
        small = cv2.resize(pixels, (64, 48), interpolation=cv2.INTER_AREA)
        colours = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
        counts = cv2.calcHist([colours], [0, 1, 2], None, [8, 4, 4], [0, 180, 0, 256, 0, 256])
        now = np.asarray(counts, np.float32).ravel() / (64 * 48)
        before, self.before = self.before, now
        return before is None or float(np.abs(now - before).sum()) / 2 > CUT
