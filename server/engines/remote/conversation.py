"""The engines of a Ray cluster in the conversation: asked before those of this machine, which stand by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pipelines.engines.registry import Stage
from pipelines.engines.remote.engines import NAMED
from pipelines.errors import PipelineError
from server.engines.local import Rung
from server.engines.parts import Parts
from server.engines.remote.ray import BACKEND

_STAND_BY: Final = "the engines of this machine stand by"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An engine of another machine."""

    rung: Rung[Any]
    problem: PipelineError | None
    """Why it does not answer yet."""


async def elsewhere(parts: Parts, stage: Stage) -> Elsewhere | None:
    """Who serves the stage on Ray; ``None`` where the settings do not say that anybody does."""
    ray = parts.ray
    if ray is None or stage not in ray.stages:
        return None
    if not ray.told:
        ray.told = True
        parts.upkeep.append(partial(ray.keep_looking, parts.clock, partial(_tell, parts)))
    problem = await ray.known(stage)
    engine: Any = {"stt": ray.recognizer, "llm": ray.model, "tts": ray.voice}[stage]()
    reason = f"{ray.reason(stage)}; {_STAND_BY}"
    return Elsewhere(Rung(engine, "-", reason, backend=BACKEND, named=True), problem)


def _tell(parts: Parts, stage: str, words: str) -> None:
    """Say how an engine is now."""
    assert parts.ray is not None
    parts.choices.explain(stage, parts.ray.remote(stage).name, f"{words}; {_STAND_BY}", of=f"{NAMED} ")
