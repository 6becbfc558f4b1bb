"""Thirty spoken questions, by ear: heard, answered, spoken and heard again, over a real connection.

    visavis serve
    python -m tests.benchmarks.spoken [--url http://127.0.0.1:8080] [--questions 30] [--detail] [--piper]

The questions are closed ones of the starter model's examination, spoken by espeak-ng in its eight English voices, or by
the Piper voice Joe, whom recognisers trained on people understand; each goes through Opus and WebRTC on a connection of
its own. What comes back is recognised by Whisper base. An answer counts when what was *heard* of it matches what the
question wants; "as text" is the same of the words the server meant to say. Voice to voice is measured by the server:
end of speech → first sound.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from media.frames import Samples
from media.resample import Resampler
from pipelines.engines.stt.whisper import WhisperRecognizer
from pipelines.engines.stt.whisper_model import load_whisper
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.engines.tts.piper_voices import PiperVoices, load_piper
from pipelines.interfaces.vad import VAD_RATE
from pipelines.models.residency import Kept
from pipelines.models.store import ModelStore
from server.cli.talk import TalkOptions, Transcript, exchange
from server.settings import load_settings
from training.starter.evaluate import passes, unseen
from training.starter.examination import probes
from training.starter.probe import Probe

RATE = 48_000
JOE = "piper-en_US-joe-medium"
KINDS = (
    "sums", "opposites", "the world", "colours", "days and months", "counting", "who are you", "greetings", "jokes",
    "animals", "abilities", "numbers before and after", "how are you", "thanks", "farewells", "riddles", "moods",
    "can you hear me", "praise", "quiet",
)  # fmt: skip
"""Of questions that need nothing but the words; no kind comes twice before all have come."""


@dataclass(slots=True)
class Result:
    """One question and what became of it."""

    probe: Probe
    voice: str
    understood: str = ""
    answered: str = ""
    heard: str = ""
    latency_ms: int | None = None
    parts_ms: dict[str, int] = field(default_factory=dict)

    @property
    def as_text(self) -> bool:
        """Whether the server meant to say the right thing."""
        return passes(self.answered, self.probe.good)

    @property
    def passed(self) -> bool:
        """Whether the right thing was heard: in the signs of what was said, for ears hear none."""
        return passes(as_written(self.heard, self.answered), self.probe.good)


def as_written(heard: str, answered: str) -> str:
    """``answered`` with the words that were heard otherwise replaced; signs and capitals stay.

    >>> as_written("why did it blush it herd everything", "Why did it blush? It heard everything.")
    'Why did it blush? It herd everything.'
    """
    words = re.findall(r"[A-Za-z0-9']+", answered)
    said, got = [word.lower() for word in words], heard.lower().split()
    signs = re.split(r"[A-Za-z0-9']+", answered)  # one more than words
    written = signs[0]
    for kind, start, end, first, last in SequenceMatcher(None, said, got, autojunk=False).get_opcodes():
        if kind == "equal":
            written += "".join(words[n] + signs[n + 1] for n in range(start, end))
        else:
            written += " ".join(got[first:last]) + (signs[end] if end > start else " ")
    return written


def questions(number: int) -> list[Probe]:
    """So many single questions, the kinds in turn."""
    by_kind: dict[str, list[Probe]] = defaultdict(list)
    for probe in unseen(probes()):
        if probe.kind in KINDS and len(probe.said) == 1 and not (probe.scene or probe.tools or probe.now):
            by_kind[probe.kind].append(probe)
    longest = max(map(len, by_kind.values()))
    ordered = [by_kind[kind][n] for n in range(longest) for kind in KINDS if n < len(by_kind[kind])]
    return ordered[:number]


async def ask(probe: Probe, mouth: EspeakVoice | PiperVoices, voice: str, ear: WhisperRecognizer, url: str) -> Result:
    """Speak the question to the server and listen to the answer."""
    spoken = [piece async for piece in mouth.synthesize(probe.said[0], voice)]
    rate = spoken[0].rate
    silence = np.zeros(rate // 2, np.int16)
    sound = np.concatenate([silence, *(piece.samples for piece in spoken), silence])
    transcript, returned = await exchange(Resampler(RATE).push(sound, rate), TalkOptions(Path(), None, url))
    result = Result(probe, voice)
    _note(transcript, result)
    result.heard = await _recognised(ear, Resampler(VAD_RATE).push(returned, RATE))
    return result


def _note(transcript: Transcript, result: Result) -> None:
    result.understood = " / ".join(turn.user for turn in transcript.turns)
    result.answered = " ".join(turn.assistant for turn in transcript.turns).strip()
    timed = [turn for turn in transcript.turns if turn.latency_ms is not None]
    if timed:
        result.latency_ms, result.parts_ms = timed[-1].latency_ms, timed[-1].parts_ms


async def _recognised(ear: WhisperRecognizer, samples: Samples) -> str:
    """What was said, pauses and all."""
    recognition = await ear.open()
    try:
        for sentence in _sentences(samples):
            await recognition.feed(sentence)
        return (await recognition.transcript()).text
    finally:
        await recognition.close()


def _sentences(samples: Samples) -> list[Samples]:
    """Without the silence before and after."""
    loud = np.flatnonzero(np.abs(samples) > 300)
    if not len(loud):
        return []
    edge = VAD_RATE // 5
    return [samples[max(0, loud[0] - edge) : loud[-1] + edge]]


def report(results: Sequence[Result], console: Console, detail: bool) -> None:
    """Print what was found."""
    if detail:
        table = Table("kind", "said", "understood", "answered", "heard", "ms", "ok")
        for r in results:
            table.add_row(
                r.probe.kind, r.probe.said[0], r.understood, r.answered, r.heard, str(r.latency_ms),
                "yes" if r.passed else "text only" if r.as_text else "no",
            )  # fmt: skip
        console.print(table)
    number = len(results)
    for name, good in (("heard", sum(r.passed for r in results)), ("as text", sum(r.as_text for r in results))):
        console.print(f"acceptable, {name}: {good} of {number} ({100 * good / number:.0f} %)", highlight=False)
    latencies = sorted(r.latency_ms for r in results if r.latency_ms is not None)
    if latencies:
        p95 = latencies[int(0.95 * (len(latencies) - 1))]
        console.print(
            f"voice to voice: median {median(latencies):.0f} ms, p95 {p95} ms, worst {latencies[-1]} ms, "
            f"n {len(latencies)}", highlight=False,
        )  # fmt: skip
    parts = list(dict.fromkeys(part for r in results for part in r.parts_ms))
    medians = {part: median([r.parts_ms[part] for r in results if part in r.parts_ms]) for part in parts}
    console.print("of which (medians): " + ", ".join(f"{part} {ms:.0f} ms" for part, ms in medians.items()))


def joe(store: ModelStore) -> PiperVoices:
    """A voice that was learned from a man."""
    files = store.ensure(JOE).files.values()
    network = next(path for path in files if path.suffix == ".onnx")
    config = next(path for path in files if path.name.endswith(".onnx.json"))
    return PiperVoices({"joe": Kept("joe", load_piper(network, config, 1, "cpu"))})


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--questions", type=int, default=30)
    parser.add_argument("--detail", action="store_true")
    parser.add_argument("--piper", action="store_true", help="Joe asks, and not espeak-ng")
    options = parser.parse_args()
    store = ModelStore(load_settings({}).model_cache)
    whisper = store.ensure("whisper-base").path
    ear = WhisperRecognizer(Kept("ear", load_whisper(whisper, "cpu", threads=1)), WhisperSettings(language="en"))
    mouth = joe(store) if options.piper else EspeakVoice()
    results = []
    try:
        for n, probe in enumerate(questions(options.questions)):
            results.append(await ask(probe, mouth, mouth.voices[n % len(mouth.voices)], ear, options.url))
    finally:
        await mouth.close()
        await ear.close()
    report(results, Console(), options.detail)


if __name__ == "__main__":
    asyncio.run(main())
