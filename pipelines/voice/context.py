"""What of a long conversation a language model is still told: the newest turns, and a line about those before. Pure.

The cut moves in blocks. A conversation that lost its oldest message each turn would begin differently each turn, and
the model would have to read all of it again; here it begins the same for many turns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from pipelines.interfaces.llm import Message

Counter = Callable[[str], int]
"""Text → tokens."""
Summariser = Callable[[Sequence[Message]], str]
"""Messages that are dropped → one line about them. Must give the same line for the same messages."""

KEPT_SHARE = 0.6
"""How full the room is after a cut; the rest is for the turns until the next one."""
LONGEST_SUMMARY = 400
"""Characters of what is kept of turns that no longer fit."""
IMAGE_TOKENS = 500
"""What a picture counts: models take 100 to 1,100 tokens for one of 768 pixels."""
_LONGEST_SENTENCE = 80
"""Characters of one turn in the summary."""
_SHORTENED = 0.95
"""What is kept of the share that would fit if tokens were spread evenly over the text: it is counted anew each time."""


def approximate_tokens(text: str) -> int:
    """Tokens of ``text`` where no tokenizer is at hand: four bytes each, and what marks a message."""
    return len(text.encode(errors="replace")) // 4 + 4


def fit(
    messages: Sequence[Message],
    room: int,
    count: Counter = approximate_tokens,
    summarise: Summariser | None = None,
) -> list[Message]:
    """``messages`` within ``room`` tokens (the model's context less the answer's).

    Kept are the system message and the newest turns; a line about the others is put behind the system message. A turn
    begins with a message of the user and is kept or dropped as a whole, so a tool's result stays with its call. Of a
    newest turn that alone does not fit, the end of what the user said is kept, for there the question is; otherwise the
    conversation could never go on. What is dropped depends on the messages alone and never comes back while a
    conversation grows.
    """
    system = list(messages[:1]) if messages and messages[0].role == "system" else []
    turns = _turns(messages[len(system) :])
    summarise = summarise or summary
    room -= sum(count(message.content) for message in system)
    costs = [sum(_cost(message, count) for message in turn) for turn in turns]
    reserved = min(LONGEST_SUMMARY // 4, max(0, room) // 4) if sum(costs) > room else 0
    start = cut(costs, room - reserved)
    if turns and costs[-1] > room - reserved:
        turns[-1] = _shortened(turns[-1], room - reserved, count)
    kept = [message for turn in turns[start:] for message in turn]
    if not start:
        return [*system, *kept]
    line = summarise([message for turn in turns[:start] for message in turn])
    return [*_with_line(system, _within(line, reserved, count)), *kept]


def cut(costs: Sequence[int], room: int) -> int:
    """Index of the first turn that is kept, given what each turn costs.

    Replays the conversation: whenever the turns kept so far no longer fit, so many go that ``KEPT_SHARE`` of the room
    is used. Hence the cut is the same for many turns, and later ones do not change where earlier ones were.
    """
    start, used = 0, 0
    for n, cost in enumerate(costs):
        used += cost
        if used <= room:
            continue
        while start < n and used > room * KEPT_SHARE:
            used -= costs[start]
            start += 1
    return start


def summary(dropped: Sequence[Message]) -> str:
    """One line about ``dropped``: what the user said first in each turn, names and numbers in any case.

    At most ``LONGEST_SUMMARY`` characters; the newest are kept when there is more.
    """
    parts: list[str] = []
    left = LONGEST_SUMMARY
    for message in reversed(dropped):
        if message.role != "user":
            continue
        part = _gist(message.content)
        left -= len(part) + 2
        if left < 0:
            break
        if part:
            parts.insert(0, part)
    return "; ".join(parts)


def _gist(text: str) -> str:
    """The first sentence of ``text``, and names and numbers of the others."""
    text = " ".join(re.sub(r"\[Camera:[^\[\]]*\]", "", text).split())
    first, *others = re.split(r"(?<=[.!?…。！？])\s+", text)
    first = first.rstrip(".!?…。！？ ")
    if len(first) > _LONGEST_SENTENCE:
        first, over = first[:_LONGEST_SENTENCE].rsplit(" ", 1)[0], first[_LONGEST_SENTENCE:]
        others.insert(0, over)
        first += "…"
    facts = [fact for other in others for fact in _facts(other) if fact not in first]
    return f"{first} ({', '.join(dict.fromkeys(facts))})" if facts else first


def _facts(sentence: str) -> list[str]:
    """Names (capitalised words that do not begin the sentence, neighbours together) and numbers."""
    found = re.finditer(r"\d[\d.,:/%€$-]*\d|\d|[^\W\d_][\w'’-]*(?:\s+[^\W\d_][\w'’-]*)*", sentence)
    facts: list[str] = []
    for match in found:
        if match[0][0].isdigit():
            facts.append(match[0])
            continue
        words = match[0].split()
        run: list[str] = []
        for n, word in enumerate([*words, ""]):
            if word[:1].isupper() and word not in ("I", "I'm", "I’m", "I'll", "I've") and (n or match.start()):
                run.append(word)
            elif run:
                facts.append(" ".join(run))
                run = []
    return facts


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
    turns: list[list[Message]] = []
    for message in messages:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def _cost(message: Message, count: Counter) -> int:
    pictures = IMAGE_TOKENS * len(message.images)
    return pictures + count(message.content) + sum(count(call.name + call.arguments) for call in message.tool_calls)


def _shortened(turn: list[Message], room: int, count: Counter) -> list[Message]:
    """``turn`` within ``room`` tokens, without the beginning of what the user said; whole if that is not enough."""
    said = turn[0]
    left = room - sum(_cost(message, count) for message in (replace(said, content=""), *turn[1:]))
    if said.role != "user" or left <= 0:
        return turn
    text = said.content
    while (tokens := count(f"…{text}")) > left and len(text) > 1:
        text = text[-max(1, int(len(text) * _SHORTENED * left / tokens)) :]
    _, _, whole = text.partition(" ")
    return [replace(said, content=f"…{whole or text}"), *turn[1:]]


def _within(line: str, tokens: int, count: Counter) -> str:
    """The newest parts of ``line`` that have room."""
    while line and count(line) > tokens:
        line = line.partition("; ")[2]
    return line


def _with_line(system: list[Message], line: str) -> list[Message]:
    if not line:
        return system
    line = f"Earlier, the user said: {line}."
    if not system:
        return [Message("system", line)]
    return [replace(system[0], content=f"{system[0].content}\n{line}")]
