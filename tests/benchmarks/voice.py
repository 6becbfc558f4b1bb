"""Measures a running server from outside: end of speech to sound, interruption to silence, round trip of an echo.

``python -m tests.benchmarks.voice [--mode voice|barge|echo] [--turns N] [--sessions N] …``

:mod:`tests.benchmarks.voice_sound` is the mouth, :mod:`tests.benchmarks.voice_ear` the ear,
:mod:`tests.benchmarks.voice_session` the conversation.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import uvloop
from rich.console import Console
from rich.table import Table

from media.clock import MonotonicClock
from server.cli.commands import number, whole
from server.cli.terminal import Steps, foreign, tell
from server.headless.call import Address
from server.headless.network import Network, NetworkOptions
from server.settings import SettingsError
from server.transports.webrtc import ice
from tests.benchmarks.voice_session import BenchSession
from tests.benchmarks.voice_sound import burst, speech

STAGGER = 0.3
"""Seconds between the starts of two sessions."""
_COUNT_SECONDS = 0.5
Mode = Literal["voice", "barge", "echo"]
FIGURES = {
    "connect_ms": "offer → connected",
    "voice_to_voice_ms": "end of speech → first sound of the reply",
    "duck_ms": "interruption → reply 6 dB softer",
    "stop_ms": "interruption → reply silent",
    "echo_ms": "echo, there and back",
}
"""What is measured (milliseconds), and how it is called."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure, and where."""

    url: str
    mode: Mode = "voice"
    turns: int = 10
    """Of each session."""
    sessions: int = 1
    wav: Path | None = None
    """What to say; a synthesised question when not given."""
    api_key: str | None = None
    as_json: bool = False
    network: NetworkOptions = field(default_factory=NetworkOptions)


async def bench(options: BenchOptions, console: Console) -> dict[str, Any]:
    """Measure and print. Returns what ``--json`` prints; raises ``SettingsError`` when there is no server.

    How far it has come is told on stderr.
    """
    Address(options.url, options.api_key).check()
    clip = burst() if options.mode == "echo" else await speech(options.wav)
    if urlsplit(options.url).hostname in ("127.0.0.1", "localhost", "::1"):
        ice.gather_from(["127.0.0.1"])
    clock = MonotonicClock()
    networks = [None if options.network.perfect else Network(options.network, n) for n in range(options.sessions)]
    sessions = [
        BenchSession(options.url, options.api_key, clock, seed, network) for seed, network in enumerate(networks)
    ]
    async with AsyncExitStack() as stack:
        for session in sessions:
            stack.push_async_callback(session.close)
        for session in sessions:
            await session.connect()
            if session is not sessions[-1]:
                await clock.sleep(STAGGER)
        with Steps(Console(stderr=True, quiet=console.quiet)) as steps:
            counting = asyncio.create_task(_count(sessions, options, steps, clock))
            try:
                async with asyncio.TaskGroup() as group:
                    for session in sessions:
                        group.create_task(session.run(options.mode, clip, options.turns))
            finally:
                counting.cancel()
    report = _report(options, sessions)
    if options.as_json:
        console.print_json(data=report)
    else:
        _show(report, console)
    return report


async def _count(sessions: list[BenchSession], options: BenchOptions, steps: Steps, clock: MonotonicClock) -> None:
    while True:
        steps(f"{options.mode} turns", sum(len(session.turns) for session in sessions), options.turns * len(sessions))
        await clock.sleep(_COUNT_SECONDS)


def problem(report: dict[str, Any]) -> str:
    """Why nothing was measured; empty when something was."""
    if sum(report["missed"].values()) < report["turns"]:
        return ""
    return "nothing was understood: " + "; ".join(report["missed"])


def summary(values: Iterable[float]) -> dict[str, float] | None:
    """Median, 95th percentile, worst and count; ``None`` for no values."""
    ordered = sorted(values)
    if not ordered:
        return None
    p95 = ordered[round(0.95 * (len(ordered) - 1))]
    return {
        "median": round(statistics.median(ordered), 1),
        "p95": round(p95, 1),
        "worst": round(ordered[-1], 1),
        "n": len(ordered),
    }


