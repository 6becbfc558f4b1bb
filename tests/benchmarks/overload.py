"""More than a server can do: what it gives up, whom it refuses, and how those inside fare, with shedding and without.

    python -m tests.benchmarks.overload [--newcomers 32] [--insiders 3] [--tasks 4] [--profile bench|embedded|auto]

A server with a processor of its own (where there are two) and stub engines, or real ones, is talked to by a few
*insiders*. Then *newcomers* come, two a second, who speak all the time, and single requests of low and of normal
priority beside them. After a while they leave. That is done with shedding and without, alternately; what counts is the
ratio of the insiders' figures in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
from aiortc import RTCSessionDescription
from rich.console import Console
from rich.table import Table

from media.clock import MonotonicClock
from server.load.watch import SETTLING_SECONDS
from server.settings import SettingsError
from server.transports.webrtc import ice
from tests.benchmarks.voice import summary
from tests.benchmarks.voice_session import BenchSession
from tests.benchmarks.voice_sound import Clip, speech

START_SECONDS = 120.0
CALM_SECONDS, LOADED_SECONDS, LONGEST_RETURN = 10.0, 15.0, 45.0
ARRIVALS = 0.5
"""Seconds between two newcomers."""
PHASES = ("before", "during", "after")
FALLING = "falling"
"""Between the last two: those who came have left, and the level falls."""
TASK = "/v1/audio/speech"
console = Console(highlight=False, width=170)


class Offering(BenchSession):
    """Takes a refusal as an answer."""

    retry_after: int | None = None

    async def answer_to(self, offer: RTCSessionDescription) -> RTCSessionDescription:
        """Raises :class:`SettingsError` when refused; :attr:`retry_after` tells for how long."""
        asked = {"sdp": offer.sdp, "type": offer.type}
        async with aiohttp.ClientSession() as http, http.post(f"{self._url}/offer", json=asked) as got:
            answer = await got.json()
            if got.status == 200:
                return RTCSessionDescription(answer["sdp"], "answer")
            self.retry_after = int(got.headers.get("Retry-After", "0"))
            raise SettingsError(f"{got.status} {answer['error']['code']}")


@dataclass
class Round:
    """What happened with one setting."""

    shedding: str
    levels: list[tuple[float, int, str]] = field(default_factory=list)
    """Seconds since the newcomers began to come, level, and the measurement that it was taken for."""
    turns: dict[str, list[float]] = field(default_factory=lambda: {phase: [] for phase in (*PHASES, FALLING)})
    """Voice to voice of the insiders, in milliseconds."""
    missed: Counter[str] = field(default_factory=Counter)
    inside: int = 0
    refused: list[tuple[float, str, int]] = field(default_factory=list)
    """Seconds, why, and Retry-After."""
    tasks: Counter[str] = field(default_factory=Counter)
    shed: dict[str, float] = field(default_factory=dict)
    back: float | None = None
    """Seconds from the leaving of the newcomers to level 0."""


class Overload:
    """One round."""

    def __init__(self, options: argparse.Namespace, url: str, clip: Clip, shedding: str) -> None:
        self.told = Round(shedding)
        self._options = options
        self._url = url
        self._clip = clip
        self._clock = MonotonicClock()
        self._phase = PHASES[0]
        self._began = time.monotonic()

    async def run(self) -> Round:
        """Insiders, newcomers, and the time after."""
        insiders = [BenchSession(self._url, None, self._clock, n) for n in range(self._options.insiders)]
        for session in insiders:
            await session.connect()
        async with aiohttp.ClientSession(self._url) as http:
            tasks = [asyncio.create_task(self._converse(session)) for session in insiders]
            watch = asyncio.create_task(self._watch(http))
            try:
                await asyncio.sleep(SETTLING_SECONDS + CALM_SECONDS)
                await self._load(http)
                await self._return(http)
                self._phase = PHASES[2]
                await asyncio.sleep(CALM_SECONDS)
            finally:
                for task in (watch, *tasks):
                    task.cancel()
                await asyncio.gather(watch, *tasks, return_exceptions=True)
                for session in insiders:
                    await session.close()
            self.told.shed = await shed_counts(http)
        return self.told

    async def _converse(self, session: BenchSession) -> None:
        """Turn after turn; a turn belongs to the phase in which it ends."""
        while True:
            await session.run("voice", self._clip, 1)
            turn = session.turns[-1]
            if (turn.voice_to_voice_ms or 0.0) > 0.0:  # below: it was the answer to an earlier turn
                self.told.turns[self._phase].append(turn.voice_to_voice_ms or 0.0)
            else:
                self.told.missed[self._phase] += 1

    async def _load(self, http: aiohttp.ClientSession) -> None:
        self._phase, self._began = PHASES[1], time.monotonic()
        self.told.levels.clear()
        work = [asyncio.create_task(self._newcomer(n)) for n in range(self._options.newcomers)]
        work += [asyncio.create_task(self._task(http, ("low", "normal")[n % 2])) for n in range(self._options.tasks)]
        try:
            await asyncio.sleep(ARRIVALS * self._options.newcomers + LOADED_SECONDS)
        finally:
            self._phase = FALLING
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _newcomer(self, number: int) -> None:
        """Comes once; if let in, speaks all the time."""
        await asyncio.sleep(ARRIVALS * number)
        session = Offering(self._url, None, self._clock, 100 + number)
        try:
            await session.connect()
            self.told.inside += 1
            while True:
                await session.run("voice", self._clip, 1)
        except SettingsError as error:
            self.told.refused.append((time.monotonic() - self._began, str(error), session.retry_after or 0))
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await session.close()

    async def _task(self, http: aiohttp.ClientSession, priority: str) -> None:
        """Has something read aloud, again and again; one that is refused waits as long as it is told, or a second."""
        body = {"input": "This is read aloud for somebody who is in no hurry at all."}
        while True:
            async with http.post(TASK, json=body, headers={"X-Priority": priority}) as response:
                await response.read()
                self.told.tasks[f"{priority} {response.status}"] += 1
                if response.status != 200:
                    await asyncio.sleep(1.0)

    async def _watch(self, http: aiohttp.ClientSession) -> None:
        while True:
            load = await load_of(http)
            reason = load["reason"]
            why = f"{reason['measure']} {reason['value']:.0f} {reason['unit']}" if reason else ""
            self.told.levels.append((time.monotonic() - self._began, load["level"], why))
            await asyncio.sleep(0.5)

    async def _return(self, http: aiohttp.ClientSession) -> None:
        """Until everything is as usual again."""
        left = time.monotonic()
        while time.monotonic() - left < LONGEST_RETURN:
            if (await load_of(http))["level"] == 0:
                self.told.back = time.monotonic() - left
                return
            await asyncio.sleep(0.25)


async def load_of(http: aiohttp.ClientSession) -> dict[str, Any]:
    """``load`` of the status."""
    async with http.get("/v1/status") as response:
        load: dict[str, Any] = (await response.json())["load"]
        return load


async def shed_counts(http: aiohttp.ClientSession) -> dict[str, float]:
    """``visavis_shed_total`` by what."""
    async with http.get("/metrics") as response:
        lines = [line for line in (await response.text()).splitlines() if line.startswith("visavis_shed_total{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


@asynccontextmanager
async def running(options: argparse.Namespace, shedding: str, log: Path) -> AsyncIterator[str]:
    """A server in a process of its own; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "server",
        "serve",
        "--port",
        str(port),
        "--profile",
        options.profile,
        "--no-download",
    ]
    environment = {**os.environ, "VISAVIS_SHEDDING": shedding, "VISAVIS_MAX_SESSIONS": "200"}
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    own = (lambda: os.sched_setaffinity(0, cores[:1])) if len(cores) > 1 else None
    with log.open("wb") as output:
        child = subprocess.Popen(command, env=environment, stdout=output, stderr=output, preexec_fn=own)  # noqa: ASYNC220
        url = f"http://127.0.0.1:{port}"
        try:
            await until_ready(url, child)
            yield url
        finally:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(child.wait, 15)
            child.kill()


