"""Language models in this process: what a turn costs when the conversation is remembered, and what others wait.

    python -m tests.benchmarks.chat [--layers 12] [--width 576] [--threads 1] [--history 1000] [--dtype auto]

The model is a Llama with random weights (the defaults have about 60 million, ``--layers 30`` makes it a SmolLM2-135M);
it is built in a temporary folder. Times are medians of ``--rounds``.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.model import Sampling
from pipelines.engines.llm.transformers_chat import load_chat
from pipelines.interfaces.llm import ChatRequest, Message
from pipelines.models.residency import Kept
from pipelines.runtime.worker import session
from tests.fakes.tiny_llama import save_tiny_llama

SYSTEM = "You are a friendly assistant who answers in one short sentence. "
LONG = 10_000
"""Tokens of an answer that is not meant to end by itself."""


@dataclass(slots=True)
class Bench:
    """One engine under test."""

    model: Any
    chat: LocalChat
    history: int
    """Tokens."""

    def request(self, name: str, *later: str, tokens: int = LONG) -> ChatRequest:
        """A conversation of ``history`` tokens that begins with ``name`` and goes on with ``later``."""
        line = "and what is the weather in Paris today, what should I wear? "
        past = [Message("user", f"{name}: {line}")]
        while self._tokens(past) < self.history:
            past += [Message("assistant", line), Message("user", f"{line} {line} {line}")]
        roles = ("assistant", "user")
        past += [Message(roles[n % 2], text) for n, text in enumerate(later)]
        return ChatRequest((Message("system", SYSTEM), *past), "", tokens)

    def _tokens(self, messages: list[Message]) -> int:
        return len(self.model.template.encode(ChatRequest((Message("system", SYSTEM), *messages)), 1 << 20).ids)

    async def first_token(self, request: ChatRequest) -> float:
        """Seconds to the first piece of text."""
        began = time.perf_counter()
        async with aclosing(self.chat.stream(request)) as pieces:
            await anext(pieces, None)
            return time.perf_counter() - began

    async def turns(self, name: str) -> tuple[float, float]:
        """Seconds to the first text of a first turn, and of the turn after it."""
        session.set(name)
        return (
            await self.first_token(self.request(name)),
            await self.first_token(self.request(name, "It is fine.", "And tomorrow, in Rome?")),
        )

    async def cancelled(self, name: str) -> float:
        """Seconds from giving an answer up until the engine steps for someone else."""
        session.set(name)
        begun: list[float] = []
        begin = self.model.begin

        def noted(*args: Any) -> Any:
            begun.append(time.perf_counter())
            return begin(*args)

        pieces = self.chat.stream(self.request(name))
        await anext(pieces)
        await asyncio.sleep(0.2)
        self.model.begin = noted
        began = time.perf_counter()
        await pieces.aclose()
        await self.first_token(ChatRequest((Message("user", "Hi"),), "", 1))
        self.model.begin = begin
        return begun[0] - began

    async def rates(self, sessions: int, tokens: int) -> float:
        """Tokens per second of ``sessions`` answers at a time, prompts not counted."""
        asked = [ChatRequest((Message("user", f"{n}: go on"),), "", tokens) for n in range(sessions)]
        said: list[float] = []
        step = self.model.step

        def counted(batch: Any) -> Any:
            out = step(batch)
            said.extend(time.perf_counter() for token in out if token is not None)
            return out

        self.model.step = counted
        await asyncio.gather(*(self._all(request, str(n)) for n, request in enumerate(asked)))
        self.model.step = step
        return (len(said) - sessions) / (said[-1] - said[sessions - 1])

    async def _all(self, request: ChatRequest, name: str) -> None:
        session.set(name)
        async with aclosing(self.chat.stream(request)) as pieces:
            async for _ in pieces:
                pass


async def measure(model: Any, options: argparse.Namespace) -> list[str]:
    """The figures of one engine, as cells."""
    model.stops, model.context = frozenset(), 1 << 20  # random weights end an answer anywhere,
    model.template.decode = lambda ids: "x" * len(ids)  # and what they say is often no text
    chat = LocalChat(Kept("bench", model), sampling=Sampling())
    bench = Bench(model, chat, options.history)
    await bench.first_token(ChatRequest((Message("user", "Hi"),), "", 4))
    turns = [await bench.turns(f"turn {n}") for n in range(options.rounds)]
    first, second = (median(each) for each in zip(*turns, strict=True))
    freed = median([await bench.cancelled(f"cancel {n}") for n in range(options.rounds)])
    rates = [await bench.rates(n, options.tokens) for n in (1, 2, 4)]
    await chat.close()
    return [
        f"{first * 1000:.0f}",
        f"{second * 1000:.0f}",
        f"{second / first:.2f}",
        f"{freed * 1000:.1f}",
        f"{1000 / rates[0]:.1f}",
        *(f"{rate:.1f}" for rate in rates),
    ]


def main() -> None:
    """Build the model, measure every engine, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = {"layers": 12, "width": 576, "threads": 1, "history": 1000, "rounds": 3, "tokens": 24}
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--vocabulary", type=int, default=49_152)
    options = parser.parse_args()
    shape = f"{options.layers} layers of {options.width}, {options.threads} thread(s), {options.history} tokens"
    table = Table(title=shape)
    for column in ("engine", "1st turn ms", "2nd ms", "ratio", "freed ms", "ms/token", "1: tok/s", "2", "4"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        source = save_tiny_llama(
            root / "model",
            layers=options.layers,
            width=options.width,
            context=8192,
            vocabulary=options.vocabulary,
        )
        engines: dict[str, Callable[[], Any]] = {
            f"transformers {options.dtype}": lambda: load_chat(source, "cpu", options.dtype, options.threads),
        }
        for title, load in engines.items():
            table.add_row(title, *asyncio.run(measure(load(), options)))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
