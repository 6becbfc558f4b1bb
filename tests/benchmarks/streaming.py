"""Streaming against batch, by the same engines on the same clip, alternating in one run.

    python -m tests.benchmarks.streaming [--rounds 5] [--stt-model whisper-base] [--tts-model en_US-joe-medium]

First word: about 5 s of speech, said by the voice itself, comes as from a microphone in pieces of 20 ms; from its
beginning to the first words, partial ones too. First audio: from about 100 characters of text to the first sound.
After the speech: the same clip through recogniser, language model and voice; from the end of the speech to the first
sound. What counts are the ratios of the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from media.frames import Samples
from media.resample import Resampler
from pipelines.interfaces.task import TaskRunner
from pipelines.interfaces.vad import VAD_RATE
from pipelines.routing.definition import Pipeline, Stage
from pipelines.routing.executor import Executor, StageOutput
from pipelines.routing.items import Item, Partial, Sound, Text
from pipelines.routing.run import Attempt, Wishes
from pipelines.voice.settings import VoiceEngines
from server.engines.build import build_engines
from server.settings import load_settings

SPEECH = "The station is closed today because of the storm, but tomorrow morning the trains will run again as usual."
TEXTS = (
    "The museum opens at nine in the morning, and the last visitors are asked to leave before half past five.",
    "There are two ways up the mountain, but only the longer one is safe when it has been raining for a week.",
    "She put the letter on the table, opened a window and listened for a while to the noise of the street.",
    "If the light stays red, unplug the machine, wait for a minute, and then press the large button twice.",
    "Our bread is baked every night with flour from the mill, so it is still warm when the shop is opened.",
    "The library lends out tools as well as books, and most people bring them back cleaner than they were.",
    "When the tide is low you can walk to the island, although nobody would advise you to go there alone.",
)
"""About 100 characters each."""
PIECE = 320
"""Samples: 20 ms."""


@dataclass(slots=True)
class Direct:
    """The conversation's engines as stages ask for them, without routes between."""

    voices: VoiceEngines
    asked: list[str] = field(default_factory=list)

    def recognizer(self, pipeline: Pipeline, stage: Stage) -> Any:
        return self.voices.stt

    def model(self, pipeline: Pipeline, stage: Stage) -> Any:
        return self.voices.llm

    def voice(self, pipeline: Pipeline, stage: Stage) -> Any:
        return self.voices.tts

    def vision(self, pipeline: Pipeline, stage: Stage) -> Any:
        raise NotImplementedError

    def task(self, pipeline: Pipeline, stage: Stage, task: str) -> TaskRunner:
        raise NotImplementedError

    def plan(self, pipeline: Pipeline, stage: Stage, wishes: Wishes) -> Sequence[Attempt]:
        return ()


def pipeline(*stages: dict[str, Any], streams: bool) -> Pipeline:
    options = {"enable_streaming": streams, "preserve_context": False}
    return Pipeline.model_validate({"id": "bench", "stages": stages, "options": options})


async def microphone(samples: Samples) -> AsyncGenerator[Item]:
    """The clip at the speed at which it is spoken."""
    begin = time.perf_counter()
    for at in range(0, len(samples), PIECE):
        await asyncio.sleep(max(0.0, begin + (at + PIECE) / VAD_RATE - time.perf_counter()))
        yield Sound(samples[at : at + PIECE], VAD_RATE, at / VAD_RATE)


async def written(text: str) -> AsyncGenerator[Item]:
    yield Text(text, True)


async def seconds_to(executor: Executor, stages: Pipeline, inputs: Any, kind: type | tuple[type, ...]) -> float:
    """From the beginning of a run to the first output of this kind by its last stage. The run is then given up."""
    sink = stages.stages[-1].id
    begin = time.perf_counter()
    async with executor.start(stages, inputs) as run:
        async for event in run.events():
            if not (isinstance(event, StageOutput) and event.stage == sink and isinstance(event.item, kind)):
                continue
            if isinstance(event.item, Sound) or (isinstance(event.item, Text | Partial) and event.item.text.strip()):
                return time.perf_counter() - begin
    raise RuntimeError(f"nothing came out of {sink}")


async def said(engine: Any, text: str) -> Samples:
    """The text as 16 kHz speech, with half a second of silence behind it."""
    resampler, parts = Resampler(VAD_RATE), []
    async for piece in engine.synthesize(text):
        parts.append(resampler.push(piece.samples, piece.rate))  # noqa: PERF401
    return np.concatenate([*parts, resampler.flush(), np.zeros(VAD_RATE // 2, np.int16)])


LISTEN: dict[str, Any] = {"id": "listen", "type": "audio_to_text"}
THINK: dict[str, Any] = {"id": "think", "type": "text_generation", "options": {"max_tokens": 40}}
SPEAK: dict[str, Any] = {"id": "speak", "type": "text_to_audio"}


async def measured(options: argparse.Namespace, console: Console) -> dict[str, dict[bool, list[float]]]:
    """Seconds by figure and by whether it was streamed."""
    flags: dict[str, Any] = {
        "stt_model": options.stt_model,
        "tts_model": options.tts_model,
        "download": False,
        "vision": False,
    }
    flags["phrase_cache_mb"] = 0  # a voice that remembers would say the text a second time at once
    engines = await build_engines(load_settings(flags))
    executor = Executor(Direct(engines.voice), engines.voice.vad, Resampler, cache_bytes=0)
    figures: dict[str, dict[bool, list[float]]] = {}
    try:
        clip = await said(engines.voice.tts, SPEECH)
        spoken = len(clip) / VAD_RATE - 0.5
        console.print(f"the clip lasts {spoken:.1f} s; {engines.voice.stt.name}, {engines.voice.tts.name}")
        for count in range(options.rounds + 1):
            for streams in (True, False) if count % 2 else (False, True):
                one = {
                    "first word": (pipeline(LISTEN, streams=streams), "audio", (Text, Partial)),
                    "first audio": (pipeline(SPEAK, streams=streams), "text", (Sound,)),
                }
                if options.whole:
                    one["after the speech"] = (pipeline(LISTEN, THINK, SPEAK, streams=streams), "audio", (Sound,))
                for name, (stages, medium, kind) in one.items():
                    source = microphone(clip) if medium == "audio" else written(TEXTS[count % len(TEXTS)])
                    spent = await seconds_to(executor, stages, {medium: source}, kind)
                    if name == "after the speech":
                        spent -= spoken
                    if count:  # the first round warms up
                        figures.setdefault(name, {}).setdefault(streams, []).append(spent)
    finally:
        executor.close()
        await engines.close()
    return figures


def main() -> None:
    """Measure and report; exit status 1 when streaming is not four times as soon."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stt-model", default="auto")
    parser.add_argument("--tts-model", default="auto")
    parser.add_argument("--whole", action="store_true", help="through a language model, too")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    figures = asyncio.run(measured(options, console))
    table = Table("ms, median (worst)", "streamed", "batch", "times sooner")
    missed = False
    for name, modes in figures.items():
        middle = {streams: 1000 * median(values) for streams, values in modes.items()}
        cells = [f"{middle[streams]:.0f} ({1000 * max(modes[streams]):.0f})" for streams in (True, False)]
        table.add_row(name, *cells, f"{middle[False] / middle[True]:.1f}")
        missed |= name != "after the speech" and middle[False] < 4 * middle[True]
    console.print(table)
    sys.exit(missed)


if __name__ == "__main__":
    main()
