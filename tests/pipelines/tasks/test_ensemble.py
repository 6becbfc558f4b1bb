"""Ensembles: how scores become one, who is left out, what a file may say, and real tasks on tiny models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import DefinitionError, ModelError, PipelineError
from pipelines.interfaces.task import Done, TaskError
from pipelines.models.residency import Residency
from pipelines.tasks.ensemble import (
    Combine,
    Ensemble,
    EnsembleRunner,
    combined,
    insist_aligned,
    read_ensembles,
)
from pipelines.tasks.image import classification
from pipelines.tasks.registry import TASKS, spec_of
from pipelines.tasks.service import TaskOptions, TaskService
from tests.fakes import tiny_models
from tests.pipelines.tasks.conftest import only_cpu

A, B, C = {"x": 0.7, "y": 0.3}, {"x": 0.2, "y": 0.8}, {"x": 0.4, "y": 0.6}


@pytest.mark.parametrize(
    ("combine", "weights", "scores"),
    [
        ("mean", (1, 1, 1), {"y": 1.7 / 3, "x": 1.3 / 3}),
        ("weighted", (6, 1, 1), {"x": (4.2 + 0.2 + 0.4) / 8, "y": (1.8 + 0.8 + 0.6) / 8}),
        ("vote", (1, 1, 1), {"y": 2 / 3, "x": 1 / 3}),
        ("vote", (3, 1, 1), {"x": 0.6, "y": 0.4}),
    ],
)
def test_scores_become_one(combine: Combine, weights: tuple[float, ...], scores: dict[str, float]) -> None:
    found = combined(combine, list(zip(weights, (A, B, C), strict=True)))
    assert list(found) == list(scores)
    assert found == pytest.approx(scores)


def test_rank_fusion_looks_at_places_alone() -> None:
    orders = [{0: 9.0, 1: 8.9, 2: 8.8}, {1: 0.1, 0: 0.01, 2: 0.001}, {1: -1.0, 2: -2.0, 0: -50.0}]
    found = combined("rank_fusion", [(1.0, one) for one in orders])
    assert list(found) == [1, 0, 2]
    assert sum(found.values()) == pytest.approx(1)
    raw = {0: 1 / 61 + 1 / 62 + 1 / 63, 1: 1 / 62 + 2 / 61, 2: 2 / 63 + 1 / 62}
    assert found == pytest.approx({key: score / sum(raw.values()) for key, score in raw.items()})


class Classifier:
    """Says as many labels as it is asked for."""

    def __init__(self, scores: Mapping[str, float]) -> None:
        self.scores = sorted(scores.items(), key=lambda pair: -pair[1])

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        asked = classification.SPEC.parameters.model_validate(parameters or {})
        return Done([{"label": key, "score": score} for key, score in self.scores[: asked.top_k]], 1, model="m")

    async def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        yield None


class Member:
    """Says what it is told, once all members have been asked: they are asked at the same time."""

    def __init__(self, barrier: asyncio.Barrier, answer: Mapping[str, float] | PipelineError) -> None:
        self._barrier = barrier
        self._answer = answer
        self.parameters: list[Any] = []

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        self.parameters.append(dict(parameters or {}))
        await self._barrier.wait()
        if isinstance(self._answer, PipelineError):
            raise self._answer
        return Done([{"label": key, "score": score} for key, score in self._answer.items()], 5, model="m")

    async def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        yield None


def ensemble(**more: Any) -> Ensemble:
    fields = {"id": "both", "task": "text-classification", "members": [{"model": name} for name in "abc"]}
    return Ensemble.model_validate({**fields, **more})


async def asked(answers: Mapping[str, Any], parameters: Mapping[str, Any] | None = None, **more: Any) -> Done:
    barrier = asyncio.Barrier(sum(not isinstance(one, ModelError) for one in answers.values()))
    members = {name: Member(barrier, one) for name, one in answers.items()}

    def runner(name: str) -> Member:
        if isinstance(one := answers[name], ModelError):
            raise one  # it is not here
        return members[name]

    async with asyncio.timeout(20):
        done = await EnsembleRunner(ensemble(**more), spec_of("text-classification"), runner).run(
            {"text": "hello"}, parameters
        )
    assert all("top_k" not in given for member in members.values() for given in member.parameters)
    return done


async def test_members_are_asked_at_once_and_the_whole_is_cut() -> None:
    done = await asked({"a": A, "b": B, "c": C}, {"top_k": 1})
    assert done.output == [{"label": "y", "score": pytest.approx(1.7 / 3)}]
    assert (done.tokens, done.missing) == (15, {})
    assert done.model == "both (mean of m, m, m)"


async def test_members_whose_default_is_a_few_are_asked_for_all_their_labels() -> None:
    """A label beyond the best five of a member would count as 0."""
    rising = {f"l{n}": 0.02 + 0.02 * n for n in range(8)}
    falling = {f"l{n}": 0.2 - 0.02 * n for n in range(8)}
    members = {"a": Classifier(rising), "b": Classifier(falling)}
    made = Ensemble.model_validate(
        {"id": "e", "task": "image-classification", "members": [{"model": "a"}, {"model": "b"}]}
    )
    runner = EnsembleRunner(made, classification.SPEC, members.__getitem__)
    for top_k, count in ((8, 8), (2, 2), (None, 5)):
        done = await runner.run({}, {} if top_k is None else {"top_k": top_k})
        assert [row["score"] for row in done.output] == pytest.approx([0.11] * count)


async def test_who_is_missing_or_fails_is_left_out_and_told() -> None:
    done = await asked({"a": A, "b": TaskError("task_failed", "b broke"), "c": ModelError("model_not_here", "no c")})
    assert done.output[0] == {"label": "x", "score": 0.7}
    assert done.missing.keys() == {"b", "c"}
    assert "no c" in done.missing["c"]
    assert done.model.endswith("without b, c)")


async def test_too_few_and_a_callers_fault_are_errors() -> None:
    with pytest.raises(TaskError, match="b broke"):
        await asked({"a": A, "b": TaskError("task_failed", "b broke"), "c": C}, at_least=3)
    with pytest.raises(TaskError, match="text: is bad"):
        await asked({"a": A, "b": B, "c": TaskError("invalid_value", "text: is bad")})
    with pytest.raises(TaskError, match="at least 1"):
        await asked({"a": A, "b": B, "c": C}, {"top_k": 0})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "ensembles: [{id: a, task: nothing, members: [{model: x}, {model: y}]}]",
            "no task 'nothing'; legal: ",
        ),
        ("ensembles: [{id: a, task: text-ranking, members: [{model: x}]}]", "members"),
        ("ensembles: [{id: a, task: text-ranking, members: [{model: x}, {model: x}]}]", "x is named twice"),
        ("ensembles: [{id: a, task: text-ranking, members: [{model: a}, {model: x}]}]", "a is named twice, or is the"),
        ("ensembles: [{id: a, task: text-ranking, members: [{model: x, weight: 0}, {model: y}]}]", "weight"),
        ("ensembles: [{id: a, task: text-ranking, members: [{model: x, weight: 2}, {model: y}]}]", "no effect with"),
        ("ensembles: [{id: a, task: text-ranking, combine: max, members: [{model: x}, {model: y}]}]", "rank_fusion"),
        ("ensembles: [{id: a, task: text-ranking, at_least: 3, members: [{model: x}, {model: y}]}]", "at_least: is 3"),
        ("ensembles: [{id: a, task: text-ranking, members: [{model: x}, {model: y}]}]\nmore: 1", "more"),
        ("ensembles: {", "expected"),
    ],
)
def test_what_a_file_cannot_say(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "e.yaml").write_text(text, "utf-8")
    with pytest.raises(DefinitionError, match=words):
        read_ensembles(tmp_path / "e.yaml", list(TASKS))


def test_labels_are_the_same_in_whatever_order() -> None:
    insist_aligned("both", {"a": ["x", "y"], "b": ["y", "x"], "c": ()})
    with pytest.raises(TaskError, match="a and b know different labels: w, y"):
        insist_aligned("both", {"a": ["x", "y"], "b": ["x", "w"]})


async def test_real_tasks_by_ensembles(tmp_path: Path) -> None:
    tiny_models.classifier(tmp_path / "one", ("good", "bad"))
    tiny_models.classifier(tmp_path / "two", ("bad", "good"))  # in another order, so that they disagree
    tiny_models.classifier(tmp_path / "other", ("cat", "dog"))
    (tmp_path / "e.yaml").write_text(
        "ensembles:\n"
        "  - {id: sentiment, task: text-classification, combine: weighted,\n"
        "     members: [{model: one, weight: 3}, {model: two}, {model: nobody}]}\n"
        "  - {id: mismatched, task: text-classification, members: [{model: one}, {model: other}]}\n",
        "utf-8",
    )
    options = TaskOptions(folders=(tmp_path,), ensembles=read_ensembles(tmp_path / "e.yaml", list(TASKS)))
    tasks = TaskService(None, Residency(), only_cpu, options)
    try:
        assert {"one", "two", "sentiment"} <= set(tasks.models("text-classification"))
        inputs = {"text": "hello world"}
        one, two = [
            {row["label"]: row["score"] for row in (await tasks.runner("text-classification", name).run(inputs)).output}
            for name in ("one", "two")
        ]
        done = await tasks.runner("text-classification", "sentiment").run(inputs)
        wanted = {label: (3 * one[label] + two[label]) / 4 for label in one}
        assert {row["label"]: row["score"] for row in done.output} == pytest.approx(wanted)
        assert one != pytest.approx(two)
        assert done.missing.keys() == {"nobody"}
        afresh = await tasks.runner("text-classification", "sentiment").afresh().run(inputs)
        assert afresh.output == done.output
        with pytest.raises(TaskError, match="one and other know different labels"):
            tasks.runner("text-classification", "mismatched")
        with pytest.raises(TaskError, match="in one piece"):
            await anext(tasks.runner("text-classification", "sentiment").stream(inputs))
    finally:
        tasks.close()
