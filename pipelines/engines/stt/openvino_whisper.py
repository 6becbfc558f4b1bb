"""Whisper on OpenVINO GenAI: Intel's NPUs and integrated GPUs, and any processor.

A folder that optimum-intel has exported (``visavis models convert --to openvino``). OpenVINO pads every window to the
30 s that Whisper was trained on and tells no probabilities, so there is no confidence; on a processor the Whisper of
CTranslate2 is the better one. See https://openvinotoolkit.github.io/openvino.genai.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engines.registry import Built, Found, Site
from pipelines.engines.stt.whisper_decode import Decoded, DecodeJob, Request
from pipelines.engines.stt.whisper_settings import ENGLISH_ONLY, Task, WhisperSettings, check, translates
from pipelines.engines.stt.whisper_windows import Guard, Said, compression, most_new_tokens, window_frames
from pipelines.engines.stt.window_recognizer import WindowRecognizer, warmed
from pipelines.errors import ModelError, PipelineError, STTError
from pipelines.interfaces.stt import Hearing
from pipelines.interfaces.tts import WordTiming
from pipelines.interfaces.vad import VAD_RATE
from pipelines.models.plans import Loadable
from pipelines.models.residency import Resident
from pipelines.runtime.hardware import openvino_name, threads_for

NETWORKS = ("openvino_encoder_model.xml", "openvino_decoder_model.xml")
_TOKENIZERS = ("openvino_tokenizer.xml", "openvino_detokenizer.xml")


def is_openvino(path: Path) -> bool:
    """Whether the folder ``path`` holds a Whisper in OpenVINO's format."""
    return all((path / name).is_file() for name in NETWORKS)


@dataclass(frozen=True, slots=True)
class UnsureGuard(Guard):
    """Without probabilities only what goes round in circles is not believed."""

    knows_probability: bool = False

    def is_silence(self, said: Said) -> bool:
        """Whether there are no words in it."""
        return not any(character.isalnum() for character in said.text)


@dataclass(frozen=True, slots=True)
class Heard:
    """What OpenVINO made of a window."""

    said: Said
    language: str
    words: tuple[WordTiming, ...] | None = None


class OpenVinoWhisper:
    """A loaded model. Blocking."""

    def __init__(self, pipeline: Any, *, times: bool) -> None:
        self._pipeline = pipeline
        self._times = times
        config = pipeline.get_generation_config()
        self.multilingual = bool(config.is_multilingual)
        self._languages = {name.strip("<|>") for name in config.lang_to_id or ()}

    def hear(self, request: Request, task: str, wanted: Callable[[], bool]) -> Heard:
        """The text of a window; it is broken off where it is ``wanted`` no more.

        Raises :class:`~pipelines.errors.STTError`: ``stt_cannot_translate``, ``stt_language``.
        """
        import openvino_genai

        config = self._pipeline.get_generation_config()
        config.max_new_tokens = most_new_tokens(window_frames(len(request.samples)))
        config.return_timestamps = False
        if not request.may_repeat:
            config.no_repeat_ngram_size = 3
        if self.multilingual:
            if request.language is not None:
                config.language = self._known(request.language)
            config.task = task
        elif task == "translate":
            raise STTError("stt_cannot_translate", "this Whisper knows English alone and cannot translate")
        config.word_timestamps = self._times and request.final and request.hearing.word_times

        def go_on(text: str) -> Any:
            status = openvino_genai.StreamingStatus
            return status.RUNNING if wanted() else status.CANCEL

        sound = request.samples.astype(np.float32) / 32768.0
        result = self._pipeline.generate(sound, config, go_on)
        text = str(result.texts[0]).strip() if result.texts else ""
        told = str(result.language or "").strip("<|>") if self.multilingual else "en"
        words = _timings(result.words, len(sound) / VAD_RATE) if config.word_timestamps else None
        return Heard(Said(text, (), 0.0, 0.0, compression(text)), request.language or told or "en", words)

    def _known(self, language: str) -> str:
        if language not in self._languages:
            raise STTError("stt_language", f"this Whisper does not know the language {language!r}")
        return f"<|{language}|>"


def _timings(words: Any, longest: float) -> tuple[WordTiming, ...]:
    timed = ((str(one.word).strip(), float(one.start_ts), float(one.end_ts)) for one in words or ())
    return tuple(WordTiming(text, min(longest, start), min(longest, end)) for text, start, end in timed if text)


