"""Batches of windows through a Whisper: the encoder once, and all else from its output. Blocking.

faster-whisper's own ``transcribe`` pads every window to 30 s, and runs the encoder twice where it detects a language.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from media.clock import Clock, MonotonicClock
from media.frames import Samples
from pipelines.engines.stt.whisper_model import Whisper
from pipelines.engines.stt.whisper_windows import Said, most_new_tokens, window_frames
from pipelines.errors import PipelineError
from pipelines.interfaces.stt import PLAIN, Hearing
from pipelines.interfaces.tts import WordTiming
from pipelines.models.residency import Resident
from pipelines.runtime.crew import LOAD_SECONDS, allow

LIMIT_SECONDS = 4.0
PATIENCE = 8.0
"""A batch may take this many seconds, and this many times as long as the model has needed at best."""


@dataclass(slots=True, eq=False)
class Request:
    """One window to be decoded."""

    samples: Samples
    """16 kHz, shape ``(n,)``."""
    frames: int
    """Length of the window; equal in a batch."""
    language: str | None = None
    """``None``: to be detected."""
    previous: tuple[int, ...] = ()
    """Tokens of what was said before ``samples``; equally many in a batch."""
    may_repeat: bool = True
    """Whether a sequence of words may come twice; equal in a batch."""
    final: bool = False
    """Not final: dropped when somebody waits for a final one. It may become final while it is decoded."""
    known: tuple[int, ...] = ()
    """Tokens of the beginning of ``samples``, for an engine that goes on from there; equally many in a batch."""
    hearing: Hearing = PLAIN
    """What is asked beside the words; whether to translate is equal in a batch."""

    @property
    def group(self) -> Hashable:
        """Equal for requests that may share a batch."""
        return self.frames, len(self.previous), len(self.known), self.may_repeat, self.hearing.translate


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was heard in a window."""

    said: Said
    language: str
    frames: int
    """Length of the window."""
    words: tuple[WordTiming, ...] | None = None
    """From the start of the window; ``None`` if they were not asked for."""


class DecodeJob(Protocol):
    """What the worker hands over: a :class:`pipelines.runtime.batching.Job`."""

    request: Request

    @property
    def cancelled(self) -> bool:
        """The caller has gone away."""
        ...


class WhisperDecoder:
    """Decodes on the worker's thread."""

    def __init__(self, resident: Resident[Whisper], task: str, word_timestamps: bool) -> None:
        self._resident = resident
        self._task = task
        self._word_timestamps = word_timestamps
        self.finals_waiting: set[Request] = set()
        """Final requests that have not begun: partial ones make way for them. Filled by the event loop."""
        self._clock: Clock = MonotonicClock()
        self._pace: float | None = None  # seconds for a frame, at best

    def run(self, jobs: Sequence[DecodeJob]) -> Sequence[Decoded | Exception | None]:
        """One result for each job: ``None`` for those dropped, an error for all if the model cannot serve them.

        An error of CTranslate2 is raised: the engine has crashed.
        """
        self.finals_waiting.difference_update([job.request for job in jobs])
        results: list[Decoded | Exception | None] = [None] * len(jobs)
        places = [n for n, job in enumerate(jobs) if not job.cancelled]
        if self.finals_waiting or any(jobs[n].request.final for n in places):
            places = [n for n in places if jobs[n].request.final]
        if not places:
            return results
        try:
            allow(LOAD_SECONDS)
            with self._resident.lease() as whisper:
                decoded = self._paced(whisper, [jobs[n] for n in places])
        except PipelineError as error:
            return [error] * len(jobs)
        for n, result in zip(places, decoded, strict=True):
            results[n] = result
        return results

    def _paced(self, whisper: Whisper, jobs: Sequence[DecodeJob]) -> Sequence[Decoded | None]:
        """Decode within the time that the model's pace allows; its first batch has all the time."""
        size, begun = len(jobs) * jobs[0].request.frames, self._clock.now()
        if self._pace is not None:
            allow(LIMIT_SECONDS + PATIENCE * self._pace * size)
        decoded = self._decode(whisper, jobs)
        if any(decoded):
            pace = (self._clock.now() - begun) / size
            self._pace = pace if self._pace is None else min(self._pace, pace)
        return decoded

    def _decode(self, whisper: Whisper, jobs: Sequence[DecodeJob]) -> Sequence[Decoded | None]:
        requests = [job.request for job in jobs]
        frames, may_repeat = requests[0].frames, requests[0].may_repeat
        encoded = whisper.encode(np.stack([whisper.spectrogram(request.samples, frames) for request in requests]))
        if self._is_pointless(jobs):
            return [None] * len(jobs)
        detected = whisper.detect(encoded) if any(request.language is None for request in requests) else []
        languages = [request.language or detected[n] for n, request in enumerate(requests)]
        previous = [request.previous for request in requests]
        most = max(most_new_tokens(window_frames(len(request.samples))) for request in requests)
        task = "translate" if requests[0].hearing.translate else self._task
        said = whisper.generate(encoded, task, languages, previous, most=most, may_repeat=may_repeat)
        words: Sequence[tuple[WordTiming, ...] | None] = [None] * len(jobs)
        timed = any(request.final and (self._word_timestamps or request.hearing.word_times) for request in requests)
        if timed and not self._is_pointless(jobs):
            words = whisper.align(encoded, task, languages, said, [request.samples for request in requests])
        return [
            Decoded(one, language, frames, timings)
            for one, language, timings in zip(said, languages, words, strict=True)
        ]

    def _is_pointless(self, jobs: Sequence[DecodeJob]) -> bool:
        """Asked between two steps: nobody wants the results any more, or somebody waits for better ones."""
        wanted = [job for job in jobs if not job.cancelled]
        return not wanted or bool(self.finals_waiting and not any(job.request.final for job in wanted))
