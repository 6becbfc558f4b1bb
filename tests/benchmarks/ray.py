"""Engines on a real Ray cluster of two nodes on this machine: what a call costs, and what becomes of an answer when
something is killed. ``python -m tests.benchmarks.ray [--json] [STEP …]``.

The engines are made up (:mod:`tests.fakes.ray_engines`): what is measured is the way to them. The cluster is started
and ended here; two cores are enough, and it takes one to three minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from pipelines.engines.remote.engines import Patience, Remote, RemoteModel
from pipelines.engines.remote.link import BridgeProcess, Link
from pipelines.engines.remote.messages import Call
from pipelines.engines.remote.recognizer import RemoteRecognizer
from pipelines.errors import PipelineError
from pipelines.interfaces.llm import ChatRequest, Message, Piece
from pipelines.routing.routes.llm import FallbackModel
from pipelines.runtime.worker import session
from pipelines.voice.llm import Clauses
from tests.benchmarks.ray_cluster import APPLICATION, TwoNodes, two_nodes

LOCAL = "Then the local engine goes on."
"""What the engine of this machine says."""
Facts = dict[str, Any]


class Local:
    """Implements :class:`~pipelines.interfaces.llm.LanguageModel`, here."""

    name = "local"

    def __init__(self) -> None:
        self.asked = 0

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """:data:`LOCAL`."""
        self.asked += 1
        yield LOCAL

    async def close(self) -> None:
        """Nothing to close."""


class Bench:
    """The steps. Each returns what it found."""

    def __init__(self, nodes: TwoNodes) -> None:
        self.nodes = nodes
        self.bridges: list[BridgeProcess] = []
        self.link = Link(nodes.address, APPLICATION, self._start)
        self.model = RemoteModel(Remote(self.link, "llm", Patience(10, 10)))

    async def latency(self) -> Facts:
        """What a call and the first piece of a stream take, from this process and back."""
        calls, firsts = [], []
        for _ in range(100):
            began = time.perf_counter()
            await self.link.call(Call("llm", "describe"), 10)
            calls.append(time.perf_counter() - began)
        for _ in range(50):
            began = time.perf_counter()
            async with aclosing(self.model.stream(asked("1"))) as pieces:
                await anext(pieces)
                firsts.append(time.perf_counter() - began)
        return {"call_ms": spread(calls), "first_piece_ms": spread(firsts)}

    async def affinity(self) -> Facts:
        """On how many replicas each of 20 sessions is, and how many serve them all."""
        by_session = {name: {await self._pid(name) for _ in range(5)} for name in map(str, range(20))}
        return {
            "replicas": len(set().union(*by_session.values())),
            "sessions_on_one": sum(len(pids) == 1 for pids in by_session.values()),
            "sessions": len(by_session),
        }

    async def batches(self) -> Facts:
        """How many of 8 utterances that end at the same time are heard together."""
        await self.nodes.deploy(stage="stt", model="together", batch=8, batch_wait_ms=50)
        ears = RemoteRecognizer(Remote(self.link, "stt", Patience(20)))
        await ears.probe()

        async def heard() -> int:
            recognition = await ears.open()
            await recognition.feed(np.zeros(160, np.int16))
            text = (await recognition.transcript()).text
            await recognition.close()
            return int(text)

        return {"together": max(await asyncio.gather(*(heard() for _ in range(8))))}

    async def killed_before(self) -> Facts:
        """A replica is killed before a clause of its answer is complete."""
        return await self._killed(clauses=0)

    async def killed_after(self) -> Facts:
        """A replica is killed when a clause of its answer has been given to the voice."""
        return await self._killed(clauses=1)

    async def queue(self) -> Facts:
        """Ten ask one replica that works on one answer and lets one wait."""
        await self.nodes.deploy(stage="llm", model="50", max_ongoing=1, max_queued=1, others=0)
        local = Local()
        model = RemoteModel(Remote(self.link, "llm", Patience(20, 20)))
        await model.probe()
        route = FallbackModel([model, local], lambda name, error: None)
        answers = await asyncio.gather(*(said(route, "10", f"s{n}") for n in range(10)))
        return {"answers": len([one for one in answers if one]), "by_the_local_engine": local.asked}

    async def autoscaling(self) -> Facts:
        """From one replica to three while six answers are being given, and back."""
        await self.nodes.deploy(
            stage="llm", model="50", replicas={"min": 1, "max": 3}, target=2, up_seconds=1, down_seconds=2, others=2
        )
        model = RemoteModel(Remote(self.link, "llm", Patience(60, 60)))
        await model.probe()
        before = await self.nodes.running("llm")
        busy = [asyncio.create_task(said(model, "100000", f"s{n}")) for n in range(6)]
        began = time.perf_counter()
        grown = await self.nodes.until("llm", 3)
        up = time.perf_counter() - began
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        began = time.perf_counter()
        shrunk = await self.nodes.until("llm", 1)
        seconds = {"up_s": round(up, 1), "down_s": round(time.perf_counter() - began, 1)}
        return {"before": before, "grown_to_3": grown, "shrunk_to_1": shrunk, **seconds}

    async def bridge(self) -> Facts:
        """The process between visavis and Ray is killed in the midst of an answer."""
        await self.nodes.deploy(stage="llm", model="20")
        told = await self._answered("s", 1, lambda: os.kill(self.bridges[-1].pid, signal.SIGKILL))
        began = time.perf_counter()
        return {**told, "back": await self._back(), "back_s": round(time.perf_counter() - began, 1)}

    async def node(self) -> Facts:
        """The other node is lost in the midst of an answer by its replica; what is left goes on."""
        await self.nodes.deploy(stage="llm", model="20", replicas=2, per_node=1)
        far = await self._session_of_the_other_node()
        told = await self._answered(far, 1, self.nodes.lose_node)
        return {**told, "others_serve": LOCAL not in await said(FallbackModel([self.model], _nobody), "3", "s1")}

    async def head(self) -> Facts:
        """What holds the cluster together is killed: this process lives, and its own engines serve."""
        self.nodes.lose_head()
        return await self._answered("s", 1, lambda: os.kill(self.bridges[-1].pid, signal.SIGKILL))

    # ------------------------------------------------------------------------------------------------- inside

    async def prepare(self) -> None:
        """Two replicas of a model that counts, one on each node."""
        await self.nodes.deploy(stage="llm", model="20", replicas=2, per_node=1)
        await self.model.probe()

    async def _killed(self, clauses: int) -> Facts:
        pid = await self._pid("s")
        told = await self._answered("s", clauses, lambda: os.kill(pid, signal.SIGKILL))
        return {**told, "replaced": await self.nodes.until("llm", 2)}

    async def _answered(self, name: str, clauses: int, kill: Callable[[], object]) -> Facts:
        """The clauses that are heard of one answer; ``kill`` is called once so many have been taken."""
        session.set(name)
        local = Local()
        route = FallbackModel([self.model, local], lambda engine, error: None)
        began = asyncio.Event()
        answer = Clauses(route, asked("200"), route.clock, began.set, lambda: False)
        heard: list[str] = []
        reading = asyncio.create_task(answer.read())
        lost = 0.0
        if not clauses:
            await began.wait()
            await _called(kill)
            lost = time.perf_counter()
        async for clause in answer.take():
            heard.append(clause)
            if len(heard) == clauses:
                await _called(kill)
                lost = time.perf_counter()
        await reading
        whole = [int(word) for word in " ".join(heard[:-1]).split()]
        return {
            "clauses": len(heard),
            "one_answer": heard[-1] == LOCAL and whole == list(range(len(whole))) and local.asked == 1,
            "words_before": len(whole),
            "goes_on_after_ms": round((time.perf_counter() - lost) * 1000),
        }

    async def _pid(self, name: str) -> int:
        return int(await said(self.model, "who?", name))

    async def _session_of_the_other_node(self) -> str:
        """A session whose replica is not on the node of most others' first one: found by whom the loss takes."""
        near = await self._node_of("s0")
        head = self.nodes.head_node_id
        for name in (f"s{n}" for n in range(200)):
            if await self._node_of(name) != head:
                return name
        raise AssertionError(f"all sessions are on {near}")

    async def _node_of(self, name: str) -> str:
        return (await self.link.call(Call("llm", "describe", (), name), 10)).node

    async def _back(self) -> bool:
        for _ in range(60):
            try:
                await self.model.probe()
            except PipelineError:
                await asyncio.sleep(0.5)
            else:
                return True
        return False

    async def _start(self) -> BridgeProcess:
        self.bridges.append(await BridgeProcess.start())
        return self.bridges[-1]


