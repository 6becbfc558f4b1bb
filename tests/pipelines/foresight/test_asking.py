"""Which questions ask what happens next, and who answers them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from pipelines.foresight.asking import ForeseeingModel, asks_to_foresee
from pipelines.interfaces.llm import ChatRequest, Message
from pipelines.voice.visual_context import Sight
from tests.fakes.engines import FakeModel

ASKING = """show me what happens next
Show me what happens next, please.
Can you show me what will happen next?
what happens next
What is going to happen next here?
What do you think will happen next?
Tell me what is going to happen in the next few seconds.
Predict the next seconds.
Can you predict what comes next?
Okay, show us the next few seconds.
Imagine what might happen in a moment."""
NOT_ASKING = """what happened before
What happens next in the story?
Show me what you can do.
What happens next week?
What comes after seven?
Next please.
Tell me what happens when I press the button.
What is on the agenda next?
what does it say"""


@pytest.mark.parametrize("question", ASKING.splitlines())
def test_it_is_asked_for(question):
    assert asks_to_foresee(question)
    assert asks_to_foresee(question.lower().rstrip("?."))


@pytest.mark.parametrize("question", NOT_ASKING.splitlines())
def test_it_is_not_asked_for(question):
    assert not asks_to_foresee(question)


class Shown:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def foresee(self, prompt: str) -> AsyncGenerator[str, None]:
        self.asked.append(prompt)
        yield "The ball "
        yield "falls."


async def answer(model: ForeseeingModel, text: str) -> str:
    return "".join([str(piece) async for piece in model.stream(ChatRequest((Message("user", text),)))])


async def test_what_is_foreseen_is_the_answer_once_it_may_be_given():
    shown, inner, allowed = Shown(), FakeModel("I am well."), asyncio.Event()
    sight = Sight(sources=lambda: ("camera",), foresee=shown.foresee)
    model = ForeseeingModel(inner, sight, allowed.wait)
    waiting = asyncio.create_task(answer(model, "Show me what happens next."))
    await asyncio.sleep(0)
    assert shown.asked == []
    allowed.set()
    assert await waiting == "The ball falls."
    assert shown.asked == ["Show me what happens next."]
    assert inner.requests == []
    assert await answer(model, "How are you?") == "I am well. "


@pytest.mark.parametrize("sources", [(), ("screen",)])
async def test_without_a_camera_the_model_answers(sources):
    shown = Shown()
    model = ForeseeingModel(
        FakeModel("No idea."), Sight(sources=lambda: sources, foresee=shown.foresee), asyncio.Event().wait
    )
    assert await answer(model, "What happens next?") == "No idea. "
    assert shown.asked == []
