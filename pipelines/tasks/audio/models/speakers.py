"""Voices as the task ``text-to-speech`` uses them: Piper's, and VITS (MMS) and SpeechT5 by transformers.

In a conversation :mod:`pipelines.engines.tts` speaks, which gives the times of words; these give the sound alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipelines.engines.tts.piper_clause import Clause, Manner, Stop
from pipelines.engines.tts.piper_voices import load_piper
from pipelines.errors import ModelError, TTSError, listed
from pipelines.interfaces.task import TaskError
from pipelines.runtime.hardware import threads_for
from pipelines.tasks.audio.models import transformers_models
from pipelines.tasks.audio.sounds import Wave, as_wave
from pipelines.voice.clauses import ClauseSplitter

VOCODER, VOICES = "vocoder", "speakers.safetensors"
"""Beside a SpeechT5: the folder of its HiFi-GAN, and its voices by name, each 512 numbers (x-vectors)."""


class Speaker(Protocol):
    """A model that reads texts aloud. Blocking."""

    rate: int
    """Hertz."""

    def speak(self, text: str, voice: str | None, speed: float) -> Iterator[Wave]:
        """The sound of a text, clause by clause. Raises :class:`TaskError` for a voice or speed that is not there."""
        ...


def clauses(text: str) -> Iterator[str]:
    """The parts of a text that are spoken one after another; those without a letter or digit are left out."""
    splitter = ClauseSplitter()
    yield from (one for one in (*splitter.push(text), *splitter.flush()) if any(map(str.isalnum, one)))


class PiperSpeaker:
    """A Piper voice; ``voice`` is one of its speakers."""

    def __init__(self, folder: Path, device: str) -> None:
        network = next(iter(sorted(folder.glob("*.onnx"))))
        kind: Any = "cuda" if device.startswith("cuda") else "cpu"
        threads = threads_for("tts", os.cpu_count() or 1)
        self._voice = load_piper(network, network.with_name(network.name + ".json"), threads, kind)
        config = self._voice.piper.config
        self._speakers = tuple(config.speaker_id_map) if config.num_speakers > 1 else ()
        self.rate = int(config.sample_rate)

    def speak(self, text: str, voice: str | None, speed: float) -> Iterator[Wave]:
        """See :class:`Speaker`."""
        check_voice(voice, self._speakers)
        offset = 0.0
        for one in clauses(text):
            clause = Clause(one, Manner(voice, speed), offset)
            try:
                while not clause.ended:
                    for piece in clause.step(self._voice, 1.0, Stop()):
                        yield as_wave(piece.samples)
            except TTSError as error:
                raise TaskError("task_failed", error.message) from error
            offset = clause.offset


class VitsSpeaker:
    """A VITS, such as Meta's MMS voices; ``voice`` is the number of a speaker."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        self._model = transformers_models.load(folder, "VitsModel", device, dtype)
        self._tokenizer = transformers_models.part(folder, "AutoTokenizer")
        count = int(self._model.config.num_speakers)
        self._speakers = tuple(map(str, range(count))) if count > 1 else ()
        self.rate = int(self._model.config.sampling_rate)

    def speak(self, text: str, voice: str | None, speed: float) -> Iterator[Wave]:
        """See :class:`Speaker`."""
        import torch

        check_voice(voice, self._speakers)
        number = int(voice or 0) if self._speakers else None
        for one in clauses(text):
            given = self._tokenizer(one, return_tensors="pt").to(self._model.device)
            if not given["input_ids"].shape[1]:
                continue
            with torch.inference_mode():
                rate = float(self._model.config.speaking_rate) * speed
                made = self._model(**given, speaker_id=number, speaking_rate=rate).waveform
            yield np.asarray(made[0].float().cpu().numpy(), np.float32)


class SpeechT5Speaker:
    """A SpeechT5 with its vocoder; ``voice`` is one of those in :data:`VOICES`."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        from safetensors.torch import load_file

        for name in (VOCODER, VOICES):
            if not (folder / name).exists():
                raise ModelError("model_broken", f"{folder.name} needs {name} beside it to speak as SpeechT5")
        self._model = transformers_models.load(folder, "SpeechT5ForTextToSpeech", device, dtype)
        self._vocoder = transformers_models.load(folder / VOCODER, "SpeechT5HifiGan", device, dtype)
        self._tokenizer = transformers_models.part(folder, "AutoTokenizer")
        try:
            voices = load_file(folder / VOICES)
        except Exception as error:  # of safetensors, which has no base but Exception
            raise ModelError("model_broken", f"{VOICES} in {folder.name} cannot be read: {error}") from error
        self._voices = {
            name: value.reshape(1, -1).to(self._model.device, self._model.dtype) for name, value in voices.items()
        }
        if not self._voices:
            raise ModelError("model_broken", f"{VOICES} in {folder.name} holds no voice")
        self.rate = int(self._vocoder.config.sampling_rate)

    def speak(self, text: str, voice: str | None, speed: float) -> Iterator[Wave]:
        """See :class:`Speaker`."""
        import torch

        check_voice(voice, tuple(self._voices))
        if speed != 1.0:
            raise TaskError("unsupported_value", "speed: SpeechT5 speaks at its own, leave it out")
        chosen = self._voices[voice or next(iter(self._voices))]
        for one in clauses(text):
            ids = self._tokenizer(one, return_tensors="pt").input_ids.to(self._model.device)
            with torch.inference_mode():
                made = self._model.generate_speech(ids, chosen, vocoder=self._vocoder)
            yield np.asarray(made.float().cpu().numpy(), np.float32)


def check_voice(voice: str | None, known: tuple[str, ...]) -> None:
    """Raises :class:`TaskError` for a voice that there is not."""
    if voice is not None and voice not in known:
        legal = f"must be one of {listed(known)}" if known else "this model has one alone, leave it out"
        raise TaskError("unsupported_value", f"voice: {legal}")


def load_speaker(folder: Path, device: str, dtype: str) -> Speaker:
    """The voice in ``folder``. Raises :class:`ModelError`."""
    if any(folder.glob("*.onnx")):
        return PiperSpeaker(folder, device)
    kind = transformers_models.config_of(folder).get("model_type")
    if kind == "vits":
        return VitsSpeaker(folder, device, dtype)
    if kind == "speecht5":
        return SpeechT5Speaker(folder, device, dtype)
    raise ModelError("model_broken", f"{folder.name} is neither a Piper voice nor a VITS or SpeechT5 of transformers")
