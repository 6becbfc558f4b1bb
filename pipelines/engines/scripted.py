"""The responder of last resort: scripted answers for a talk without any language model. Deterministic.

It says what it is, remembers what was said to it, and answers what can be answered honestly from a table of intents
(:mod:`pipelines.engines.scripted_intents`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import datetime

from pipelines.engines.scripted_intents import FALLBACKS, INTENTS
from pipelines.engines.scripted_talk import Talk, pick, quoted
from pipelines.ports import ChatRequest, Message

_CAMERA = re.compile(r"\n?\[camera: [^\]]*\]", re.IGNORECASE)


class ScriptedModel:
    """A language model in name only: it looks the answer up.

    ``now`` tells the time of day where people are; without it the model says that it has no clock.
    """

    name = "scripted"

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self._now = now

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """Yield the answer word by word."""
        for piece in re.findall(r"\s*\S+", respond(request, self._now)):
            yield piece
            await asyncio.sleep(0)  # others get their turn, as with a model that works

    async def close(self) -> None:
        """Nothing to close."""


def respond(request: ChatRequest, now: Callable[[], datetime] | None = None) -> str:
    """The answer to the last thing the user said; never empty, whatever the request holds."""
    said = tuple(_lines(message.content for message in request.messages if message.role == "user"))
    talk = Talk(said, _replies(request.messages), request.scene.strip(), now)
    if not talk.words:
        return pick(("I did not catch that.", "Could you say that again?", "I heard no words."), talk.turn)
    for intent in INTENTS:
        if (match := intent.pattern.search(talk.words)) and (answer := intent.answer(talk, match)):
            return answer
    return pick(FALLBACKS, talk.turn).format(quoted(talk.utterance))


def _lines(contents: Iterable[str]) -> list[str]:
    """What the user said, one utterance each: turns that got no answer arrive as lines of one message."""
    said: list[str] = []
    for content in contents:
        said = [line for line in said if line]
        said += [line for line in _CAMERA.sub("", content).split("\n") if any(map(str.isalnum, line))] or [""]
    return said


def _replies(messages: tuple[Message, ...]) -> tuple[str, ...]:
    return tuple(message.content.strip() for message in messages if message.role == "assistant")
