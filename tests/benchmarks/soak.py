"""Hours of conversations with one server: does memory grow, do answers get slower, is anything kept or lost?

    .venv/bin/python -m tests.benchmarks.soak --minutes 60 --sessions 6 [--accelerate 8] [--out FILE] [-- SERVE FLAGS]

The server runs with the engines that come by themselves (``--profile embedded`` or ``bench`` after ``--`` for others).
Each caller takes a turn every 20 to 40 s: mostly it asks something aloud, and at times it interrupts, writes, mutes its
microphone in mid-sentence or has a function called; it goes on in a new connection every three minutes, half of the
times without a goodbye, and after some six minutes another conversation begins. The first caller has a camera.

``--accelerate N`` makes pauses, conversations and connections N times as short. It covers what each turn, connection
and session leaves behind; it does not cover what depends on the clock (models unloaded after ten idle minutes,
conversations kept for a minute, certificates), and it loads the machine more, so its latencies are its own. Speech is
not made shorter: how many hours of usual conversation the turns amount to is told, and not N times the minutes.

Every ten seconds a line about the server's process goes into ``--out``, and one for each turn. Slopes begin when the
last model has been loaded that is used for the first time. Exit status 1: a limit is broken (``soak_report.Limits``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from media.resample import Resampler
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.errors import PipelineError
from pipelines.models.store import ModelStore
from server.settings import load_settings
from server.transports.webrtc import ice
from tests.benchmarks.soak_caller import CAMERA_FPS, Caller, Habits
from tests.benchmarks.soak_report import Limits, broken, summary
from tests.benchmarks.spoken import joe
from tests.benchmarks.video_camera import encoded
from tests.benchmarks.voice_sound import Clip, speech_from
from tests.benchmarks.watched import Watched, running

QUESTIONS = (
    "What is the weather like in Paris?", "How many days are there in a week?", "Can you tell me a joke?",
    "What is the opposite of hot?", "What is two plus three?", "Who are you?", "How are you today?",
    "What colour is the sky?", "What comes after Monday?", "Good morning! Did you sleep well?",
    "What can you do for me?", "Name an animal that can fly.", "Please count from one to five.",
    "Do you know a riddle?", "What is the capital of France?", "I feel a little tired this evening.",
)  # fmt: skip
RATE = 48_000
USUAL_TURN_SECONDS = 38.0
"""Of a caller with the usual habits: a pause of 30 s, and a question with its answer."""
SAMPLE_SECONDS = 10.0
WARM_SECONDS = 40.0
SETTLE_SECONDS = 12.0
"""After the last call: longer than a peer that has vanished is waited for."""
console = Console(highlight=False, markup=False, soft_wrap=True)


async def clips() -> list[Clip]:
    """The questions, spoken by a voice that was learned from a man where its model is here, else by espeak-ng."""
    try:
        mouth: Any = joe(ModelStore(load_settings({}).model_cache))
    except PipelineError:
        mouth = EspeakVoice()
    made = []
    try:
        for question in QUESTIONS:
            pieces = [piece async for piece in mouth.synthesize(question)]
            resampler = Resampler(RATE)
            wide = [resampler.push(piece.samples, piece.rate) for piece in pieces]
            made.append(speech_from(np.concatenate([*wide, resampler.flush()])))
    finally:
        await mouth.close()
    return made


def tree_mb(root: int) -> tuple[float, int]:
    """Proportional set size of a process and all its descendants (proc(5)), and how many those are."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
    family, total = {root}, 0
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    for pid in family:
        with suppress(OSError, IndexError, ValueError):
            total += int(Path(f"/proc/{pid}/smaps_rollup").read_text().partition("\nPss:")[2].split()[0])
    return round(total / 1024, 1), len(family) - 1


class Record:
    """Lines about what happens, in a list and in a file."""

    def __init__(self, path: Path | None) -> None:
        self.lines: list[dict[str, Any]] = []
        self._file = path.open("w", encoding="utf-8", buffering=1) if path is not None else None
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def tell(self, kind: str, **fields: Any) -> None:
        """One more line."""
        line = {"kind": kind, "at": round(self.seconds, 1), **fields}
        self.lines.append(line)
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")

    async def sample(self, server: Watched, phase: str, what: str = "late") -> dict[str, Any]:
        """What the server's process holds now."""
        told = await server.ask(what)
        told["pss_mb"], told["children"] = await asyncio.to_thread(tree_mb, server.process.pid)
        told["heaps"] = await server.ask("heaps")
        told["models_loaded"] = len(re.findall(rb" model [^\n]+: ready in ", server.log))
        self.tell("sample", phase=phase, **told)
        return told


