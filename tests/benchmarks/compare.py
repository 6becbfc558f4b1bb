"""visavis and its peers, measured alternately by one client: ratios of medians with bootstrap intervals.

    python -m tests.benchmarks.compare --bench DIR --pipecat-python VENV/bin/python --out results.jsonl [--quick]

DIR holds ``client.py``, ``run.py`` and ``peers/``. Each run starts a server afresh; a round takes every candidate
through a scenario one after another (ABAB …), so that a change of the machine's mood meets all of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
QUICK_SECONDS = 170.0
"""Of ``--quick``: no run is begun that would probably end later."""
RESAMPLES = 4000
OURS = "visavis"
SHORT_TONE, LONG_TONE = 3, 6
"""Seconds of a reply; one that is interrupted must be long enough to be stopped."""
Row = dict[str, Any]
Runs = list[list[float]]
"""Measured values, a list for each run: turns of one run are more alike than those of two."""


@dataclass(frozen=True)
class Candidate:
    """A server to measure."""

    name: str
    dialect: str
    """How its signalling is spoken to: ``--peer`` of the client."""
    command: str
    """How it is started; ``{port}`` and ``{tone}`` (seconds) are filled in."""
    scenarios: tuple[str, ...]
    starts_in: float
    """Seconds, roughly."""


@dataclass(frozen=True)
class Scenario:
    """What is done with a server."""

    name: str
    mode: str
    sessions: int
    turns: int
    turn_seconds: float
    tone: int = SHORT_TONE


@dataclass(frozen=True)
class Figure:
    """What is read from the lines of a scenario."""

    name: str
    scenario: str
    values: Callable[[Row], list[float]]
    digits: int = 0


def per_turn(key: str) -> Callable[[Row], list[float]]:
    """Values of all turns of a run that have one."""
    return lambda row: [turn[key] for turn in row.get("detail", []) if turn.get(key) is not None]


def per_run(*keys: str) -> Callable[[Row], list[float]]:
    """One value of a run, found by following ``keys``."""

    def read(row: Row) -> list[float]:
        value: Any = row
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return [] if value is None else [float(value)]

    return read


FIGURES = (
    Figure("voice to voice, ms", "voice", per_turn("v2v_ms")),
    Figure("barge-in stop, ms", "barge", per_turn("stop_ms")),
    Figure("worst barge-in stop, ms", "barge", per_run("stop_ms", "max")),
    Figure("echo, ms", "echo", per_turn("echo_ms")),
    Figure("cores per session at 1", "voice", per_run("server", "cpu_per_session_s"), 3),
    Figure("cores per session at 8", "eight", per_run("server", "cpu_per_session_s"), 3),
    Figure("echo only, cores at 1", "echo one", per_run("server", "cpu_per_session_s"), 3),
    Figure("echo only, cores per session at 8", "echo eight", per_run("server", "cpu_per_session_s"), 3),
    Figure("voice to voice at 8, ms", "eight", per_turn("v2v_ms")),
    Figure("voice to voice at 24, ms", "capacity", per_turn("v2v_ms")),
    Figure("late60 at 24, %", "capacity", per_run("late60_pct"), 2),
    Figure("missed turns at 24", "capacity", per_run("missed")),
    Figure("MiB per session at 8", "eight", per_run("server", "rss_per_session_mib"), 1),
    Figure("offer → connected (warm), ms", "eight", per_run("setup", "connected_ms", "median")),
)


def scenarios(turns: int, quick: bool) -> list[Scenario]:
    """What every round consists of."""
    plan = [
        Scenario("voice", "voice", 1, turns, 7.5),
        Scenario("barge", "barge", 1, max(1, turns // 2), 13.5, LONG_TONE),
        # the phase between the two clocks is fixed for a session and worth up to 20 ms: several sessions average it
        Scenario("echo", "echo", 4, max(3, turns // 2), 1.3),
        Scenario("echo one", "echo", 1, max(3, turns // 2), 1.3),
        Scenario("echo eight", "echo", 8, max(3, turns // 4), 1.3),
        Scenario("eight", "voice", 8, max(1, turns // 5), 8.0),
        Scenario("capacity", "voice", 24, max(2, turns // 5), 9.0),
    ]
    return plan[:-1] if quick else plan


def candidates(options: argparse.Namespace) -> list[Candidate]:
    """Ours and those for which a Python was given."""
    talk = ("voice", "barge", "eight", "capacity")
    echo = ("echo", "echo one", "echo eight")
    peers = options.bench.resolve() / "peers"
    ours = f"{options.ours_python} -m server serve --profile bench --log-level error --port {{port}}"
    found = [
        Candidate(OURS, "ours", f"{ours} --bench-tone-seconds {{tone}}", talk, 4.0),
        Candidate(OURS, "ours", f"{ours} --bench-echo", echo, 4.0),
    ]
    if options.pipecat_python:
        command = f"STUB_TTS_S={{tone}} {options.pipecat_python} {peers}/pipecat_bot.py --port {{port}}"
        found.append(Candidate("pipecat", "pipecat", command, talk, 9.0))
        if not options.quick:
            found.append(Candidate("pipecat equal", "pipecat", f"{command} --turn equal", talk, 9.0))
    if options.fastrtc_python:
        command = f"STUB_TTS_S={{tone}} {options.fastrtc_python} {peers}/fastrtc_bot.py --port {{port}}"
        found.append(Candidate("fastrtc", "fastrtc", command, talk[:1] if options.quick else talk, 12.0))
    if options.echo_python:
        command = f"{options.echo_python} {peers}/raw_echo.py --port {{port}}"
        found.append(Candidate("bare aiortc", "ours", command, echo, 2.0))
    if options.candidates:
        found = [candidate for candidate in found if candidate.name in options.candidates]
    return found


def runs(options: argparse.Namespace) -> Iterator[tuple[int, Scenario, Candidate]]:
    """The order of measuring."""
    for number in range(options.rounds):
        for scenario in scenarios(options.turns, options.quick):
            if options.scenarios and scenario.name not in options.scenarios:
                continue
            for candidate in candidates(options):
                if scenario.name in candidate.scenarios:
                    yield number, scenario, candidate


def measure(scenario: Scenario, candidate: Candidate, options: argparse.Namespace) -> Row:
    """One run through ``run.py``; the client's line, or a row with ``error``."""
    environment = {**os.environ, "BENCH_PYTHON": options.client_python, "SILERO_ONNX": options.silero_onnx}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "line.jsonl"
        command = [sys.executable, str(options.bench / "run.py"), "--peer", candidate.dialect, "--out", str(out)]
        command += ["--server", candidate.command.replace("{tone}", str(scenario.tone)), "--"]
        command += ["--mode", scenario.mode, "--sessions", str(scenario.sessions), "--turns", str(scenario.turns)]
        problems = _ended(command, environment, 60.0 + 3 * usual_seconds(scenario, candidate))
        row: Row = json.loads(out.read_text()) if out.exists() else {"error": problems[-800:].strip()}
    row.pop("label", None)  # the whole command, with paths of this machine
    return row


