"""What comes out the same again: streams that are kept for a while, and made once for all who ask at the same time.

Deterministic enough to be kept are vectors of texts, text read in pictures, transcripts of utterances that are there as
a whole, and clauses spoken by one voice (the same words may sound a little different each time; any of them will do).
What language models write, what is drawn, and what depends on what came before, such as enhanced sound and tracks, is
made anew each time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from contextlib import aclosing
from typing import Generic, TypeVar

from media.clock import Clock
from pipelines.errors import PipelineError, foreign_errors
from pipelines.interfaces.tts import Speech

V = TypeVar("V")

MOST_BYTES = 64 << 20
"""That are kept of all results."""
TTL_SECONDS = 600.0
_SMALLEST = 256
"""Bytes that an item counts at least."""


def bytes_of(value: object) -> int:
    """What a result takes, roughly."""
    if isinstance(value, Speech):
        return value.samples.nbytes + 64 * len(value.words)
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(bytes_of, value.values()), 64)
    if isinstance(value, Sequence):
        return sum(map(bytes_of, value), 64) if value and not isinstance(value[0], float | int) else 8 * len(value)
    return 512


class _Recording(Generic[V]):
    """A stream while it is made, and afterwards."""

    def __init__(self) -> None:
        self.items: list[V] = []
        self.bytes = 0
        self.until = 0.0
        self.readers = 0
        self.is_whole = False
        self.error: PipelineError | None = None
        self.maker: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.maker is None or self.maker.done()

    def tell(self) -> None:
        """Wake the readers."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def news(self) -> None:
        """Wait for :meth:`tell`."""
        await self._news.wait()


class Replay(Generic[V]):
    """Key → stream of items, the least recently used leaving first.

    Whoever asks for what is being made gets it as it is made. One that leaves does not end it for the others; the last
    one does. What failed, or was not made to its end, is not kept, nor is what is larger than a quarter of the whole.
    """

    def __init__(
        self, clock: Clock, size_of: Callable[[V], int], *, most: int = MOST_BYTES, ttl: float = TTL_SECONDS
    ) -> None:
        self.hits = self.joined = self.misses = self.bytes = 0
        self._clock = clock
        self._size_of = size_of
        self._most = most
        self._ttl = ttl
        self._kept: OrderedDict[Hashable, _Recording[V]] = OrderedDict()
        self._making: dict[Hashable, _Recording[V]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def stream(
        self,
        key: Hashable,
        make: Callable[[], AsyncGenerator[V, None]],
        on_hit: Callable[[str], None],
        is_worth: Callable[[], bool] = lambda: True,
    ) -> AsyncGenerator[V, None]:
        """What ``make()`` yields, or has yielded for ``key``; then ``on_hit`` is told in words how it comes.

        ``is_worth`` tells at the end whether it is to be kept: a stand-in's work is not.
        """
        recording = self._fresh(key)
        if recording is not None:
            self.hits += 1
            on_hit("made before, and kept")
        elif (recording := self._making.get(key)) is not None:
            self.joined += 1
            on_hit("being made for another run")
        else:
            self.misses += 1
            recording = self._making[key] = _Recording()
            recording.maker = asyncio.create_task(self._make(key, recording, make, is_worth), name="replay")
        recording.readers += 1
        try:
            read = 0
            while True:
                while read < len(recording.items):
                    yield recording.items[read]
                    read += 1
                if recording.error is not None:
                    raise recording.error
                if recording.is_whole:
                    return
                await recording.news()
        finally:
            recording.readers -= 1
            if not recording.readers and recording.maker is not None and not recording.is_over:
                self._forget(key, recording)
                recording.maker.cancel()
                await asyncio.wait([recording.maker])

    def clear(self) -> None:
        """Forget what is kept."""
        self._kept.clear()
        self.bytes = 0

    async def _make(
        self,
        key: Hashable,
        recording: _Recording[V],
        make: Callable[[], AsyncGenerator[V, None]],
        is_worth: Callable[[], bool],
    ) -> None:
        try:
            with foreign_errors(PipelineError, "stage_failed", "a stage"):
                async with aclosing(make()) as items:
                    async for item in items:
                        recording.items.append(item)
                        recording.bytes += max(_SMALLEST, self._size_of(item))
                        recording.tell()
            recording.is_whole = True
            if is_worth():
                self._keep(key, recording)
        except PipelineError as error:
            recording.error = error
        except asyncio.CancelledError:
            recording.error = PipelineError("cancelled", "the work was given up")
            raise
        finally:
            self._forget(key, recording)
            recording.tell()

    def _forget(self, key: Hashable, recording: _Recording[V]) -> None:
        if self._making.get(key) is recording:
            del self._making[key]

    def _fresh(self, key: Hashable) -> _Recording[V] | None:
        recording = self._kept.get(key)
        if recording is None:
            return None
        if recording.until <= self._clock.now():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return recording

    def _keep(self, key: Hashable, recording: _Recording[V]) -> None:
        if recording.bytes > self._most // 4:
            return
        recording.maker = None
        recording.until = self._clock.now() + self._ttl
        self._kept[key] = recording
        self.bytes += recording.bytes
        while self.bytes > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Hashable) -> None:
        self.bytes -= self._kept.pop(key).bytes
