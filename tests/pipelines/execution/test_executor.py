"""Runs of pipelines: events, records, errors, streams and turns, with engines that do as told."""

from __future__ import annotations

import pytest

from pipelines.errors import LLMError, PipelineError
from pipelines.routing.executor import StageEnded, StageOutput, StageStarted
from pipelines.routing.items import Text
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.stage_engines import (
    VOICE,
    FakeStageEngines,
    all_events,
    executing,
    failing,
    gives,
    outputs,
    pipeline,
    quiet,
    seconds_of,
    spoken,
    text_of,
)


async def test_a_spoken_question_is_answered_with_speech() -> None:
    engines = FakeStageEngines(stt=FakeRecognizer("what is this"), llm=FakeModel("It is a test. It works."))
    async with executing(engines) as executor:
        found = await outputs(executor, pipeline(*VOICE), {"audio": gives(spoken(1.0), quiet(0.5))})
    assert text_of(found, "listen") == "what is this"
    assert text_of(found, "think").strip() == "It is a test. It works."
    assert engines.llm.requests[0].messages[-1].content == "what is this"
    assert engines.tts.said == ["It is a test.", "It works."]
    assert seconds_of(found, "speak") == pytest.approx(6 * 0.25)


async def test_events_come_in_the_order_in_which_they_happen() -> None:
    async with executing(FakeStageEngines(llm=FakeModel("Yes."))) as executor:
        run = executor.start(pipeline(*VOICE[1:]), {"text": gives(Text("Is it?", True))})
        events = await all_events(run)
    assert [type(event) for event in events if event.stage == "speak"] == [StageStarted, StageOutput, StageEnded]
    firsts = [event.stage for event in events if isinstance(event, StageStarted)]
    assert firsts == ["think", "speak"]
    think, speak = run.records.values()
    assert think.started is not None
    assert think.first_output is not None
    assert think.ended is not None
    assert speak.first_output is not None
    assert think.started <= think.first_output <= speak.first_output


async def test_the_error_of_a_stage_comes_after_all_that_was_given() -> None:
    engines = FakeStageEngines(stt=FakeRecognizer("hello"), llm=FakeModel(LLMError("llm_failed", "no luck")))
    async with executing(engines) as executor:
        run = executor.start(pipeline(*VOICE), {"audio": gives(spoken(1.0))})
        events, error = await failing(run)
    assert error.message == "no luck"
    assert run.failed == "think"
    assert any(isinstance(event, StageOutput) and event.stage == "listen" for event in events)
    assert {event.stage for event in events if isinstance(event, StageEnded)} == {"listen", "think", "speak"}
    assert "no luck" in run.records["think"].error


async def test_an_input_that_no_stage_takes_is_refused() -> None:
    async with executing(FakeStageEngines()) as executor:
        with pytest.raises(PipelineError, match="audio_to_text takes audio"):
            executor.start(pipeline(*VOICE), {"text": gives(Text("hello"))})


async def test_two_sounds_cannot_come_into_one_stage() -> None:
    async with executing(FakeStageEngines()) as executor:
        with pytest.raises(PipelineError, match="stage listen: takes one sound, not input audio and input video"):
            executor.start(pipeline(VOICE[0]), {"audio": gives(), "video": gives()})


async def test_inputs_are_closed_when_the_run_is_left_at_once() -> None:
    source = gives(Text("a", True), Text("b", True))
    await anext(source)
    async with executing(FakeStageEngines()) as executor, executor.start(pipeline(VOICE[1]), {"text": source}):
        pass
    assert [item async for item in source] == []
