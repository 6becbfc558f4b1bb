# ruff: noqa: T201 - a program that prints a table
"""What llama.cpp as a child process costs: its start, the first token cold and with what is remembered, memory.

``python -m tests.benchmarks.llama [--model FILE] [--conversations N] [--slots N] [--turns N] [--threads N]``

Each turn adds some forty tokens to each of several conversations in turn, so that with fewer slots than conversations
the server has to put prompt caches aside. Without ``--model`` it is the GGUF of the catalogue, fetched if need be.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from pipelines.engines.llm.llama import LlamaChat
from pipelines.engines.llm.llama_process import Config
from pipelines.interfaces.llm import ChatRequest, Message, Usage
from pipelines.models.store import ModelStore
from server.settings import load_settings

QUESTIONS = (
    "What is the capital of France?",
    "Tell me about the sun and the planets that go around it.",
    "Who wrote Romeo and Juliet?",
    "What do cows eat and why?",
)
SYSTEM = "You are a helpful assistant. Answer in one short sentence."
ANSWER = 40
"""Tokens, at most."""


@dataclass(slots=True)
class Turn:
    """One answer."""

    first: float
    """Seconds to the first token."""
    speed: float
    """Tokens per second after it; 0 for a short answer."""
    usage: Usage


@dataclass(slots=True)
class Bench:
    """A running engine and what it has told."""

    engine: LlamaChat
    usages: list[Usage] = field(default_factory=list)

    async def turn(self, messages: Sequence[Message]) -> tuple[Turn, str]:
        """Ask, and say what it has cost."""
        began, times, parts = time.perf_counter(), list[float](), list[str]()
        async with aclosing(self.engine.stream(ChatRequest(tuple(messages), max_tokens=ANSWER))) as pieces:
            async for piece in pieces:
                times.append(time.perf_counter())
                parts.append(str(piece))
        speed = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 8 else 0.0
        return Turn(times[0] - began, speed, self.usages[-1]), "".join(parts)


def memory(pid: int) -> int:
    """MiB that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) >> 10


def row(name: str, turns: Sequence[Turn]) -> str:
    """Of the table."""
    first = sorted(1000 * turn.first for turn in turns)
    new = median(turn.usage.prompt - turn.usage.cached for turn in turns)
    known = median(turn.usage.cached for turn in turns)
    speeds = [turn.speed for turn in turns if turn.speed]
    speed = f"{median(speeds):.0f}" if speeds else "–"
    return f"| {name} | {known:.0f} + {new:.0f} | {median(first):.0f} ms ({first[0]:.0f}–{first[-1]:.0f}) | {speed} |"


async def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--conversations", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="OMP_WAIT_POLICY=active lets them spin")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--turns", type=int, default=4)
    args = parser.parse_args()
    path = args.model or ModelStore(load_settings({}).model_cache).ensure("smollm2-135m-instruct-gguf").path
    usages: list[Usage] = []
    config = Config(
        str(path), threads=args.threads, threads_batch=args.threads, slots=args.slots, sampling={"temperature": 0.0}
    )
    bench = Bench(LlamaChat("measured", config, on_usage=usages.append), usages)
    began = time.perf_counter()
    await bench.engine.warm()
    pid = bench.engine.pid
    assert pid is not None
    print(f"serves after {time.perf_counter() - began:.2f} s, {memory(pid)} MiB")
    talks = [[Message("system", f"{SYSTEM} You talk with number {n}.")] for n in range(args.conversations)]
    turns: list[list[Turn]] = []
    for place in range(args.turns):
        turns.append([])
        for n, messages in enumerate(talks):
            messages.append(Message("user", f"I am number {n}. " * 3 + QUESTIONS[(place + n) % len(QUESTIONS)]))
            turn, answer = await bench.turn(messages)
            messages.append(Message("assistant", answer))
            turns[-1].append(turn)
    print("| turn | known + new tokens | first token, median (all) | tokens per second |\n|---|---|---|---|")
    for place, row_of in enumerate(turns, 1):
        print(row(str(place), row_of))
    print(row(f"{args.turns}, cold", [await cold(config, messages[:-1]) for messages in talks]))
    print(f"{memory(pid)} MiB in the end")
    await bench.engine.close()


async def cold(config: Config, messages: Sequence[Message]) -> Turn:
    """The last turn of a conversation in a process that knows nothing of it."""
    usages: list[Usage] = []
    bench = Bench(LlamaChat("cold", config, on_usage=usages.append), usages)
    await bench.engine.warm()
    turn, _ = await bench.turn(messages)
    await bench.engine.close()
    return turn


if __name__ == "__main__":
    asyncio.run(main())
