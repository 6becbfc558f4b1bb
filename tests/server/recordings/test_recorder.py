"""What a session's recorder takes of a call: what is said while the user is muted is no part of it."""

from __future__ import annotations

import asyncio
import threading
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from media.fan_out import FanOut
from media.frames import AudioChunk
from pipelines.runtime.supervision import Supervisor
from pipelines.runtime.worker import Worker
from server.recordings.recorder import WRITE_EVERY_SECONDS, Recorder, Taps
from server.recordings.store import Limits, Recordings
from tests.fakes.clock import FakeClock
from tests.patience import PATIENCE, until

RATE, LOUD = 16_000, 8000


class Silent:
    """A dialect that tells nothing."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    def leave(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Call:
    recorder: Recorder
    user: FanOut[AudioChunk]
    settings: SimpleNamespace
    clock: FakeClock
    folder: Path
    worker: Worker
    running: asyncio.Task[None]

    def says(self, muted: bool) -> None:
        """A tenth of a second comes while the user is muted, or is not."""
        self.settings.muted = muted
        self.user.put(AudioChunk(np.full(RATE // 10, LOUD, np.int16), RATE, 0.0))

    async def recorded(self) -> np.ndarray:
        """The user's side of what was recorded until now."""
        await self.recorder.stop()
        return self.heard()

    def heard(self) -> np.ndarray:
        """The user's side of what is in the file."""
        (file,) = self.folder.glob("*.wav")
        with wave.open(str(file)) as sound:
            return np.frombuffer(sound.readframes(10**6), "<i2").reshape(-1, 2)[:, 0]

    def tenths(self) -> int:
        """How many that were loud are in the file."""
        return round(np.count_nonzero(np.abs(self.heard().astype(int)) > LOUD / 2) / 2400)

    @asynccontextmanager
    async def others_write(self, jobs: int) -> AsyncIterator[None]:
        """Until the context ends one job is at work and ``jobs`` wait."""
        begun, gate = threading.Event(), threading.Event()
        others = [asyncio.create_task(self.worker.run(lambda: (begun.set(), gate.wait())))]
        await asyncio.to_thread(begun.wait, PATIENCE)
        others += [asyncio.create_task(self.worker.run(lambda: None)) for _ in range(jobs)]
        await until(lambda: self.worker.waiting == jobs)
        try:
            yield
        finally:
            gate.set()
            await asyncio.gather(*others)

    async def writes(self) -> None:
        """What has come is written, if the worker takes it."""
        self.clock.advance(WRITE_EVERY_SECONDS)
        await asyncio.sleep(0)  # it goes on
        await self.clock.sleeper()


@pytest.fixture
async def call(tmp_path: Path) -> AsyncIterator[Call]:
    """Is being recorded."""
    clock, settings = FakeClock(), SimpleNamespace(muted=False)
    optional = Supervisor(lambda error: None, clock)
    session: Any = SimpleNamespace(
        id="sess_" + "a" * 16,
        optional=optional,
        events=SimpleNamespace(emit=lambda event: None),
        conversation=SimpleNamespace(settings=settings),
    )
    recordings = Recordings(tmp_path, Limits(60, 1 << 30))
    recorder = Recorder(session, recordings, lambda take: Silent(), clock)
    user: FanOut[AudioChunk] = FanOut(200)
    recorder.want(True, False)
    running = asyncio.create_task(recorder.run(Taps(user=user)))
    await clock.sleeper()  # until it writes what comes now
    yield Call(recorder, user, settings, clock, tmp_path, recordings.worker, running)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    recordings.close()


@pytest.mark.parametrize("muted_in_the_end", [False, True])
async def test_whether_the_user_is_muted_counts_when_the_sound_comes_not_when_it_is_written(
    call: Call, muted_in_the_end: bool
) -> None:
    for muted in (False, True, True, False):
        call.says(muted)
    call.settings.muted = muted_in_the_end
    heard = await call.recorded()
    tenths = [abs(part[600:1800].astype(int)).mean() for part in np.split(heard[: 4 * 2400], 4)]
    assert tenths == pytest.approx([LOUD, 0, 0, LOUD], abs=50)


FULL = 256
"""Jobs that may wait to be written."""


async def test_what_a_busy_worker_refuses_is_written_the_next_time(call: Call) -> None:
    call.says(muted=False)
    async with call.others_write(FULL):
        for _ in range(2):
            await call.writes()
            call.says(muted=False)
    await call.writes()
    await call.recorded()
    assert call.tenths() == 3


async def test_the_files_are_finished_once_the_worker_is_no_longer_busy(call: Call) -> None:
    call.says(muted=False)
    async with call.others_write(FULL):
        stopping = asyncio.create_task(call.recorder.stop())
        await until(lambda: stopping.done() or (not len(call.user) and bool(call.clock.waits)))
        assert not stopping.done()
    call.clock.advance(WRITE_EVERY_SECONDS)
    await stopping
    assert call.tenths() == 1


async def test_what_is_in_the_queue_of_the_worker_when_the_call_ends_is_written_once(call: Call) -> None:
    call.says(muted=False)
    async with call.others_write(0):
        call.clock.advance(WRITE_EVERY_SECONDS)
        await until(lambda: call.worker.waiting == 1)
        call.says(muted=False)
        call.running.cancel()
    await asyncio.gather(call.running, return_exceptions=True)
    assert call.tenths() == 2