def usual_seconds(scenario: Scenario, candidate: Candidate) -> float:
    """That a run takes where everything is answered."""
    return candidate.starts_in + 5.0 + 0.35 * scenario.sessions + scenario.turns * scenario.turn_seconds


def _ended(command: Sequence[str], environment: Mapping[str, str], seconds: float) -> str:
    """Run it, for so long at most; what it wrote to the standard error. Upon SIGINT ``run.py`` ends its server, too."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            return process.communicate(timeout=seconds)[1]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=10.0)
        except subprocess.TimeoutExpired:
            process.kill()
    return f"no result within {seconds:.0f} s"


def collect(options: argparse.Namespace, console: Console) -> list[Row]:
    """All runs, each line appended to ``--out`` as it comes."""
    began, rows, left_out = time.monotonic(), [], []
    for number, scenario, candidate in runs(options):
        if options.quick and time.monotonic() - began + usual_seconds(scenario, candidate) > QUICK_SECONDS:
            left_out.append(f"{scenario.name} of {candidate.name}")
            continue
        row = {"round": number, "scenario": scenario.name, "candidate": candidate.name}
        row |= measure(scenario, candidate, options)
        rows.append(row)
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        console.print(_line(row, time.monotonic() - began), highlight=False, soft_wrap=True)
    if left_out:
        console.print(f"left out for want of time: {', '.join(left_out)}", highlight=False)
    return rows


def _line(row: Row, seconds: float) -> str:
    shown = [f"{seconds:5.0f} s  round {row['round']}  {row['scenario']:9} {row['candidate']:14}"]
    if "error" in row:
        return f"{shown[0]} [red]{row['error'].splitlines()[-1] if row['error'] else 'no result'}[/red]"
    measured = [(key, row[key]) for key in ("v2v_ms", "stop_ms", "echo_ms") if key in row]
    shown += [f"{key} {value['median']:.0f} (worst {value['max']:.0f}, n {value['n']})" for key, value in measured]
    shown.append(f"cores/session {row.get('server', {}).get('cpu_per_session_s', 0):.3f}")
    shown.append(f"missed {row['missed']}, late60 {row.get('late60_pct', 0)} %")
    shown.append(f"others {row['client']['other_load_cores']} cores")
    return "  ".join(shown)


def gather(rows: list[Row], figure: Figure, candidate: str) -> Runs:
    """The figure's values of a candidate, run by run."""
    mine = [row for row in rows if (row["candidate"], row["scenario"]) == (candidate, figure.scenario)]
    return [values for row in mine if (values := figure.values(row))]


