"""The examination of the starter chat model, through the engine that serves it.

Each probe of :mod:`training.starter.examination` that training cannot have shown is asked as it is written and, where
that leaves it answerable, as the embedded recogniser might have heard it; scripted conversations of ten turns must keep
their thread. An answer passes when it matches what its probe wants, has at most 25 words and ended by itself.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

from pipelines.engines.llm.local import ChatLimits, LocalChat
from pipelines.engines.llm.messages import time_words
from pipelines.engines.llm.numpy_chat import load_numpy_chat
from pipelines.interfaces.llm import ChatRequest, Message, Tool, ToolCall, Usage
from pipelines.models.residency import Kept
from pipelines.runtime.worker import session
from training.starter.drills import drill
from training.starter.examination import probes, threads
from training.starter.examination_threads import Turn as Said
from training.starter.grammar import dialogue, instructions
from training.starter.mishearing import mishear
from training.starter.probe import Probe

LONGEST_ANSWER = 25
"""Words."""
_MOST_TOKENS = 100
_SEED = 2026
_SAMPLE = 40_000
"""Conversations of the training text that the wordings are compared with."""


Tell = Callable[[str, int, int], object]
"""Gets told what is being done, how much of it is done and how much there is."""


def silent(what: str, done: int, total: int) -> None:
    """Nobody is told."""


@dataclass(slots=True)
class Verdict:
    """One probe's outcome."""

    probe: Probe
    said: str
    """The last thing the user said, as it reached the model."""
    answer: str
    passed: bool


@dataclass(slots=True)
class Report:
    """What was found."""

    clean: list[Verdict] = field(default_factory=list)
    misheard: list[Verdict] = field(default_factory=list)
    threads: list[bool] = field(default_factory=list)
    """For each question of the ten-turn conversations that needs an earlier turn, whether it was answered."""
    kept: list[bool] = field(default_factory=list)
    """For each of these conversations, whether all such questions were."""
    whole: list[bool] = field(default_factory=list)
    """For each of them, whether every question was."""
    first_token: list[float] = field(default_factory=list)
    """Seconds to the first token of an answer."""
    tokens_per_second: list[float] = field(default_factory=list)
    longest: int = 0
    """Words of the longest answer."""
    empty: int = 0
    endless: int = 0
    """Answers that did not end within a hundred tokens."""


class Examiner:
    """Asks a model and judges it."""

    def __init__(self, folder: Path) -> None:
        self._usage: list[Usage] = []
        model = load_numpy_chat(folder)
        self._chat = LocalChat(Kept("starter", model), limits=ChatLimits(answers=1), on_usage=self._usage.append)
        self._conversation = 0
        self.report = Report()

    async def run(self, chosen: Sequence[Probe] | None = None, tell: Tell = silent) -> Report:
        """All probes, or ``chosen``, and the ten-turn conversations."""
        wanted = unseen(probes(), tell) if chosen is None else chosen
        rng = Random(_SEED)
        for n, probe in enumerate(wanted, 1):
            self.report.clean.append(await self._judge(probe, probe.said))
            tell("questions as written", n, len(wanted))
        for n, probe in enumerate(wanted, 1):
            tell("questions as misheard", n, len(wanted))
            if probe.misheard:
                last = mishear(probe.said[-1], rng, rate=1.0)
                self.report.misheard.append(await self._judge(probe, (*probe.said[:-1], last)))
        if chosen is None:
            talks = threads()
            for n, talk in enumerate(talks, 1):
                await self._follow(talk)
                tell("conversations", n, len(talks))
        await self._chat.close()
        return self.report

    async def _judge(self, probe: Probe, said: Sequence[str]) -> Verdict:
        last = len(said) - 1
        turns = [Said(line, "", probe.scene if n == last else "") for n, line in enumerate(said)]
        answers = await self._converse(turns, probe.tools, time_words(probe.now) if probe.now else "")
        return Verdict(probe, said[-1], answers[-1], passes(answers[-1], probe.good))

    async def _follow(self, talk: Sequence[Said]) -> None:
        answers = await self._converse(talk)
        results = [passes(answer, turn.good) for answer, turn in zip(answers, talk, strict=True) if turn.good]
        earlier = [passes(answer, turn.good) for answer, turn in zip(answers, talk, strict=True) if turn.earlier]
        self.report.threads += earlier
        self.report.kept.append(all(earlier))
        self.report.whole.append(all(results))

    async def _converse(self, said: Sequence[Said], tools: tuple[Tool, ...] = (), time: str = "") -> list[str]:
        messages = [Message("system", instructions())]
        answers: list[str] = []
        self._conversation += 1
        session.set(f"examination-{self._conversation}")
        for turn in said:
            messages.append(Message("user", turn.said))
            answer = await self._ask(ChatRequest(tuple(messages), turn.scene, _MOST_TOKENS, tools, time=time))
            answers.append(answer)
            messages.append(Message("assistant", answer))
        return answers

    async def _ask(self, request: ChatRequest) -> str:
        began = first = time.perf_counter()
        parts: list[str] = []
        async for piece in self._chat.stream(request):
            first = first if parts else time.perf_counter()
            parts.append(_call(piece) if isinstance(piece, ToolCall) else str(piece))
        ended, answer, used = time.perf_counter(), "".join(parts), self._usage[-1].answer
        self.report.first_token.append(first - began)
        if used > 4 and ended > first:
            self.report.tokens_per_second.append((used - 1) / (ended - first))
        self.report.longest = max(self.report.longest, len(answer.split()))
        self.report.empty += not answer.strip()
        self.report.endless += used >= _MOST_TOKENS
        return answer


