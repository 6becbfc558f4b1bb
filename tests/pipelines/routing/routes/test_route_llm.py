"""A language model that fails hands the request on until its first word has been given."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from pipelines.errors import LLMError
from pipelines.interfaces.llm import ChatRequest, Message
from pipelines.routing.routes.llm import FallbackModel
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeModel
from tests.fakes.failures import Failures

REQUEST = ChatRequest((Message("user", "hello"),))
TIMEOUT = LLMError("llm_timeout", "no answer in 15 s")


def named(engine: Any, name: str) -> Any:
    engine.name = name
    return engine


async def answer(model: FallbackModel) -> str:
    return "".join([piece async for piece in model.stream(REQUEST)])


async def test_a_dead_model_costs_one_turn_and_is_tried_again_later():
    clock, failures = FakeClock(), Failures()
    served, scripted = named(FakeModel(TIMEOUT, "I am back."), "served"), named(FakeModel(*["Hi."] * 3), "scripted")
    model = FallbackModel([served, scripted], failures, clock)
    assert await answer(model) == "Hi. "
    assert await answer(model) == "Hi. "
    assert len(served.requests) == 1
    assert failures == [("served", "llm_timeout")]
    assert model.forwarded["served", "scripted"] == 2
    clock.advance(6)
    assert await answer(model) == "I am back. "


async def test_a_request_that_is_refused_keeps_nobody_else_from_asking():
    clock, failures = FakeClock(), Failures()
    refusal = LLMError("llm_refused", "the schema of the tool is none")
    served, scripted = named(FakeModel(refusal, "Here I am."), "served"), named(FakeModel("Hi."), "scripted")
    model = FallbackModel([served, scripted], failures, clock)
    assert await answer(model) == "Hi. "
    assert await answer(model) == "Here I am. "
    assert (failures, model.forwarded["served", "scripted"]) == ([], 1)


async def test_half_an_answer_is_not_followed_by_another():
    class Breaks(FakeModel):
        async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
            yield "Half "
            raise TIMEOUT

    other = FakeModel("Whole.")
    model = FallbackModel([Breaks(), other], Failures(), FakeClock())
    with pytest.raises(LLMError):
        await answer(model)
    assert not other.requests
    assert await answer(model) == "Whole. "  # it rests all the same


async def test_what_no_engine_should_raise_is_a_failure_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    class Defective(FakeModel):
        async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
            raise ZeroDivisionError
            yield ""

    failures = Failures()
    assert await answer(FallbackModel([Defective(), FakeModel("Whole.")], failures, FakeClock())) == "Whole. "
    assert failures == [("fake-llm", "llm_failed")]
    assert "ZeroDivisionError" in caplog.text


async def test_the_last_error_is_raised_when_all_fail():
    last = LLMError("llm_unreachable", "gone")
    with pytest.raises(LLMError, match="gone"):
        await answer(FallbackModel([FakeModel(TIMEOUT), FakeModel(last)], Failures(), FakeClock()))


async def test_closing_early_is_no_failure():
    failures = Failures()
    first = FakeModel("one two three")
    model = FallbackModel([first, FakeModel()], failures, FakeClock())
    async with aclosing(model.stream(REQUEST)) as stream:
        await anext(stream)
    assert first.cancelled == 1
    assert not failures