def _report(options: BenchOptions, sessions: list[BenchSession]) -> dict[str, Any]:
    turns = [turn for session in sessions for turn in session.turns]
    figures = {"connect_ms": summary(session.connect_ms for session in sessions)}
    for name in list(FIGURES)[1:]:
        figures[name] = summary(value for turn in turns if (value := getattr(turn, name)) is not None)
    late = [1000.0 * seconds for session in sessions for seconds in session.microphone.late]
    return {
        "url": options.url,
        "mode": options.mode,
        "sessions": len(sessions),
        "turns": len(turns),
        "missed": dict(Counter(turn.missed for turn in turns if turn.missed)),
        "early": sum(1 for turn in turns if (turn.voice_to_voice_ms or 0.0) < 0),
        "figures": {name: figure for name, figure in figures.items() if figure is not None},
        "each_turn": [
            {name: round(v, 1) for name in list(FIGURES)[1:] if (v := getattr(turn, name)) is not None}
            for turn in turns
        ],
        "packets_lost_on_the_way": sum(session.network.lost for session in sessions if session.network is not None),
        "streams": [
            {"connect_ms": round(session.connect_ms, 1), **session.ear.quality().as_dict()} for session in sessions
        ],
        "microphone_late_ms": summary(late),
    }


def _show(report: dict[str, Any], console: Console) -> None:
    table = Table("milliseconds", title=f"{report['mode']}: {report['sessions']} session(s)", title_justify="left")
    for heading in ("median", "p95", "worst", "n"):
        table.add_column(heading, justify="right")
    for name, figure in report["figures"].items():
        numbers = (f"{figure[key]:.0f}" for key in ("median", "p95", "worst", "n"))
        table.add_row(FIGURES[name], *numbers)
    console.print(table)
    console.print(_streams(report["streams"]))
    for reason, count in report["missed"].items():
        tell(console, f"[yellow]{count} of {report['turns']} turns:[/yellow] {foreign(reason)}")
    if report["early"]:
        tell(console, f"[yellow]{report['early']} replies began before the speech was over[/yellow]")
    if reason := problem(report):
        tell(console, f"[red]{foreign(reason)}[/red]")
    late = report["microphone_late_ms"]
    if late is not None and late["p95"] > 5:
        tell(console, f"[yellow]this client was {late['p95']:.0f} ms late itself (p95): the machine is busy[/yellow]")


def _streams(streams: list[dict[str, Any]]) -> Table:
    table = Table("stream", title="what came back", title_justify="left")
    for heading in ("packets", "lost", "breaks", "late60 %", "max gap ms", "connect ms"):
        table.add_column(heading, justify="right")
    keys = ("packets", "lost", "breaks", "late60_percent", "max_gap_ms", "connect_ms")
    for place, stream in enumerate(streams, 1):
        table.add_row(str(place), *(f"{stream[key]:g}" for key in keys))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.voice",
        description="Speak to a running server as a headless client and measure how soon it answers or stops, from "
        "the speaker's mouth to the arrival of the sound. Best with `visavis serve --profile bench`.",
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="server (default %(default)s)")
    parser.add_argument(
        "--mode",
        choices=["voice", "barge", "echo"],
        default="voice",
        help="voice: end of speech to first sound of the reply (default). barge: interruption to silence "
        "(the reply should be long: --bench-tone-seconds 6). echo: round trip (needs --bench-echo)",
    )
    parser.add_argument(
        "--turns", type=whole(1), default=10, metavar="N", help="turns of a session (default %(default)s)"
    )
    parser.add_argument(
        "--sessions", type=whole(1), default=1, metavar="N", help="sessions at a time (default %(default)s)"
    )
    parser.add_argument("--wav", type=Path, metavar="FILE", help="what to say (default: one synthesised question)")
    parser.add_argument(
        "--loss", type=number(0, 100), default=0.0, metavar="PERCENT", help="lose this share of what is sent"
    )
    parser.add_argument("--jitter", type=number(0), default=0.0, metavar="MS", help="delay what is sent by up to this")
    parser.add_argument(
        "--burst", type=whole(0), default=0, metavar="N", help="lose N packets in a row once, after 3 s"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--api-key", metavar="KEY", help="the server's key, if it has one")
    given = parser.parse_args(arguments)
    network = NetworkOptions(given.loss, given.jitter, given.burst)
    options = BenchOptions(
        given.url, given.mode, given.turns, given.sessions, given.wav, given.api_key, given.json, network
    )
    try:
        return 1 if problem(uvloop.run(bench(options, Console()))) else 0
    except SettingsError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
