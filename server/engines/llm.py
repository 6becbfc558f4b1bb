"""Who thinks: a model server, a model on this machine, and behind both the starter model that visavis brings."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial

from pipelines.engines.llm.llama import LlamaChat
from pipelines.engines.registry import runner
from pipelines.errors import PipelineError
from pipelines.interfaces.llm import ChatRequest, LanguageModel
from pipelines.routing.failover_llm import FallbackModel
from pipelines.routing.known_first import KnownFirst
from pipelines.starter import model_files
from server.engines.local import Local, Rung, stubbed
from server.engines.model_servers import STAGE, ModelServers
from server.engines.parts import Parts
from server.engines.wishes import OPENAI, STARTER, Wish

_SMALL = "small talk, sums and the camera"


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


async def llm(parts: Parts) -> LanguageModel:
    """The language model of all sessions. Raises :class:`PipelineError` when what is asked for cannot be had."""
    if parts.bench:
        stub: LanguageModel = await stubbed(parts, STAGE)
        return stub
    wish = parts.wishes.llm()
    word = wish.word
    local: Local[LanguageModel] = Local(parts, STAGE, wish)
    servers = ModelServers(parts)
    fetched = _fetched(parts, wish)
    reasons: list[str] = []
    served: Rung[LanguageModel] | None = None
    broken = ""
    if word == STARTER or (word == "auto" and parts.embedded_only and parts.settings.llm_url is None):
        reasons.append("asked for" if word == STARTER else "profile embedded")
    else:
        if word in ("auto", OPENAI):
            model, reason = await servers.find()
            served = Rung(model, "-", reason) if model is not None else None
            reasons.append(reason)
        if word != OPENAI and (word != "auto" or not parts.embedded_only):
            reason, broken = await local.take_what_is_here("model", fetched)
            reasons.append(reason)
    here = next(iter(local.rungs.items()), None)
    first = here is None and (served is None or servers.problem is not None)
    starter = await _starter(local, first or (here is not None and _goes_behind(parts, wish, here[0])), reasons)
    rungs = [rung for rung in (served, here and _with_starter(parts, wish, *here, starter.engine), starter) if rung]
    ladder = _ladder(parts, rungs, servers, asked_for=word == OPENAI, broken=broken)

    def take_over(model_id: str) -> None:
        rung = _with_starter(parts, wish, model_id, local.rungs[model_id], starter.engine)
        ladder.prefer(rung.engine, before=starter.engine.name)
        if ladder.name == rung.engine.name:
            reason = f"{rung.reason}; {starter.engine.name} stands by"
            parts.choices.replace(STAGE, rung.engine.name, reason, device=rung.device)

    if first and word == "auto" and parts.may_download and parts.settings.llm_url is None and fetched:
        parts.later.append(partial(local.fetch, fetched, take_over))
    return ladder


def _fetched(parts: Parts, wish: Wish) -> list[str]:
    """The models that are fetched by themselves, the preferred one first: those that need no library of their own."""
    models = (parts.store.catalogue.get(model_id) for model_id in wish.models)
    return [m.id for m in models if _on_llama(m.requires) and not m.licence.startswith("LicenseRef")]


def _on_llama(requires: str | None) -> bool:
    spec = runner(STAGE, requires)
    return spec is not None and spec.name == "llama.cpp"


def _ladder(
    parts: Parts, rungs: list[Rung[LanguageModel]], servers: ModelServers, *, asked_for: bool, broken: str
) -> FallbackModel:
    """The first of ``rungs``, with the others behind it, and whatever server is found later before it.

    ``broken`` is a model that is here and cannot be used: if the first is the starter, it stands in for that.
    """
    models = [rung.engine for rung in rungs]
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


def _goes_behind(parts: Parts, wish: Wish, name: str) -> bool:
    """Whether the catalogue says that the starter is better asked before this model, and nobody has asked for it."""
    model = parts.model(name)
    return wish.word == "auto" and model is not None and model.chat.starter_first


def _with_starter(
    parts: Parts, wish: Wish, name: str, rung: Rung[LanguageModel], starter: LanguageModel
) -> Rung[LanguageModel]:
    """The model of ``rung`` with the starter before it, if it goes behind one."""
    model = rung.engine
    if not isinstance(model, LlamaChat) or isinstance(starter, Nobody) or not _goes_behind(parts, wish, name):
        return rung
    both = KnownFirst(starter, model, model_files.PASSES, model_files.KEEPS)
    return replace(rung, engine=both, reason=f"{rung.reason}; starter first, for {_SMALL}")


async def _starter(local: Local[LanguageModel], now: bool, reasons: list[str]) -> Rung[LanguageModel]:
    """The small model in the package; where that cannot be used the one sentence."""
    try:
        starter = await local.stand_by(now=now)
    except PipelineError as error:
        ids = [m.id for m in local.parts.store.catalogue.models if m.task == "chat" and _on_llama(m.requires)]
        remedy = f"visavis models pull {ids[0]}" if ids else "visavis models list"
        told = (*reasons, f"the starter model cannot be used: {error.message}", remedy)
        return Rung(Nobody(remedy), "-", "; ".join(filter(None, told)))
    return replace(starter, reason="; ".join(filter(None, (*reasons, local.standby.about))))
