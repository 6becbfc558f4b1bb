"""The examination of the starter Whisper: unseen sentences by unseen voices, through the engine that serves it.

Each of :func:`sentences` is spoken by a voice variant that training never heard,
clean, in noise and through Opus. Windows are as short as the engine makes them, and 30 s long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from random import Random
from statistics import median

import numpy as np

from media.frames import Samples
from pipelines.engines.whisper import WhisperRecognizer
from pipelines.engines.whisper_decode import Decoded, Request
from pipelines.engines.whisper_model import load_whisper
from pipelines.engines.whisper_settings import WhisperSettings
from pipelines.engines.whisper_windows import LONGEST_FRAMES, window_frames
from pipelines.models.residency import Kept
from pipelines.ports import VAD_RATE
from pipelines.starter import speech_noise as noise
from pipelines.starter.evaluate import Tell, silent, training_sentences
from pipelines.starter.speech_model_files import shipped
from pipelines.starter.speech_text import bare, familiar, held_out
from pipelines.starter.speech_voice import HELD_OUT, Manner, speak

CLOSE = 0.12
"""Seconds by which the beginning of a word may be off."""
_BEFORE, _AFTER = 0.25, 0.3
"""Silence around the sentence, in seconds."""
_ACCENTS = ("en-us", "en-us", "en", "en-us", "en-gb-x-rp", "en-us", "en-gb-scotland")
_BUILT_IN = ("en-us", "en-us+f3", "en-us+Annie", "en-us+Alex", "en-us+max", "en", "en-gb-x-rp", "en-gb-scotland")
_ALIKE = {"colour": "color", "favourite": "favorite", "ok": "okay", "gray": "grey"}
"""Spellings of one word."""
_SILENCES = 24
_PADDED = ("clean", "pink noise, 15 dB")
"""Conditions that are heard in 30 s windows, too: these take long."""


@dataclass(slots=True)
class Tally:
    """Words of a condition."""

    words: int = 0
    errors: int = 0

    def add(self, said: str, heard: str) -> int:
        """Count a sentence; returns its errors."""
        wrong = word_errors(said, heard)
        self.words += len(said.split())
        self.errors += wrong
        return wrong

    @property
    def rate(self) -> float:
        """Word errors, 0–1 (more where words are made up)."""
        return self.errors / max(1, self.words)


@dataclass(slots=True)
class SpeechReport:
    """What was found."""

    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    """By condition and window: ``short`` or ``30 s``; ``known`` are those in short ones of familiar words only."""
    voices: dict[str, Tally] = field(default_factory=dict)
    """By voice variant: clean, short windows."""
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"short": [], "30 s": []})
    """Each decoding of a clean sentence took so long."""
    early: list[float] = field(default_factory=list)
    """Seconds by which each word was timed after it began."""
    silent: int = 0
    """Of ``silences``, so many gave no text."""
    silences: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trial:
    """A sentence as sound."""

    text: str
    voice: str
    sound: noise.Sound
    starts: tuple[float, ...]
    """Seconds at which its words begin."""


def trials(voices: Sequence[str], texts: Sequence[str]) -> list[Trial]:
    """Each sentence by one of the voices, in turn."""
    found = []
    for n, text in enumerate(texts):
        voice = voices[n % len(voices)]
        spoken = speak(text, Manner(voice))
        sound = np.pad(spoken.samples, (int(_BEFORE * VAD_RATE), int(_AFTER * VAD_RATE))).astype(np.float32) / 32768
        starts = tuple(_BEFORE + start for start, _ in spoken.words)
        found.append(Trial(text, voice, sound.astype(np.float32), starts))
    return found


def unseen() -> list[Trial]:
    """Held-out sentences by the held-out voices, in the accents of the product."""
    voices = [f"{_ACCENTS[n % len(_ACCENTS)]}+{HELD_OUT[n % len(HELD_OUT)]}" for n in range(70)]
    return trials(voices, sentences())


def sentences() -> list[str]:
    """Every third of the held-out ones that the grammar of the training text does not make by itself, either."""
    made = training_sentences()
    return sorted(text for text in held_out() if text not in made)[::3]


class SpeechExaminer:
    """Lets a model hear the trials and judges what it understood."""

    def __init__(self, folder: Path) -> None:
        whisper = Kept("starter-whisper", load_whisper(folder, "cpu", threads=1))
        self._engine = WhisperRecognizer(whisper, WhisperSettings(language="en"))
        self._timed = WhisperRecognizer(whisper, WhisperSettings(language="en", word_timestamps=True))
        self.report = SpeechReport()

    async def run(self, chosen: Sequence[Trial] | None = None, tell: Tell = silent) -> SpeechReport:
        """All trials, or ``chosen``."""
        if chosen is None:
            training_sentences(tell)
        wanted = unseen() if chosen is None else chosen
        for kind in ("clean", "pink noise, 15 dB", "babble, 15 dB", "Opus, 16 kbit/s"):
            rng = Random(2026)
            for n, trial in enumerate(wanted):
                tell(f"unseen voices, {kind}", n, len(wanted))
                samples = noise.as_samples(_roughened(kind, trial.sound, wanted, rng))
                await self._judge(f"unseen voices, {kind}", trial, samples, padded=kind in _PADDED)
        if chosen is None:
            built_in = trials(_BUILT_IN, sentences())
            for n, trial in enumerate(built_in):
                tell("built-in voices", n, len(built_in))
                await self._judge("built-in voices, clean", trial, noise.as_samples(trial.sound), padded=False)
        for n, trial in enumerate(wanted):
            tell("times of words", n, len(wanted))
            await self._time(trial)
        await self._hear_nothing()
        await self._engine.close()
        await self._timed.close()
        return self.report

    async def _judge(self, condition: str, trial: Trial, samples: Samples, *, padded: bool) -> None:
        said = _spelled(trial.text)
        for window in ("short", "30 s") if padded else ("short",):
            frames = window_frames(len(samples)) if window == "short" else LONGEST_FRAMES
            began = time.perf_counter()
            decoded = await self._decode(self._engine, samples, frames)
            took = time.perf_counter() - began
            heard = _spelled(decoded.said.text)
            wrong = self.report.tallies.setdefault((condition, window), Tally()).add(said, heard)
            if window == "short" and familiar() >= set(trial.text.split()):
                self.report.tallies.setdefault((condition, "known"), Tally()).add(said, heard)
            if condition == "unseen voices, clean":
                self.report.seconds[window].append(took)
                if window == "short":
                    variant = trial.voice.partition("+")[2] or trial.voice
                    self.report.voices.setdefault(variant, Tally()).add(said, heard)
            if wrong:
                self.report.failures.append(f"{condition}, {window}, {trial.voice}: {said!r} -> {heard!r}")

    async def _time(self, trial: Trial) -> None:
        samples = noise.as_samples(trial.sound)
        decoded = await self._decode(self._timed, samples, window_frames(len(samples)))
        said, words = trial.text.split(), decoded.words or ()
        matches = SequenceMatcher(None, said, [bare(word.text) for word in words], autojunk=False)
        for match in matches.get_matching_blocks():
            for n in range(match.size):
                self.report.early.append(words[match.b + n].start - trial.starts[match.a + n])

    async def _hear_nothing(self) -> None:
        rng = Random(7)
        kinds = ("white", "pink", "hum", "clicks")
        for n in range(_SILENCES):
            length = rng.randrange(VAD_RATE // 2, 4 * VAD_RATE)
            level = 0.0 if n == 0 else 10 ** rng.uniform(-3, -0.7)
            samples = noise.as_samples(noise.bank(kinds[n % 4])[-length:] * np.float32(level))
            decoded = await self._decode(self._engine, samples, window_frames(length))
            self.report.silences += 1
            silent = not decoded.said.text or self._engine.settings.guard.is_silence(decoded.said)
            self.report.silent += silent
            if not silent:
                self.report.failures.append(f"{kinds[n % 4]}, {level:.3f}: -> {decoded.said.text!r}")

    @staticmethod
    async def _decode(engine: WhisperRecognizer, samples: Samples, frames: int) -> Decoded:
        decoded = await engine.decode(Request(samples, frames, "en", final=True))
        assert decoded is not None  # final ones never make way
        return decoded


def _roughened(kind: str, sound: noise.Sound, others: Sequence[Trial], rng: Random) -> noise.Sound:
    if kind.startswith("pink"):
        bank = noise.bank("pink")
        start = rng.randrange(len(bank) // 2)
        return noise.mixed(sound, np.resize(bank[start:], len(sound)), 15)
    if kind.startswith("babble"):
        return noise.mixed(sound, noise.babble([other.sound for other in others], len(sound), rng), 15)
    return noise.opus(sound, 16_000) if kind.startswith("Opus") else sound


def evaluate_speech(
    folder: Path | None = None, chosen: Sequence[Trial] | None = None, tell: Tell = silent
) -> SpeechReport:
    """Examine the model in ``folder``, or the one that ships. Blocking: some minutes on one core."""

    async def examine() -> SpeechReport:
        return await SpeechExaminer(folder or shipped()).run(chosen, tell)

    return asyncio.run(examine())


def speech_table(report: SpeechReport) -> str:
    """The report as the table of the model card (Markdown)."""
    lines = ["| word errors | short windows | of familiar words | 30 s windows |", "|---|---|---|---|"]
    for condition in dict.fromkeys(condition for condition, _ in report.tallies):
        cells = [report.tallies.get((condition, window)) for window in ("short", "known", "30 s")]
        lines.append(f"| {condition} | " + " | ".join(_percent(cell) for cell in cells) + " |")
    lines += ["", "| voice (clean, short) | word errors |", "|---|---|"]
    lines += [f"| {voice} | {_percent(tally)} |" for voice, tally in report.voices.items()]
    short, long = (median(report.seconds[window]) for window in ("short", "30 s"))
    off = sorted(abs(seconds) for seconds in report.early) or [0.0]
    close = sum(seconds <= CLOSE for seconds in off) / len(off)
    lines += [
        "",
        "| | |",
        "|---|---|",
        f"| a sentence in a short window, median | {1000 * short:.0f} ms |",
        f"| the same in 30 s | {1000 * long:.0f} ms ({long / short:.1f} times) |",
        f"| beginnings of words, off by (median, p90) | {1000 * median(off):.0f} ms, "
        f"{1000 * off[int(0.9 * (len(off) - 1))]:.0f} ms |",
        f"| within {1000 * CLOSE:.0f} ms | {100 * close:.1f} % of {len(off)} words |",
        f"| silences and noises without a word | {report.silent} of {report.silences} |",
    ]
    return "\n".join(lines)


def word_errors(said: str, heard: str) -> int:
    """Words to be replaced, inserted or left out to make one of the other (Levenshtein)."""
    want, got = said.split(), heard.split()
    row = list(range(len(got) + 1))
    for n, word in enumerate(want, 1):
        before, row[0] = row[0], n
        for m, other in enumerate(got, 1):
            before, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, before + (word != other))
    return row[-1]


def _spelled(text: str) -> str:
    return " ".join(_ALIKE.get(word, word) for word in bare(text).split())


def _percent(tally: Tally | None) -> str:
    return "" if tally is None else f"{100 * tally.rate:.1f} % of {tally.words}"
