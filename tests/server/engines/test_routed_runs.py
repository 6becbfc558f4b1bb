"""Runs of pipelines over routes: what the request asks for reaches them, and what they did stands in the records."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from pipelines.errors import PipelineError
from pipelines.interfaces.llm import ChatRequest
from pipelines.routing.items import Item, Text
from pipelines.routing.policy import Condition
from pipelines.routing.routes.llm import FallbackModel
from pipelines.routing.routes.rung import Rung
from pipelines.routing.routes.speech import FallbackVoice
from pipelines.routing.run import Wishes
from pipelines.voice.settings import VoiceEngines
from server.engines.backends import RoutedEngines
from tests.fakes.backends import told
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice, LoudnessVad
from tests.fakes.stage_engines import VOICE, all_events, executing, failing, gives, pipeline, quiet, spoken

SPEAKING = ({"id": "think", "type": "text_generation"}, {"id": "speak", "type": "text_to_audio"})


def routed(llm: Any) -> RoutedEngines:
    return RoutedEngines(VoiceEngines(LoudnessVad(), FakeRecognizer("hello there"), llm, FakeVoice()))


def ladder(*models: FakeModel) -> FallbackModel:
    for place, model in enumerate(models):
        model.name = f"model-{place}"
    rungs = [
        Rung(model, Condition(backend, backend, model.name))  # type: ignore[arg-type]  # names of hardware
        for backend, model in zip(("cpu", "npu"), models, strict=True)
    ]
    return FallbackModel(rungs, lambda *_: None)


class Unsure(FakeModel):
    """Does not know."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        self.requests.append(request)
        yield "I don't know."


async def test_a_conversation_in_one_run_over_routes() -> None:
    engines = routed(FakeModel("Good day."))
    async with executing(engines) as executor:
        run = executor.start(pipeline(*VOICE), {"audio": gives(spoken(0.8), quiet(1.5))})
        await all_events(run)
    assert {name: told(record) for name, record in run.records.items()} == {
        "listen": [("cpu", "served")],
        "think": [("cpu", "served")],
        "speak": [("cpu", "served")],
    }
    think = run.records["think"].attempts[0]
    assert think.seconds is not None and think.seconds >= 0 <= think.started


async def test_what_a_request_asks_for_reaches_the_routes() -> None:
    models = FakeModel("One."), FakeModel("Two.")
    async with executing(routed(ladder(*models))) as executor:
        thinking = pipeline(SPEAKING[0])
        for wishes in (Wishes(target_backend="npu"), Wishes(efficiency_mode="Efficiency")):
            run = executor.start(thinking, {"text": text("hello")}, wishes)
            await all_events(run)
            assert told(run.records["think"]) == [("npu", "served")]
        run = executor.start(thinking, {"text": text("hello")}, Wishes(target_backend="cuda"))
        _, error = await failing(run)
    assert isinstance(error, PipelineError)
    assert error.code == "no_backend"
    assert "cuda: nothing for text_generation runs on cuda here; it could be done by" in error.message
    assert not models[0].requests


async def test_nothing_that_a_stand_in_said_is_kept() -> None:
    words = "The first sentence is here. The second sentence is here. The third sentence is here."
    usual, stand_in = FakeVoice(fails=True), FakeVoice()
    rungs = [
        Rung(usual, Condition("npu", "npu", "usual")),
        Rung(stand_in, Condition("cpu", "cpu", "stand-in")),
    ]
    engines = RoutedEngines(
        VoiceEngines(LoudnessVad(), FakeRecognizer(), FakeModel(), FallbackVoice(rungs, lambda *_: None))
    )
    async with executing(engines) as executor:
        for _ in range(2):
            await all_events(executor.start(pipeline(SPEAKING[1]), {"text": text(words)}))
    once = len(stand_in.said) // 2
    assert once > 1, "the usual voice rests after the first of several clauses"
    assert stand_in.said[:once] == stand_in.said[once:]


@pytest.mark.parametrize("streaming", [True, False])
async def test_who_does_not_know_is_told_in_the_record(streaming: bool) -> None:
    sure = {"enable_confidence_check": True, "min_confidence": 0.5}
    stage = {**SPEAKING[0], "forwarding_policy": sure}
    async with executing(routed(ladder(Unsure(), FakeModel("Paris.")))) as executor:
        run = executor.start(pipeline(stage, SPEAKING[1], enable_streaming=streaming), {"text": text("what?")})
        await all_events(run)
    assert told(run.records["think"]) == [("cpu", "unsure"), ("npu", "served")]
    assert run.records["think"].json()["forwarded"]


def text(words: str) -> AsyncGenerator[Item, None]:
    return gives(Text(words, final=True))
