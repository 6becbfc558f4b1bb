"""How soon visavis as it comes answers recorded people, and what that time is made of; alone, and several at once.

    python -m tests.benchmarks.parts --recordings DIR [--utterances 30] [--at-once 8] [--show] [-- FLAGS of serve]

Each utterance is said on a connection of its own, by a client on the same processor. Times are the server's, from the
end of speech to the first sound. Utterances are cut from longer speech, so many are no whole sentences and the server
rightly waits for more: those that it took for whole (the end of the turn within 0.8 s) have a row of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from media.frames import Samples
from server.cli.talk import TalkOptions, Turn, exchange
from tests.benchmarks.same_models import Process, pipeline_of
from tests.benchmarks.utterances import utterances

PARTS = ("endpoint", "transcript", "first_token", "first_clause", "first_audio")
WHOLE_SECONDS = 0.8
SETTLES_SECONDS = 10.0
"""Engines that are loaded after the port is open, and the first look of everything."""


async def said(url: str, clips: Sequence[Samples], at_once: int, console: Console) -> list[Turn]:
    """Say every clip, ``at_once`` at a time; the first turn of each."""
    options = TalkOptions(Path(), None, url, wait=20.0)
    gate, turns = asyncio.Semaphore(at_once), []

    async def one(clip: Samples) -> None:
        async with gate:
            transcript, _ = await exchange(clip, options)
        turns.extend(transcript.turns)
        for turn in transcript.turns:
            parts = " ".join(str(turn.parts_ms.get(part, "-")) for part in PARTS)
            console.print(f"{turn.latency_ms} = {parts} | {turn.user} | {turn.assistant}", highlight=False)
        for error in transcript.errors:
            console.print(f"error: {error}")

    await asyncio.gather(*map(one, clips))
    return turns


def is_whole(turn: Turn) -> bool:
    """Whether the server did not wait for more."""
    return turn.parts_ms.get("endpoint", 0) < 1000 * WHOLE_SECONDS


def memory_mib(group: int) -> int:
    """Proportional set size of all processes of a group (proc(5)), so that shared pages count once."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.joinpath("stat").read_bytes().rpartition(b")")[2].split()[2]) == group:
                rollup = process.joinpath("smaps_rollup").read_text()
                total += int(rollup.partition("\nPss:")[2].split()[0])
        except (OSError, IndexError, ValueError):
            continue  # it has ended
    return total >> 10


def report(name: str, turns: Sequence[Turn], table: Table) -> None:
    """One row: the whole and its parts, median and 95th percentile."""
    answered = [turn for turn in turns if turn.latency_ms is not None]
    columns = [[turn.latency_ms for turn in answered], *([t.parts_ms.get(part, 0) for t in answered] for part in PARTS)]
    cells = [f"{median(values):.0f} / {np.percentile(values, 95):.0f}" if values else "–" for values in columns]
    table.add_row(name, str(len(answered)), *cells)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, required=True, help="folder of WAV and FLAC files of people")
    parser.add_argument("--utterances", type=int, default=30, help="at most so many")
    parser.add_argument("--at-once", type=int, default=0, help="the same again with so many conversations at a time")
    parser.add_argument("--tokens", type=int, default=40, help="of an answer, at most")
    parser.add_argument("--show", action="store_true", help="print every turn")
    parser.add_argument("flags", nargs="*", help="of visavis serve, after --")
    options = parser.parse_args()
    width = None if sys.stdout.isatty() else 140
    console = Console(width=width)
    clips = utterances(options.recordings, options.utterances)
    table = Table("conversations", "n", "whole ms", *PARTS, title="median / 95th percentile")
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = [sys.executable, "-m", "server", "serve", "--port", str(port), "--log-level", "error"]
        command += ["--pipeline", str(pipeline_of(Path(folder), options.tokens)), *options.flags]
        server = Process(command)
        try:
            server.opened(port)
            time.sleep(SETTLES_SECONDS)
            for at_once in filter(None, (1, options.at_once)):
                quiet = Console(width=width, quiet=not options.show)
                turns = asyncio.run(said(f"http://127.0.0.1:{port}", clips, at_once, quiet))
                report(str(at_once), turns, table)
                report("… taken for whole", [turn for turn in turns if is_whole(turn)], table)
            memory = memory_mib(server.pid)
        finally:
            server.end()
    console.print(table)
    console.print(f"memory of all processes: {memory} MiB")


if __name__ == "__main__":
    main()
