"""The stages of speech and language, each in a pipeline of its own, with engines that do as told."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from media.frames import Picture
from pipelines.errors import PipelineError
from pipelines.execution.context import Context
from pipelines.interfaces.stt import Hearing, hearing
from pipelines.routing.executor import StageOutput
from pipelines.routing.items import Data, Partial, Sound, Text
from pipelines.runtime.worker import spoken_language
from pipelines.stages.enhancing import RATE, sound_of_file, wav
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.fakes.stage_engines import (
    VOICE,
    FakeStageEngines,
    FakeTask,
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

LISTEN, THINK, SPEAK = VOICE


class Polyglot(FakeRecognizer):
    """Notes what it is asked for with each utterance."""

    def __init__(self, *texts: str | Exception) -> None:
        super().__init__(*texts)
        self.asked: list[tuple[Hearing, str | None]] = []

    def can_hear(self, asked: Hearing) -> bool:
        return not asked.word_times

    async def open(self):
        self.asked.append((hearing.get(), spoken_language.get()))
        return await super().open()


async def test_utterances_flow_on_while_sound_still_comes() -> None:
    heard = asyncio.Event()

    async def microphone() -> AsyncGenerator[Sound]:
        for part in (spoken(1.0), quiet(1.2)):
            yield part
        await heard.wait()
        yield spoken(1.0)

    engines = FakeStageEngines(stt=FakeRecognizer("good morning", "and good bye"))
    texts = []
    async with executing(engines) as executor, executor.start(pipeline(LISTEN), {"audio": microphone()}) as run:
        async for event in run.events():
            if isinstance(event, StageOutput) and isinstance(event.item, Text):
                texts.append(event.item)
                heard.set()
    assert "".join(text.text for text in texts) == "good morning and good bye"
    assert all(text.final for text in texts)
    first, second = texts
    assert first.start == pytest.approx(0.0, abs=0.1)
    assert first.end == pytest.approx(1.25, abs=0.1)
    assert second.start == pytest.approx(2.0, abs=0.3)
    assert engines.stt.opened == engines.stt.closed


async def test_partials_come_before_the_text_and_go_to_nobody_but_watchers() -> None:
    async def slowly() -> AsyncGenerator[Sound]:
        for _ in range(10):
            yield spoken(0.2)
            await asyncio.sleep(0)

    engines = FakeStageEngines(stt=FakeRecognizer("one two three four"), llm=FakeModel("Five."))
    async with executing(engines) as executor:
        events = await all_events(executor.start(pipeline(LISTEN, THINK), {"audio": slowly()}))
    items = [event.item for event in events if isinstance(event, StageOutput) and event.stage == "listen"]
    partials = [item.text for item in items if isinstance(item, Partial)]
    assert partials
    assert all("one two three four".startswith(text) for text in partials)
    assert isinstance(items[-1], Text)
    assert [message.content for message in engines.llm.requests[0].messages] == ["one two three four"]


async def test_other_rates_are_resampled() -> None:
    engines = FakeStageEngines(stt=FakeRecognizer("hello"))
    async with executing(engines) as executor:
        found = await outputs(executor, pipeline(LISTEN), {"audio": gives(spoken(1.0, 48_000))})
    assert text_of(found, "listen") == "hello"
    assert len(engines.stt.heard[0]) == pytest.approx(16_000, rel=0.05)


async def test_the_recogniser_is_told_language_and_translation() -> None:
    engines = FakeStageEngines(stt=Polyglot("hello"))
    options = {"language": "de", "translate": True}
    async with executing(engines) as executor:
        found = await outputs(executor, pipeline({**LISTEN, "options": options}), {"audio": gives(spoken(1.0))})
    assert engines.stt.asked == [(Hearing(translate=True), "de")]
    assert found[0][1].language == "en"


async def test_a_recogniser_that_cannot_do_it_is_named() -> None:
    engines = FakeStageEngines(stt=Polyglot("hello"))
    async with executing(engines) as executor:
        run = executor.start(pipeline({**LISTEN, "options": {"word_times": True}}), {"audio": gives(spoken(1.0))})
        _, error = await failing(run)
    assert error.code == "stt_unable"
    assert "fake-stt does not tell the times of words" in error.message


async def test_translated_speech_is_english_speech() -> None:
    engines = FakeStageEngines(stt=Polyglot("good morning all", "see you"), tts=FakeVoice())
    options = {"voice": "other", "speed": 1.5}
    stages = pipeline({"id": "translate", "type": "audio_translate", "model": "mine", "options": options})
    async with executing(engines) as executor:
        found = await outputs(executor, stages, {"audio": gives(spoken(1.0), quiet(1.0), spoken(1.0))})
    assert engines.tts.said == ["good morning all", "see you"]
    assert engines.tts.asked == ["other", "other"]
    assert engines.models == {"recognizer": "mine", "voice": "auto"}
    assert {asked for asked, _ in engines.stt.asked} == {Hearing(translate=True)}
    assert seconds_of(found, "translate") == pytest.approx(5 * 0.25)
    starts = [item.start for _, item in found]
    assert starts == pytest.approx([0.25 * n for n in range(5)])


async def test_clauses_are_spoken_while_text_still_comes() -> None:
    first_sound = asyncio.Event()

    async def writing() -> AsyncGenerator[Text]:
        yield Text("Well then, this is ")
        yield Text("long. The ")
        await first_sound.wait()
        yield Text("rest.", True)

    engines = FakeStageEngines()
    async with executing(engines) as executor, executor.start(pipeline(SPEAK), {"text": writing()}) as run:
        async for event in run.events():
            if isinstance(event, StageOutput):
                first_sound.set()
    assert engines.tts.said[-1] == "The rest."


async def test_deltas_are_marked_where_sentences_end() -> None:
    engines = FakeStageEngines(llm=FakeModel("It rains. Take a coat with you."))
    async with executing(engines) as executor:
        found = await outputs(executor, pipeline(THINK), {"text": gives(Text("And today?", True))})
    units = [[]]
    for _, item in found:
        units[-1].append(item.text)
        if item.final:
            units.append([])
    assert ["".join(unit).strip() for unit in units if unit] == ["It rains.", "Take a coat with you."]


async def test_every_utterance_gets_its_response_and_knows_those_before() -> None:
    engines = FakeStageEngines(llm=FakeModel("First.", "Second."))
    async with executing(engines) as executor:
        found = await outputs(executor, pipeline(THINK), {"text": gives(Text("one", True), Text("two", True))})
    assert text_of(found, "think").split() == ["First.", "Second."]
    asked = [[message.content for message in request.messages] for request in engines.llm.requests]
    assert asked == [["one"], ["one", "First.", "two"]]


async def test_one_response_to_all_where_that_is_asked() -> None:
    engines = FakeStageEngines(llm=FakeModel("Both."))
    options = {"respond_to": "whole", "instructions": "Be brief.", "max_tokens": 9, "temperature": 0}
    think = {**THINK, "options": options}
    async with executing(engines) as executor:
        await outputs(executor, pipeline(think), {"text": gives(Text("one", True), Text(" two", True))})
    [request] = engines.llm.requests
    assert [(message.role, message.content) for message in request.messages] == [
        ("system", "Be brief."),
        ("user", "one two"),
    ]
    assert (request.max_tokens, request.temperature) == (9, 0)


async def test_a_template_names_the_stages_it_quotes() -> None:
    engines = FakeStageEngines(stt=FakeRecognizer("what is it"), llm=FakeModel("A face."))
    think = {
        **THINK,
        "inputs": ["listen", "watch", "input"],
        "options": {"template": "Seen: {watch}\nAsked: {listen}\nWritten: {input}\n{unknown}"},
    }
    stages = (
        {**LISTEN, "inputs": ["input"]},
        {"id": "watch", "type": "video_analysis", "inputs": ["input"]},
        think,
    )
    picture = Picture(np.zeros((48, 64, 3), np.uint8), 0.0)
    inputs = {"audio": gives(spoken(1.0)), "image": gives(picture), "text": gives(Text("quickly", True))}
    async with executing(engines) as executor:
        await outputs(executor, pipeline(*stages, parallel_stages=True), inputs)
    [request] = engines.llm.requests
    said = request.messages[-1].content.splitlines()
    assert said == ["Seen: At 0.0 s: one person", "Asked: what is it", "Written: quickly", "{unknown}"]
    assert len(request.messages[-1].images) == 1


async def test_a_conversation_goes_on_in_the_next_run() -> None:
    engines = FakeStageEngines(llm=FakeModel("Hello Ann.", "You are Ann."))
    context = Context()
    async with executing(engines) as executor:
        for said in ("I am Ann", "Who am I"):
            await outputs(executor, pipeline(THINK), {"text": gives(Text(said, True))}, context=context)
        forgets = pipeline(THINK, preserve_context=False)
        await outputs(executor, forgets, {"text": gives(Text("And I", True))}, context=context)
    asked = [[message.content for message in request.messages] for request in engines.llm.requests]
    assert asked == [["I am Ann"], ["I am Ann", "Hello Ann.", "Who am I"], ["And I"]]


async def test_data_is_told_as_json() -> None:
    engines = FakeStageEngines(llm=FakeModel("Yes."))
    async with executing(engines) as executor:
        inputs = {"text": gives(Text("why", True)), "data": gives(Data({"a": 1}))}
        think = {**THINK, "options": {"respond_to": "whole"}}
        await outputs(executor, pipeline(think), inputs)
    assert engines.llm.requests[0].messages[-1].content == '{"a": 1}\n\nwhy'


async def test_sound_is_enhanced_in_parts_that_join() -> None:
    def half(inputs, parameters):
        samples, rate = sound_of_file(inputs["inputs"])
        skip = round(parameters.get("context_seconds", 0.0) * rate)
        return [{"label": "speech", "blob": base64.b64encode(wav(samples[skip:] // 2, rate)).decode()}]

    task = FakeTask(half)
    given = np.arange(6 * RATE, dtype=np.int64) % 20_000
    sound = Sound(given.astype(np.int16), RATE)
    engines = FakeStageEngines(tasks={"audio-to-audio": task})
    enhance = {"id": "enhance", "type": "audio_enhance", "options": {"high_pass_hz": 80}}
    async with executing(engines) as executor:
        found = await outputs(executor, pipeline(enhance), {"audio": gives(sound)})
    made = np.concatenate([item.samples for _, item in found])
    assert np.array_equal(made, given // 2)
    assert [item.start for _, item in found] == pytest.approx([0.0, 1.0, 4.0])
    assert task.asked[0][1] == {"attenuation_limit_db": 100.0, "high_pass_hz": 80.0}
    assert task.asked[1][1]["context_seconds"] == pytest.approx(1.0)


async def test_a_vector_for_each_unit_is_made_once() -> None:
    task = FakeTask(lambda inputs, parameters: [[float(len(inputs["text"])), 0.5]])
    engines = FakeStageEngines(tasks={"feature-extraction": task})
    stages = pipeline({"id": "embed", "type": "embedding"})
    async with executing(engines) as executor:
        found = await outputs(executor, stages, {"text": gives(Text("one", True), Text("three", True))})
        run = executor.start(stages, {"text": gives(Text("three", True))})
        await all_events(run)
    assert [item.value["embedding"] for _, item in found] == [[3.0, 0.5], [5.0, 0.5]]
    assert len(task.asked) == 2
    [attempt] = run.records["embed"].attempts
    assert (attempt.backend, attempt.outcome) == ("cache", "served")


async def test_a_text_that_is_too_long_is_refused() -> None:
    engines = FakeStageEngines(llm=FakeModel("Yes."))
    async with executing(engines) as executor:
        run = executor.start(pipeline(THINK), {"text": gives(Text("x" * 300_000, True))})
        _, error = await failing(run)
    assert isinstance(error, PipelineError)
    assert error.code == "input_too_long"
