"""Who notices voices, judges turns, listens and speaks: for each stage one way from the table of engines to an engine.

Left to itself, the catalogue's first recogniser hears English, and its first one of many languages hears again what
that doubts, and every other language.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from pipelines.engines.registry import TASKS, Built, Found, engines
from pipelines.engines.stt.whisper_settings import ENGLISH_ONLY
from pipelines.engines.tts.phrases import CachedVoice
from pipelines.engines.turn.smart_turn import LateTurnDetector
from pipelines.errors import DefinitionError, PipelineError, only_logged
from pipelines.interfaces.stt import SpeechToText
from pipelines.interfaces.tts import TextToSpeech
from pipelines.interfaces.turn import TurnDetector
from pipelines.interfaces.vad import SpeechProbability
from pipelines.models.store import ModelFiles
from pipelines.routing.failover_stt import FallbackRecognizer
from pipelines.routing.failover_tts import FallbackVoice
from pipelines.routing.second_opinion import SecondOpinion
from pipelines.text import unknown
from server.engines.local import Local, stubbed
from server.engines.parts import Parts

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

    def ears() -> tuple[list[SpeechToText], str, str]:
        best = [local.rungs[name] for name in local.best if name in local.rungs]
        first = next(iter((*best, *local.rungs.values())))
        if len(best) < 2:
            return [first.engine], first.device, first.reason
        both, second = SecondOpinion(first.engine, best[1].engine), best[1].engine
        return [both, second], first.device, f"{first.reason}; {second.name} hears what it doubts, and other languages"

    def missing() -> list[Sequence[str]]:
        if not local.rungs:  # of the first any other will do as well
            first, *others = local.best
            return [[first, *(one for one in wish.models if one != first)], *([other] for other in others)]
        if any(name in local.best for name in local.rungs):
            return [[name] for name in local.best if name not in local.rungs]
        return []  # a model of the user's own serves

    return await _composed(local, "recogniser", FallbackRecognizer, ears, missing)


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
    local: Local[TextToSpeech] = Local(parts, "tts", wish, finish=partial(_remembering, parts))

    def voices() -> tuple[list[TextToSpeech], str, str]:
        rung = next(reversed(local.rungs.values()))
        return [rung.engine], rung.device, rung.reason

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
    voice = parts.settings.voice or parts.stage("text_to_audio").parameters.get("voice")
    if voice is not None and voice not in ladder.voices:
        raise DefinitionError("unknown_voice", f"voice: {unknown('voice', voice, ladder.voices)}")
    return ladder


async def _warmed(name: str, warm: Callable[[], Awaitable[object]]) -> None:
    """Speak a first sentence to nobody: it takes some 0.4 s, which the first answer is not to pay nor the start."""
    with only_logged(f"warming {name}"):
        await warm()


def _remembering(parts: Parts, built: Built[TextToSpeech]) -> TextToSpeech:
    """The voice with a cache of its phrases, if there is memory for one."""
    memory = parts.settings.phrase_cache_mb << 20
    return CachedVoice(built.engine, memory_bytes=memory) if memory else built.engine


async def _composed(
    local: Local[Any],
    what: str,
    ladder_of: Callable[..., L],
    serving: Callable[[], tuple[list[Any], str, str]],
    missing: Callable[[], list[Sequence[str]]],
) -> L:
    """What is here, or else what needs no download, and what comes later before it.

    ``serving`` says who of what is here serves, the preferred one first, on which device and why; ``missing`` what is
    to be fetched, each with what will do in its place.
    """
    parts, wish, stage, last = local.parts, local.wish, local.stage, local.standby.name
    lacks = broken = ""
    if wish.word == "auto" and parts.embedded_only and not wish.required:
        lacks = "profile embedded"
    elif wish.word != last:
        lacks, broken = await local.take_what_is_here(what)
    embedded = await local.stand_by(now=not local.rungs)

    def told() -> tuple[list[Any], str, str]:
        engines, device, reason = serving()
        unusable = [f"{name} cannot be used: {why}" for name, why in parts.unusable.items() if name in local.best]
        return engines, device, "; ".join((reason, f"{last} stands by", *unusable))

    if local.rungs:
        engines, device, reason = told()
        parts.choices.note(stage, engines[0].name, reason, device=device)
    else:
        engines = []
        reason = "; ".join(filter(None, (embedded.reason, lacks)))
        parts.choices.note(stage, embedded.engine.name, reason, device=embedded.device, wanted=broken)
    ladder: Any = ladder_of([*engines, embedded.engine], parts.choices.failure_of(stage), parts.clock)
    parts.choices.watch(stage, ladder)

    def take_over(model_id: str) -> None:
        engines, device, reason = told()
        ladder.prefer(engines[0])
        parts.choices.replace(stage, engines[0].name, reason, device=device)

    if wish.word == "auto":
        plans = missing()
        if local.rungs and not parts.settings.download:
            parts.missing += [plan[0] for plan in plans]
        if parts.may_download:
            parts.later += [partial(local.fetch, plan, take_over) for plan in plans]
    served: L = ladder
    return served
