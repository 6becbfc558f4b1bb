"""The starter chat model that ships: it answers, in every engine, and keeps its thread."""

from __future__ import annotations

from datetime import datetime
from itertools import count

import pytest

from pipelines.engines.llm.local import ChatLimits, LocalChat
from pipelines.engines.llm.messages import time_words
from pipelines.engines.llm.numpy_chat import load_numpy_chat
from pipelines.engines.llm.transformers_chat import load_chat
from pipelines.interfaces.llm import ChatRequest, Message, ToolCall
from pipelines.models.residency import Kept
from pipelines.runtime.worker import session
from pipelines.starter.model_files import FOLDER
from training.starter.grammar import instructions
from training.starter.grammar_tools import TOOLS

_talks = count()


class Talk:
    """A conversation with a model."""

    def __init__(self, engine: LocalChat, **around: object) -> None:
        self._engine = engine
        self._around = around
        self.messages = [Message("system", instructions())]
        self._name = f"talk-{next(_talks)}"

    async def say(self, text: str, **around: object) -> str:
        self.messages.append(Message("user", text))
        session.set(self._name)
        request = ChatRequest(tuple(self.messages), max_tokens=100, **{**self._around, **around})
        pieces = [piece async for piece in self._engine.stream(request)]
        called = [f"{piece.name} {piece.arguments}" for piece in pieces if isinstance(piece, ToolCall)]
        answer = "".join(called or [piece for piece in pieces if isinstance(piece, str)]).strip()
        self.messages.append(Message("assistant", answer))
        return answer


@pytest.fixture(params=["numpy", "transformers"])
async def engine(request: pytest.FixtureRequest):
    model = load_numpy_chat(FOLDER) if request.param == "numpy" else load_chat(FOLDER, threads=1)
    engine = LocalChat(Kept("starter", model), limits=ChatLimits(answers=1))
    yield engine
    await engine.close()


async def test_a_conversation_keeps_its_thread(engine: LocalChat) -> None:
    talk = Talk(engine)
    assert await talk.say("hello") == "Hello! How can I help you?"
    assert "Anna" in await talk.say("my name is anna")
    assert await talk.say("what is three plus four") == "Three plus four is seven."
    assert await talk.say("and plus two") == "Seven plus two is nine."
    assert "?" in await talk.say("tell me a joke")
    assert await talk.say("what is my name") == "Your name is Anna."
    assert "small" in await talk.say("who won the world cup")


async def test_it_tells_what_the_camera_shows_and_what_time_it_is(engine: LocalChat) -> None:
    now = time_words(datetime(2026, 11, 21, 14, 7))
    talk = Talk(engine, time=now)
    scene = "one person, right hand raised, facing the camera"
    assert await talk.say("what do you see", scene=scene) == f"I see {scene}."
    assert await talk.say("what time is it") == "It is 2:07 p.m."
    assert "no camera" in await Talk(engine, time=now).say("what do you see")


async def test_what_was_interrupted_stays_interrupted(engine: LocalChat) -> None:
    talk = Talk(engine)
    await talk.say("what is two plus two")
    await talk.say("count to ten")
    talk.messages[-1] = Message("assistant", "One, two, three, \N{EM DASH}")
    assert await talk.say("and what is one plus one") == "One plus one is two."


async def test_it_calls_tools_that_are_offered_and_no_others(engine: LocalChat) -> None:
    assert await Talk(engine, tools=TOOLS).say("set a timer for five minutes") == 'set_timer {"seconds": 300}'
    assert await Talk(engine).say("set a timer for five minutes") == "I cannot set a timer here."


def test_the_files_are_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 12e6
