"""Breaks a server in one way after another while people talk with it: what they notice, and whether all is well after.

    .venv/bin/python -m tests.benchmarks.chaos [--fault NAME ...] [--list] [--sessions 2] [--out FILE] [-- SERVE FLAGS]

For each fault a server of its own (stub engines, or real ones where the fault is about them), a quiet call that
measures the longest gap between packets, and callers who ask something aloud every few seconds and come back with
``resume`` when they lose their call. Told are the longest gap before, during and after; turns in which the fault
struck, and how many of them were lost; calls that ended; seconds from the end of the fault until every caller has had
an answer to what it said after it; what ``/readyz`` said meanwhile; what was logged; and what the server holds more
than before when all have hung up.

Exit status 1: a fault did more than its class allows, something did not come back, or the log has a traceback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
from rich.console import Console

from server.transports.webrtc import ice
from tests.benchmarks.faults import Fault, Scene, table
from tests.benchmarks.soak import SETTLE_SECONDS, Record, clips, log_counts
from tests.benchmarks.soak_caller import Caller, Habits
from tests.benchmarks.voice_sound import Clip
from tests.benchmarks.watched import Quiet, Watched, quiet_call, running

WARM_SECONDS = 10.0
CALM_SECONDS = 12.0
"""Before the strike, and after all is well again."""
BUSY_MS = 200.0
"""A gap in the quiet call before anything was done: others take the machine, so times and calls are judged mildly."""
HELD = {"tasks": 8, "threads": 12, "descriptors": 8}
"""More than before, when all have hung up: what was loaded in between included."""
console = Console(highlight=False, markup=False, soft_wrap=True)


@dataclass(slots=True)
class Around:
    """What runs beside the strike."""

    server: Watched
    fault: Fault
    record: Record
    quiet: Quiet | None

    async def gap(self) -> float | None:
        """Milliseconds; the longest since it was last asked."""
        if self.quiet is None:
            return None
        try:
            return await self.quiet.gap()
        except ValueError:  # the process of the quiet call has ended
            self.quiet = None
            return None

    async def gap_after(self) -> float | None:
        """The same after all is well again; ``None`` when the quiet call, which never comes back, was lost."""
        gap = await self.gap()
        return gap if gap is not None and gap < 1000 * CALM_SECONDS else None

    async def held(self) -> dict[str, Any]:
        """What the process holds; nothing is known of a front's workers."""
        return await self.server.ask("collect") if self.fault.watched and self.server.process.returncode is None else {}

    async def readiness(self, seen: Counter[str]) -> None:
        """Ask twice a second whether it is ready, until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            while True:
                try:
                    async with http.get(f"{self.server.url}/readyz") as told:
                        seen[str(told.status)] += 1
                except (TimeoutError, aiohttp.ClientError) as error:
                    seen[type(error).__name__] += 1
                await asyncio.sleep(0.5)


def turns_of(record: Record, caller: int) -> list[dict[str, Any]]:
    """The caller's turns, each with the second at which it ``began``."""
    own = [line for line in record.lines if line["kind"] == "turn" and line["caller"] == caller]
    return [{**line, "began": line["at"] - line["took"]} for line in own]


def answered_since(record: Record, callers: int, since: float) -> float | None:
    """When every caller had had an answer to what it said after ``since``; ``None``: not yet."""
    firsts = []
    for caller in range(callers):
        good = [one["at"] for one in turns_of(record, caller) if one["began"] >= since and not one["unanswered"]]
        if not good:
            return None
        firsts.append(min(good))
    return max(firsts)


async def recovery(around: Around, callers: int, since: float) -> float | None:
    """Seconds after ``since`` until all is well; ``None`` when that takes three times as long as it may."""
    end = time.monotonic() + 3 * around.fault.recovers_within
    while time.monotonic() < end and around.server.process.returncode is None:
        if (well := answered_since(around.record, callers, since)) is not None:
            return round(well - since, 1)
        await asyncio.sleep(0.5)
    return None


