"""What the starter Whisper is shown: spectrograms, the tokens to be said, and where in the sound each of them is.

Made while it trains: round ``n`` of a seed always holds the same sentences, voices and noises. The waves are not the
same to the bit: espeak's oscillators go on where its last sentence left them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.whisper_windows import HOP, LONGEST_FRAMES, window_frames
from pipelines.ports import VAD_RATE
from pipelines.starter import speech_noise as noise
from pipelines.starter.speech_text import bare, sentence
from pipelines.starter.speech_tokens import Tokens
from pipelines.starter.speech_voice import ACCENTS, Manner, Spoken, any_manner, speak

IGNORED = -100
POSITION = 2 * HOP / VAD_RATE
"""Seconds of one position of the encoder's output."""
_STEP = 20
_TAIL_POSITIONS = 10
"""Silence after the speech that is labelled as such."""
_KEPT_SOUNDS = 24

Array = NDArray[Any]


@dataclass(slots=True)
class Example:
    """One window."""

    mel: Array
    """``(80, frames)``, without the silence after it."""
    frames: int
    """Length of the window."""
    ids: list[int]
    learned_from: int
    """Index of the first token of ``ids`` that is predicted."""
    spans: list[tuple[int, float, float]]
    """Index of a token in ``ids``, and the seconds in which it is heard."""
    phonemes: list[tuple[float, str]]


@dataclass(slots=True)
class Batch:
    """Windows of one length, as arrays."""

    mel: Array
    """float32 ``(windows, 80, frames)``."""
    inputs: Array
    """int64 ``(windows, tokens)``."""
    targets: Array
    """int64 ``(windows, tokens)``: what follows each, or -100."""
    here: Array
    """float32 ``(windows, tokens, 2)``: the positions in which the token is heard that each input is, ``[a, b)``."""
    next: Array
    """float32 ``(windows, tokens, 2)``: the same for the token that follows."""
    phonemes: Array
    """int64 ``(windows, positions)``, or -100."""


def phoneme_names(folder: Path) -> list[str]:
    """espeak's phonemes of English, silence first, as they were found when training in ``folder`` began."""
    file = folder / "phonemes.json"
    if not file.exists():
        file.write_text(json.dumps(_phonemes()))
    names: list[str] = json.loads(file.read_text())
    return names


def _phonemes() -> list[str]:
    rng = Random(0)
    found: set[str] = set()
    for n in range(400):
        accent = list(ACCENTS)[n % len(ACCENTS)]
        found.update(name for _, name in speak(sentence(rng), Manner(accent)).phonemes)
    return ["_", *sorted(found - {"_"})]


