"""What a replica on a Ray cluster loads: the same engines as a server, by the same settings, one for each row."""

from __future__ import annotations

import logging
from typing import Any

from pipelines.engines.registry import Built, Found, Stage, stub
from pipelines.engines.remote.replica import Loaded
from pipelines.engines.remote.rows import CONVERSATION, FORESIGHT, Place, Row
from pipelines.errors import ModelError
from pipelines.models.residency import Residency
from server.engines.foresight import generator
from server.engines.local import Local
from server.engines.parts import Parts, Share
from server.engines.tasks import task_service
from server.engines.wishes import OPENAI
from server.settings import Settings, SettingsError, load_settings
from server.stores import conversation, model_store

log = logging.getLogger(__name__)

BUILD = f"{__name__}:build"
BENCH = "bench"
"""The stubs of that profile, to measure the way to a replica."""
_MODELS = {"stt": "stt_model", "llm": "chat_model", "tts": "tts_model", FORESIGHT: "foresight_generator"}
"""Stages → the setting that says which model it is."""


async def build(row: Row, place: Place) -> Loaded:
    """Load the engine of a row. Raises :class:`~pipelines.errors.PipelineError`: nothing else serves in its place."""
    settings = load_settings(flags_of(row, place), serves=False)
    if row.stage in CONVERSATION:
        return await _conversing(row, _parts(settings, row))
    if row.stage == FORESIGHT:
        made = await generator(_parts(settings, row))
        if made is None or made.describer is not None:
            raise ModelError("model_not_here", "model: a deployment films with a generator that needs no describer")
        return Loaded(row.stage, made.filmer, made.filmer.model, settings.device)
    service = task_service(settings, model_store(settings), Residency())
    await service.look(row.stage)
    if why := service.why_not(row.stage):
        raise ModelError("model_not_here", why)
    model = next(iter(service.models(row.stage))) if row.model == "auto" else row.model
    return Loaded(row.stage, service.runner(row.stage, model), model, settings.device)


def flags_of(row: Row, place: Place) -> dict[str, Any]:
    """The settings of a server that would load what the row says."""
    flags: dict[str, Any] = {"device": row.device, "download": place.download}
    flags |= {name: value for name, value in (("models", place.models), ("cache", place.cache)) if value is not None}
    if row.model == BENCH:
        return {**flags, "profile": BENCH}
    flags["language"] = row.language  # stubs know none
    if row.stage in _MODELS and row.model != "auto":
        flags[_MODELS[row.stage]] = row.model
    return flags


def _parts(settings: Settings, row: Row) -> Parts:
    return Parts(settings, conversation(settings), log.info, share=Share(max(1, int(row.cpus))))


async def _conversing(row: Row, parts: Parts) -> Loaded:
    stage: Stage = row.stage  # type: ignore[assignment]  # one of CONVERSATION
    if parts.bench:
        built: Built[Any] = await stub(stage).builder()(parts, Found(BENCH))
        return Loaded(stage, built.engine, BENCH)
    wish = {"stt": parts.wishes.stt, "llm": parts.wishes.llm, "tts": parts.wishes.tts}[stage]()
    if wish.word == OPENAI:
        raise ModelError("wrong_model", "model: a model server is asked where it is (llm_url), and not through Ray")
    local: Local[Any] = Local(parts, stage, wish)
    lacks, broken = await local.take_what_is_here("model")
    if not local.rungs and parts.settings.download and wish.models:
        await local.fetch(wish.models, lambda name: None)
    rung = next(iter(local.rungs.values()), None)
    if rung is None:
        raise ModelError("model_not_here", f"model: {broken or lacks or f'nothing serves {stage} here'}")
    return Loaded(stage, rung.engine, rung.engine.name, rung.device)


def check(row: Row, place: Place) -> None:
    """Refuse what no machine could load. Raises :class:`~pipelines.errors.PipelineError`."""
    try:
        load_settings(flags_of(row, place), serves=False)
    except SettingsError as error:
        raise ModelError("wrong_model", f"engines: {row.stage}: {error}") from error