def unseen(probes: Iterable[Probe], tell: Tell = silent) -> list[Probe]:
    """Those whose last words the training text does not hold, as far as a large sample of it tells. Takes seconds.

    The probes were written without sight of the grammar; what both came upon is no examination.
    """
    said = training_sentences(tell)
    return [probe for probe in probes if plain(probe.said[-1]) not in said]


def training_sentences(tell: Tell = silent) -> frozenset[str]:
    """:func:`plain` sentences of users in a large sample of the training text. Takes seconds, once."""
    if not _sampled:
        _sampled.append(_sample(tell))
    return _sampled[0]


_sampled: list[frozenset[str]] = []


def _sample(tell: Tell) -> frozenset[str]:
    rng, said = Random(_SEED), set[str]()
    for n in range(_SAMPLE):
        if n % 500 == 0:
            tell("reading the training text", n, _SAMPLE)
        talk = (drill if n % 4 == 0 else dialogue)(rng, late=n % 2 == 0)
        said |= {plain(message.content) for message in talk.request.messages if message.role == "user"}
    return frozenset(said)


def plain(text: str) -> str:
    """The words of ``text`` alone."""
    return " ".join(re.findall(r"[\w']+", text.lower()))


def passes(answer: str, good: str) -> bool:
    """Whether ``answer`` is what :attr:`Probe.good` wants, and short."""
    if good.endswith("}"):
        return answer == good
    return bool(re.search(good, answer, re.IGNORECASE)) and 0 < len(answer.split()) <= LONGEST_ANSWER


def _call(call: ToolCall) -> str:
    return f"{call.name} {json.dumps(json.loads(call.arguments))}"


def evaluate(folder: Path, chosen: Sequence[Probe] | None = None, tell: Tell = silent) -> Report:
    """Examine the model in ``folder``. Blocking: about a minute on one core."""

    async def examine() -> Report:
        return await Examiner(folder).run(chosen, tell)

    return asyncio.run(examine())


def table(report: Report) -> str:
    """The report as the table of the model card (Markdown)."""
    kinds = list(dict.fromkeys(verdict.probe.kind for verdict in report.clean))
    rows = [(kind, _share(report.clean, kind), _share(report.misheard, kind)) for kind in kinds]
    rows.append(("**all**", _share(report.clean), _share(report.misheard)))
    lines = ["| questions | as written | as misheard |", "|---|---|---|"]
    lines += [f"| {kind} | {clean} | {misheard} |" for kind, clean, misheard in rows]
    lines += ["", "| | |", "|---|---|"]
    if report.kept:
        lines.append(f"| ten-turn conversations that kept their thread | {_of(report.kept)} |")
        lines.append(f"| questions in them that need an earlier turn | {_of(report.threads)} |")
        lines.append(f"| ten-turn conversations without a wrong answer | {_of(report.whole)} |")
    first, worst = sorted(report.first_token), max(report.first_token)
    lines += [
        f"| first token, median (p95, worst) | {1000 * median(first):.0f} ms "
        f"({1000 * first[int(0.95 * (len(first) - 1))]:.0f} ms, {1000 * worst:.0f} ms) |",
        f"| tokens per second, median | {median(report.tokens_per_second):.0f} |",
        f"| longest answer | {report.longest} words |",
        f"| empty, endless answers | {report.empty}, {report.endless} |",
    ]
    return "\n".join(lines)


def failures(report: Report) -> list[str]:
    """One line for each answer that did not pass."""
    wrong = [
        (how, v) for how, all_ in (("", report.clean), ("misheard ", report.misheard)) for v in all_ if not v.passed
    ]
    return [f"{how}{v.probe.kind}: {v.said!r} -> {v.answer!r} (wanted {v.probe.good})" for how, v in wrong]


def _share(verdicts: Iterable[Verdict], kind: str | None = None) -> str:
    chosen = [verdict.passed for verdict in verdicts if kind is None or verdict.probe.kind == kind]
    return _of(chosen) if chosen else ""


def _of(results: Sequence[bool]) -> str:
    return f"{sum(results)} of {len(results)} ({100 * sum(results) / max(1, len(results)):.0f} %)"
