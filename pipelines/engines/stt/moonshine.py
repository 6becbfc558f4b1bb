"""Moonshine as a recogniser: partials while the user speaks, a final transcript some 50 ms after the pause.

English only. All sessions share one model on one thread; partials make way for finals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from pipelines.engines.registry import Built, Found, Site
from pipelines.engines.stt.moonshine_model import LONGEST_SECONDS, Moonshine, Window, load_moonshine
from pipelines.engines.stt.whisper_decode import Decoded, DecodeJob, Request
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.engines.stt.whisper_windows import Guard, Said
from pipelines.engines.stt.window_recognizer import WindowRecognizer, warmed
from pipelines.errors import PipelineError, STTError
from pipelines.models.plans import Loadable
from pipelines.models.residency import Resident
from pipelines.runtime.hardware import threads_for

LANGUAGE = "en"
_TOGETHER = 4
"""Windows in a batch: the encoder takes one after the other, so the first must wait for the last."""
_SILENCE_LOGPROB = -0.9
_SHORT_TOKENS = 2
_SHORT_LOGPROB = -0.4
"""Of noise it makes "You" or a phrase of its own, with a mean logarithm of -0.5 to -1.6; of clear speech the mean is
above -0.2, and with noise at 10 dB above -0.7."""
_OF_CLICKS = {"you"}
"""What it makes of a click, a cough or a knock, once or several times and sure of itself; hardly anybody says that and
nothing else."""
_OF_NOISE = ("thank you for watching", "thanks for watching")
_OF_NOISE_LOGPROB = -0.3
"""The ends of the films that it learned from; with less than this probability nobody has said them."""


@dataclass(frozen=True, slots=True)
class MoonshineGuard(Guard):
    """When its text is believed. It gives no chance of silence, so the text and its probability must tell."""

    def is_silence(self, said: Said) -> bool:
        """Nothing was said, and the text is made up."""
        words = re.sub(r"[^a-z ]+", "", said.text.lower()).strip()
        short = len(said.tokens) <= _SHORT_TOKENS and said.logprob < _SHORT_LOGPROB
        film = words in _OF_NOISE and said.logprob < _OF_NOISE_LOGPROB
        made_up = set(words.split()) == _OF_CLICKS or not any(character.isalnum() for character in said.text)
        return short or film or made_up or said.logprob < _SILENCE_LOGPROB


class MoonshineDecoder:
    """Decodes on the worker's thread: finals first, and partials only where there is no final."""

    def __init__(self, resident: Resident[Moonshine]) -> None:
        self._resident = resident
        self.finals_waiting: set[Request] = set()
        """Final requests that have not begun. Filled by the event loop."""

    def run(self, jobs: Sequence[DecodeJob]) -> Sequence[Decoded | Exception | None]:
        """One result for each job: ``None`` for those dropped, an error for all if the model cannot be loaded."""
        self.finals_waiting.difference_update([job.request for job in jobs])
        finals = any(job.request.final for job in jobs)

        def is_wanted(job: DecodeJob) -> bool:
            return not job.cancelled and (job.request.final or not (finals or self.finals_waiting))

        chosen = [job for job in jobs if is_wanted(job)]
        windows = [Window(job.request.samples, job.request.known, partial(is_wanted, job)) for job in chosen]
        if not chosen:
            return [None] * len(jobs)
        try:
            with self._resident.lease() as moonshine:
                said = moonshine.transcribe_together(windows, chosen[0].request.may_repeat)
        except PipelineError as error:
            return [error] * len(jobs)
        heard = {id(job): Decoded(one, LANGUAGE, job.request.frames) for job, one in zip(chosen, said, strict=True)}
        return [heard.get(id(job)) if is_wanted(job) else None for job in jobs]


class MoonshineRecognizer(WindowRecognizer):
    """Moonshine as a speech-to-text engine; see :class:`WindowRecognizer` for the parameters."""

    def __init__(self, model: Resident[Moonshine], *, partial_seconds: float = 0.4) -> None:
        settings = WhisperSettings(
            language=LANGUAGE,
            partial_seconds=partial_seconds,
            context_seconds=LONGEST_SECONDS,
            guard=MoonshineGuard(),
        )
        super().__init__(model.name, MoonshineDecoder(model), settings, max_batch=_TOGETHER)

    def second_attempt(self, request: Request, first: Decoded) -> Request | None:
        """The same without repetition, where it went round in circles."""
        if not request.may_repeat or not self.settings.guard.repeats(first.said):
            return None
        return replace(request, may_repeat=False, final=True)


async def build(site: Site, found: Found) -> Built[WindowRecognizer]:
    """The model in ``found`` (see :data:`pipelines.engines.registry.Build`)."""
    if site.asked.language not in ("", LANGUAGE) or site.asked.translate:
        raise STTError("stt_language", f"{found.name} is a Moonshine: it knows English alone and translates nothing")
    load = partial(load_moonshine, found.folder, threads_for("stt", site.cores))
    plan = Loadable(found.name, load, precision="float32", estimate=site.estimate(found.name, "float32"))
    reason = "on the CPU, a Moonshine is too small for more" if site.asked.device != "auto" else "on the CPU"
    return await warmed(MoonshineRecognizer(site.residency.add(plan)), "cpu", reason)