def interval(ours: Runs, theirs: Runs) -> tuple[float, float]:
    """95 % interval of the ratio of medians: runs are drawn anew, then the values in them (two-stage bootstrap)."""
    random = np.random.default_rng(1)

    def draw(measured: Runs) -> float:
        chosen = [measured[n] for n in random.integers(len(measured), size=len(measured))]
        return float(np.median(np.concatenate([random.choice(run, len(run)) for run in chosen])))

    ratios = [draw(ours) / max(draw(theirs), 1e-9) for _ in range(RESAMPLES)]
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)


def report(rows: list[Row], console: Console) -> None:
    """Medians of everyone, and how ours compare."""
    names = list(dict.fromkeys(row["candidate"] for row in rows))
    table = Table("figure", title="medians (95th percentile, n)", title_justify="left")
    for name in names:
        table.add_column(name, justify="right")
    for name in names[1:]:
        table.add_column(f"ours ÷ {name}", justify="right")
    for figure in FIGURES:
        measured = {name: gather(rows, figure, name) for name in names}
        if any(measured.values()):
            ratios = (_ratio(measured[OURS], measured[name]) for name in names[1:])
            table.add_row(figure.name, *(_raw(measured[name], figure.digits) for name in names), *ratios)
    console.print(table)
    for row in rows:
        if "error" in row or row.get("errors"):
            what = row.get("error") or row["errors"]
            console.print(f"[yellow]{row['candidate']}, {row['scenario']}:[/yellow] {what}", highlight=False)


def _raw(measured: Runs, digits: int) -> str:
    values = [value for run in measured for value in run]
    if not values:
        return "–"
    return f"{median(values):.{digits}f} ({np.percentile(values, 95):.{digits}f}, {len(values)})"


def _ratio(ours: Runs, theirs: Runs) -> str:
    if not ours or not theirs or median(value for run in theirs for value in run) == 0:
        return "–"
    ratio = median(value for run in ours for value in run) / median(value for run in theirs for value in run)
    if sum(map(len, ours)) < 2 or sum(map(len, theirs)) < 2:
        return f"{ratio:.2f}"
    low, high = interval(ours, theirs)
    return f"{ratio:.2f} [{low:.2f}–{high:.2f}]".replace("[", r"\[")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, required=True, help="folder with client.py, run.py and peers/")
    parser.add_argument("--pipecat-python", metavar="PYTHON", help="Python that has Pipecat")
    parser.add_argument("--fastrtc-python", metavar="PYTHON", help="Python that has FastRTC")
    parser.add_argument("--echo-python", metavar="PYTHON", help="Python that has aiortc, for the bare echo")
    parser.add_argument("--ours-python", metavar="PYTHON", default=sys.executable, help="Python that has visavis")
    parser.add_argument("--client-python", metavar="PYTHON", default=sys.executable, help="Python of the client")
    parser.add_argument("--silero-onnx", default=_silero_onnx(), help="silero_vad.onnx for FastRTC")
    parser.add_argument("--turns", type=int, default=20, help="turns of a run with one session")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, help="file to which every raw line is appended")
    parser.add_argument("--scenarios", nargs="+", choices=[s.name for s in scenarios(1, False)], help="default: all")
    parser.add_argument("--candidates", nargs="+", metavar="NAME", help="default: all whose Python is given")
    parser.add_argument("--report", action="store_true", help="measure nothing, report what --out holds")
    parser.add_argument("--quick", action="store_true", help="one small round, within three minutes")
    options = parser.parse_args()
    if options.quick:
        options.turns, options.rounds = 2, 1
    return options


def _silero_onnx() -> str:
    """From the environment, or else from the wheel of silero_vad, which is not imported: it would change torch."""
    spec = importlib.util.find_spec("silero_vad")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    found = str(Path(folders[0]) / "data" / "silero_vad.onnx") if folders else ""
    return os.environ.get("SILERO_ONNX", found)


def main() -> None:
    """Measure and report."""
    options = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 160)
    if options.report:
        rows = [json.loads(line) for line in options.out.read_text().splitlines()]
    else:
        rows = collect(options, console)
    report(rows, console)


if __name__ == "__main__":
    main()