async def until_ready(url: str, child: subprocess.Popen[bytes]) -> None:
    """Wait for the server, or say that it has ended."""
    async with aiohttp.ClientSession(url) as http:
        for _ in range(round(START_SECONDS / 0.25)):
            if child.poll() is not None:
                raise SystemExit("the server ended before it was ready: see its log")
            with suppress(aiohttp.ClientError):
                async with http.get("/readyz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.25)
    raise SystemExit("the server did not get ready")


def course(levels: Sequence[tuple[float, int, str]]) -> str:
    """``3 s → 1 (event_loop 55 ms), …``."""
    changes = [one for before, one in pairwise([(0.0, 0, ""), *levels]) if one[1] != before[1]]
    return (
        ", ".join(f"{at:.0f} s → {level}{f' ({why})' if why else ''}" for at, level, why in changes) or "0 all the time"
    )


def show(rounds: Sequence[Round]) -> None:
    """Everything, for people."""
    table = Table(
        "shedding",
        *(f"voice to voice {phase}, ms" for phase in PHASES),
        "missed (before, during, after)",
        "let in",
        "refused",
        "back",
    )
    for one in rounds:
        cells = []
        for phase in PHASES:
            figures = summary(one.turns[phase])
            cells.append(f"{figures['median']:.0f} (p95 {figures['p95']:.0f}, n {figures['n']})" if figures else "-")
        waits = [wait for _, _, wait in one.refused]
        refused = f"{len(waits)}" + (f", Retry-After {min(waits)}–{max(waits)} s" if waits else "")
        back = "-" if one.back is None else f"{one.back:.0f} s"
        table.add_row(
            one.shedding, *cells, ", ".join(str(one.missed[phase]) for phase in PHASES), str(one.inside), refused, back
        )
    console.print(table)
    for one in rounds:
        console.print(f"{one.shedding}: level: {course(one.levels)}")
        console.print(f"{one.shedding}: given up: {one.shed}; tasks: {dict(one.tasks)}")
    medians = {
        name: [statistics.median(one.turns["during"]) for one in rounds if one.shedding == name and one.turns["during"]]
        for name in ("auto", "off")
    }
    if all(medians.values()):
        ratio = statistics.mean(medians["auto"]) / statistics.mean(medians["off"])
        console.print(f"voice to voice of the insiders during the load, with shedding ÷ without: {ratio:.2f}")


async def measure(options: argparse.Namespace) -> None:
    """All rounds."""
    ice.gather_from(["127.0.0.1"])
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    clip = await speech(options.wav)
    console.print(f"load of the machine: {' '.join(f'{one:.2f}' for one in os.getloadavg())}; {len(cores)} processors")
    rounds = []
    for number in range(options.rounds):
        for shedding in ("off", "auto"):
            log = options.logs / f"overload-{number}-{shedding}.log"
            async with running(options, shedding, log) as url:
                if len(cores) > 1:
                    os.sched_setaffinity(0, cores[1:])
                try:
                    rounds.append(await Overload(options, url, clip, shedding).run())
                    show(rounds[-1:])
                finally:
                    if cores:
                        os.sched_setaffinity(0, cores)
    if len(rounds) > 1:
        show(rounds)


def main() -> None:
    """Read the command line and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--newcomers", type=int, default=32)
    parser.add_argument("--insiders", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=4, help="single requests at a time, half of them of low priority")
    parser.add_argument("--profile", default="bench", choices=("bench", "embedded", "auto"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--wav", type=Path, help="what is said (default: a synthesised question)")
    parser.add_argument("--logs", type=Path, default=Path("/tmp"), help="folder for the logs of the servers")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