async def one(fault: Fault, voices: list[Clip], options: argparse.Namespace, record: Record) -> dict[str, Any]:
    """Let the fault strike once; what came of it."""
    told: dict[str, Any] = {"fault": fault.name, "load": round(os.getloadavg()[0], 1)}
    async with AsyncExitStack() as stack:
        more = await stack.enter_async_context(fault.surroundings())
        server = await stack.enter_async_context(
            running(
                options.tree.resolve(), *fault.flags, *more, *options.flags, profile="", before=fault.before_start,
                environment=fault.environment,
            )
        )  # fmt: skip
        quiet = await stack.enter_async_context(quiet_call(server.url))
        around = Around(server, fault, record, quiet)
        habits = Habits(2.5, 1e6, 1e6, {"speak": 1}, fault.session)
        callers = [Caller(n, server.url, voices, habits, record.tell) for n in range(options.sessions)]
        await warm(callers[0], voices, server, habits)
        before = await around.held()
        talking = [asyncio.create_task(caller.run()) for caller in callers]
        seen: Counter[str] = Counter()
        asking = asyncio.create_task(around.readiness(seen))
        try:
            await asyncio.sleep(WARM_SECONDS)
            await around.gap()
            await asyncio.sleep(CALM_SECONDS)
            told["gap_ms"] = {"before": await around.gap()}
            seen.clear()
            logged, struck = len(server.log), record.seconds
            with suppress(ProcessLookupError):
                await fault.strike(Scene(server, fault.folder, record))
            over = record.seconds
            told["gap_ms"]["during"] = await around.gap()
            told["recovered_s"] = await recovery(around, options.sessions, over)
            told["readyz"] = dict(seen)
            await around.gap()
            await asyncio.sleep(CALM_SECONDS)
            told["gap_ms"]["after"] = await around.gap_after()
        finally:
            asking.cancel()
            for caller in callers:
                caller.stop()
            await asyncio.gather(*talking, return_exceptions=True)
        told |= turns_told(record, options.sessions, struck, over)
        told["alive"] = server.process.returncode is None
        if before and told["alive"]:
            await asyncio.sleep(SETTLE_SECONDS)
            after = await around.held()
            told["held"] = {name: (before[name], after[name]) for name in (*HELD, "rss_mb")}
        told["log"], told["said"] = log_counts(bytes(server.log)), said(bytes(server.log[logged:]))
        if options.out is not None:
            options.out.with_suffix(f".{fault.name}.log").write_bytes(bytes(server.log))
    told["broken"] = broken(told, fault)
    return told


async def warm(caller: Caller, voices: list[Clip], server: Watched, habits: Habits) -> None:
    """One call with a turn, so that what is loaded at first use is there."""
    first = Caller(99, server.url, voices, habits, lambda *_, **__: None)
    running_ = asyncio.create_task(first.run())
    await asyncio.sleep(WARM_SECONDS)
    first.stop()
    await running_


def turns_told(record: Record, callers: int, struck: float, over: float) -> dict[str, Any]:
    """What became of the turns that the fault met, and how long answers took beside it."""
    turns = [turn for caller in range(callers) for turn in turns_of(record, caller)]
    met = [turn for turn in turns if turn["at"] >= struck and turn["began"] <= over]
    calm = [turn for turn in turns if turn["at"] < struck]
    lost_calls = [line for line in record.lines if line["kind"] == "trouble" and line["at"] >= struck]
    return {
        "turns_met": len(met),
        "turns_lost": sum(turn["unanswered"] for turn in met),
        "turns_lost_after": sum(turn["unanswered"] for turn in turns if turn["began"] > over),
        "calls_lost": sum("the call was lost" in line["what"] for line in lost_calls),
        "trouble": dict(Counter(line["what"][:100] for line in lost_calls)),
        "voice_ms": {"before": _median(calm), "met": _median(met)},
        "errors_told": dict(Counter(error[:90] for turn in turns for error in turn["errors"])),
        "notes": [line for line in record.lines if line["kind"] == "note" and line["at"] >= struck],
    }


def _median(turns: list[dict[str, Any]]) -> float | None:
    times = [turn["voice_ms"] for turn in turns if turn.get("voice_ms", -1) > 0]
    return round(median(times)) if times else None


def said(log: bytes) -> list[str]:
    """Warnings and errors, each once, without times and ids."""
    lines = re.findall(r"(?m)(?:WARNING|ERROR)\s+(.*)", log.decode(errors="replace"))
    return list(dict.fromkeys(re.sub(r"sess_\w+|\d+(?:\.\d+)?", "…", line).strip() for line in lines))[:12]


