"""Who thinks: a model server, a model on this machine, and behind both the starter model that visavis brings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipelines.engines.llm.llama import LlamaChat
from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.model import ChatModel
from pipelines.engines.llm.numpy_chat import load_numpy_chat
from pipelines.engines.llm.transformers_chat import load_chat
from pipelines.engines.stubs import BenchModel
from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.llm import ChatRequest, LanguageModel
from pipelines.models.plans import Loadable
from pipelines.models.store import ModelFiles
from pipelines.routing.failover_llm import FallbackModel
from pipelines.routing.known_first import KnownFirst, Passes, StandIn
from pipelines.runtime.hardware import threads_for
from pipelines.starter import model_files
from server.engines.gguf import gguf_in, on_llama, starter_first
from server.engines.model_servers import STAGE, ModelServers
from server.engines.parts import BENCH_REASON, Parts
from server.engines.wishes import OPENAI, STARTER, Wish

LLAMA = "xllamacpp"
"""The library of the models that are fetched by themselves: they need nothing else."""
_SMALL = "small talk, sums and the camera"


@dataclass(frozen=True, slots=True)
class _Rung:
    """A model, its device, and why it."""

    model: LanguageModel
    device: str
    reason: str
    id: str = ""
    """Its name in the catalogue, if it is there."""


class Nobody:
    """Implements :class:`~pipelines.interfaces.llm.LanguageModel` where there is none: says what to do about it."""

    name = "nobody"
    takes_images = takes_tools = False

    def __init__(self, remedy: str) -> None:
        self.sentence = f"I cannot answer, for no language model is here: {remedy} brings one."

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """Yield the sentence."""
        yield self.sentence

    async def stand_in(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """Yield another: there is one, which is away."""
        yield model_files.AWAY

    async def close(self) -> None:
        """Nothing to close."""


async def think(parts: Parts) -> LanguageModel:
    """The language model of all sessions. Raises :class:`PipelineError` when what is asked for cannot be had."""
    if parts.bench:
        parts.choices.note(STAGE, BenchModel.name, BENCH_REASON)
        return BenchModel()
    wish = parts.wishes.thinking()
    word = wish.word
    reasons: list[str] = []
    served = local = None
    servers = ModelServers(parts)
    broken = ""
    if word == STARTER or (word == "auto" and parts.embedded_only and parts.settings.llm_url is None):
        reasons.append("asked for" if word == STARTER else "profile embedded")
    else:
        if word in ("auto", OPENAI):
            model, reason = await servers.find()
            served = _Rung(model, "-", reason) if model is not None else None
            reasons.append(reason)
        if word != OPENAI and not parts.embedded_only:
            local, reason, broken = await _local(parts, wish)
            reasons.append(reason)
    first = local is None and (served is None or servers.problem is not None)
    asked = first or (local is not None and _goes_behind(parts, wish, local))
    starter = await asyncio.to_thread(_starter, parts, asked, "; ".join(filter(None, reasons)))
    if local is not None:
        local = _with_starter(parts, wish, local, starter.model)
    rungs = [rung for rung in (served, local, starter) if rung is not None]
    ladder = _ladder(parts, rungs, servers, asked_for=word == OPENAI, broken=broken)
    if first and word == "auto" and parts.may_download and parts.settings.llm_url is None:
        parts.later.append(partial(_better, parts, ladder, starter.model, wish))
    return ladder


async def _better(parts: Parts, ladder: FallbackModel, starter: LanguageModel, wish: Wish) -> None:
    """Fetch the preferred model that needs no other library, and let it think from then on, behind a server if any.

    Raises :class:`PipelineError` when none can be had.
    """
    ids = _fetched(parts, wish)

    async def use(files: ModelFiles) -> None:
        rung = await _loaded(parts, files.id, files.path, f"from {files.origin}", required=False)
        rung = _with_starter(parts, wish, rung, starter)
        ladder.prefer(rung.model, before=starter.name)
        if ladder.name == rung.model.name:
            reason = f"{rung.reason}; {starter.name} stands by"
            parts.choices.replace(STAGE, rung.model.name, reason, device=rung.device)

    if ids:
        await parts.first(ids, use)


def _fetched(parts: Parts, wish: Wish) -> list[str]:
    """The models that are fetched by themselves, the preferred one first."""
    models = (parts.store.catalogue.get(model_id) for model_id in wish.models)
    return [model.id for model in models if model.requires == LLAMA and not model.licence.startswith("LicenseRef")]


def _ladder(parts: Parts, rungs: list[_Rung], servers: ModelServers, *, asked_for: bool, broken: str) -> FallbackModel:
    """The first of ``rungs``, with the others behind it, and whatever server is found later before it.

    ``broken`` is a model that is here and cannot be used: if the first is the starter, it stands in for that.
    """
    models = [rung.model for rung in rungs]
    ladder = FallbackModel(models, parts.choices.failure_of(STAGE), parts.clock)
    reason = rungs[0].reason
    if len(models) > 1:
        reason = f"{reason}; {', then '.join(model.name for model in models[1:])} stands by"
    missed = bool(servers.missing) and (asked_for or parts.settings.llm_url is not None)
    wanted = broken if ladder.name in (STARTER, Nobody.name) else ""
    if missed:
        reason = f"{reason}; stands in until that server is there"
        wanted = parts.settings.llm_model or " or ".join(url for _, url in servers.missing)
    parts.choices.note(STAGE, ladder.name, reason, device=rungs[0].device, ok=ladder.name != Nobody.name, wanted=wanted)
    parts.choices.watch(STAGE, ladder)
    if servers.problem is not None:
        ladder.start_without(servers.problem)
    parts.upkeep.append(ladder.keep_probing)
    if servers.missing:
        parts.upkeep.append(partial(servers.keep_looking, ladder))
    return ladder


async def _local(parts: Parts, wish: Wish) -> tuple[_Rung | None, str, str]:
    """A model on this machine and its reason. Or none, why not, and the name of one that is here and broken."""
    found = await asyncio.to_thread(_found, parts, wish)
    if found is not None:
        name, path, origin = found
        try:
            rung = await _loaded(parts, name, path, origin, required=wish.required)
        except PipelineError as error:
            parts.refuse(wish, name, error)
        else:
            return rung, rung.reason, ""
    return (None, *parts.lacking(wish, "model", _fetched(parts, wish)))


def _found(parts: Parts, wish: Wish) -> tuple[str, Path, str] | None:
    return parts.folder_of(wish) or (parts.obtain(wish) if wish.required else None)


async def _loaded(parts: Parts, name: str, path: Path, origin: str, *, required: bool) -> _Rung:
    """The model in ``path`` on the library that reads it, now and not in the first conversation."""
    file = gguf_in(path)
    if file is not None:
        engine, reason = await on_llama(parts, name, file, required=required)
        return _Rung(engine, engine.device, f"{origin}; {reason}", name)
    plan, device, reason = await asyncio.to_thread(_plan, parts, name, path)
    return _Rung(LocalChat(parts.residency.add(plan)), device, f"{origin}; {reason}", name)


def _goes_behind(parts: Parts, wish: Wish, rung: _Rung) -> bool:
    """Whether the catalogue says that the starter is better asked before this model, and nobody has asked for it."""
    return wish.word == "auto" and starter_first(parts, rung.id)


def _with_starter(parts: Parts, wish: Wish, rung: _Rung, starter: LanguageModel) -> _Rung:
    """The model of ``rung`` with the starter before it, if it goes behind one."""
    if not isinstance(rung.model, LlamaChat) or isinstance(starter, Nobody) or not _goes_behind(parts, wish, rung):
        return rung
    both = KnownFirst(starter, rung.model, model_files.PASSES, model_files.KEEPS)
    return _Rung(both, rung.device, f"{rung.reason}; starter first, for {_SMALL}", rung.id)


def _starter(parts: Parts, first: bool, why: str) -> _Rung:
    """The small model in the package, loaded now if it is the ``first``; without it the one sentence."""
    try:
        load = partial(load_numpy_chat, model_files.FOLDER)
        plan: Loadable[ChatModel] = Loadable(STARTER, load, precision="float32")
        if first:
            with parts.residency.add(plan).lease():
                pass
    except PipelineError as error:
        remedy = _remedy(parts)
        return _Rung(Nobody(remedy), "-", f"{why}; the starter model cannot be used: {error.message}; {remedy}")
    passes = Passes(model_files.PASSES, model_files.KEEPS)
    model = StandIn(LocalChat(parts.residency.add(plan)), passes, away=model_files.AWAY, never=model_files.NEVER)
    return _Rung(model, "cpu", f"{why}; the small built-in model")


def _remedy(parts: Parts) -> str:
    """The command that brings a language model."""
    ids = [model.id for model in parts.store.catalogue.models if model.requires == LLAMA]
    return f"visavis models pull {ids[0]}" if ids else "visavis models list"


def _plan(parts: Parts, name: str, folder: Path) -> tuple[Loadable[ChatModel], str, str]:
    """A folder as transformers loads it, loaded once. Blocking."""
    if (folder / "model.bin").exists() and not any(folder.glob("*.safetensors")):
        message = f"{folder} holds a model for CTranslate2 (model.bin), which no longer thinks here"
        raise ModelError("model_not_chat", f"{message}: give its GGUF file, or its folder from the hub")
    threads = threads_for(STAGE, parts.cores)
    device, reason = parts.device_for("torch")
    bits = parts.settings.chat_quantization
    precision = bits or "bfloat16"
    plan: Loadable[ChatModel] = Loadable(
        name,
        partial(load_chat, folder, device, threads=threads, quantization=bits),
        precision=precision,
        device=device,
        estimate=parts.estimate(name, precision),
    )
    with parts.residency.add(plan).lease():
        pass
    return plan, device, reason
