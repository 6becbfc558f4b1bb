"""Recognisers of whole recordings, as the tasks on speech use them: Whisper on CTranslate2, and what transformers has.

In a conversation others listen (:mod:`pipelines.engines.stt`): these hear a file at once, in windows of 30 s.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from media.frames import Samples
from pipelines.engines.stt.whisper_model import NEEDED, NEVER_DETECTED, Whisper, load_whisper
from pipelines.errors import STTError, listed
from pipelines.interfaces.task import ModelFolder, TaskError
from pipelines.runtime.hardware import threads_for
from pipelines.tasks.audio.models import transformers_models
from pipelines.tasks.audio.sounds import Wave, as_samples

RATE = 16_000
WINDOW = 30.0
"""Seconds that Whisper hears at once."""
Times = Literal["none", "segment", "word"]
LANGUAGE_FRAMES = 500, 3000
"""10 ms each: a window to tell a language by is as long as the sound, but no shorter and no longer than that."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a recogniser."""

    translate: bool = False
    language: str | None = None
    times: Times = "none"
    beams: int = 1
    most_tokens: int | None = None
    """Of a window of 30 s; ``None``: as many as the model can."""
    skip_silence: bool = True


@dataclass(frozen=True, slots=True)
class Heard:
    """A stretch of a recording: a segment, or a word."""

    text: str
    start: float
    """Seconds since the beginning of the recording."""
    end: float
    language: str | None = None


class Listener(Protocol):
    """A recogniser. Blocking."""

    def listen(self, sound: Wave, wish: Wish) -> Iterator[list[Heard]]:
        """What is said, segment by segment: each as one :class:`Heard`, or one for each word.

        Raises :class:`TaskError` (``unsupported_value``) for what this model cannot do.
        """
        ...

    def languages(self, sound: Wave) -> list[tuple[str, float]]:
        """The languages that it may be in by their odds, the likeliest first. Raises :class:`TaskError`."""
        ...


class CTranslate2Listener:
    """Whisper by faster-whisper."""

    def __init__(self, model: Whisper) -> None:
        self._model = model
        self.english_only = not model.multilingual

    def listen(self, sound: Wave, wish: Wish) -> Iterator[list[Heard]]:
        """See :class:`Listener`."""
        check_english(self.english_only, wish)
        known = self._model.library.supported_languages
        if wish.language and wish.language not in known:
            raise unknown_language(wish.language, known)
        segments, info = self._model.library.transcribe(
            sound,
            language=wish.language or ("en" if self.english_only else self.languages(sound)[0][0]),
            task="translate" if wish.translate else "transcribe",
            beam_size=wish.beams,
            word_timestamps=wish.times == "word",
            max_new_tokens=wish.most_tokens,
            vad_filter=wish.skip_silence,
            condition_on_previous_text=False,
            temperature=[0.0, 0.2, 0.4],
        )
        language = "en" if wish.translate else info.language
        for segment in segments:
            if wish.times == "word":
                yield [
                    Heard(word.word.strip(), float(word.start), float(word.end), language)
                    for word in segment.words or ()
                ]
            else:
                yield [Heard(segment.text.strip(), float(segment.start), float(segment.end), language)]

    def languages(self, sound: Wave) -> list[tuple[str, float]]:
        """See :class:`Listener`. What comes after 30 s is not heard."""
        if self.english_only:
            raise one_language()
        samples: Samples = as_samples(sound[: int(WINDOW * RATE)])
        frames = min(LANGUAGE_FRAMES[1], max(LANGUAGE_FRAMES[0], math.ceil(len(samples) / 160)))
        spectrogram = self._model.spectrogram(samples, frames + frames % 2)
        try:
            return believable(self._model.languages(self._model.encode(spectrogram[None]))[0])
        except STTError as error:
            raise TaskError("task_failed", error.message) from error


