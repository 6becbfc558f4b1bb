"""What stages of any pipeline compute with: the conversation's engines, those named beside them, servers, tasks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import yaml

from pipelines.definitions.mapping import Backend, Backends
from pipelines.errors import LLMError, PipelineError, STTError, VisionError
from pipelines.interfaces.llm import ChatRequest, Message
from pipelines.interfaces.stt import Transcript
from pipelines.interfaces.task import Done, TaskError
from pipelines.routing.definition import Pipeline, Stage
from pipelines.routing.policy import Condition
from pipelines.routing.routes.llm import FallbackModel
from pipelines.routing.routes.rung import Rung
from pipelines.routing.routes.speech import FallbackRecognizer
from pipelines.routing.run import Wishes
from pipelines.routing.second_opinion import SecondOpinion
from pipelines.voice.settings import VoiceEngines
from server.engines.backends import RoutedEngines, Sources
from tests.fakes.backends import recorded, said, told
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice, LoudnessVad
from tests.fakes.vision import FakeVision

SECOND = np.zeros(16_000, np.int16)
AWAY = Backend(id="away", kind="openai", base_url="http://127.0.0.1:9/v1")


def stage(kind: Any, **words: Any) -> tuple[Pipeline, Stage]:
    """A pipeline of one stage."""
    path = words.pop("path", None)
    policy = words.pop("policy", {}) | ({"escalation_path": path} if path else {})
    one = {"id": "one", "type": kind, "forwarding_policy": policy, **words}
    pipeline = Pipeline.model_validate({"id": "p", "stages": [one]})
    return pipeline, pipeline.stages[0]


def engines(*, stt: Any = None, llm: Any = None, tts: Any = None, vision: Any = None, **sources: Any) -> RoutedEngines:
    voice = VoiceEngines(LoudnessVad(), stt or FakeRecognizer("hello"), llm or FakeModel("Hi."), tts or FakeVoice())
    return RoutedEngines(voice, vision, Sources(**sources), FakeClock())


def declared(*backends: Backend, **maps: Any) -> dict[str, Any]:
    found = Backends({backend.id: backend for backend in backends}, **maps)
    return {"declared": lambda: found}


def planned(made: RoutedEngines, what: tuple[Pipeline, Stage], **wishes: Any) -> list[tuple[str, str, str]]:
    return [(one.backend, one.model, one.outcome) for one in made.plan(*what, Wishes(**wishes))]


async def test_auto_is_whoever_serves_the_conversation() -> None:
    made = engines()
    assert await said(made.model(*stage("text_generation"))) == "Hi. "  # type: ignore[arg-type]
    assert ("cpu", "fake-llm", "running") in planned(made, stage("text_generation"))
    speech = [piece async for piece in made.voice(*stage("text_to_audio")).synthesize("one two")]
    assert [word.text for piece in speech for word in piece.words] == ["one", "two"]
    await made.close()


class Told(FakeRecognizer):
    """Is as sure as it is told to be."""

    def __init__(self, name: str, text: str, confidence: float) -> None:
        super().__init__(text)
        self.name, self.told = name, Transcript(text, confidence)

    async def open(self) -> Any:
        inner = await super().open()
        inner.transcript = self._transcript
        return inner

    async def _transcript(self) -> Transcript:
        return self.told


@pytest.mark.parametrize(
    ("confidences", "heard", "outcomes"),
    [
        ((0.9, 0.5), "quick", [("cpu", "served")]),
        ((0.5, 0.9), "slow", [("cpu", "unsure"), ("cpu", "served")]),
        ((0.5, 0.4), "quick", [("cpu", "served"), ("cpu", "unsure")]),
    ],
)
async def test_the_conversations_two_recognisers_are_asked_one_by_one(
    confidences: tuple[float, float], heard: str, outcomes: list[tuple[str, str]]
) -> None:
    quick, slow = Told("quick", "quick", confidences[0]), Told("slow", "slow", confidences[1])
    rungs = [
        Rung(SecondOpinion(quick, slow), Condition("cpu", model="quick")),
        Rung(slow, Condition("cpu", model="slow")),
        Rung(FakeRecognizer("never"), Condition("cpu", model="embedded", standby=True)),
    ]
    made = engines(stt=FallbackRecognizer(rungs, lambda *_: None))
    sure = {"enable_confidence_check": True, "min_confidence": 0.8}
    with recorded() as record:
        recognition = await made.recognizer(*stage("audio_to_text", policy=sure)).open()
        await recognition.feed(SECOND)
        assert (await recognition.transcript()).text == heard
        await recognition.close()
    assert told(record) == outcomes
    assert record.json()["confidence"] == max(confidences)
    assert quick.closed == quick.opened == 1


async def test_a_model_that_nobody_has_is_told_in_the_plan_and_when_it_is_asked() -> None:
    made, what = engines(), stage("text_generation", model="llama3:70b")
    assert ("cpu", "fake-llm", "unable") in planned(made, what)
    with pytest.raises(LLMError) as error:
        await said(made.model(*what))  # type: ignore[arg-type]
    assert error.value.code == "no_backend"
    assert "cpu: it has fake-llm, not llama3:70b" in error.value.message


async def test_a_server_that_is_away_is_left_for_what_is_here() -> None:
    made = engines(**declared(AWAY))
    what = stage("text_generation", path=["away", "cpu"])
    assert planned(made, what)[:2] == [("away", "auto", "running"), ("cpu", "fake-llm", "running")]
    with recorded() as record:
        assert await said(made.model(*what)) == "Hi. "  # type: ignore[arg-type]
    with recorded() as again:
        await said(made.model(*what))  # type: ignore[arg-type]
    assert told(record) == [("away", "failed"), ("cpu", "served")]
    assert told(again) == [("away", "resting"), ("cpu", "served")], "another route knows that it is away"
    await made.close()


async def test_no_server_is_asked_that_the_path_does_not_name() -> None:
    made = engines(**declared(AWAY))
    assert [one[0] for one in planned(made, stage("text_generation")) if one[2] == "running"] == ["cpu"]


async def test_a_server_is_not_asked_for_what_it_cannot_do() -> None:
    made = engines(**declared(AWAY))
    what = stage("text_to_audio", path=["away"])
    assert ("away", "", "unable") in planned(made, what)
    with recorded(target_backend="away"), pytest.raises(PipelineError) as error:
        _ = [piece async for piece in made.voice(*what).synthesize("hello")]
    message = "X-Target-Backend: away: away can do text_generation, not text_to_audio; it could be done by cpu"
    assert (error.value.code, error.value.message) == ("no_backend", message)


USERS = (
    Backend(id="ollama-npu", capabilities={"text_generation": True}, models=("qwen2.5:0.5b",)),
    Backend(id="ollama-intel", capabilities={"text_generation": True}, models=("llama3:7b",)),
)


async def test_names_of_another_machine_stand_for_what_is_here() -> None:
    maps = {"backend_map": {"ollama-npu": "cpu"}, "model_map": {"llama3:7b": "fake-llm"}}
    made = engines(**declared(*USERS, **maps))
    what = stage("text_generation", model="llama3:7b", preferred_hardware="igpu", path=["ollama-intel", "ollama-npu"])
    with recorded(target_backend="ollama-npu"):
        assert await said(made.model(*what)) == "Hi. "  # type: ignore[arg-type]
    with recorded() as record:
        await said(made.model(*what))  # type: ignore[arg-type]
    assert told(record) == [("igpu", "unable"), ("ollama-intel", "unable"), ("cpu", "served")]
    assert record.attempts[2].reason == "number 2 of the escalation path"
    assert "no address" in record.attempts[1].reason
    assert made.backends == ("cpu", "ollama-npu", "ollama-intel")


async def test_a_key_comes_from_the_environment_and_is_said_to_be_missing() -> None:
    secret = AWAY.model_copy(update={"api_key_env": "AWAY_KEY"})
    what = stage("text_generation", path=["away"])
    (away,) = [one for one in engines(**declared(secret)).plan(*what, Wishes()) if one.backend == "away"]
    assert away.reason == "the environment has no AWAY_KEY for away"
    given = engines(**declared(secret), environment={"AWAY_KEY": "secret"}.get)
    assert ("away", "auto", "running") in planned(given, what)
    await given.close()


class FakeTasks:
    """Tasks with models of their own."""

    def __init__(self, **models: Sequence[str]) -> None:
        self._models = {name.replace("_", "-"): list(ids) for name, ids in models.items()}
        self.asked: list[tuple[str, str]] = []
        self.revision = ""
        """Of what runners are made for from now on."""

    def models(self, task: str) -> Sequence[str]:
        return self._models.get(task, ())

    def why_not(self, task: str) -> str:
        return "" if task in self._models else f"no model for {task} is here"

    def runner(self, task: str, model: str = "auto") -> Any:
        fakes, revision = self, self.revision

        class Runner:
            async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
                fakes.asked.append((task, model))
                if "bad" in inputs:
                    raise TaskError("invalid_value", "bad: is bad")
                return Done(dict(inputs), revision=revision)

            async def stream(
                self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
            ) -> AsyncGenerator[Any, None]:
                yield "piece"
                yield await self.run(inputs, parameters)

        return Runner()


async def test_tasks_are_backends_too() -> None:
    tasks = FakeTasks(feature_extraction=("minilm", "other"))
    made = engines(tasks=lambda: tasks)
    runner = made.task(*stage("embedding"), "feature-extraction")
    with recorded() as record:
        assert (await runner.run({"inputs": "a"})).output == {"inputs": "a"}
        assert [piece async for piece in runner.stream({"inputs": "b"})] == ["piece", Done({"inputs": "b"})]
    assert told(record) == [("cpu", "served")]
    with pytest.raises(TaskError, match="is bad"):
        await runner.run({"bad": 1})
    await made.task(*stage("embedding", model="other"), "feature-extraction").run({"inputs": "c"})
    assert [model for _, model in tasks.asked] == ["minilm", "minilm", "minilm", "other"]
    with pytest.raises(TaskError, match="cpu: for feature-extraction there is minilm, other"):
        await made.task(*stage("embedding", model="none"), "feature-extraction").run({})
    with pytest.raises(TaskError, match="cpu: no model for ocr is here"):
        await made.task(*stage("image_to_text"), "ocr").run({})
    assert planned(made, stage("embedding"))[0] == ("cpu", "minilm", "running")


async def test_a_task_is_asked_for_its_model_with_each_run_and_keeps_none() -> None:
    tasks = FakeTasks(feature_extraction=("minilm",))
    made = engines(tasks=lambda: tasks)
    runner = made.task(*stage("embedding"), "feature-extraction")
    for revision in ("a", "b"):
        tasks.revision = revision
        assert (await runner.run({"inputs": "x"})).revision == revision
        assert [piece.revision async for piece in runner.stream({}) if isinstance(piece, Done)] == [revision]


async def test_detectors_are_those_of_this_machine() -> None:
    seeing = FakeVision()
    made = engines(vision=seeing)
    with recorded() as record:
        assert made.vision(*stage("video_analysis")) is seeing
    assert told(record) == [("cpu", "served")]
    with recorded(target_backend="cuda"), pytest.raises(VisionError, match="cuda does no video_analysis; cpu does"):
        made.vision(*stage("video_analysis"))
    with pytest.raises(VisionError, match="not looked at here"):
        engines().vision(*stage("video_analysis"))


async def test_an_error_of_a_route_is_its_stages() -> None:
    with recorded(target_backend="npu"), pytest.raises(STTError) as error:
        await engines().recognizer(*stage("audio_to_text")).open()
    assert error.value.message == (
        "X-Target-Backend: npu: nothing for audio_to_text runs on npu here; it could be done by cpu"
    )


async def test_engines_that_come_later_serve_routes_that_were_there_before() -> None:
    ladder = FallbackModel([FakeModel("Old.")], lambda *_: None)
    route = engines(llm=ladder).model(*stage("text_generation"))
    better = FakeModel("New.", "New.")
    better.name = "better"
    ladder.prefer(better)
    request = ChatRequest((Message("user", "who"),))
    assert "".join([str(piece) async for piece in route.stream(request)]) == "New. "


TALK = """
id: talk
stages:
  - id: listen
    type: audio_to_text
    forwarding_policy: {enable_confidence_check: true, min_confidence: 0.7}
  - {id: think, type: text_generation}
  - {id: speak, type: text_to_audio}
"""


async def test_a_conversation_on_another_pipeline_doubts_as_that_one_says() -> None:
    quick, slow = Told("quick", "a", 0.9), Told("slow", "b", 0.9)
    ladder = FallbackRecognizer([quick, slow], lambda *_: None)
    made = engines(stt=ladder)
    voice = made.conversation(Pipeline.model_validate(yaml.safe_load(TALK)))
    assert isinstance(voice.stt, FallbackRecognizer)
    both = voice.stt.engines[0]
    assert isinstance(both, SecondOpinion)
    assert (both.first, both.second, both.doubt.sure) == (quick, slow, 0.7)
    assert voice.stt.engines[0] is both, "it remembers who speaks which language"
    with pytest.raises(PipelineError, match="that needs audio_to_text, text_generation and text_to_audio"):
        made.conversation(stage("audio_to_text")[0])
