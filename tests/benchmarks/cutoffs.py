"""How often a pause is mistaken for the end, and how long the end takes to be noticed: real models, virtual time.

    python -m tests.benchmarks.cutoffs ASSETS/audio [--latency 0.06] [--detail]

Every recording is one utterance followed by silence. It goes through Opus, Silero, the segmenter, the turn machine and
(with ``semantic_vad``) Smart Turn, as in a conversation, but without a recogniser. Each is heard at several phases of
the 32 ms windows. What is a pause and where the speech ends is measured on the recording, as ``bench/client.py`` does:
10 ms that are not louder than 6 % of the loudest. Speech that dies away slowly sounds on after that: "after sound"
(median / worst) counts from the last 10 ms above 1.5 %.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from media.frames import AudioChunk, AudioRing, Rechunker, Samples, rms
from media.opus import RATE
from pipelines.engines.turn.smart_turn import SmartTurn
from pipelines.engines.vad.silero import SileroVad
from pipelines.interfaces.vad import VAD_RATE, VAD_WINDOW
from pipelines.models.store import ModelStore
from pipelines.voice.conversation import RING_SECONDS, SECOND_JUDGEMENT_SECONDS
from pipelines.voice.endpointing import Evidence
from pipelines.voice.turn import (
    Decision,
    TurnBegan,
    TurnEnded,
    TurnMachine,
    TurnMode,
    TurnPaused,
    TurnResumed,
    TurnSettings,
)
from pipelines.voice.vad import Segmenter
from server.evaluation.endpointing.clips import SPEECH_ENDS, Clip, load, prepare

MODES = {
    "semantic_vad": TurnSettings(),
    "server_vad 0.2": TurnSettings(TurnMode.SERVER_VAD, silence_seconds=0.2),
    "server_vad 0.5": TurnSettings(TurnMode.SERVER_VAD, silence_seconds=0.5),
}
CLASSES = ((0.1, 0.3), (0.3, 0.8), (0.8, 99.0))
"""Seconds: pauses are counted by their length."""
PHASES = 4
"""Each recording is heard this often, 8 ms apart."""


@dataclass
class Outcome:
    """What became of one recording, over all phases."""

    cut: list[tuple[float, float, float]] = field(default_factory=list)
    """Begin and end of each pause that ended a turn, and how long it had lasted then."""
    elsewhere: list[float] = field(default_factory=list)
    """Where turns ended in running speech."""
    delays: list[float] = field(default_factory=list)
    """Seconds from the end of the sound to the end of the turn."""
    judged: list[tuple[float, float]] = field(default_factory=list)
    """Time and probability of what the turn detector said."""


def clips(folder: Path) -> Iterator[Clip]:
    """Every recording of ``folder`` and the clip of the voice-to-voice benchmark, which has no silence at its end."""
    for path in sorted(folder.glob("*.wav")):
        yield prepare(path.name, load(path), SPEECH_ENDS.get(path.name))
    bench = folder / "jfk48.wav"
    if bench.exists():
        yield prepare("jfk48.wav 8.1-10.45", load(bench)[int(8.1 * RATE) : int(10.45 * RATE)])


# ---------------------------------------------------------------------------------------------------- listening


class Ear:
    """Listens to recordings with real models; what they say about the same sound is remembered."""

    def __init__(self, latency: float, detector: SmartTurn | None) -> None:
        self.latency = latency
        self._detector = detector
        self._vad = SileroVad()
        self.windows = cache(self._windows)
        self._judged: dict[bytes, float] = {}

    def listen(self, clip: Clip, settings: TurnSettings, phases: int = PHASES) -> Outcome:
        """Hear ``clip`` at every phase."""
        outcome = Outcome()
        for phase in range(phases):
            run = _Run(self, settings)
            for window, probability in self.windows(clip, phase * VAD_WINDOW // phases):
                run.hear(window, probability)
            _note(outcome, clip, run)
        return outcome

    def judge(self, samples: Samples) -> float | None:
        """The turn detector's probability that the turn is complete; ``None`` without a detector."""
        if self._detector is None:
            return None
        key = samples.tobytes()
        if key not in self._judged:
            self._judged[key] = asyncio.run(self._detector.completeness(samples))
        return self._judged[key]

    def _windows(self, clip: Clip, skip: int) -> list[tuple[AudioChunk, float]]:
        activity, rechunker = self._vad.open(), Rechunker(VAD_WINDOW)
        whole = AudioChunk(clip.samples[skip:], VAD_RATE, skip / VAD_RATE)
        return [(window, activity.probability(window.samples)) for window in rechunker.push(whole)]


