"""The rows of ``/v1/pipelines``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from pipelines.routing.run import EFFICIENCY_MODES, PRIORITIES
from pipelines.routing.stage_types import Medium, StageType
from server.http.openapi.rows import BYTES, TEXT, Operation, event_answer, json_answer
from server.http.pipelines.accept import ANSWERS, EVENTS, JSON, LINES
from server.http.pipelines.accept import TEXT as PLAIN
from server.http.pipelines.inputs import PipelineBody


class PipelineRow(BaseModel):
    """A pipeline."""

    id: str
    object: Literal["pipeline"]
    name: str
    description: str
    takes: list[Medium]
    gives: list[Medium]
    stages: list[str]
    file: str
    shipped: bool


class FileProblem(BaseModel):
    """A file that is not used, or only as it was before."""

    file: str
    message: str


class PipelineList(BaseModel):
    """All pipelines."""

    object: Literal["list"]
    data: list[PipelineRow]
    problems: list[FileProblem]


class PlannedBackend(BaseModel):
    """A backend that would be asked, or is passed over."""

    backend: str
    hardware: str
    model: str
    reason: str
    passed_over: Literal["hot", "busy", "resting", "unable"] | None


class PlannedStage(BaseModel):
    """A stage, and who would do its work now."""

    id: str
    type: StageType
    name: str
    description: str
    inputs: list[str]
    takes: list[Medium]
    gives: Medium
    model: str
    preferred_hardware: str
    options: dict[str, Any]
    forwarding_policy: dict[str, Any]
    backend: str | None
    reason: str
    plan: list[PlannedBackend]


class PipelinePlan(BaseModel):
    """One pipeline in full."""

    id: str
    object: Literal["pipeline"]
    name: str
    description: str
    takes: list[Medium]
    gives: list[Medium]
    stages: list[PlannedStage]
    file: str
    shipped: bool
    options: dict[str, bool]


class RunAttempt(BaseModel):
    """A backend that was asked, or passed over."""

    backend: str
    hardware: str
    model: str
    reason: str
    outcome: str
    start_ms: float | None
    duration_ms: float | None
    confidence: float | None
    message: str | None


class RunStage(BaseModel):
    """What happened in one stage."""

    stage: str
    type: StageType
    backend: str | None
    model: str | None
    confidence: float | None
    forwarded: bool
    start_ms: float | None
    first_output_ms: float | None
    duration_ms: float | None
    error: str | None
    attempts: list[RunAttempt]


class RunError(BaseModel):
    """Why a run did not come to its end."""

    code: str
    message: str


class PipelineRun(BaseModel):
    """What became of a run."""

    id: str
    object: Literal["pipeline.run"]
    pipeline: str
    outcome: Literal["running", "completed", "failed", "late", "cancelled"]
    late: bool
    started_at: float
    total_ms: float | None
    records: list[RunStage]
    error: RunError | None


class StageResult(BaseModel):
    """What a stage gave; files are base64."""

    text: str | None = None
    segments: list[dict[str, Any]] | None = None
    audio: str | None = None
    rate: int | None = None
    images: list[str] | None = None
    data: list[dict[str, Any]] | None = None


class PipelineResult(PipelineRun):
    """A run, and what every stage gave."""

    outputs: dict[str, StageResult]


class RunStarted(BaseModel):
    """The first event."""

    type: Literal["run.started"]
    run_id: str
    pipeline: str


class StageBegan(BaseModel):
    """A stage has something to work on."""

    type: Literal["stage.started"]
    stage: str


class StagePartial(BaseModel):
    """What has been understood so far; the next takes its place."""

    type: Literal["stage.partial"]
    stage: str
    text: str


class StageGave(BaseModel):
    """The next of what a stage gives. ``audio`` is base64 of int16 PCM (mono, little endian), ``image`` of a JPEG."""

    type: Literal["stage.output"]
    stage: str
    kind: Literal["text", "audio", "image", "data"]
    text: str | None = None
    final: bool | None = None
    start: float | None = None
    end: float | None = None
    language: str | None = None
    audio: str | None = None
    rate: int | None = None
    image: str | None = None
    time: float | None = None
    data: dict[str, Any] | None = None


class StageDone(BaseModel):
    """A stage has given all, or failed."""

    type: Literal["stage.ended"]
    stage: str
    record: RunStage


class RunEnded(BaseModel):
    """The last event."""

    type: Literal["run.ended"]
    run_id: str
    pipeline: str
    outcome: str
    late: bool
    started_at: float
    total_ms: float | None
    records: list[RunStage]
    error: RunError | None


_EVENTS = (RunStarted, StageBegan, StagePartial, StageGave, StageDone, RunEnded)
_RUN = {
    "X-Run-Id": "of the run, for `/v1/pipelines/runs/{run}`",
    "X-Pipeline": "the pipeline's id",
    "X-Partial": "why the answer is not whole",
}
_WISHES: dict[str, tuple[dict[str, Any], str]] = {
    "X-Priority": ({"type": "string", "enum": list(PRIORITIES)}, "who goes first when many wait"),
    "X-Latency-Critical": ({"type": "string", "enum": ["true", "false"]}, "whether sooner is better than better"),
    "X-Max-Latency-Ms": (
        {"type": "number", "exclusiveMinimum": 0, "maximum": 3_600_000},
        "to the first output of a streaming pipeline, or to the end of another",
    ),
    "X-Target-Backend": (TEXT, "the only backend that may be asked"),
    "X-Efficiency-Mode": ({"type": "string", "enum": list(EFFICIENCY_MODES)}, "speed against power"),
}
_LATE = {
    "X-On-Late": ({"type": "string", "enum": ["error", "partial"]}, "`partial`: what there is in the place of 504")
}
_NUMBER = {"type": "integer"}
_QUERY: dict[str, tuple[dict[str, Any], str]] = {
    "rate": ({**_NUMBER, "minimum": 8_000, "maximum": 48_000}, "hertz of the answer's PCM or WAV"),
    "input_rate": ({**_NUMBER, "minimum": 8_000, "maximum": 48_000}, "hertz of a body in PCM, where its type has none"),
    "channels": ({**_NUMBER, "minimum": 1, "maximum": 2}, "of a body in PCM"),
    "context_id": (
        {"type": "string", "minLength": 1, "maxLength": 100, "pattern": r"^[\w.:-]+$"},
        "the conversation that this run goes on with",
    ),
}
_ANSWERS = {kind: TEXT if kind in (PLAIN, LINES) else BYTES for kind in ANSWERS if kind not in (EVENTS, JSON)}
_FILES = dict.fromkeys(("audio/pcm", "audio/*", "video/*", "image/*", "application/octet-stream"), BYTES)

PIPELINES = (
    Operation(
        "GET",
        "/v1/pipelines",
        "pipelines",
        "The pipelines that can be run",
        {200: json_answer("the list", PipelineList)},
    ),
    Operation(
        "GET",
        "/v1/pipelines/{pipeline}",
        "pipelines",
        "One of them, and who would do its work now",
        {200: json_answer("its stages", PipelinePlan)},
        headers=_WISHES,
        refuses=(404,),
    ),
    Operation(
        "POST",
        "/v1/pipelines/{pipeline}",
        "pipelines",
        "A run on what the body holds, which is worked on while it arrives",
        {
            200: event_answer(
                "in what `Accept` asks for; made and sent piece by piece",
                {**_ANSWERS, "application/json": PipelineResult},
                *_EVENTS,
            )
        },
        {**_FILES, "text/plain": TEXT, "application/json": PipelineBody, "multipart/form-data": PipelineBody},
        query=_QUERY,
        headers={**_WISHES, **_LATE},
        refuses=(404, 406, 415, 501, 504),
        words="`GET /v1/pipelines/runs/{run}` tells afterwards what happened; the id is in `X-Run-Id`.",
    ),
    Operation(
        "GET",
        "/v1/pipelines/runs/{run}",
        "pipelines",
        "What became of a run",
        {200: json_answer("stages and backends", PipelineRun)},
        refuses=(404,),
    ),
)
