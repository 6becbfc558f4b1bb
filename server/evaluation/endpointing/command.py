"""``visavis eval turn``: listen to all clips, sweep, and write a table and curves."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from media.frames import Samples
from pipelines.engines.stt.whisper import WhisperRecognizer
from pipelines.engines.stt.whisper_model import load_whisper
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.engines.turn.smart_turn import SmartTurn
from pipelines.engines.vad.silero import SileroVad
from pipelines.models.residency import Kept
from pipelines.models.store import ModelStore
from server.evaluation.endpointing.clips import Clip, recordings, sentences
from server.evaluation.endpointing.drawing import svg
from server.evaluation.endpointing.spans import Heard, listen
from server.evaluation.endpointing.sweep import BUDGETS_MS, RATES, Curve, curves
from server.headless.sounds import check_place
from server.settings import SettingsError, load_settings

MODELS = {"smart-turn": "the turn detector", "whisper-base": "the recogniser"}
Row = tuple[str, ...]
HEAD: Row = (
    "policy",
    *(f"cut at {value:.0f} ms" for value in BUDGETS_MS),
    *(f"latency at {rate:.0%} cut" for rate in RATES),
    "present settings",
    "cut",
    "utterances cut",
    "latency, mean (worst)",
)


class Models:
    """Smart Turn and Whisper as judges of pauses."""

    def __init__(self, store: ModelStore) -> None:
        found = {model: store.find(model) for model in MODELS}
        missing = [f"{model} ({MODELS[model]})" for model, files in found.items() if files is None]
        if missing:
            raise SettingsError(
                f"{' and '.join(missing)} must be on this machine: visavis models pull {' '.join(MODELS)}"
            )
        turn, whisper = found["smart-turn"], found["whisper-base"]
        assert turn is not None
        assert whisper is not None
        self._turn = SmartTurn(turn.path)
        settings = WhisperSettings(language="en", partial_seconds=0.0)
        self._stt = WhisperRecognizer(Kept("stt", load_whisper(whisper.path, "cpu", threads=1)), settings)

    async def completeness(self, samples: Samples) -> float:
        """The turn detector's probability that the turn is complete."""
        return await self._turn.completeness(samples)

    async def text(self, samples: Samples) -> str:
        """The words so far."""
        recognition = await self._stt.open()
        try:
            await recognition.feed(samples)
            return (await recognition.transcript()).text
        finally:
            await recognition.close()

    async def close(self) -> None:
        """End the recogniser."""
        await self._stt.close()


async def measure_turns(options: argparse.Namespace, console: Console) -> int:
    """Do what the command line says."""
    for flag, place in (("--markdown", options.markdown), ("--svg", options.svg), ("--json", options.json)):
        check_place(place, flag)
    judge = Models(ModelStore(load_settings({}).model_cache))
    try:
        heard = await _listened(judge, options.clips)
    finally:
        await judge.close()
    sets = {"synthetic sentences": [one for one in heard if not one.clip.of_people]}
    if any(one.clip.of_people for one in heard):
        sets["recordings of people"] = [one for one in heard if one.clip.of_people]
    found = {f"{name}: {_size(group)}": curves(group) for name, group in sets.items()}
    for name, lines in found.items():
        table = Table(*HEAD, title=name)
        for line in lines:
            table.add_row(*row(line))
        console.print(table)
    _write(options.markdown, "\n".join(_markdown(name, lines) for name, lines in found.items()))
    _write(options.svg, svg(next(iter(found)), next(iter(found.values()))))
    _write(options.json, "".join(json.dumps(span.line()) + "\n" for one in heard for span in one.spans))
    return 0


async def _listened(judge: Models, folder: Path | None) -> list[Heard]:
    clips: list[Clip] = await sentences()
    if folder is not None:
        clips += _of_people(folder)
    vad = SileroVad()
    return [await listen(clip, vad, judge) for clip in clips]


def _of_people(folder: Path) -> list[Clip]:
    if not folder.is_dir():
        raise SettingsError(f"--clips: {folder} is no folder")
    return list(recordings(folder))


def _size(heard: Sequence[Heard]) -> str:
    return f"{len(heard)} utterances, {sum(one.pauses for one in heard)} pauses"


def row(curve: Curve) -> Row:
    """A policy in figures."""
    cuts = [curve.cut_at(value) for value in BUDGETS_MS]
    delays = [curve.latency_at(rate) for rate in RATES]
    present = curve.present
    now = ("", "", "", "")
    if present is not None:
        latency = f"{present.latency_ms:.0f} ms ({present.worst_ms:.0f})"
        now = (present.settings, f"{present.cut:.1%}", f"{present.cut_clips:.1%}", latency)
    return (
        curve.policy,
        *("–" if value is None else f"{value:.1%}" for value in cuts),
        *("–" if value is None else f"{value:.0f} ms" for value in delays),
        *now,
    )


def _markdown(name: str, lines: Sequence[Curve]) -> str:
    rows = [HEAD, tuple("---" for _ in HEAD), *(row(line) for line in lines)]
    return f"**{name}**\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        try:
            path.write_text(text, "utf-8")
        except OSError as error:
            raise SettingsError(f"{path} cannot be written: {error.strerror or error}") from error
