"""A Whisper in memory: a folder in CTranslate2's format, loaded by faster-whisper without asking any network."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from pipelines.engines.stt.whisper_windows import HOP, Said, compression, onset
from pipelines.errors import ModelError, STTError
from pipelines.interfaces.tts import WordTiming
from pipelines.interfaces.vad import VAD_RATE

COMPUTE_TYPES = {
    "cpu": ("int8_float32", "int8", "float32"),
    "cuda": ("float16", "int8_float16", "bfloat16", "float32"),
}
"""By device, the best first: on a CPU int8 is 1.4 to 2.6 times as fast as float32."""
NEEDED = ("model.bin", "config.json", "tokenizer.json")
_REPETITION_PENALTY = 1.1
_NO_REPEAT_NGRAM = 3
"""Only for what went round in circles before: people do say "can do for" twice in one sentence."""
_POSITIONS = 448
"""Tokens that a Whisper can see, the prompt included."""
_BEFORE = "\"'“¿([{-"
_AFTER = "\"'.。,，!！?？:：”)]}、"
"""Punctuation that belongs to the word after it, and before it."""
_SHORTEST_WORD = 0.05
"""Seconds."""
NEVER_DETECTED = frozenset({"la", "nn", "sa"})
"""Nobody speaks Latin or Sanskrit to a machine, and Nynorsk is written: a small Whisper takes all it does not know, and
noise, for one of them. They can still be asked for."""
_SILENCE = -1.5
"""The log-mel value of digital silence, as Whisper normalises it."""


class Whisper:
    """A loaded model, by its steps: spectrogram → encoder → language, text, timings. Blocking.

    What ``encode`` returns is CTranslate2's and stays on the device; the other steps take it for a whole batch.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._tokenizers: dict[tuple[str, str], Any] = {}
        self._suppressed: list[int] = []
        self.multilingual: bool = model.model.is_multilingual
        """Whether it knows other languages than English, and can detect and translate them."""
        self.device: str = model.model.device
        self.compute_type: str = model.model.compute_type

    def spectrogram(self, samples: Samples, frames: int) -> NDArray[np.float32]:
        """The log-mel spectrogram of int16 ``samples`` (16 kHz) followed by silence; shape ``(mels, frames)``.

        Equal to that of the samples padded with zeros, but the silence is not computed.
        """
        audio = samples.astype(np.float32) / 32768.0
        mel = np.asarray(self._model.feature_extractor(audio, padding=3 * HOP), np.float32)[:, :frames]
        floor = max(_SILENCE, float(mel.max()) - 2.0)
        return np.pad(mel, ((0, 0), (0, frames - mel.shape[1])), constant_values=floor)

    def encode(self, spectrograms: NDArray[np.float32]) -> Any:
        """The encoder's output for spectrograms, shape ``(batch, mels, frames)``."""
        return self._model.encode(spectrograms)

    def detect(self, encoded: Any) -> list[str]:
        """The likeliest language of each window, as a code such as ``en``; never one of :data:`NEVER_DETECTED`."""
        if not self.multilingual:
            return ["en"] * int(encoded.shape[0])
        rankings = [[code for code, _ in found] for found in self.languages(encoded)]
        return [next((code for code in codes if code not in NEVER_DETECTED), codes[0]) for codes in rankings]

    def languages(self, encoded: Any) -> list[list[tuple[str, float]]]:
        """Code and probability of every language that each window may be in, the likeliest first."""
        found = self._model.model.detect_language(encoded)
        return [[(token.strip("<|>"), float(odds)) for token, odds in ranking] for ranking in found]

    @property
    def library(self) -> Any:
        """The ``faster_whisper.WhisperModel``."""
        return self._model

    def generate(
        self,
        encoded: Any,
        task: str,
        languages: Sequence[str],
        previous: Sequence[Sequence[int]],
        *,
        most: int,
        may_repeat: bool = True,
    ) -> list[Said]:
        """The likeliest text of each window, of at most ``most`` tokens, given equally many of what came before each.

        Unless it ``may_repeat``, no three tokens in a row come twice.
        """
        prompts = [
            self._model.get_prompt(self._tokenizer(task, language), list(before), without_timestamps=True)
            for language, before in zip(languages, previous, strict=True)
        ]
        longest = max(map(len, prompts))
        answers = self._model.model.generate(
            encoded,
            prompts,
            beam_size=1,
            # CTranslate2 allows half of it for the text, and no more than what the prompt leaves of it.
            max_length=min(_POSITIONS, max(2 * most, longest + most)),
            repetition_penalty=1.0 if may_repeat else _REPETITION_PENALTY,
            no_repeat_ngram_size=0 if may_repeat else _NO_REPEAT_NGRAM,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppress(),
        )
        said = []
        for answer, language in zip(answers, languages, strict=True):
            tokens = tuple(answer.sequences_ids[0])
            text = self._tokenizer(task, language).decode(list(tokens)).strip()
            mean = float(answer.scores[0]) * len(tokens) / (len(tokens) + 1)  # the end of the text is a token, too
            said.append(Said(text, tokens, mean, float(answer.no_speech_prob), compression(text)))
        return said

    def align(
        self, encoded: Any, task: str, languages: Sequence[str], said: Sequence[Said], samples: Sequence[Samples]
    ) -> list[tuple[WordTiming, ...]]:
        """When each word of each window was said, from the decoder's attention; ``samples`` are the windows' sound."""
        from faster_whisper.transcribe import merge_punctuations

        frames = [min(2 * int(encoded.shape[1]), -(-len(sound) // HOP)) for sound in samples]
        aligned: list[tuple[WordTiming, ...]] = [()] * len(said)
        for language in set(languages):  # the tokens before the text, of which one is the language, are one for a call
            tokenizer = self._tokenizer(task, language)
            texts = [[token for token in one.tokens if token < tokenizer.eot] for one in said]
            found = self._model.find_alignment(tokenizer, texts, encoded, frames)
            for n in (n for n, other in enumerate(languages) if other == language):
                merge_punctuations(found[n], _BEFORE, _AFTER)
                aligned[n] = _timings(found[n], len(samples[n]) / VAD_RATE, onset(samples[n]))
        return aligned

    def _tokenizer(self, task: str, language: str) -> Any:
        """Raises :class:`~pipelines.errors.STTError`: ``stt_cannot_translate``, ``stt_language``."""
        from faster_whisper.tokenizer import Tokenizer

        if (task, language) not in self._tokenizers:
            if task == "translate" and not self.multilingual:
                raise STTError("stt_cannot_translate", "this Whisper knows English alone and cannot translate")
            if not self.multilingual and language != "en":
                raise STTError("stt_language", f"this Whisper knows English alone, not {language!r}")
            tokenizer = Tokenizer(self._model.hf_tokenizer, self.multilingual, task=task, language=language)
            if None in tokenizer.sot_sequence or (self.multilingual and tokenizer.language is None):
                raise STTError("stt_language", f"this Whisper does not know the language {language!r}")
            self._tokenizers[task, language] = tokenizer
        return self._tokenizers[task, language]

    def _suppress(self) -> list[int]:
        """Tokens that are no speech: brackets, notes and tasks."""
        from faster_whisper.transcribe import get_suppressed_tokens

        if not self._suppressed:
            self._suppressed = list(get_suppressed_tokens(self._tokenizer("transcribe", "en"), [-1]))
        return self._suppressed


def _timings(words: Sequence[Any], longest: float, begins: float) -> tuple[WordTiming, ...]:
    """faster-whisper's words, none after the end of the audio, the first not before the sound ``begins`` (seconds).

    The path through the attention starts at 0 whatever comes first, so the first word would last from there.
    """
    spoken = [(word["word"].strip(), float(word["start"]), float(word["end"])) for word in words]
    first = next((n for n, (text, _, _) in enumerate(spoken) if text), None)
    if first is not None:
        text, start, end = spoken[first]
        spoken[first] = (text, max(start, min(begins, end - _SHORTEST_WORD)), end)
    return tuple(WordTiming(text, min(longest, start), min(longest, end)) for text, start, end in spoken if text)


def load_whisper(folder: Path, device: str = "cpu", threads: int = 1) -> Whisper:
    """Load ``folder``. Blocking: seconds for a large one.

    ``device`` is ``cpu`` or ``cuda``; ``threads`` are for one computation on the CPU. Raises
    :class:`~pipelines.errors.ModelError`: ``whisper_incomplete``, ``whisper_broken``.
    """
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:  # faster-whisper would ask the hub for a tokenizer
        raise ModelError(
            "whisper_incomplete", f"{folder} is no Whisper for CTranslate2: {', '.join(missing)} not found"
        )
    import ctranslate2
    from faster_whisper import WhisperModel
    from faster_whisper.feature_extractor import FeatureExtractor

    try:
        compute_type = choose_compute_type(device, ctranslate2.get_supported_compute_types(device))
        model = WhisperModel(str(folder), device, compute_type=compute_type, cpu_threads=threads, local_files_only=True)
        if model.feature_extractor.mel_filters.shape[0] != model.model.n_mels:  # no preprocessor_config.json
            model.feature_extractor = FeatureExtractor(feature_size=model.model.n_mels)
    except Exception as error:
        raise ModelError("whisper_broken", f"{folder} cannot be loaded as a Whisper on {device}: {error}") from error
    return Whisper(model)


def choose_compute_type(device: str, supported: Collection[str]) -> str:
    """The best of the numbers to compute with that the device has."""
    return next((kind for kind in COMPUTE_TYPES[device] if kind in supported), "default")
