"""``visavis eval turn``: listen to all clips, sweep, and write a table and curves."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from media.frames import Samples
from pipelines.engines.stt.whisper import WhisperRecognizer
from pipelines.engines.stt.whisper_model import load_whisper
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.engines.tts.piper_voices import PiperVoices, load_piper
from pipelines.engines.turn.smart_turn import SmartTurn
from pipelines.engines.vad.silero import SileroVad
from pipelines.models.residency import Kept
from pipelines.models.store import ModelStore
from server.evaluation.endpointing.clips import PEOPLE, Clip, recordings, sentences
from server.evaluation.endpointing.drawing import svg
from server.evaluation.endpointing.sentences import VOICES
from server.evaluation.endpointing.spans import Heard, listen
from server.evaluation.endpointing.sweep import BUDGETS_MS, RATES, Curve, curves
from server.headless.sounds import check_place
from server.settings import SettingsError, load_settings

MODELS = {"smart-turn": "the turn detector", "whisper-base": "the recogniser"}
PIPER, PIPER_FILES = "piper-en_US-joe-medium", (".onnx", ".onnx.json")
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
    store = ModelStore(load_settings({}, serves=False).model_cache)
    judge = Models(store)
    try:
        heard = await _listened(judge, store, options.clips)
    finally:
        await judge.close()
    sources = dict.fromkeys(one.clip.source for one in heard)
    sets = {source: [one for one in heard if one.clip.source == source] for source in sources}
    found = {f"spoken by {source}: {_size(group)}": curves(group) for source, group in sets.items()}
    for name, lines in found.items():
        table = Table(*HEAD, title=name)
        for line in lines:
            table.add_row(*row(line))
        console.print(table)
    _write(options.markdown, "\n".join(_markdown(name, lines) for name, lines in found.items()))
    drawn = max(sets, key=lambda source: (source == PIPER, source == PEOPLE))
    title = f"spoken by {drawn}: {_size(sets[drawn])}"
    _write(options.svg, svg(title, found[title]))
    _write(options.json, "".join(json.dumps(span.line()) + "\n" for one in heard for span in one.spans))
    return 0


async def _listened(judge: Models, store: ModelStore, folder: Path | None) -> list[Heard]:
    clips = await _spoken(EspeakVoice(), VOICES)
    if (files := store.find(PIPER)) is not None:
        network, config = (next(p for p in files.files.values() if p.name.endswith(end)) for end in PIPER_FILES)
        voices = PiperVoices({"joe": Kept("joe", load_piper(network, config, 1, "cpu"))})
        clips += [replace(clip, source=PIPER) for clip in await _spoken(voices, ("joe",))]
    if folder is not None:
        clips += _of_people(folder)
    vad = SileroVad()
    return [await listen(clip, vad, judge) for clip in clips]


async def _spoken(voice: EspeakVoice | PiperVoices, names: Sequence[str]) -> list[Clip]:
    try:
        return await sentences(voice, names)
    finally:
        await voice.close()


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
