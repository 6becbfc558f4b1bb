"""Who thinks: a model server, a model in this process, and behind both the starter model that visavis brings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from media.clock import local_time
from pipelines.devices import threads_for
from pipelines.engines.bench import BenchModel
from pipelines.engines.chat_local import LocalChat
from pipelines.engines.chat_model import ChatModel
from pipelines.engines.ctranslate2_chat import load_generator
from pipelines.engines.numpy_chat import load_numpy_chat
from pipelines.engines.scripted import ScriptedModel
from pipelines.engines.transformers_chat import load_chat
from pipelines.errors import PipelineError
from pipelines.models.plans import Loadable
from pipelines.ports import LanguageModel
from pipelines.routing.fallback import FallbackModel, Probed
from pipelines.starter import model_files
from server.composition.model_servers import STAGE, ModelServers
from server.composition.parts import BENCH_REASON, Parts
from server.composition.wishes import OPENAI, SCRIPTED, STARTER, Wish

_Rung = tuple[LanguageModel, str, str]
"""A model, its device, and why it."""


async def think(parts: Parts) -> LanguageModel:
    """The language model of all sessions. Raises :class:`PipelineError` when what is asked for cannot be had."""
    if parts.bench:
        parts.choices.note(STAGE, BenchModel.name, BENCH_REASON)
        return BenchModel()
    wish = parts.wishes.thinking()
    word = wish.word
    if word == SCRIPTED:
        parts.choices.note(STAGE, SCRIPTED, "asked for; a few dozen fixed answers, for tests")
        return ScriptedModel(local_time)
    rungs: list[_Rung] = []
    reasons: list[str] = []
    servers = ModelServers(parts)
    broken = ""
    if word == STARTER or (word == "auto" and parts.embedded_only and parts.settings.llm_url is None):
        reasons.append("asked for" if word == STARTER else "profile embedded")
    else:
        if word in ("auto", OPENAI):
            served, reason = await servers.find()
            rungs += [(served, "-", reason)] if served is not None else []
            reasons.append(reason)
        if word != OPENAI and not parts.embedded_only:
            local, device, reason, broken = await asyncio.to_thread(_local, parts, wish)
            rungs += [(local, device, reason)] if local is not None else []
            reasons.append(reason)
    first = not rungs or (servers.problem is not None and len(rungs) == 1)
    rungs.append(await asyncio.to_thread(_starter, parts, first, "; ".join(reason for reason in reasons if reason)))
    return _ladder(parts, rungs, servers, asked_for=word == OPENAI, broken=broken)


def _ladder(parts: Parts, rungs: list[_Rung], servers: ModelServers, *, asked_for: bool, broken: str) -> LanguageModel:
    """The first of ``rungs``, with the others behind it, and whatever server is found later before it.

    ``broken`` is a model that is here and cannot be used: if the first is the starter, it stands in for that.
    """
    models = [model for model, _, _ in rungs]
    ladder = FallbackModel(models, parts.choices.failure_of(STAGE), parts.clock)
    _, device, reason = rungs[0]
    if len(models) > 1:
        reason = f"{reason}; {', then '.join(model.name for model in models[1:])} stands by"
    missed = bool(servers.missing) and (asked_for or parts.settings.llm_url is not None)
    wanted = broken if ladder.name in (STARTER, SCRIPTED) else ""
    if missed:
        reason = f"{reason}; stands in until that server is there"
        wanted = parts.settings.llm_model or " or ".join(url for _, url in servers.missing)
    parts.choices.note(STAGE, ladder.name, reason, device=device, ok=ladder.name != SCRIPTED, wanted=wanted)
    parts.choices.watch(STAGE, ladder)
    if servers.problem is not None:
        ladder.start_without(servers.problem)
    if servers.missing or any(isinstance(model, Probed) for model in models):
        parts.upkeep.append(lambda changed: ladder.keep_probing())
    if servers.missing:
        parts.upkeep.append(partial(servers.keep_looking, ladder))
    return ladder


def _local(parts: Parts, wish: Wish) -> tuple[LanguageModel | None, str, str, str]:
    """A model in this process, its device and the reason.

    Or none, why not, and the name of one that is here and broken.
    """
    found = parts.folder_of(wish) or (parts.obtain(wish) if wish.required else None)
    if found is not None:
        name, folder, origin = found
        try:
            plan, device, reason = _plan(parts, name, folder)
            with parts.residency.add(plan).lease():  # now and not in the first conversation
                pass
        except PipelineError as error:
            parts.refuse(wish, name, error)
        else:
            return LocalChat(parts.residency.add(plan)), device, f"{origin}; {reason}", ""
    return (None, "-", *parts.lacking(wish, "model"))


def _starter(parts: Parts, first: bool, why: str) -> _Rung:
    """The small model in the package, loaded now if it is the ``first``; without it the scripted responder."""
    try:
        load = partial(load_numpy_chat, model_files.FOLDER)
        plan: Loadable[ChatModel] = Loadable(STARTER, load, precision="float32")
        if first:
            with parts.residency.add(plan).lease():
                pass
    except PipelineError as error:
        reason = f"{why}; the starter model cannot be used: {error.message}; a few dozen fixed answers stand in"
        return ScriptedModel(local_time), "cpu", reason
    return LocalChat(parts.residency.add(plan)), "cpu", f"{why}; the small built-in model"


def _plan(parts: Parts, name: str, folder: Path) -> tuple[Loadable[ChatModel], str, str]:
    threads = threads_for(STAGE, parts.cores)
    converted = (folder / "model.bin").exists()
    device, reason = parts.device_for("ctranslate2" if converted else "torch")
    bits = parts.settings.chat_quantization
    load: Callable[..., ChatModel] = load_generator if converted else partial(load_chat, quantization=bits)
    precision = "int8" if converted else bits or "bfloat16"
    plan: Loadable[ChatModel] = Loadable(
        name,
        partial(load, folder, device, threads=threads),
        precision=precision,
        device=device,
        estimate=parts.estimate(name, precision),
    )
    return plan, device, reason
