"""A pipeline, an input and what is asked for → what is run, and how it is answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.routing.definition import Pipeline, Stage
from pipelines.routing.stage_types import STAGE_TYPES, Medium, checked
from pipelines.text import unknown
from server.http.pipelines.accept import Shape, shape_of
from server.http.pipelines.arriving import InputError
from server.http.pipelines.inputs import Input, Sent
from server.http.pipelines.wishes import Asked


@dataclass(frozen=True, slots=True)
class Ready:
    """What is to be run, and how it is answered."""

    pipeline: Pipeline
    given: Input
    asked: Asked
    shape: Shape
    sinks: tuple[str, ...]
    """Ids of the stages whose output is asked for."""
    rate: int | None
    """Hertz of the answer's sound; ``None``: as it comes."""


def check_hope(pipeline: Pipeline, sent: Sent, accept: str) -> None:
    """Raises :class:`~server.http.errors.HttpError` (406) for what the pipeline cannot give, whatever comes."""
    shape_of(accept, pipeline.gives, sent.content_type, _also(pipeline.graph.sinks))


def ready_for(pipeline: Pipeline, sent: Sent, given: Input, asked: Asked, accept: str) -> Ready:
    """Everything that can be said before a run begins. Raises :class:`InputError` (400), and
    :class:`~server.http.errors.HttpError` (406)."""
    pipeline = with_options(pipeline, given.options)
    media = tuple(given.media)
    if lacking := _lacking(pipeline, media):
        raise InputError(400, "wrong_input", f"pipeline {pipeline.id}: {lacking}")
    fed = pipeline.graph.fed(media)
    sinks = [stage for stage in pipeline.graph.sinks if stage.id in fed]
    gives = {STAGE_TYPES[stage.type].gives for stage in sinks}
    shape = shape_of(accept, gives, sent.content_type, _also(sinks) if "video" in media else ())
    if shape.medium == "video" and "video" not in gives:
        wanted = _watching(sinks)
        pipeline = with_options(pipeline, {stage.id: {"annotate": True} for stage in wanted})
    else:
        wanted = [one for one in sinks if shape.medium in (None, STAGE_TYPES[one.type].gives)]
    return Ready(pipeline, given, asked, shape, tuple(stage.id for stage in wanted), sent.answer_rate())


def _lacking(pipeline: Pipeline, media: tuple[Medium, ...]) -> str:
    """Why this input will not do, for people; empty when it does."""
    strange = [medium for medium in media if medium not in pipeline.takes]
    if strange:
        return f"takes {', '.join(pipeline.takes)}; nobody in it takes {', '.join(strange)}"
    return pipeline.graph.lacking(media)


def _watching(sinks: Sequence[Stage]) -> list[Stage]:
    return [stage for stage in sinks if stage.type == "video_analysis"]


def _also(sinks: Sequence[Stage]) -> tuple[Medium, ...]:
    """What is given only if it is asked for: the video with what was found drawn into it."""
    return ("video",) if _watching(sinks) else ()


def with_options(pipeline: Pipeline, options: Mapping[str, Mapping[str, Any]]) -> Pipeline:
    """The pipeline with other options for this run. Raises :class:`InputError` (400)."""
    if not options:
        return pipeline
    stages = {stage.id: stage.model_dump(exclude_unset=True) for stage in pipeline.stages}
    for stage_id, given in options.items():
        if stage_id not in stages:
            message = unknown("stage", stage_id[:60], sorted(stages))
            raise InputError(400, "invalid_value", f"options: {message}", "options")
        stage = stages[stage_id]
        try:
            stage["options"] = {**stage.get("options", {}), **checked(stage["type"], given)}
        except ValueError as error:
            raise InputError(400, "invalid_value", f"options.{stage_id}: {error}", f"options.{stage_id}") from error
    return Pipeline.model_validate({**pipeline.model_dump(exclude_unset=True), "stages": list(stages.values())})
