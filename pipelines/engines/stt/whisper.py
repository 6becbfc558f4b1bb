"""Whisper on CTranslate2: partials while the user speaks, one run of the encoder for the final transcript.

Windows are as short as the audio (:mod:`pipelines.engines.stt.whisper_windows`). All sessions share one model on one
thread; windows of equal size are decoded as one batch (:mod:`pipelines.engines.stt.whisper_decode`), and partials make
way for finals.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pipelines.engines.registry import Built, Found, Site
from pipelines.engines.stt.whisper_decode import Decoded, Request, WhisperDecoder
from pipelines.engines.stt.whisper_model import Whisper, load_whisper
from pipelines.engines.stt.whisper_settings import ENGLISH_ONLY, WhisperSettings, check, translates
from pipelines.engines.stt.whisper_windows import LONGEST_FRAMES
from pipelines.engines.stt.window_recognizer import WindowRecognizer, warmed
from pipelines.interfaces.stt import Hearing
from pipelines.models.plans import Loadable
from pipelines.models.residency import Resident
from pipelines.runtime.hardware import threads_for


class WhisperRecognizer(WindowRecognizer):
    """Whisper as a :class:`~pipelines.interfaces.stt.SpeechToText`; see :class:`WindowRecognizer` for the parameters.

    Raises :class:`~pipelines.errors.STTError` for settings that no such model can serve: ``stt_language``,
    ``stt_task``, ``stt_cannot_translate``.
    """

    def __init__(
        self,
        model: Resident[Whisper],
        settings: WhisperSettings | None = None,
        *,
        max_batch: int = 8,
        max_wait: float = 0.0,
    ) -> None:
        settings = settings or WhisperSettings()
        check(model.name, settings)
        decoder = WhisperDecoder(model, settings.task, settings.word_timestamps)
        super().__init__(model.name, decoder, settings, max_batch=max_batch, max_wait=max_wait)

    def can_hear(self, asked: Hearing) -> bool:
        """It tells the times of words, and translates if it was trained to and knows more than English."""
        return not asked.translate or (translates(self.name) and not self.name.endswith(ENGLISH_ONLY))

    def second_attempt(self, request: Request, first: Decoded) -> Request | None:
        """The same audio in the 30 s that Whisper was trained on."""
        if first.frames == LONGEST_FRAMES:
            return None
        may_repeat = not self.settings.guard.repeats(first.said)
        return replace(
            request, frames=LONGEST_FRAMES, language=first.language, may_repeat=may_repeat, final=True, known=()
        )


async def build(site: Site, found: Found) -> Built[WindowRecognizer]:
    """The model in ``found`` (see :data:`pipelines.engines.registry.Build`)."""
    device, reason = await site.aside(site.device_for, "ctranslate2")
    precision = "float16" if device == "cuda" else "int8"
    plan = Loadable(
        found.name,
        partial(load_whisper, found.folder, device, threads=threads_for("stt", site.cores)),
        precision=precision,
        device=device,
        estimate=site.estimate(found.name, precision),
    )
    language = site.asked.language or ("en" if found.name.endswith(ENGLISH_ONLY) else None)
    settings = WhisperSettings(language=language, task="translate" if site.asked.translate else "transcribe")
    max_wait = 0.003 if device == "cuda" else 0.0
    return await warmed(WhisperRecognizer(site.residency.add(plan), settings, max_wait=max_wait), device, reason)
