"""Several workers, one of them killed: what the sessions of the others hear, and how soon its own go on.

    .venv/bin/python -m tests.benchmarks.workers [--workers 4] [--sessions 8] [--runs 1] [--json] [-- FLAGS]

Starts ``visavis serve --workers N --profile bench`` and for each worker a process of callers in its sessions; every
caller says something, then hears a long answer. The worker that is killed is each time another.

*Gap*: the longest time between two packets of sound, of sessions in other workers, from the kill on; beside it how late
the listening client itself was. *Told*, *ready*, *heard*, *answered*: from the kill until the watch answered, the new
session said ``session.created``, its first sound came, and an answer of it began. *History*: what was said before the
kill is remembered. *Strangers*: how many processors were busy meanwhile with what is not of this measurement.

``--memory`` starts a server with its usual engines instead, and tells what its processes weigh (PSS of Linux: what is
shared counts in parts).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from server.settings import Settings

READY_SECONDS = 180.0
BEFORE, AFTER = 3.0, 10.0
"""Seconds that are listened to before and after a kill."""
console = Console(highlight=False, markup=False, soft_wrap=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def _workers(http: aiohttp.ClientSession) -> list[dict[str, Any]]:
    try:
        async with http.get("/v1/workers") as told:
            listed: list[dict[str, Any]] = (await told.json())["data"]
            return listed
    except (aiohttp.ClientError, KeyError):
        return []


async def all_ready(http: aiohttp.ClientSession, count: int) -> float:
    """Wait until so many serve; returns how many seconds that took."""
    began = time.monotonic()
    async with asyncio.timeout(READY_SECONDS):
        while sum(worker["state"] == "ready" for worker in await _workers(http)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return time.monotonic() - began


@asynccontextmanager
async def server(count: int, flags: list[str]):
    """``url`` and process of a server with all its workers."""
    port = _free_port()
    command = [sys.executable, "-m", "server", "serve", "--port", str(port), "--workers", str(count), *flags]
    environment = {**os.environ, **({"VISAVIS_SHEDDING": "off"} if "shedding" in Settings.model_fields else {})}
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(url) as http:
            seconds = await all_ready(http, count)
            console.print(f"{count} workers serve after {seconds:.1f} s")
            yield url, http, process
    finally:
        with suppress(ProcessLookupError):  # it has failed
            process.terminate()
        await process.wait()


async def one_kill(url: str, http: aiohttp.ClientSession, victim: int, sessions: int) -> dict[str, Any]:
    """Kill one worker while all have sessions; returns what was heard."""
    numbers = [worker["number"] for worker in await _workers(http)]
    pids = {worker["number"]: worker["pid"] for worker in await _workers(http)}
    number = numbers[victim % len(numbers)]
    each = max(1, sessions // len(numbers))
    clients = {}
    for place, worker in enumerate(numbers):  # one after another: each keeps taking places until it has its own
        clients[worker] = await _client(url, worker, each, place * each)
    await asyncio.sleep(BEFORE)
    killed, busy = time.monotonic(), Busy(os.getpid())
    for client in clients.values():
        client.stdin.write(f"{killed}\n".encode())
    os.kill(pids[number], signal.SIGKILL)
    await asyncio.sleep(AFTER)
    by_others = busy.by_others()
    told = {}
    for worker, client in clients.items():
        client.stdin.write(b"end\n")
        told[worker] = json.loads(await client.stdout.readline())
    for client in clients.values():
        await client.wait()
    return {**_judged(told, number, killed), "cores_of_strangers": by_others}


async def _client(url: str, worker: int, count: int, first: int) -> Any:
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.workers_client", url, str(worker), str(count), str(first)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert client.stdout is not None
    async with asyncio.timeout(READY_SECONDS):
        line = await client.stdout.readline()
    if not line:
        raise SystemExit("the callers have failed")
    return client


def _judged(told: dict[int, Any], victim: int, killed: float) -> dict[str, Any]:
    of_others = [caller for worker, report in told.items() if worker != victim for caller in report["callers"]]
    others = [caller for caller in of_others if not caller["why"]]
    own = told[victim]["callers"]
    after = {
        name: [round(caller["times"][name] - killed, 3) for caller in own if name in caller["times"]]
        for name in ("told", "ready", "heard", "answered")
    }
    return {
        "killed": victim,
        "others": len(others),
        "others_moved": len(of_others) - len(others),
        "largest_gap_ms": max((gap for caller in others for gap, _ in caller["largest_gaps"]), default=None),
        "gaps_ms_at_s": sorted((gap for caller in others for gap in caller["largest_gaps"][:1]), reverse=True),
        "client_late_ms": max(report["own_delay_ms"] for worker, report in told.items() if worker != victim),
        "own": len(own),
        "with_history": sum(caller["history"] for caller in own),
        **after,
    }


class Busy:
    """How busy the machine is with what is not ours (Linux): it is heard, too."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._began = time.monotonic()
        self._all, self._ours = self._now()

    def by_others(self) -> float:
        """Processors, on average since the beginning."""
        everything, ours = self._now()
        seconds = time.monotonic() - self._began
        return round(max(0.0, everything - self._all - (ours - self._ours)) / seconds, 2)

    def _now(self) -> tuple[float, float]:
        tick = os.sysconf("SC_CLK_TCK")
        fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        everything = sum(fields) - fields[3] - fields[4]
        ours = 0
        for pid in family(self._root):
            with suppress(OSError):
                words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                ours += sum(map(int, words[11:15]))
        return everything / tick, ours / tick