class TransformersListener:
    """Whisper, or a network with a CTC head, by transformers."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        import transformers

        config = transformers_models.config_of(folder)
        self._whisper = config.get("model_type") == "whisper"
        kind = "WhisperForConditionalGeneration" if self._whisper else "AutoModelForCTC"
        self._model = transformers_models.load(folder, kind, device, dtype)
        features = transformers_models.part(folder, "AutoFeatureExtractor")
        tokenizer = transformers_models.part(folder, "WhisperTokenizer" if self._whisper else "AutoTokenizer")
        self._features = features
        self._pipeline = transformers.AutomaticSpeechRecognitionPipeline(
            model=self._model, tokenizer=tokenizer, feature_extractor=features
        )
        told = getattr(self._model, "generation_config", None)  # one with a CTC head generates nothing
        languages: dict[str, int] = getattr(told, "lang_to_id", None) or {}
        self._codes = {token.strip("<|>"): number for token, number in languages.items()}

    def listen(self, sound: Wave, wish: Wish) -> Iterator[list[Heard]]:
        """See :class:`Listener`. All of it comes at once."""
        asked: dict[str, Any] = {}
        times: Any = "word" if wish.times == "word" else True
        if self._whisper:
            if not self._codes:
                check_english(True, wish)
            elif wish.language and wish.language not in self._codes:
                raise unknown_language(wish.language, list(self._codes))
            if self._codes:
                asked = {"task": "translate" if wish.translate else "transcribe", "language": wish.language}
            asked["num_beams"] = wish.beams
            if wish.most_tokens:
                asked["max_new_tokens"] = wish.most_tokens
        elif wish.translate or wish.language or wish.beams > 1 or wish.most_tokens:
            fields = "task, language, generation_parameters"
            raise TaskError("unsupported_value", f"{fields}: this model only transcribes what it hears")
        else:
            times = "word" if wish.times != "none" else None
        given = {"raw": sound, "sampling_rate": RATE}
        made: Any = self._pipeline(given, return_timestamps=times, **({"generate_kwargs": asked} if asked else {}))
        seconds = len(sound) / RATE
        language = "en" if wish.translate else wish.language
        chunks = made.get("chunks") or [{"text": made["text"], "timestamp": (0.0, seconds)}]
        heard = [
            Heard(
                one["text"].strip(), float(one["timestamp"][0] or 0.0), float(one["timestamp"][1] or seconds), language
            )
            for one in chunks
        ]
        if wish.times == "word" or not self._whisper:
            yield heard
        else:
            yield from ([one] for one in heard)

    def languages(self, sound: Wave) -> list[tuple[str, float]]:
        """See :class:`Listener`. What comes after 30 s is not heard."""
        import torch

        if not self._codes:
            raise one_language()
        clip = sound[: int(WINDOW * RATE)]
        features = self._features(clip, sampling_rate=RATE, return_tensors="pt").input_features
        begin = torch.tensor([[self._model.config.decoder_start_token_id]], device=self._model.device)
        with torch.inference_mode():
            given = features.to(self._model.device, self._model.dtype)
            logits = self._model(input_features=given, decoder_input_ids=begin).logits[0, 0]
            odds = torch.softmax(logits[list(self._codes.values())].float(), 0).tolist()
        return believable(sorted(zip(self._codes, odds, strict=True), key=lambda pair: -pair[1]))


def believable(ranking: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Without languages that nobody speaks (:data:`NEVER_DETECTED`), unless there is nothing else."""
    return [pair for pair in ranking if pair[0] not in NEVER_DETECTED] or ranking


def check_english(english_only: bool, wish: Wish) -> None:
    """Raises :class:`TaskError` where a model for English alone is asked for more."""
    if english_only and wish.translate:
        raise TaskError("unsupported_value", "task: this model knows English alone and cannot translate")
    if english_only and wish.language not in (None, "en"):
        raise TaskError("unsupported_value", f"language: this model knows English alone, not {wish.language!r}")


def unknown_language(language: str, known: list[str]) -> TaskError:
    """The answer to a language that a model was not trained on."""
    return TaskError("unsupported_value", f"language: must be one of {listed(sorted(known), 120)}, not {language!r}")


def one_language() -> TaskError:
    """The answer of a model that cannot tell languages apart."""
    return TaskError("unsupported_value", "model: it knows one language and cannot tell others: name another model")


def is_whisper(folder: ModelFolder) -> bool:
    """Whether a folder holds a Whisper that can be loaded here."""
    return folder.names.issuperset(NEEDED) or folder.config.get("model_type") == "whisper"


def load_listener(folder: Path, device: str, dtype: str) -> Listener:
    """The recogniser in ``folder``. Raises :class:`~pipelines.errors.ModelError`."""
    if all((folder / name).is_file() for name in NEEDED):
        kind = "cuda" if device.startswith("cuda") else "cpu"
        return CTranslate2Listener(load_whisper(folder, kind, threads_for("stt", os.cpu_count() or 1)))
    return TransformersListener(folder, device, dtype)
