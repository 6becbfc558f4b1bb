"""``visavis eval duplex``: recordings shaped as Full-Duplex-Bench shapes them (Lin et al. 2025), played to a server.

Each ``CATEGORY/NAME/input.wav`` is played from the first packet on; ``output.wav`` is what came back, as long and on
the same time. The turn-over rate (TOR) of a category is the share of recordings in which the server took the turn:
something sounded for a second or more in all, which is longer than a backchannel. High is right for
``smooth_turn_taking`` and ``user_interruption``, low for ``pause_handling`` and ``backchannel``.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from media.clock import Clock, MonotonicClock
from media.frames import Samples
from media.opus import RATE
from server.cli.terminal import cell, foreign, tell
from server.evaluation.judging.observed import Observed
from server.evaluation.playing.ear import Ear
from server.evaluation.playing.line import line_to
from server.evaluation.playing.mouth import Mouth
from server.evaluation.running import check, server_of
from server.evaluation.scenario import Way
from server.evaluation.statistics import summary, wilson
from server.headless.call import Address
from server.headless.sounds import check_place, read_sound, write_wav
from server.settings import SettingsError

TURN_SECONDS = 1.0
"""Of sound in all: less is a backchannel."""
LOW = ("pause_handling", "backchannel")
"""Categories in which the server should not take the turn."""
_HISS_DB = -66.0
_MOST_SECONDS = 300.0
_VOICED = 0.06


@dataclass(frozen=True, slots=True)
class Played:
    """One recording and what came back."""

    category: str
    name: str
    took_turn: bool
    sounded_seconds: float
    latency_ms: float | None
    """From the last voiced sample before it to the first sound that came back; ``None`` when nothing did."""

    def line(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


async def run_duplex(options: argparse.Namespace, console: Console) -> int:
    """Do what the command line says."""
    inputs = _inputs(options.folder)
    if options.url is not None and options.config is not None:
        raise SettingsError("--config: is for a server of one's own and has no effect with --url")
    check_place(options.json, "--json")
    played: list[Played] = []
    async with server_of(options.url, options.config) as url:
        address = Address(url, options.api_key)
        check(address)
        for path in inputs:
            played.append(await play(path, address, MonotonicClock()))
            told = "took the turn" if played[-1].took_turn else "did not take the turn"
            tell(console, f"{foreign(played[-1].category)}/{foreign(played[-1].name)}: {told}")
    if options.json is not None:
        _save(options.json, played)
    console.print(table(played))
    return 0


def _inputs(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*/*/input.wav"))
    if not found:
        raise SettingsError(f"{folder} holds no CATEGORY/NAME/input.wav")
    return found


def _save(path: Path, played: Sequence[Played]) -> None:
    try:
        path.write_text("".join(json.dumps(one.line()) + "\n" for one in played), "utf-8")
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror or error}") from error


async def play(path: Path, address: Address, clock: Clock) -> Played:
    """Play one ``input.wav``, and save what came back beside it."""
    sound = read_sound(path)[: int(_MOST_SECONDS * RATE)]
    observed = Observed()
    mouth = Mouth(clock, _HISS_DB)
    line = line_to(address, mouth, Ear(clock, observed), lambda text: None, Way(), clock)
    async with line:
        await clock.sleep(0.5)  # the first packets: their noise tells the server what silence is
        start = mouth.ends_at
        mouth.say(sound)
        await clock.sleep(start + len(sound) / RATE - clock.now())
        if line.over.is_set():
            raise SettingsError(f"{path}: {line.over_because}")
    back = observed.pieces.timeline(start, start + len(sound) / RATE)
    write_wav(path.with_name("output.wav"), back)
    return judge(path.parent.parent.name, path.parent.name, sound, back)


def judge(category: str, name: str, user: Samples, back: Samples) -> Played:
    """Whether what came back takes the turn. Pure; both begin at the same moment."""
    sounding, voiced = _loud(back, 100.0), _loud(user, None)
    seconds = float(sounding.sum()) / 100
    first = np.flatnonzero(sounding)
    latency: float | None = None
    if len(first):
        before = np.flatnonzero(voiced[: first[0]])
        latency = 10.0 * float(first[0] - before[-1] - 1) if len(before) else None
    return Played(category, name, seconds >= TURN_SECONDS, round(seconds, 2), latency)


def _loud(samples: Samples, level: float | None) -> np.ndarray:
    """Which 10 ms are louder than ``level``, or than 6 % of the loudest."""
    blocks = samples[: len(samples) // 480 * 480].reshape(-1, 480).astype(np.float64)
    levels = np.sqrt((blocks**2).mean(1))
    return np.asarray(levels > (_VOICED * levels.max(initial=1.0) if level is None else level), bool)


def table(played: Sequence[Played]) -> Table:
    """The turn-over rate of each category."""
    by_category: dict[str, list[Played]] = defaultdict(list)
    for one in played:
        by_category[one.category].append(one)
    rows = Table("category", "TOR", "95 %", "should be", "latency of those, ms: median (worst)")
    for category, ones in by_category.items():
        took = [one for one in ones if one.took_turn]
        low, high = wilson(len(took), len(ones))
        times = summary([one.latency_ms for one in took if one.latency_ms is not None])
        told = "" if times is None else f"{times['median']:.0f} ({times['worst']:.0f})"
        wanted = "low" if category in LOW else "high"
        rows.add_row(cell(category), f"{len(took) / len(ones):.2f}", f"{low:.2f}–{high:.2f}", wanted, told)
    return rows