def _nobody(name: str, error: PipelineError | None) -> None:
    pass


async def _called(kill: Callable[[], object]) -> None:
    if isinstance(done := kill(), Awaitable):
        await done


def asked(text: str) -> ChatRequest:
    """A request for a model that counts."""
    return ChatRequest((Message("user", text),))


async def said(model: Any, text: str, name: str) -> str:
    """An answer for a session."""
    session.set(name)
    return "".join([str(piece) async for piece in model.stream(asked(text))])


def spread(seconds: list[float]) -> Facts:
    """In milliseconds."""
    ms = sorted(one * 1000 for one in seconds)
    return {"median": round(statistics.median(ms), 1), "p95": round(ms[int(len(ms) * 0.95)], 1)}


STEPS = (
    "latency", "affinity", "batches", "killed_before", "killed_after", "queue", "autoscaling", "bridge", "node", "head",
)  # fmt: skip


async def measure(nodes: TwoNodes, steps: list[str], tell: Callable[[str, Facts], object]) -> Facts:
    """The facts of each step."""
    bench, found = Bench(nodes), Facts()
    try:
        await bench.prepare()
        for name in steps:
            began = time.perf_counter()
            facts: Facts = await getattr(bench, name)()
            found[name] = {**facts, "took_s": round(time.perf_counter() - began, 1)}
            tell(name, found[name])
    finally:
        await bench.link.close()
    return found


def processor() -> str:
    """What it is called."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return platform.machine()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="*", default=list(STEPS), metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    console = Console(quiet=options.json)
    began = time.perf_counter()
    with two_nodes() as nodes:
        started = round(time.perf_counter() - began, 1)
        found = asyncio.run(measure(nodes, options.steps, lambda name, facts: console.print(f"{name}: {facts}")))
    about = {
        "processor": platform.processor() or platform.machine(),
        "load": os.getloadavg(),
        "cluster_start_s": started,
    }
    console.print(about)
    if options.json:
        sys.stdout.write(json.dumps({**found, "about": about}) + "\n")


if __name__ == "__main__":
    main()
