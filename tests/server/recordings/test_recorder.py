"""What a session's recorder takes of a call: what is said while the user is muted is no part of it."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from media.fan_out import FanOut
from media.frames import AudioChunk
from pipelines.runtime.supervision import Supervisor
from server.recordings.recorder import Recorder, Taps
from server.recordings.store import Limits, Recordings
from tests.fakes.clock import FakeClock

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

    def says(self, muted: bool) -> None:
        """A tenth of a second comes while the user is muted, or is not."""
        self.settings.muted = muted
        self.user.put(AudioChunk(np.full(RATE // 10, LOUD, np.int16), RATE, 0.0))

    async def recorded(self) -> np.ndarray:
        """The user's side of what was recorded until now."""
        await self.recorder.stop()
        (file,) = self.folder.glob("*.wav")
        with wave.open(str(file)) as sound:
            return np.frombuffer(sound.readframes(10**6), "<i2").reshape(-1, 2)[:, 0]


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
    yield Call(recorder, user, settings, clock, tmp_path)
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
