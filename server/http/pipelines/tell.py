"""Pipelines and runs as JSON for clients."""

from __future__ import annotations

from typing import Any

from media.frames import Picture
from pipelines.routing.definition import Pipeline
from pipelines.routing.executor import RunEvent, StageEnded, StageOutput, StageStarted
from pipelines.routing.items import Data, Item, Partial, Sound, Text
from pipelines.routing.run import Attempt, Wishes
from pipelines.routing.stage_types import STAGE_TYPES
from pipelines.runtime.worker import Worker
from server.http.pipelines.accept import JPEG
from server.http.pipelines.answers import based, encoded, pcm_bytes, text_json
from server.http.pipelines.house import Pipelines

Json = dict[str, Any]


def pipeline_json(pipeline: Pipeline, file: str, shipped: bool) -> Json:
    """A row of the list."""
    return {
        "id": pipeline.id,
        "object": "pipeline",
        "name": pipeline.name or pipeline.id,
        "description": pipeline.description,
        "takes": list(pipeline.takes),
        "gives": list(pipeline.gives),
        "stages": [stage.id for stage in pipeline.stages],
        "file": file,
        "shipped": shipped,
    }


def plan_json(pipeline: Pipeline, house: Pipelines, wishes: Wishes) -> Json:
    """One pipeline: its graph, and who would do the work now and why."""
    graph = pipeline.graph
    stages = []
    for stage in pipeline.order:
        plan = [attempt_json(one) for one in house.plan(pipeline, stage, wishes)]
        chosen = next((one for one in plan if not one["passed_over"]), None)
        shape = STAGE_TYPES[stage.type]
        stages.append(
            {
                "id": stage.id,
                "type": stage.type,
                "name": stage.name,
                "description": stage.description,
                "inputs": list(graph.sources[stage.id]),
                "takes": list(shape.takes),
                "gives": shape.gives,
                "model": stage.model,
                "preferred_hardware": stage.preferred_hardware,
                "options": dict(stage.options),
                "forwarding_policy": stage.forwarding_policy.model_dump(exclude_unset=True, mode="json"),
                "backend": chosen["backend"] if chosen else None,
                "reason": chosen["reason"] if chosen else "nobody here can do this",
                "plan": plan,
            }
        )
    row = pipeline_json(pipeline, *house.origin(pipeline.id))
    return {**row, "stages": stages, "options": pipeline.options.model_dump(mode="json")}


def attempt_json(attempt: Attempt) -> Json:
    """One backend of a plan."""
    return {
        "backend": attempt.backend,
        "hardware": attempt.hardware,
        "model": attempt.model,
        "reason": attempt.message or attempt.reason,
        "passed_over": attempt.outcome if attempt.outcome in ("hot", "busy", "resting", "unable") else None,
    }


async def event_json(event: RunEvent, sinks: frozenset[str], worker: Worker) -> Json | None:
    """One event of a stream; ``None`` for what clients are not told."""
    match event:
        case StageStarted(stage):
            return {"type": "stage.started", "stage": stage}
        case StageEnded(stage, record):
            return {"type": "stage.ended", "stage": stage, "record": record.json()}
        case StageOutput(stage, Partial(text)):
            return {"type": "stage.partial", "stage": stage, "text": text}
        case StageOutput(stage, item):
            told = await _item_json(item, worker) if stage in sinks or isinstance(item, Text | Data) else None
            return None if told is None else {"type": "stage.output", "stage": stage, **told}


async def _item_json(item: Item, worker: Worker) -> Json | None:
    match item:
        case Text():
            return {"kind": "text", **text_json(item)}
        case Sound(samples, rate, start):
            return {"kind": "audio", "audio": based(pcm_bytes(samples)), "rate": rate, "start": round(start, 4)}
        case Picture():
            return {"kind": "image", "image": based(await worker.run(encoded, item, JPEG)), "time": item.time}
        case Data(value):
            return {"kind": "data", "data": dict(value)}
    return None