def memory_of(pid: int) -> dict[str, int]:
    """MiB of a process."""
    told = dict.fromkeys(("Rss", "Pss", "Private_Dirty"), 0)
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in told:
            told[name] = int(rest.split()[0]) >> 10
    return told


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(child) for child in children.read_text().split()] if children.exists() else []
    return [pid, *(each for child in found for each in family(child))]


def tell_memory(pid: int) -> dict[str, Any]:
    """Print what the processes of a server weigh."""
    table = Table("process", "RSS MiB", "PSS MiB", "own MiB")
    rows = []
    for each in family(pid):
        told = memory_of(each)
        command = Path(f"/proc/{each}/cmdline").read_text().split("\0")
        comm = Path(f"/proc/{each}/comm").read_text().strip()
        named = next((word for word in reversed(command) if "server" in word or "llama" in word), command[0])[-32:]
        name = comm if comm.startswith("visavis") else named
        rows.append({"pid": each, "name": name, **told})
        table.add_row(f"{each} {name}", *(str(told[key]) for key in ("Rss", "Pss", "Private_Dirty")))
    total = sum(row["Pss"] for row in rows)
    table.add_row("all", "", str(total), "")
    console.print(table)
    return {"processes": rows, "pss_mib": total}


async def main() -> None:
    """As the head of this file says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--sessions", type=int, default=8, help="of all workers together")
    parser.add_argument("--runs", type=int, default=1, help="kills, each of another worker")
    parser.add_argument("--memory", action="store_true", help="weigh a server with its usual engines instead")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("flags", nargs="*", help="for the server")
    options = parser.parse_args()
    usual = [] if options.memory else ["--profile", "bench", "--bench-tone-seconds", "60"]
    results: list[dict[str, Any]] = []
    async with server(options.workers, usual + options.flags) as (url, http, process):
        if options.memory:
            results.append(tell_memory(process.pid))
        for run in range(0 if options.memory else options.runs):
            await all_ready(http, options.workers)
            results.append(await one_kill(url, http, run + 1, options.sessions))
            results[-1]["replaced_after_s"] = round(AFTER + await all_ready(http, options.workers), 1)
            console.print(results[-1])
    if options.json:
        sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
