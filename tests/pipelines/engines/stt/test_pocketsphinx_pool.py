"""The pool of decoders, with processes that are none: who is replaced, and when."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest

from pipelines.engines.stt import pocketsphinx_recognizer
from pipelines.engines.stt.pocketsphinx_recognizer import PocketSphinxRecognizer
from pipelines.errors import STTError


class Process:
    """Stands for :class:`~pipelines.engines.stt.pocketsphinx_recognizer.Decoder`."""

    made: list[Process]
    numbers = count(1)

    def __init__(self) -> None:
        self.pid = next(self.numbers)
        self.ended = asyncio.Event()
        self.loads = asyncio.Event()
        self.loads.set()
        self.served = self.stuck = False
        self.asked = 0

    @classmethod
    async def spawn(cls) -> Process:
        cls.made.append(cls())
        return cls.made[-1]

    @property
    def broken(self) -> bool:
        return self.ended.is_set() or (self.stuck and self.asked > 0)

    async def gone(self) -> None:
        await self.ended.wait()

    async def ready(self) -> None:
        await self.loads.wait()

    async def ask(self, kind: bytes, payload: bytes = b"") -> dict[str, Any]:
        self.asked += 1
        if self.stuck:
            raise STTError("stt_stuck", "it does not answer")
        self.served = True
        return {"text": ""}

    async def end(self) -> None:
        self.ended.set()


@pytest.fixture
async def pool(monkeypatch):
    Process.made = []
    monkeypatch.setattr(pocketsphinx_recognizer, "Decoder", Process)
    engine = PocketSphinxRecognizer(processes=3)
    yield engine
    await engine.close()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def used(pool: PocketSphinxRecognizer, at_once: int = 1) -> None:
    """So many utterances, each fed once."""
    utterances = [await pool.open() for _ in range(at_once)]
    for utterance in utterances:
        await utterance._decoder.ask(b"F")
        await utterance.close()


async def test_the_last_idle_one_that_is_lost_is_replaced_before_it_is_asked_for(pool):
    await used(pool, 2)
    first, second = Process.made
    first.ended.set()
    await settled()
    assert pool.pids == [second.pid], "one is there still"
    second.ended.set()
    await settled()
    assert pool.pids == [Process.made[2].pid]
    await used(pool)
    assert len(Process.made) == 3


async def test_what_dies_unused_is_not_replaced_again_and_again(pool):
    await pool.warm()
    Process.made[0].ended.set()
    await settled()
    assert pool.pids == [] and len(Process.made) == 1


async def test_nobody_is_replaced_who_is_not_wanted(pool):
    await used(pool, 2)
    pool.trim(0)
    await settled()
    assert pool.pids == [] and len(Process.made) == 2
    await used(pool)
    await pool.close()
    await settled()
    assert len(Process.made) == 3


async def test_of_several_that_hang_one_is_waited_for(pool):
    await used(pool, 3)
    for process in Process.made:
        process.stuck, process.asked = True, 0
    utterance = await pool.open()
    assert sum(process.asked for process in Process.made[:3]) == 1
    assert utterance._decoder is Process.made[3]
    await utterance.close()
