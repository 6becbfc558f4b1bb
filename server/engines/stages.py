"""Who notices voices, judges turns, listens, thinks and speaks: for each stage a way from the table to an engine.

Left to itself, the catalogue's first recogniser hears English, and its first one of many languages hears again what
that doubts, and every other language. Behind a model server and a model on this machine stands the starter model that
visavis brings.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from pipelines.engines.llm.llama import LlamaChat
from pipelines.engines.registry import TASKS, Built, Found, engines, runner
from pipelines.engines.stt.whisper_settings import ENGLISH_ONLY
from pipelines.engines.tts.phrases import CachedVoice
from pipelines.engines.turn.smart_turn import LateTurnDetector
from pipelines.errors import DefinitionError, PipelineError, only_logged
from pipelines.interfaces.llm import ChatRequest, LanguageModel
from pipelines.interfaces.stt import SpeechToText
from pipelines.interfaces.tts import TextToSpeech
from pipelines.interfaces.turn import TurnDetector
from pipelines.interfaces.vad import SpeechProbability
from pipelines.models.store import ModelFiles
from pipelines.routing.known_first import KnownFirst
from pipelines.routing.routes.llm import FallbackModel
from pipelines.routing.routes.speech import FallbackRecognizer, FallbackVoice
from pipelines.routing.second_opinion import Doubt, SecondOpinion
from pipelines.starter import model_files
from pipelines.text import unknown
from server.engines.local import Local, Rung, candidate, stubbed
from server.engines.model_servers import STAGE, ModelServers
from server.engines.parts import Parts
from server.engines.remote.conversation import put_before
from server.engines.wishes import OPENAI, STARTER, TYPES, Wish

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
        reasons.append("chosen in the settings" if word == STARTER else "profile embedded")
    else:
        if word in ("auto", OPENAI):
            model, reason = await servers.find()
            served = servers.rung(model, reason) if model is not None else None
            reasons.append(reason)
        if word != OPENAI and (word != "auto" or not parts.embedded_only):
            reason, broken = await local.take_what_is_here("model", fetched)
            reasons.append(reason)
    here = next(iter(local.rungs.items()), None)
    first = here is None and (served is None or servers.problem is not None)
    starter = await _starter(local, first or (here is not None and _goes_behind(parts, wish, here[0])), reasons)
    rungs = [rung for rung in (served, here and _with_starter(parts, wish, *here, starter.engine), starter) if rung]
    ladder = _ladder(parts, rungs, servers, asked_for=word == OPENAI, broken=broken)
    await put_before(parts, STAGE, ladder)

    def take_over(model_id: str) -> None:
        rung = _with_starter(parts, wish, model_id, local.rungs[model_id], starter.engine)
        ladder.prefer(candidate(parts, rung), before=starter.engine.name)
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
    need = parts.need("text_generation")
    ladder = FallbackModel(
        [candidate(parts, rung) for rung in rungs], parts.choices.failure_of(STAGE), parts.clock, need=need
    )
    reason = rungs[0].reason
    if len(models) > 1:
        reason = f"{reason}; {', then '.join(model.name for model in models[1:])} stands by"
    missed = bool(servers.missing) and (asked_for or parts.settings.llm_url is not None)
    wanted = broken if ladder.name in (STARTER, Nobody.name) else ""
    if missed:
        reason = f"{reason}; stands in until that server is there"
        wanted = servers.wanted or " or ".join(url for _, url in servers.missing)
    parts.choices.note(STAGE, ladder.name, reason, device=rungs[0].device, ok=ladder.name != Nobody.name, wanted=wanted)
    parts.choices.watch(STAGE, ladder)
    if servers.problem is not None:
        ladder.start_without(servers.problem)
    parts.upkeep.append(ladder.keep_probing)
    if servers.missing:
        parts.upkeep.append(partial(servers.keep_looking, ladder))
    return ladder


def _goes_behind(parts: Parts, wish: Wish, name: str) -> bool:
    """Whether the catalogue says that the starter is better asked before this model, nobody has asked for it, and the
    pipeline hands on what is not known."""
    model = parts.model(name)
    if not parts.need("text_generation").policy.enable_confidence_check:
        return False
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
        return Rung(Nobody(remedy), "-", "; ".join(filter(None, told)), standby=True)
    return replace(starter, reason="; ".join(filter(None, (*reasons, local.standby.about))))


L = TypeVar("L")
RULES = "words and pauses decide when a turn is over"
_ENGLISH = "piper-en_"
"""How the names of English voices begin: what answers by itself must be understood."""


async def vad(parts: Parts) -> SpeechProbability:
    """The voice-activity model of all sessions. Raises :class:`PipelineError` when there is none."""
    (spec,) = engines("vad")
    built: Built[SpeechProbability] = await spec.builder()(parts, Found(spec.name))
    parts.choices.note("vad", built.engine.name, built.reason)
    return built.engine


async def turn(parts: Parts) -> TurnDetector | None:
    """The turn detector, now or as soon as its model has come; ``None`` where it is not here and not fetched."""
    (spec,) = engines("turn")
    models = (model.id for model in parts.store.catalogue.models if model.task == TASKS["turn"])
    model_id = next(models, spec.name)

    async def built(files: ModelFiles) -> TurnDetector:
        engine: Built[TurnDetector] = await spec.builder()(parts, Found.of(files))
        parts.workers += engine.workers
        return engine.engine

    problem = f"{model_id} is not here: visavis models pull {model_id}"
    if files := await asyncio.to_thread(parts.present, model_id):
        try:
            engine = await built(files)
        except PipelineError as error:
            problem = error.message
        else:
            parts.choices.note("turn", engine.name, spec.about)
            return engine
    elif parts.settings.download:
        late = LateTurnDetector()
        parts.choices.note("turn", late.name, RULES)

        async def use(files: ModelFiles) -> None:
            late.take(await built(files))
            parts.choices.replace("turn", late.name, spec.about)

        parts.later.append(lambda: parts.first([model_id], use))
        return late
    else:
        parts.missing.append(model_id)
    parts.choices.note("turn", "rules", f"no turn detector: {problem}; {RULES}", ok=False)
    return None


async def stt(parts: Parts) -> SpeechToText:
    """The recogniser of all sessions. Raises :class:`PipelineError` when nothing can listen, or not as asked."""
    if parts.bench:
        stub: SpeechToText = await stubbed(parts, "stt")
        return stub
    wish = parts.wishes.stt()
    local: Local[SpeechToText] = Local(parts, "stt", wish, _best(wish.models))
    doubt = Doubt.of(parts.need("audio_to_text").policy)

    def recognisers() -> tuple[list[Rung[SpeechToText]], str]:
        best = [local.rungs[name] for name in local.best if name in local.rungs]
        first = next(iter((*best, *local.rungs.values())))
        if len(best) < 2:
            return [first], first.reason
        both, second = SecondOpinion(first.engine, best[1].engine, doubt=doubt), best[1]
        hears = f"{second.engine.name} hears {'what it doubts, and ' if doubt.sure else ''}other languages"
        return [replace(first, engine=both), second], f"{first.reason}; {hears}"

    def missing() -> list[Sequence[str]]:
        if not local.rungs:  # of the first any other will do as well
            first, *others = local.best
            return [[first, *(one for one in wish.models if one != first)], *([other] for other in others)]
        if any(name in local.best for name in local.rungs):
            return [[name] for name in local.best if name not in local.rungs]
        return []  # a model of the user's own serves

    return await _composed(local, "recogniser", FallbackRecognizer, recognisers, missing)


def _best(models: Sequence[str]) -> tuple[str, ...]:
    """Of models in order of preference the first, and the first of many languages if that one knows English alone."""
    broad = next((model_id for model_id in models if not model_id.endswith(ENGLISH_ONLY)), None)
    return tuple(dict.fromkeys((*models[:1], *([broad] if broad else []))))


async def tts(parts: Parts) -> TextToSpeech:
    """The voices of all sessions. Raises :class:`PipelineError` when nothing can speak, or not as asked."""
    if parts.bench:
        stub: TextToSpeech = await stubbed(parts, "tts")
        return stub
    wish = parts.wishes.tts()
    local: Local[TextToSpeech] = Local(parts, "tts", wish, finish=partial(remembering, parts))

    def voices() -> tuple[list[Rung[TextToSpeech]], str]:
        rung = next(reversed(local.rungs.values()))
        return [rung], rung.reason

    def missing() -> list[Sequence[str]]:
        models = [model for model in parts.store.catalogue.models if model.task == TASKS["tts"]]
        # A voice with a licence of its own is fetched by whoever has read that.
        free = [model.id for model in models if not model.licence.startswith("LicenseRef")]
        english = [model_id for model_id in free if model_id.startswith(_ENGLISH)] or free[:1]
        return [] if local.rungs else [english]

    ladder = await _composed(local, "Piper voice", FallbackVoice, voices, missing)
    for rung in local.rungs.values():
        if rung.warm is not None:
            parts.later.append(partial(_warmed, rung.engine.name, rung.warm))
    voice = parts.settings.voice or parts.stage("text_to_audio").options.get("voice")
    if voice is not None and voice not in ladder.voices:
        raise DefinitionError("unknown_voice", f"voice: {unknown('voice', voice, ladder.voices)}")
    return ladder


async def _warmed(name: str, warm: Callable[[], Awaitable[object]]) -> None:
    """Speak a first sentence to nobody: it takes some 0.4 s, which the first answer is not to pay nor the start."""
    with only_logged(f"warming {name}"):
        await warm()


def remembering(parts: Parts, built: Built[TextToSpeech]) -> TextToSpeech:
    """The voice with a cache of its phrases, if there is memory for one."""
    memory = parts.settings.phrase_cache_mb << 20
    return CachedVoice(built.engine, memory_bytes=memory) if memory else built.engine


async def _composed(
    local: Local[Any],
    what: str,
    ladder_of: Callable[..., L],
    serving: Callable[[], tuple[list[Rung[Any]], str]],
    missing: Callable[[], list[Sequence[str]]],
) -> L:
    """What is here, or else what needs no download, and what comes later before it.

    ``serving`` says who of what is here serves, the preferred one first, and why; ``missing`` what is to be fetched,
    each with what will do in its place.
    """
    parts, wish, stage, last = local.parts, local.wish, local.stage, local.standby.name
    lacks = broken = ""
    if wish.word == "auto" and parts.embedded_only and not wish.required:
        lacks = "profile embedded"
    elif wish.word != last:
        lacks, broken = await local.take_what_is_here(what)
    embedded = await local.stand_by(now=not local.rungs)

    def told() -> tuple[list[Rung[Any]], str]:
        rungs, reason = serving()
        unusable = [f"{name} cannot be used: {why}" for name, why in parts.unusable.items() if name in local.best]
        return rungs, "; ".join((reason, f"{last} stands by", *unusable))

    rungs: list[Rung[Any]] = []
    if local.rungs:
        rungs, reason = told()
        parts.choices.note(stage, rungs[0].engine.name, reason, device=rungs[0].device)
    else:
        reason = "; ".join(filter(None, (embedded.reason, lacks)))
        parts.choices.note(stage, embedded.engine.name, reason, device=embedded.device, wanted=broken)
    candidates = [candidate(parts, rung) for rung in (*rungs, embedded)]
    need = parts.need(TYPES[stage])
    ladder: Any = ladder_of(candidates, parts.choices.failure_of(stage), parts.clock, need=need)
    parts.choices.watch(stage, ladder)
    await put_before(parts, stage, ladder)

    def take_over(model_id: str) -> None:
        (better, *_), reason = told()
        ladder.prefer(candidate(parts, better))
        if ladder.name == better.engine.name:
            parts.choices.replace(stage, better.engine.name, reason, device=better.device)

    if wish.word == "auto":
        plans = missing()
        if local.rungs and not parts.settings.download:
            parts.missing += [plan[0] for plan in plans]
        if parts.may_download:
            parts.later += [partial(local.fetch, plan, take_over) for plan in plans]
    served: L = ladder
    return served
