"""What the adapter learns from: the starter's conversations, with general questions where the starter passes on. Pure.

A seed gives the same conversations everywhere. Those with tools are left out: the template of SmolLM2 does not tell the
model of any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from pipelines.engines.llm.messages import with_surroundings
from pipelines.interfaces.llm import ChatRequest, Message
from training.smollm2.replay import PROMPT, asked
from training.starter.drills import drill
from training.starter.grammar import Dialogue, dialogue
from training.starter.grammar_beyond import FALLBACKS

LONGEST = 96
"""Tokens of a conversation without the system message."""
_GENERAL = 0.25
"""Share of conversations that are general questions alone."""
_ERRAND = re.compile(
    r"^(please |could you |can you |would you |)(book|reserve|order|buy|call|turn|switch|dim|lock|unlock|open|close|"
    r"play|put on|send|phone|text|email|add|check|search|draw|paint|show|plan|arrange|schedule)\b",
    re.IGNORECASE,
)
_CANNOT = "I cannot do that. I can only talk with you and tell you what the camera shows."
_COPIES = frozenset(("say again", "what I said"))
"""Intents whose answers rest on the words of an earlier turn, whatever they were."""

Known = Sequence[tuple[str, str]]
"""General questions and answers."""
Encoded = tuple[list[int], list[bool]]
"""Tokens, and which of them are learned."""


def conversation(rng: Random, known: Known) -> Dialogue | None:
    """The next one of ``rng``, without a system message; ``None`` if what the grammar gave is of no use here."""
    if rng.random() < _GENERAL:
        return _general(rng, known)
    talk = (drill if rng.random() < 0.6 else dialogue)(rng, late=True)
    return _converted(rng, talk, known)


def _general(rng: Random, known: Known) -> Dialogue:
    messages: list[Message] = []
    for question, answer in rng.sample(known, rng.choice([1, 1, 1, 2])):
        messages += [Message("user", asked(question, rng)), Message("assistant", answer)]
    return Dialogue(ChatRequest(tuple(messages)), frozenset(range(1, len(messages), 2)), ("general",))


def _converted(rng: Random, talk: Dialogue, known: Known) -> Dialogue | None:
    messages, learned = list(talk.request.messages), set(talk.learned)
    if talk.request.tools or any(message.role == "tool" for message in messages):
        return None
    if messages[0].role == "system":
        if re.search(r"\d", messages[0].content):  # the time, which the server tells with the user's words
            return None
        messages.pop(0)
        learned = {n - 1 for n in learned}
    for n, message in enumerate(messages):
        if message.role != "assistant" or not any(message.content[:20] == text[:20] for text in FALLBACKS):
            continue
        if _COPIES & set(talk.intents):
            return None
        learned.add(n)
        if _ERRAND.match(messages[n - 1].content):
            messages[n] = Message("assistant", _CANNOT)
        else:
            question, answer = rng.choice(known)
            messages[n - 1], messages[n] = Message("user", asked(question, rng)), Message("assistant", answer)
    return replace(talk, request=replace(talk.request, messages=tuple(messages)), learned=frozenset(learned))


def beginning(tokenizer: Any) -> list[int]:
    """The system message, which all conversations have in common."""
    return list(tokenizer(f"<|im_start|>system\n{PROMPT}<|im_end|>\n", add_special_tokens=False)["input_ids"])


def encode(tokenizer: Any, talk: Dialogue) -> Encoded:
    """The tokens after the system message, as llama.cpp gets them; answers and their ends are learned."""
    ids: list[int] = []
    marks: list[bool] = []
    for n, message in enumerate(with_surroundings(talk.request)):
        for text, learned in (
            (f"<|im_start|>{message.role}\n", False),
            (f"{message.content}<|im_end|>", n in talk.learned),
            ("\n", False),
        ):
            part = tokenizer(text, add_special_tokens=False)["input_ids"]
            ids += part
            marks += [learned] * len(part)
    return ids[:-1], marks[:-1]


def rows(seed: int, known: Known, tokenizer: Any, room: int) -> Iterator[list[Encoded]]:
    """Without end: conversations that together have at most ``room`` tokens."""
    rng = Random(seed)
    waiting: list[Encoded] = []
    while True:
        while len(waiting) < 48:
            talk = conversation(rng, known)
            made = encode(tokenizer, talk) if talk else ([], [])
            if len(made[0]) <= LONGEST and any(made[1]):
                waiting.append(made)
        row: list[Encoded] = [waiting.pop(0)]
        left = room - len(row[0][0])
        while fit := [each for each in waiting if len(each[0]) <= left]:
            best = max(fit, key=lambda each: len(each[0])) if left < LONGEST else fit[0]
            waiting.remove(best)
            row.append(best)
            left -= len(best[0])
        yield row