class _Run:
    """One pass over a recording; what :class:`~pipelines.voice.conversation.Conversation` does, in virtual time."""

    def __init__(self, ear: Ear, settings: TurnSettings) -> None:
        self.ended: list[float] = []
        self.judged: list[tuple[float, float]] = []
        self._ear = ear
        self._machine = TurnMachine(settings)
        self._segmenter = Segmenter()
        self._ring = AudioRing(RING_SECONDS)
        self._began = 0.0
        self._pause: float | None = None
        self._asked = 0
        self._answer: tuple[float, float] | None = None
        """When the turn detector's answer arrives, and what it says."""

    def hear(self, window: AudioChunk, probability: float) -> None:
        """The next window, as in ``Conversation._listen``."""
        self._ring.push(window)
        if self._answer is not None and self._answer[0] <= window.end:
            arrived, sound = self._answer
            self._answer = None
            self._machine.judge(Evidence(sound=sound))
            self._carry_out(self._machine.tick(window.time), arrived)
        voice = self._segmenter.process(probability, rms(window.samples), window.time, window.end)
        decisions = [] if voice is None else self._machine.voice(voice)
        self._carry_out([*decisions, *self._machine.tick(window.end)], window.end)
        waiting = self._pause is not None and self._asked == 1 and self._answer is None
        if waiting and window.end - (self._pause or 0.0) >= SECOND_JUDGEMENT_SECONDS:
            self._ask(window.end)

    def _carry_out(self, decisions: list[Decision], now: float) -> None:
        for decision in decisions:
            self._take(decision, now)

    def _take(self, decision: Decision, now: float) -> None:
        match decision:
            case TurnBegan(time):
                self._began = time
            case TurnPaused(time):
                self._pause, self._asked = time, 0
                self._ask(now)
            case TurnResumed():
                self._pause = self._answer = None
            case TurnEnded():
                self._pause = self._answer = None
                self._segmenter.forget_tail()
                self.ended.append(now)

    def _ask(self, now: float) -> None:
        self._asked += 1
        if self._machine.settings.mode is not TurnMode.SEMANTIC_VAD:
            return
        sound = self._ear.judge(self._ring.since(self._began))
        if sound is not None:
            self._answer = (now + self._ear.latency, sound)
            self.judged.append((now, sound))


def _note(outcome: Outcome, clip: Clip, run: _Run) -> None:
    outcome.judged += run.judged
    for ended in run.ended:
        pause = next(((a, b) for a, b in clip.pauses if a <= ended <= b + 0.1), None)
        if ended >= clip.end:
            outcome.delays.append(ended - clip.end)
        elif pause is not None:
            outcome.cut.append((*pause, ended - pause[0]))
        else:
            outcome.elsewhere.append(ended)


def report(console: Console, clip: Clip, mode: str, outcome: Outcome, table: Table) -> None:
    """One line: of the pauses of each length, how many were cut; and the delay at the end."""
    cells = []
    for low, high in CLASSES:
        there = sum(low <= b - a < high for a, b in clip.pauses)
        cut = sum(low <= b - a < high for a, b, _ in outcome.cut) / PHASES
        cells.append(f"{cut:g} of {there}" if there else "")
    delays = np.array(outcome.delays or [np.nan]) * 1000
    figures = [f"{value:.0f}" for value in (np.median(delays), np.quantile(delays, 0.95), delays.max())]
    died = (clip.sound_end - clip.end) * 1000
    figures.append(f"{np.median(delays) - died:.0f} / {delays.max() - died:.0f}")
    table.add_row(clip.name, mode, *cells, f"{len(outcome.elsewhere) / PHASES:g}", *figures)


def main() -> None:
    """Read the flags, listen, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latency", type=float, default=0.06, help="seconds the turn detector takes")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "visavis" / "models")
    parser.add_argument("--detail", action="store_true", help="list every cut and every judgement")
    flags = parser.parse_args()
    files = ModelStore(flags.cache).find("smart-turn")
    console = Console(width=140)
    if files is None:
        console.print("no smart-turn model in the cache: semantic_vad goes by the length of the pause alone")
    ear = Ear(flags.latency, SmartTurn(files.path) if files is not None else None)
    cuts = [f"cut {low}-{high} s" for low, high in CLASSES]
    table = Table("recording", "mode", *cuts, "in speech", "end ms", "p95", "worst", "after sound")
    for clip in clips(flags.folder):
        for mode, settings in MODES.items():
            outcome = ear.listen(clip, settings)
            report(console, clip, mode, outcome, table)
            if flags.detail and mode == "semantic_vad":
                console.print(clip.name, [f"{a:.2f}-{b:.2f}" for a, b in clip.pauses], f"end {clip.end:.2f}")
                console.print("  cut", [f"{a:.2f}-{b:.2f} after {c:.2f}" for a, b, c in outcome.cut])
                console.print("  judged", " ".join(f"{t:.2f}:{p:.2f}" for t, p in outcome.judged))
    console.print(table)


if __name__ == "__main__":
    main()