def broken(told: dict[str, Any], fault: Fault) -> list[str]:
    """What must not be, in words."""
    wrong = []
    if not told["alive"]:
        wrong.append("the server has ended")
    busy = (told["gap_ms"]["before"] or 0.0) > BUSY_MS
    within = fault.recovers_within * (3 if busy else 1)
    if told["recovered_s"] is None or told["recovered_s"] > within:
        wrong.append(f"well again after {told['recovered_s']} s; at most {within:g}")
    if told["turns_lost"] > fault.most_lost * 2:
        wrong.append(f"{told['turns_lost']} turns lost; at most {fault.most_lost} of each caller")
    if told["turns_lost_after"] > busy:
        wrong.append(f"{told['turns_lost_after']} turns lost that began after it")
    if fault.calls_survive and told["calls_lost"] > busy:
        wrong.append(f"{told['calls_lost']} calls ended")
    wrong += [f"{count} {name} in the log" for name, count in told["log"].items() if count and name != "errors"]
    held = told.get("held", {})
    wrong += [
        f"{name}: {held[name][0]} before, {held[name][1]} after; at most {most} more"
        for name, most in HELD.items()
        if held and held[name][1] - held[name][0] > most
    ]
    return wrong


def markdown(lines: list[dict[str, Any]], faults: dict[str, type[Fault]]) -> str:
    """A table of what ``--out`` holds; of a fault that was tried twice, the last time."""
    last = {told["fault"]: told for told in lines}
    rows = [
        "| fault | longest gap, ms: before, during, after | turns met, lost | calls lost | well again after | load |"
    ]
    rows.append("|---|---|---|---|---|---|")
    for name, told in last.items():
        gaps = ", ".join("–" if gap is None else f"{gap:.0f}" for gap in told["gap_ms"].values())
        lost = told["turns_lost"] + told["turns_lost_after"]
        well = "not" if told["recovered_s"] is None else f"{told['recovered_s']:g} s"
        cells = (faults[name].words, gaps, f"{told['turns_met']}, {lost}", str(told["calls_lost"]), well)
        rows.append("| " + " | ".join((f"`{name}`: {cells[0]}", *cells[1:], f"{told['load']:g}")) + " |")
    return "\n".join(rows)


async def main() -> int:
    """Strike with each fault; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fault", nargs="+", metavar="NAME", default=[], help="these alone (--list names them)")
    parser.add_argument("--list", action="store_true", help="name the faults")
    parser.add_argument("--report", action="store_true", help="a table of what is in --out, and no more")
    parser.add_argument("--sessions", type=int, default=2, help="callers who speak")
    parser.add_argument("--out", type=Path, help="JSON lines; each server's log goes beside it")
    parser.add_argument("--tree", type=Path, default=Path.cwd(), help="the checkout that serves")
    parser.add_argument("flags", nargs="*", help="of visavis serve, after --")
    options = parser.parse_args()
    faults = table()
    if unknown := set(options.fault) - set(faults):
        parser.error(f"--fault: {', '.join(sorted(unknown))}; legal values are {', '.join(faults)}")
    if options.list:
        for name, fault in faults.items():
            console.print(f"{name:18} {fault.words}")
        return 0
    if options.report:
        lines = [json.loads(line) for line in (options.out or Path()).read_text("utf-8").splitlines()]
        console.print(markdown(lines, faults))
        return 0
    ice.gather_from(["127.0.0.1"])
    voices, wrong = await clips(), 0
    for name in options.fault or faults:
        with tempfile.TemporaryDirectory() as folder:
            fault = faults[name](Path(folder))
            if reason := fault.missing():
                console.print(f"{name}: skipped, {reason}")
                continue
            record = Record(None)
            try:
                told = await one(fault, voices, options, record)
            except SystemExit as error:  # the others may do better
                console.print(f"{name}: {error}")
                wrong += 1
                continue
        console.print(f"{name} ({fault.words}): {'BROKEN' if told['broken'] else 'well'}")
        console.print_json(data=told)
        wrong += bool(told["broken"])
        if options.out is not None:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(told) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
