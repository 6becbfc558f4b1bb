"""Smart Turn v3: has the speaker finished? Judged from the sound of the last eight seconds.

Model: pipecat-ai/smart-turn v3.2 (BSD-2-Clause), a Whisper-tiny encoder with a classification head. Input: log-mel
features of 8 s at 16 kHz, zero-padded at the front, normalised to zero mean and unit variance. Output: the probability
that the turn is complete. What of the window is computed: :mod:`pipelines.engines.turn.merging`.

Often several people stop speaking at once. On processors with many cores or wide integer units four turns together cost
hardly more than one; on others four times as much, and one after another the first is not kept waiting: it is measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from media.frames import Samples
from pipelines.engines.registry import Built, Found, Site
from pipelines.engines.turn.smart_turn_network import SmartTurnNetwork
from pipelines.errors import STTError
from pipelines.interfaces.turn import TurnDetector
from pipelines.interfaces.vad import VAD_RATE
from pipelines.runtime.batching import BatchWorker, Job

_LIMIT = 3.0
"""Seconds that a judgement may take: by then the pause has long been judged without it."""
PATIENCE = 0.3
"""Seconds that a judgement may wait for its turn: what comes later finds the pause judged without it."""
_INBOX = 64
_MOST_THREADS = 4
_BATCH = 4
_MEASURED = 3
"""Seconds of sound that are judged to find out."""
_WORTH_IT = 0.6
"""A batch is formed where a turn in it takes no more than this share of what it takes alone."""


class SmartTurn:
    """Implements :class:`~pipelines.interfaces.turn.TurnDetector` on a worker of its own; sessions share it.

    Up to ``batch`` turns are judged at a time (``None``: what pays on this processor), with ``threads`` cores. While
    others wait, what lies further back than three seconds is only glanced at.

    Raises :class:`STTError` (``turn_model_broken``) when ``path`` is no such model.
    """

    name = "smart-turn-v3.2"

    def __init__(self, path: Path, threads: int = 1, batch: int | None = None) -> None:
        try:
            self.network = SmartTurnNetwork(path, threads)
            self.batch = together(self.network) if batch is None else batch
        except Exception as error:
            raise STTError("turn_model_broken", f"{path.name} is no usable Smart Turn model: {error}") from error
        self.worker: BatchWorker[Samples, float] = BatchWorker(
            "turn", self._judge, max_batch=self.batch, inbox=_INBOX, limit=_LIMIT
        )

    async def completeness(self, samples: Samples) -> float:
        """Chance in 0–1 that the turn held by ``samples`` (16 kHz; the last 8 s count) is finished.

        Raises :class:`~pipelines.errors.EngineBusyError` when nobody has begun with it after :data:`PATIENCE`, and
        :class:`~pipelines.errors.EngineStuckError`.
        """
        return await self.worker.submit(samples, deadline=self.worker.clock.now() + PATIENCE)

    async def close(self) -> None:
        """End the thread. Idempotent."""
        self.worker.close()

    def _judge(self, jobs: Sequence[Job[Samples]]) -> list[float]:
        return self.network.judge([job.request for job in jobs], glance=self.worker.waiting > 0)


def together(network: SmartTurnNetwork) -> int:
    """How many turns to judge at a time: :data:`_BATCH` where each is done sooner that way, or one. Blocking, 0.3 s."""
    silence = np.zeros(_MEASURED * VAD_RATE, np.int16)

    def cost(turns: int) -> float:
        began = time.perf_counter()
        network.judge([silence] * turns)
        return (time.perf_counter() - began) / turns

    cost(1)  # the first run of all lays out the memory
    alone, company = zip(*((cost(1), cost(_BATCH)) for _ in range(2)), strict=True)
    return _BATCH if min(company) < _WORTH_IT * min(alone) else 1


class LateTurnDetector:
    """Implements :class:`~pipelines.interfaces.turn.TurnDetector`: has no opinion until there is a detector to ask.

    A place for one whose model is still being fetched.
    """

    def __init__(self) -> None:
        self._detector: TurnDetector | None = None

    @property
    def name(self) -> str:
        """Of the detector; ``rules`` while words and pauses decide alone."""
        return self._detector.name if self._detector is not None else "rules"

    def take(self, detector: TurnDetector) -> None:
        """Ask ``detector`` from now on."""
        self._detector = detector

    async def completeness(self, samples: Samples) -> float | None:
        """What the detector says."""
        return await self._detector.completeness(samples) if self._detector is not None else None

    async def close(self) -> None:
        """Close the detector, if there is one."""
        if self._detector is not None:
            await self._detector.close()


async def build(site: Site, found: Found) -> Built[SmartTurn]:
    """On ``found`` (see :data:`pipelines.engines.registry.Build`)."""
    engine = await site.aside(SmartTurn, found.place, threads=max(1, min(_MOST_THREADS, site.cores // 2)))
    return Built(engine, workers=(engine.worker,))