class OpenVinoDecoder:
    """Decodes on the worker's thread, one window after another: finals first."""

    def __init__(self, resident: Resident[OpenVinoWhisper], task: str) -> None:
        self._resident = resident
        self._task = task
        self.finals_waiting: set[Request] = set()
        """Final requests that have not begun. Filled by the event loop."""

    def run(self, jobs: Sequence[DecodeJob]) -> Sequence[Decoded | Exception | None]:
        """One result for each job: ``None`` for those dropped, an error for all if the model cannot be loaded."""
        self.finals_waiting.difference_update([job.request for job in jobs])
        results: list[Decoded | Exception | None] = [None] * len(jobs)
        try:
            with self._resident.lease() as whisper:
                for n in sorted(range(len(jobs)), key=lambda n: not jobs[n].request.final):
                    results[n] = self._decode(whisper, jobs[n])
        except PipelineError as error:
            return [error] * len(jobs)
        return results

    def _decode(self, whisper: OpenVinoWhisper, job: DecodeJob) -> Decoded | Exception | None:
        request = job.request

        def is_wanted() -> bool:
            return not job.cancelled and (request.final or not self.finals_waiting)

        if not is_wanted():
            return None
        try:
            heard = whisper.hear(request, "translate" if request.hearing.translate else self._task, is_wanted)
        except STTError as error:
            return error
        return Decoded(heard.said, heard.language, request.frames, heard.words) if is_wanted() else None


class OpenVinoRecognizer(WindowRecognizer):
    """A Whisper on OpenVINO as a speech-to-text engine. Raises as that of CTranslate2 does."""

    def __init__(self, model: Resident[OpenVinoWhisper], settings: WhisperSettings, *, times: bool) -> None:
        check(model.name, settings)
        self._times = times
        super().__init__(model.name, OpenVinoDecoder(model, settings.task), settings)

    def can_hear(self, asked: Hearing) -> bool:
        """It translates if it was trained to; times of words only where the network has them."""
        can_translate = translates(self.name) and not self.name.endswith(ENGLISH_ONLY)
        return (self._times or not asked.word_times) and (can_translate or not asked.translate)

    def second_attempt(self, request: Request, first: Decoded) -> Request | None:
        """The same without repetition, where it went round in circles."""
        if not request.may_repeat or not self.settings.guard.repeats(first.said):
            return None
        return replace(request, may_repeat=False, final=True)


def load_openvino_whisper(folder: Path, device: str, threads: int) -> OpenVinoWhisper:
    """The model in ``folder``. Blocking: seconds, on an NPU a minute at first.

    Raises :class:`~pipelines.errors.ModelError`: ``whisper_incomplete``, ``whisper_broken``.
    """
    missing = [name for name in (*NETWORKS, *_TOKENIZERS) if not (folder / name).is_file()]
    if missing:
        message = f"{folder} is no Whisper for OpenVINO: {', '.join(missing)} not found"
        raise ModelError("whisper_incomplete", message)
    import openvino_genai

    properties: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads} if device == "cpu" else {}
    times = tells_times(folder)
    try:
        if times:
            properties["word_timestamps"] = True
        pipeline = openvino_genai.WhisperPipeline(str(folder), openvino_name(device), **properties)
    except RuntimeError as error:
        lines = str(error).strip().splitlines() or ["no message"]
        raise ModelError("whisper_broken", f"{folder.name} cannot be loaded by OpenVINO: {lines[-1]}") from error
    return OpenVinoWhisper(pipeline, times=times)


def tells_times(folder: Path) -> bool:
    """Whether the network in ``folder`` can be asked for the times of words: its attention must not be fused away."""
    return "ScaledDotProductAttention" in (folder / NETWORKS[1]).read_text("utf-8", "replace")


async def build(site: Site, found: Found) -> Built[WindowRecognizer]:
    """The model in ``found`` (see :data:`pipelines.engines.registry.Build`)."""
    device, reason = await site.aside(site.device_for, "openvino")
    plan = Loadable(
        found.name,
        partial(load_openvino_whisper, found.folder, device, threads_for("stt", site.cores)),
        precision="openvino",
        device=device,
        estimate=site.estimate(found.name, ""),
    )
    language = site.asked.language or ("en" if found.name.endswith(ENGLISH_ONLY) else None)
    task: Task = "translate" if site.asked.translate else "transcribe"
    settings = WhisperSettings(language=language, task=task, partial_seconds=1.2, guard=UnsureGuard())
    engine = OpenVinoRecognizer(site.residency.add(plan), settings, times=tells_times(found.folder))
    return await warmed(engine, device, reason)