def log_counts(log: bytes) -> dict[str, int]:
    """Lines of the log that must not be there."""
    return {
        "tracebacks": log.count(b"Traceback (most recent call last)"),
        "errors": len(re.findall(rb"(?m)^(?:\[[^]\n]+\]| {8,}) ?ERROR ", log)),
        "tasks never awaited": log.count(b"was never awaited") + log.count(b"exception was never retrieved"),
    }


async def warm_up(server: Watched, voices: list[Clip], record: Record, film: list[bytes], count: int) -> None:
    """As many calls at once as later, which come and go: what is loaded at first use is there then."""
    brief = Habits(1.0, 30.0, 15.0)
    callers = [
        Caller(100 + n, server.url, voices, brief, lambda *_, **__: None, None if n else film) for n in range(count)
    ]
    talking = [asyncio.create_task(caller.run()) for caller in callers]
    await asyncio.sleep(WARM_SECONDS)
    for caller in callers:
        caller.stop()
    await asyncio.gather(*talking)
    await server.empty(30)
    await asyncio.sleep(SETTLE_SECONDS)
    await record.sample(server, "idle", "collect")
    record.tell("kinds", **await server.ask("kinds"))


async def soak(options: argparse.Namespace) -> dict[str, Any]:
    """Serve, talk, watch; the summary."""
    ice.gather_from(["127.0.0.1"])
    voices = await clips()
    film = await asyncio.to_thread(encoded, options.video, CAMERA_FPS)
    habits, record = Habits.usual(options.accelerate), Record(options.out)
    async with running(options.tree.resolve(), *options.flags, profile="", before=lambda: None) as server:
        await warm_up(server, voices, record, film, options.sessions)
        warm = record.lines[-1]["at"] + 0.1 * 60 * options.minutes
        callers = [
            Caller(n, server.url, voices, habits, record.tell, None if n else film) for n in range(options.sessions)
        ]
        talking = [asyncio.create_task(caller.run()) for caller in callers]
        end = time.monotonic() + 60 * options.minutes
        while (left := end - time.monotonic()) > 0 and server.process.returncode is None:
            await asyncio.sleep(min(left, SAMPLE_SECONDS))
            told = await record.sample(server, "talking")
            if len(record.lines) % 30 == 0:
                console.print(json.dumps(told))
                if options.out is not None:
                    options.out.with_suffix(".log").write_bytes(server.log)
        for caller in callers:
            caller.stop()
        await asyncio.gather(*talking)
        await server.empty(30)
        await asyncio.sleep(SETTLE_SECONDS)
        await record.sample(server, "idle", "collect")
        record.tell("kinds", **await server.ask("kinds"))
        record.tell("trimmed", **await server.ask("trim"))
        log = bytes(server.log)
    told = summary(record.lines, warm)
    turns = sum(told["turns"].values())
    told["usual_hours"] = round(turns * USUAL_TURN_SECONDS / 3600 / options.sessions, 2)
    told["log"] = log_counts(log)
    told["trimmed_rss_mb"] = record.lines[-1]["rss_mb"]
    told["broken"] = broken(told, told["log"], options.limits)
    record.tell("summary", **told)
    if options.out is not None:
        options.out.with_suffix(".log").write_bytes(log)
    return told


def main() -> int:
    """Read the command line and go; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--sessions", type=int, default=6)
    parser.add_argument("--accelerate", type=float, default=1.0, help="pauses and lives so many times as short")
    parser.add_argument("--out", type=Path, help="JSON lines; the server's log goes beside it")
    parser.add_argument("--video", type=Path, help="what the camera films (default: a texture)")
    parser.add_argument("--tree", type=Path, default=Path.cwd(), help="the checkout that serves")
    parser.add_argument("--mb-per-hour", type=float, default=Limits().mb_per_hour, help="the most that memory may grow")
    parser.add_argument("flags", nargs="*", help="of visavis serve, after --")
    options = parser.parse_args()
    options.limits = Limits(mb_per_hour=options.mb_per_hour)
    told = asyncio.run(soak(options))
    console.print_json(data=told)
    for reason in told["broken"]:
        console.print(f"broken: {reason}")
    return 1 if told["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