class Examples:
    """Makes rounds of batches."""

    def __init__(self, tokens: Tokens, phonemes: Sequence[str], seed: int, positions: int, batches: int) -> None:
        from faster_whisper.feature_extractor import FeatureExtractor

        self._tokens = tokens
        self._seed = seed
        self._positions = positions
        self._batches = batches
        self._features = FeatureExtractor()
        self._phonemes = {name: n for n, name in enumerate(phonemes)}

    def round(self, number: int, progress: float) -> list[Batch]:
        """The batches of a round, at least as many as wanted; ``progress`` is the share of training that is done."""
        rng = Random(f"{self._seed}:{number}")
        sounds: list[noise.Sound] = []
        examples: list[Example] = []
        total = 0
        while total < self._positions * self._batches:
            own = Random(f"{self._seed}:{number}:{len(examples)}")
            examples.append(self.example(own, sounds, padded=0.008 if progress < 0.8 else 0.03))
            total += examples[-1].frames // 2
        examples.sort(key=lambda one: one.frames)
        batches: list[Batch] = []
        part: list[Example] = []
        for one in examples:
            if part and (len(part) + 1) * one.frames // 2 > self._positions:
                batches.append(self.batch(part))
                part = []
            part.append(one)
        batches.append(self.batch(part))
        rng.shuffle(batches)
        return batches

    def example(self, rng: Random, sounds: list[noise.Sound], *, padded: float) -> Example:
        """The next one; ``sounds`` are earlier ones, for the background."""
        if rng.random() < 0.05:
            return self._silence(rng, sounds, padded)
        manner = any_manner(rng)
        texts = [sentence(rng) for _ in range(1 if rng.random() > 0.06 else rng.randint(2, 3))]
        sound, words, phonemes = _composed(texts, manner, rng)
        if not words:
            return self._silence(rng, sounds, padded)
        sounds.append(sound)
        del sounds[:-_KEPT_SOUNDS]
        sound, words, phonemes = _cut(sound, words, phonemes, rng)
        mel = self._spectrogram(noise.roughened(sound, rng, sounds))
        ids, learned_from, spans = self._written(words, rng)
        return Example(_masked(mel, rng), _window(len(sound), rng, padded), ids, learned_from, spans, phonemes)

    def _silence(self, rng: Random, sounds: list[noise.Sound], padded: float) -> Example:
        length = int(rng.uniform(0.15, 4) * VAD_RATE)
        sound = np.zeros(length, np.float32)
        if rng.random() < 0.85:
            kind = rng.choice(["white", "pink", "brown", "hum", "clicks"])
            start = rng.randrange(len(noise.bank(kind)) - length)
            sound = noise.bank(kind)[start : start + length] * np.float32(10 ** rng.uniform(-3.5, -0.3))
        if rng.random() < 0.2:
            sound = noise.opus(sound, 24_000)
        tokens = self._tokens
        ids = [tokens.start, tokens.no_speech, tokens.end]
        phonemes = [(0.0, "_")]
        return Example(self._spectrogram(sound), _window(length, rng, padded), ids, 1, [], phonemes)

    def _spectrogram(self, sound: noise.Sound) -> Array:
        exact = noise.as_samples(sound).astype(np.float32) / np.float32(32768)
        return np.asarray(self._features(exact, padding=3 * HOP), np.float32)

    def _written(
        self, words: list[tuple[str, float, float]], rng: Random
    ) -> tuple[list[int], int, list[tuple[int, float, float]]]:
        """All tokens, the index of the first that is predicted, and where they are heard."""
        tokens = self._tokens
        ids: list[int] = []
        if rng.random() < 0.04:
            before = [token for word in bare(sentence(rng)).split() for token in tokens.word(word)]
            ids = [tokens.end + 6, *before]
        ids.append(tokens.start)
        learned_from = len(ids)
        timed = bool(words) and rng.random() < 0.2
        if not words:
            ids.append(tokens.no_speech)
        else:
            ids.append(tokens.timestamp(words[0][1]) if timed else tokens.no_timestamps)
        spans = []
        for word, start, end in words:
            pieces = tokens.word(word)
            step = (end - start) / len(pieces)
            spans += [(len(ids) + n, start + n * step, start + (n + 1) * step) for n in range(len(pieces))]
            ids += pieces
        if timed:
            ids.append(tokens.timestamp(words[-1][2]))
        if words:
            spans.append((len(ids) - int(timed), words[-1][2], words[-1][2] + 0.2))
        ids.append(tokens.end)
        return ids, learned_from, spans

    def batch(self, examples: list[Example]) -> Batch:
        """Examples, the longest last, as arrays."""
        longest = max(one.frames for one in examples)
        frames = min(LONGEST_FRAMES, -(-longest // _STEP) * _STEP)
        size, length = len(examples), max(len(one.ids) for one in examples) - 1
        batch = Batch(
            mel=np.empty((size, 80, frames), np.float32),
            inputs=np.full((size, length), self._tokens.end, np.int64),
            targets=np.full((size, length), IGNORED, np.int64),
            here=np.zeros((size, length, 2), np.float32),
            next=np.zeros((size, length, 2), np.float32),
            phonemes=np.full((size, frames // 2), IGNORED, np.int64),
        )
        for row, one in enumerate(examples):
            known = min(frames, one.mel.shape[1])
            batch.mel[row, :, :known] = one.mel[:, :known]
            batch.mel[row, :, known:] = max(-1.5, float(one.mel.max()) - 2.0)
            ids = one.ids
            batch.inputs[row, : len(ids) - 1] = ids[:-1]
            batch.targets[row, one.learned_from - 1 : len(ids) - 1] = ids[one.learned_from :]
            if ids[one.learned_from] == self._tokens.no_speech:  # what is said aloud is never the token after it
                batch.inputs[row, one.learned_from] = self._tokens.no_timestamps
            for index, start, end in one.spans:
                place = (start / POSITION, max(end, start + POSITION) / POSITION)
                batch.next[row, index - 1] = place
                if index < length and index < len(ids) - 1:
                    batch.here[row, index] = place
            self._label(batch.phonemes[row], one)
        return batch

    def _label(self, row: Array, one: Example) -> None:
        ends = [at for at, _ in one.phonemes[1:]]
        for (start, name), end in zip(one.phonemes, [*ends, one.phonemes[-1][0] + 0.2], strict=True):
            a, b = round(start / POSITION), round(end / POSITION)
            row[a:b] = self._phonemes.get(name, IGNORED)
        end_ = min(len(row), -(-one.mel.shape[1] // 2))
        row[end_ : end_ + _TAIL_POSITIONS] = 0


def _composed(
    texts: list[str], manner: Manner, rng: Random
) -> tuple[noise.Sound, list[tuple[str, float, float]], list[tuple[float, str]]]:
    """Sentences one after another with silence around them: the sound, its words and its phonemes."""
    sound = [np.zeros(int(rng.choice([0, rng.uniform(0, 0.3), rng.uniform(0.1, 0.7)]) * VAD_RATE), np.float32)]
    words: list[tuple[str, float, float]] = []
    phonemes: list[tuple[float, str]] = [(0.0, "_")]
    for n, text in enumerate(texts):
        offset = sum(map(len, sound)) / VAD_RATE
        spoken: Spoken = speak(text, manner)
        if len(spoken.words) != len(bare(text).split()):
            continue
        words += [
            (word, offset + start, offset + end)
            for word, (start, end) in zip(bare(text).split(), spoken.words, strict=True)
        ]
        phonemes += [(offset + at, name) for at, name in spoken.phonemes]
        sound.append(spoken.samples.astype(np.float32) / np.float32(32768))
        pause = rng.uniform(0, 0.6) if n < len(texts) - 1 else rng.choice([0, 0, rng.uniform(0, 0.8)])
        sound.append(np.zeros(int(pause * VAD_RATE), np.float32))
    return np.concatenate(sound), words, phonemes


def _cut(
    sound: noise.Sound, words: list[tuple[str, float, float]], phonemes: list[tuple[float, str]], rng: Random
) -> tuple[noise.Sound, list[tuple[str, float, float]], list[tuple[float, str]]]:
    """Sometimes begun too late or ended too soon, as partial transcripts are."""
    dice = rng.random()
    if dice < 0.1:
        end = rng.uniform(0.25, 1.0) * len(sound) / VAD_RATE
        words = [word for word in words if word[1] + 0.65 * (word[2] - word[1]) <= end]
        words = [(word, a, min(b, end)) for word, a, b in words]
        return sound[: int(end * VAD_RATE)], words, [one for one in phonemes if one[0] < end]
    if dice < 0.13:
        _, start, end = words[0]
        share = rng.uniform(0, 0.9)
        at = start + share * (end - start)
        kept = words if share < 0.3 else words[1:]
        return (
            sound[int(at * VAD_RATE) :],
            [(word, max(0.0, a - at), b - at) for word, a, b in kept],
            [(0.0, "_"), *((max(0.0, t - at), name) for t, name in phonemes if t >= at)],
        )
    return sound, words, phonemes


def _window(samples: int, rng: Random, padded: float) -> int:
    """Frames of the window: as tight as it gets, as the engine makes them, or longer."""
    least = -(-samples // HOP) + 3
    dice = rng.random()
    if dice < padded:
        return rng.choice([LONGEST_FRAMES, rng.randrange(min(least, 2900), LONGEST_FRAMES) // 2 * 2])
    if dice < padded + 0.68:
        return min(LONGEST_FRAMES, -(-(least + rng.randint(0, 60)) // 2) * 2)
    return max(window_frames(samples), -(-least // 2) * 2)


def _masked(mel: Array, rng: Random) -> Array:
    """Sometimes without some bands or a moment, so that it does not hang on either."""
    if rng.random() < 0.2:
        for _ in range(rng.randint(1, 2)):
            width = rng.randint(2, 12)
            low = rng.randrange(80 - width)
            mel[low : low + width] = mel.mean()
    if rng.random() < 0.1 and mel.shape[1] > 60:
        width = rng.randint(2, 8)
        at = rng.randrange(mel.shape[1] - width)
        mel[:, at : at + width] = mel.mean()
    return mel
