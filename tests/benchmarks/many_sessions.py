"""Many who talk at once to one process, against one who talks to it alone: how late is the answer, what do they cost?

    python -m tests.benchmarks.many_sessions [CHECKOUT …] [--sessions 1 24 32] [--turns 5] [--wav FILE --cut 8.1 10.45]
        [--pipecat-python PYTHON --bench DIR]

For each checkout (this one by default) a server with stub engines, but the real voice activity and turn detector, is
started anew and takes each number of sessions after the other; all of a number speak at once. Told are the median from
the end of speech to the first sound (and how many times that of the first number it is), the worst packets (``late60``,
over all sessions), cores and memory for each session, and turns that were not answered or answered too soon. Cores are
counted while all are connected. Each row comes on stderr as JSON, too. Recorded speech is needed, for the turn detector
is made for people.

With ``--bench`` (a folder with ``client.py``, ``run.py`` and ``peers/``, as for ``compare.py``) Pipecat stands beside
it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from media.opus import RATE
from server.headless.sounds import read_sound, write_wav
from server.settings import SettingsError
from tests.benchmarks.compare import Candidate, Scenario, measure
from tests.benchmarks.voice import BenchOptions, bench
from tests.benchmarks.watched import Watched, more_important, running

SAMPLE_SECONDS = 0.5
ALONE_TURNS = 16
"""Of one session alone, with which others are compared: the place of the end in a window makes turns differ."""
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def cost(server: Watched, sessions: int) -> AsyncIterator[dict[str, float]]:
    """Filled at the end: cores and MiB of each session, and the longest that the event loop was late (ms)."""
    before = await server.ask("collect")
    found: dict[str, float] = {}
    told: list[tuple[float, dict[str, Any]]] = []

    async def watch() -> None:
        while True:
            told.append((time.monotonic(), await server.ask()))
            await asyncio.sleep(SAMPLE_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield found
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        full = [(at, what) for at, what in told if what["sessions"] == sessions]
        if len(full) > 1:
            (first, began), (last, ended) = full[0], full[-1]
            found["cores"] = (ended["cpu_s"] - began["cpu_s"]) / max(1e-9, last - first) / sessions
            found["mib"] = (max(what["rss_mb"] for _, what in full) - before["rss_mb"]) / sessions
            found["late_ms"] = max(what["late_ms"] for _, what in full)


async def one_size(server: Watched, sessions: int, turns: int, wav: Path) -> dict[str, Any]:
    """All figures of ``sessions`` sessions at once, each with so many turns."""
    quiet = Console(quiet=True)
    async with cost(server, sessions) as costs:
        report = await bench(BenchOptions(server.url, "voice", turns, sessions, wav), quiet)
    await server.empty(30.0)
    streams = report["streams"]
    packets = sum(stream["reply_packets"] for stream in streams)
    late = sum(stream["late60_percent"] * stream["reply_packets"] for stream in streams) / max(1, packets)
    waited = report["figures"].get("voice_to_voice_ms") or {}
    return {
        "sessions": sessions,
        "median": waited.get("median"),
        "p95": waited.get("p95"),
        "late60": late,
        "turns": report["turns"],
        "missed": sum(report["missed"].values()),
        "early": report["early"],
        "mouth": (report["microphone_late_ms"] or {}).get("p95"),
        **costs,
    }


async def checkout(tree: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one checkout."""
    flags = ("--bench-tone-seconds", "3", "--log-level", "warning", *options.flags.split())
    async with running(tree, *flags) as server:
        await one_size(server, 1, 1, options.wav)  # what is loaded on first use
        rows = []
        for sessions in options.sessions:
            try:
                turns = options.turns if sessions > 1 else max(options.turns, ALONE_TURNS)
                rows.append(await one_size(server, sessions, turns, options.wav))
            except SettingsError as error:  # not all of them could connect
                rows.append({"sessions": sessions, "median": None, "problem": str(error)})
            sys.stderr.write(f"{json.dumps(rows[-1])}\n")
        return rows


def pipecat(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of Pipecat with the same stub engines, each number of sessions with a server of its own."""
    command = f"STUB_TTS_S=3 {options.pipecat_python} {options.bench.resolve()}/peers/pipecat_bot.py --port {{port}}"
    peer = Candidate("pipecat", "pipecat", command, (), 9.0)
    given = argparse.Namespace(bench=options.bench, client_python=sys.executable, silero_onnx="")
    rows = []
    for sessions in options.sessions:
        row = measure(Scenario("many", "voice", sessions, options.turns, 9.0), peer, given)
        server = row.get("server", {})
        rows.append(
            {
                "sessions": sessions,
                "median": row.get("v2v_ms", {}).get("median"),
                "p95": row.get("v2v_ms", {}).get("p95"),
                "late60": row.get("late60_pct"),
                "turns": row.get("turns"),
                "missed": row.get("missed"),
                "early": row.get("early"),
                "cores": server.get("cpu_per_session_s"),
                "mib": server.get("rss_per_session_mib"),
            }
        )
    return rows


def show(name: str, rows: Sequence[dict[str, Any]], console: Console) -> None:
    """A table of one candidate."""
    table = Table("sessions", title=name, title_justify="left")
    columns = {"median": 0, "times": 2, "p95": 0, "late60": 2, "turns": 0, "missed": 0, "early": 0}
    columns |= {"cores": 4, "mib": 1, "late_ms": 0, "mouth": 1}
    for column in columns:
        table.add_column(column, justify="right")
    first = rows[0]["median"] if rows else None
    for row in rows:
        row = {**row, "times": row["median"] / first if first and row["median"] else None}
        shown = ("–" if row.get(key) is None else f"{row[key]:.{digits}f}" for key, digits in columns.items())
        table.add_row(str(row["sessions"]), *shown)
    console.print(table)


async def run(options: argparse.Namespace) -> None:
    """Measure and tell."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    with suppress(OSError):
        console.print(f"load before: {' '.join(f'{load:.1f}' for load in os.getloadavg())}", highlight=False)
    for number in range(options.rounds):
        for tree in options.checkouts:
            show(f"{tree.name}, round {number + 1}", await checkout(tree, options), console)
        if options.pipecat_python:
            show(f"Pipecat, round {number + 1}", await asyncio.to_thread(pipecat, options), console)


def main() -> None:
    """Read the command line and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", type=Path, default=[ROOT], metavar="CHECKOUT")
    parser.add_argument("--sessions", nargs="+", type=int, default=[1, 24, 32])
    parser.add_argument("--turns", type=int, default=5, help="of each session (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--wav", type=Path, required=True, help="recorded speech")
    parser.add_argument("--cut", nargs=2, type=float, metavar=("FROM", "TO"), help="seconds of it")
    parser.add_argument("--flags", default="", help="more flags of `visavis serve`, in one argument")
    parser.add_argument("--pipecat-python", metavar="PYTHON", help="Python that has Pipecat")
    parser.add_argument("--bench", type=Path, help="folder with client.py, run.py and peers/")
    options = parser.parse_args()
    if options.pipecat_python and not options.bench:
        parser.error("--pipecat-python needs --bench")
    options.checkouts = [tree.resolve() for tree in options.checkouts]
    more_important()
    with tempfile.TemporaryDirectory() as folder:
        if options.cut:
            begin, end = (round(seconds * RATE) for seconds in options.cut)
            sound = read_sound(options.wav)[begin:end]
            options.wav = Path(folder) / "cut.wav"
            write_wav(options.wav, sound)
        uvloop.run(run(options))


if __name__ == "__main__":
    main()
