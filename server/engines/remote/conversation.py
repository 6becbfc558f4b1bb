"""The engines of a Ray cluster in the conversation: asked before those of this machine, which stand by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from pipelines.engines.registry import Stage
from pipelines.engines.remote.engines import NAMED
from pipelines.routing.routes.route import Route
from server.engines.local import Rung, candidate
from server.engines.parts import Parts
from server.engines.remote.ray import BACKEND

_STAND_BY: Final = "the engines of this machine stand by"


async def put_before(parts: Parts, stage: Stage, ladder: Route[Any]) -> None:
    """The engine of the stage on Ray goes before those of ``ladder``, where the settings say that there is one.

    One that does not answer rests, and is asked again until it does.
    """
    ray = parts.ray
    if ray is None or stage not in ray.stages:
        return
    if not ray.told:
        ray.told = True
        parts.upkeep.append(partial(ray.keep_looking, parts.clock, partial(_tell, parts)))
    problem = await ray.known(stage)
    makers: Mapping[str, Callable[[], Any]] = {"stt": ray.recognizer, "llm": ray.model, "tts": ray.voice}
    engine = makers[stage]()
    rung: Rung[Any] = Rung(engine, "-", f"{ray.reason(stage)}; {_STAND_BY}", backend=BACKEND, named=True)
    ladder.prefer(candidate(parts, rung))
    parts.choices.replace(stage, engine.name, rung.reason, device=rung.device)
    if ladder.keep_probing not in parts.upkeep:
        parts.upkeep.append(ladder.keep_probing)
    if problem is not None:
        ladder.start_without(problem)


def _tell(parts: Parts, stage: str, words: str) -> None:
    """Say how an engine is now."""
    assert parts.ray is not None
    parts.choices.explain(stage, parts.ray.remote(stage).name, f"{words}; {_STAND_BY}", of=f"{NAMED} ")
