"""What Whisper costs on this machine: short windows, partials, batches. ``base`` by size, with random weights.

    python -m tests.benchmarks.whisper [--model FOLDER] [--device cpu] [--threads 1] [--rounds 5]

Random weights say nothing, and never stop: each transcript is given the length of ordinary speech, 3.5 tokens a second.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Callable, Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from media.frames import Samples
from pipelines.engines.stt import whisper_decode
from pipelines.engines.stt.whisper import WhisperRecognizer
from pipelines.engines.stt.whisper_decode import Request
from pipelines.engines.stt.whisper_model import Whisper, load_whisper
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.engines.stt.whisper_windows import LONGEST_FRAMES, MARGIN_FRAMES, Guard, window_frames
from pipelines.interfaces.vad import VAD_RATE, VAD_WINDOW
from pipelines.models.residency import Kept
from tests.fakes import tiny_whisper

TOKENS_PER_SECOND = 3.5
BELIEVE = Guard(least_logprob=-1000.0, most_compression=1000.0)


class TimedWhisper(Whisper):
    """Adds up the seconds of its steps."""

    def __init__(self, whisper: Whisper) -> None:
        super().__init__(whisper._model)
        self.encoder_runs = 0
        self.decoding = 0.0

    def encode(self, spectrograms: Any) -> Any:
        self.encoder_runs += len(spectrograms)
        return super().encode(spectrograms)

    def generate(self, *args: Any, **limits: Any) -> Any:
        begun = perf_counter()
        try:
            return super().generate(*args, **limits)
        finally:
            self.decoding += perf_counter() - begun


def speech(seconds: float, seed: int = 0) -> Samples:
    """Noise that swells and fades."""
    n = int(seconds * VAD_RATE)
    loudness = 1500 * (1.2 + np.sin(np.arange(n) / VAD_RATE * 12))
    return (np.random.default_rng(seed).normal(0, 1, n) * loudness).astype(np.int16)


def speak(seconds: float | None) -> None:
    """Transcripts get the length of ``seconds`` of speech, or (``None``) that of their window."""

    def tokens(frames: int) -> int:
        return round(TOKENS_PER_SECOND * (seconds or max(0.5, (frames - MARGIN_FRAMES) / 100)))

    whisper_decode.most_new_tokens = tokens


def engine(whisper: Whisper, **settings: Any) -> WhisperRecognizer:
    batch = settings.pop("max_batch", 1)
    chosen = WhisperSettings(**{"language": "en", "guard": BELIEVE, "partial_seconds": 0.0, **settings})
    return WhisperRecognizer(Kept("whisper-base", whisper), chosen, max_batch=batch, max_wait=0.1)


async def transcribe(recognizer: WhisperRecognizer, samples: Samples) -> None:
    recognition = await recognizer.open()
    await recognition.feed(samples)
    await recognition.transcript()
    await recognition.close()


async def milliseconds(work: Callable[[], Coroutine[Any, Any, object]]) -> float:
    begun = perf_counter()
    await work()
    return 1000 * (perf_counter() - begun)


async def windows(whisper: TimedWhisper, rounds: int) -> Table:
    """Short windows beside padded ones, alternately."""
    table = Table("turn", "short, ms", "padded, ms", "padded ÷ short", title="Final transcript, medians")
    recognizer = engine(whisper)
    for seconds in (2, 3, 5):
        speak(seconds)
        turn, short, padded = speech(seconds), [], []

        async def pad(turn: Samples = turn) -> None:
            await recognizer.decode(Request(turn, LONGEST_FRAMES, "en", final=True))

        async def shorten(turn: Samples = turn) -> None:
            await transcribe(recognizer, turn)

        await shorten()
        for _ in range(rounds):
            short.append(await milliseconds(shorten))
            padded.append(await milliseconds(pad))
        one, other = statistics.median(short), statistics.median(padded)
        table.add_row(f"{seconds} s", f"{one:.0f}", f"{other:.0f}", f"{other / one:.1f}")
    await recognizer.close()
    return table


async def partials(whisper: TimedWhisper, rounds: int) -> Table:
    """A turn of 5 s at the pace of speech, 32 ms at a time."""
    title = "A turn of 5 s as it is spoken"
    table = Table("partials", "delay, ms", "final after, ms", "encoder runs for it", "cores", title=title)
    speak(None)
    recognizer = engine(whisper, partial_seconds=0.6, language=None)
    for _ in range(rounds):
        turn, delays, ends = speech(5), [], {}
        recognition = await recognizer.open()
        hear = recognition._hear

        def heard(what: Any, hear: Any = hear, delays: list[float] = delays, ends: dict[int, float] = ends) -> None:
            delays.append(1000 * (perf_counter() - ends[what.length]))
            hear(what)

        recognition._hear = heard  # type: ignore[method-assign]
        begun, used = perf_counter(), process_time()
        for end in range(VAD_WINDOW, len(turn) + 1, VAD_WINDOW):
            await asyncio.sleep(max(0.0, begun + end / VAD_RATE - perf_counter()))
            ends[end] = begun + end / VAD_RATE
            await recognition.feed(turn[end - VAD_WINDOW : end])
        cores = (process_time() - used) / (perf_counter() - begun)
        shown, runs = len(delays), whisper.encoder_runs
        final = await milliseconds(recognition.transcript)
        await recognition.close()
        middle = f"{statistics.median(delays[:shown]):.0f} (at most {max(delays[:shown]):.0f})"
        table.add_row(str(shown), middle, f"{final:.0f}", str(whisper.encoder_runs - runs), f"{cores:.2f}")
    await recognizer.close()
    return table


async def batches(whisper: TimedWhisper, rounds: int) -> Table:
    """Four sessions that end their turns at once, beside one after another."""
    title = "Four finals, medians of decoding time (all) in ms"
    table = Table("turns", "one by one", "together", "decoding: one by one ÷ together", title=title)
    for seconds in (2, 5):
        speak(seconds)
        turns = [speech(seconds, seed) for seed in range(4)]
        singly, together = engine(whisper), engine(whisper, max_batch=4)
        figures: dict[str, list[tuple[float, float]]] = {"singly": [], "together": []}

        async def one_by_one(recognizer: WhisperRecognizer = singly, turns: list[Samples] = turns) -> None:
            for turn in turns:
                await transcribe(recognizer, turn)

        async def at_once(recognizer: WhisperRecognizer = together, turns: list[Samples] = turns) -> None:
            await asyncio.gather(*(transcribe(recognizer, turn) for turn in turns))

        for _ in range(rounds):
            for name, work in (("singly", one_by_one), ("together", at_once)):
                whisper.decoding = 0.0
                all_of_it = await milliseconds(work)
                figures[name].append((1000 * whisper.decoding, all_of_it))
        one, other = ([statistics.median(column) for column in zip(*rows, strict=True)] for rows in figures.values())
        counts = together.worker.counts()
        batch = f"{other[0]:.0f} ({other[1]:.0f}), {counts.jobs / counts.batches:.1f} a batch"
        table.add_row(f"4 × {seconds} s", f"{one[0]:.0f} ({one[1]:.0f})", batch, f"{one[0] / other[0]:.1f}")
        await singly.close()
        await together.close()
    return table


async def measure(whisper: Whisper, rounds: int) -> None:
    console, timed = Console(), TimedWhisper(whisper)
    console.print(f"{whisper.device}, {whisper.compute_type}; window for 5 s: {window_frames(5 * VAD_RATE)} frames")
    for part in (windows, partials, batches):
        console.print(await part(timed, rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, help="folder of a Whisper for CTranslate2 (default: base, random weights)"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        model = arguments.model or tiny_whisper.build(Path(folder), tiny_whisper.BASE)
        asyncio.run(measure(load_whisper(model, arguments.device, threads=arguments.threads), arguments.rounds))


if __name__ == "__main__":
    main()
