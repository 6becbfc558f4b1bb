"""How well and how soon recorded people are understood, by one recogniser or another, over a real connection.

    python -m tests.benchmarks.ears ASSETS/audio [--models auto whisper-base] [--conditions clean pink15 …] [--rounds 1]

For each model a server is started (`--stt-model MODEL`, the starter model, espeak-ng), and each clip goes through Opus
and WebRTC on a connection of its own: clean, and with white or pink noise whose power is 15 or 10 dB below the clip's.
What counts are the words of the final transcripts, in however many turns: substituted, left out and added ones together
over those that were said. Punctuation, capitals and hyphens do not count. Endpoint, transcript and voice to voice are
medians over all turns that were answered, as the server measures them: end of speech → first sound.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from media.frames import Samples
from media.resample import Resampler
from pipelines.interfaces.vad import VAD_RATE
from server.cli.talk import TalkOptions, exchange
from server.headless.sounds import read_sound

RATE = 48_000
CLIPS = {
    "jfk48.wav": "And so my fellow Americans ask not what your country can do for you ask what you can do for your "
    "country",
    "LJ001-0002.wav": "in being comparatively modern",
    "LJ001-0004.wav": "produced the block books which were the immediate predecessors of the true printed book",
    "sense_and_sensibility_01_austen_64kb-0870.wav": "and mister john dashwood had then leisure to consider how much "
    "there might be prudently in his power to do for them",
    "sense_and_sensibility_01_austen_64kb-0880.wav": "he was not an ill disposed young man",
    "sense_and_sensibility_01_austen_64kb-0890.wav": "unless to be rather cold hearted and rather selfish is to be ill "
    "disposed",
}
CONDITIONS = ("clean", "white15", "white10", "pink15", "pink10")
_SAME = {"mr": "mister", "blockbooks": "block books"}


@dataclass(slots=True)
class Score:
    """What has been understood under one condition."""

    errors: int = 0
    words: int = 0
    turns: int = 0


@dataclass(slots=True)
class Figures:
    """Of one model."""

    scores: dict[str, Score] = field(default_factory=lambda: defaultdict(Score))
    milliseconds: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


def words_of(text: str) -> list[str]:
    """Lower-case words, compounds in parts.

    >>> words_of("Mr. Dashwood's cold-hearted BLOCKBOOKS")
    ['mister', "dashwood's", 'cold', 'hearted', 'block', 'books']
    """
    plain = re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))
    return " ".join(_SAME.get(word, word) for word in plain).split()


def word_errors(said: list[str], heard: list[str]) -> int:
    """The least number of words to change, add or leave out (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for n, word in enumerate(said, 1):
        before, row[0] = row[0], n
        for k, other in enumerate(heard, 1):
            before, row[k] = row[k], min(row[k] + 1, row[k - 1] + 1, before + (word != other))
    return row[-1]


def with_noise(samples: Samples, condition: str, seed: int) -> Samples:
    """16 kHz ``samples`` with the noise that ``condition`` names."""
    found = re.fullmatch(r"(white|pink)(\d+)", condition)
    if found is None:
        return samples
    noise = np.random.default_rng(seed).standard_normal(len(samples))
    if found[1] == "pink":
        spectrum = np.fft.rfft(noise)
        noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), len(samples))
    power = np.sqrt(np.mean(samples.astype(np.float64) ** 2)) * 10 ** (-int(found[2]) / 20)
    return np.clip(samples + noise / noise.std() * power, -32768, 32767).astype(np.int16)


async def started(model: str) -> tuple[asyncio.subprocess.Process, str]:
    """A server that listens with ``model``, and its URL."""
    flags = ("--stt-model", model, "--chat-model", "starter", "--tts-model", "espeak-ng", "--no-download")
    command = (sys.executable, "-m", "server", "serve", "--port", "0", *flags)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if b"ready" in line and (found := re.search(rb"http://[^ ]+", line)):
            return process, found[0].decode()
    raise SystemExit(f"the server with {model} did not start")


def utterances(folder: Path, conditions: list[str], rounds: int) -> Iterator[tuple[str, str, Samples]]:
    """Condition, words and sound (48 kHz with silence around) of each clip."""
    clips = {name: Resampler(VAD_RATE).push(read_sound(folder / name), RATE) for name in CLIPS}
    for seed in range(rounds):
        for condition in conditions:
            for name, said in CLIPS.items():
                sound = np.pad(with_noise(clips[name], condition, seed), VAD_RATE // 2)
                yield condition, said, Resampler(RATE).push(sound, VAD_RATE)


async def measure(url: str, options: argparse.Namespace, console: Console) -> Figures:
    """Say everything to a server."""
    figures = Figures()
    for condition, said, sound in utterances(options.folder, options.conditions, options.rounds):
        transcript, _ = await exchange(sound, TalkOptions(Path(), None, url))
        heard = " ".join(turn.user for turn in transcript.turns)
        score = figures.scores[condition]
        errors = word_errors(words_of(said), words_of(heard))
        score.errors += errors
        score.words += len(words_of(said))
        score.turns += len(transcript.turns)
        for turn in transcript.turns:
            if turn.latency_ms is not None:
                figures.milliseconds["voice to voice"].append(turn.latency_ms)
                for part in ("endpoint", "transcript"):
                    if part in turn.parts_ms:
                        figures.milliseconds[part].append(turn.parts_ms[part])
        if options.detail:
            console.print(f"{condition:8} {errors:2} errors: {heard}", markup=False, highlight=False)
    return figures


def report(found: dict[str, Figures], conditions: list[str], console: Console) -> None:
    """Print what was found."""
    table = Table("heard by", *conditions, "all with noise", title="Word errors")
    for model, figures in found.items():
        noisy = [score for condition, score in figures.scores.items() if condition != "clean"]
        total = Score(sum(score.errors for score in noisy), sum(score.words for score in noisy))
        table.add_row(model, *(_share(figures.scores[condition]) for condition in conditions), _share(total))
    console.print(table)
    for model, figures in found.items():
        parts = ", ".join(f"{name} {median(all_of):.0f} ms" for name, all_of in figures.milliseconds.items())
        console.print(f"{model}: medians of {len(figures.milliseconds['voice to voice'])} turns: {parts}")


def _share(score: Score) -> str:
    return f"{100 * score.errors / score.words:.1f} % ({score.errors} of {score.words})" if score.words else "–"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=["auto", "whisper-base"])
    parser.add_argument("--conditions", nargs="+", default=list(CONDITIONS))
    parser.add_argument("--rounds", type=int, default=1, help="the noise is another one in each (default %(default)s)")
    parser.add_argument("--detail", action="store_true")
    options = parser.parse_args()
    console, found = Console(), {}
    for model in options.models:
        process, url = await started(model)
        assert process.stdout is not None
        draining = asyncio.create_task(process.stdout.read())
        try:
            found[model] = await measure(url, options, console)
        finally:
            process.terminate()
            await process.wait()
            await draining
    report(found, options.conditions, console)


if __name__ == "__main__":
    asyncio.run(main())
