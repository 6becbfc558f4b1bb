"""A recogniser of another machine: whole utterances, and while they grow what has been said of them so far."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np

from media.frames import Samples
from pipelines.engines.remote.engines import Remote
from pipelines.engines.remote.wire import Asker, Failed, Heard, expected
from pipelines.errors import PipelineError, STTError
from pipelines.interfaces.stt import Hearing, Transcript
from pipelines.interfaces.vad import VAD_RATE

LONGEST_SECONDS = 600.0
"""Of an utterance, 19 MB."""
PARTIAL_SECONDS = 0.7
"""How much more has to be said until it is asked what was said so far …"""
PARTIAL_SHARE = 0.2
"""… or this share of the utterance, if that is more: each time all of it is heard again."""


class RemoteRecognizer:
    """Implements :class:`~pipelines.interfaces.stt.SpeechToText`."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote

    @property
    def name(self) -> str:
        """How people call it."""
        return self.remote.name

    @property
    def languages(self) -> tuple[str, ...]:
        """Of the engine there."""
        return tuple(self.remote.can("languages", ("en",)))

    @property
    def streams_partials(self) -> bool:
        """Whether the engine there is quick enough to be asked while somebody speaks."""
        return bool(self.remote.can("streams_partials", True))

    def can_hear(self, asked: Hearing) -> bool:
        """As the engine there."""
        able = self.remote.can("translates") or not asked.translate
        return bool(able and (self.remote.can("word_times") or not asked.word_times))

    async def open(self) -> RemoteUtterance:
        """Start an utterance."""
        return RemoteUtterance(self)

    async def probe(self) -> None:
        """Find out whether it answers."""
        await self.remote.probe()

    async def close(self) -> None:
        """The link is its owner's to close."""


class RemoteUtterance:
    """One utterance. At most one question about it is under way, of its own accord; a failure of that is not told."""

    def __init__(self, engine: RemoteRecognizer) -> None:
        self._remote = engine.remote
        self._asker = Asker.here()
        self._partials = engine.streams_partials
        self._samples: list[Samples] = []
        self._count = 0
        self._asked = 0
        """Samples of the latest question."""
        self._asking: asyncio.Task[Transcript] | None = None
        self._known: tuple[int, Transcript] = (0, Transcript(""))
        """Samples that it is of, and what was said in them."""

    async def feed(self, samples: Samples) -> str:
        """Keep the samples; ask about them now and then. Raises :class:`STTError` (``stt_too_long``)."""
        if (self._count + len(samples)) / VAD_RATE > LONGEST_SECONDS:
            raise STTError("stt_too_long", f"an utterance of more than {LONGEST_SECONDS:g} s is not sent elsewhere")
        self._samples.append(samples)
        self._count += len(samples)
        self._take()
        more = max(PARTIAL_SECONDS * VAD_RATE, PARTIAL_SHARE * self._count)
        if self._partials and self._asking is None and self._count - self._asked >= more:
            self._asked = self._count
            self._asking = asyncio.create_task(self._ask(self._count), name="remote-partial")
        return self._known[1].text

    async def transcript(self) -> Transcript:
        """Ask for all of it, unless that is known. Raises :class:`STTError`."""
        if self._asking is not None and self._asked == self._count:
            with suppress(PipelineError):
                await asyncio.shield(self._asking)
        self._take()
        if self._known[0] < self._count:
            await self._stop()
            self._asked = self._count
            self._known = (self._count, await self._ask(self._count))
        return self._known[1]

    async def close(self) -> None:
        """Nobody wants to know any more."""
        await self._stop()
        self._samples.clear()

    def _take(self) -> None:
        """The answer of a question that has been answered."""
        if self._asking is None or not self._asking.done():
            return
        asking, self._asking = self._asking, None
        if not asking.cancelled() and asking.exception() is None:
            self._known = (self._asked, asking.result())

    async def _stop(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask(self, count: int) -> Transcript:
        samples = np.concatenate(self._samples) if self._samples else np.zeros(0, np.int16)
        self._samples = [samples]
        heard = Heard(samples[:count], self._asker)
        seconds = self._remote.patience.begin + 0.1 * count / VAD_RATE
        call = self._remote.work("transcribe", (heard,), self._asker)
        if self._remote.about is None:
            await self._remote.probe(seconds)
        with self._remote.errors():
            found = expected(await self._remote.link.call(call, seconds), (Transcript, Failed))
        if isinstance(found, Failed):
            raise found.error(STTError, "stt", self._remote.name)
        transcript: Transcript = found
        return transcript
