"""Who listens: a Whisper that is here, and PocketSphinx, which always is."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from pipelines.devices import threads_for
from pipelines.engines.bench import BenchRecognizer
from pipelines.engines.pocketsphinx import PocketSphinxRecognizer
from pipelines.engines.whisper import WhisperRecognizer
from pipelines.engines.whisper_model import load_whisper
from pipelines.engines.whisper_settings import WhisperSettings
from pipelines.errors import PipelineError
from pipelines.models.plans import Loadable
from pipelines.ports import SpeechToText
from pipelines.routing.fallback_stt import FallbackRecognizer
from pipelines.starter.speech_model_files import is_shipped, shipped
from server.composition.parts import BENCH_REASON, Parts, why

STAGE = "listen"
TASK = "speech-to-text"
EMBEDDED = "pocketsphinx"
STARTER = "starter-whisper"
"""A small Whisper in the package, where there is one. It knows English, and little of it: only used when asked for."""
ENGLISH = ("", "en")


async def listen(parts: Parts) -> SpeechToText:
    """The recogniser of all sessions. Raises :class:`PipelineError` when nothing can listen."""
    if parts.bench:
        parts.choices.note(STAGE, BenchRecognizer.name, BENCH_REASON)
        return BenchRecognizer()
    word = parts.wanted("audio_to_text", parts.settings.stt_model, (EMBEDDED, STARTER, *parts.models_for(TASK)))
    whisper, missing = (None, "") if word == EMBEDDED else await _whisper(parts, word)
    embedded = PocketSphinxRecognizer(processes=parts.settings.stt_processes)
    if whisper is None:
        await embedded.warm()
        ok = parts.settings.language in ENGLISH and word in ("auto", EMBEDDED)
        reason = why(parts.stage("audio_to_text"), word, "embedded English recogniser; needs no download")
        parts.choices.note(STAGE, embedded.name, f"{reason}{missing}", ok=ok)
    engines: list[SpeechToText] = [embedded] if whisper is None else [whisper, embedded]
    ladder = FallbackRecognizer(engines, parts.choices.failure_of(STAGE), parts.clock)
    parts.choices.watch(STAGE, ladder)
    if whisper is None and word == "auto" and parts.may_download:
        parts.later.append(partial(_better, parts, ladder))
    return ladder


async def _better(parts: Parts, ladder: FallbackRecognizer) -> None:
    """Fetch the preferred Whisper and let it listen from then on. Raises :class:`PipelineError`."""
    wanted = [model_id for model_id in parts.models_for(TASK) if _hears(model_id, parts.settings.language)]
    if not wanted:
        return
    files = await parts.fetch(wanted[0])
    engine, device, reason = await parts.aside(build, parts, files.id, files.path)
    await _warmed(parts, engine)
    ladder.prefer(engine)
    parts.choices.replace(STAGE, engine.name, f"from {files.origin}; {reason}; {EMBEDDED} stands by", device=device)


async def _whisper(parts: Parts, word: str) -> tuple[WhisperRecognizer | None, str]:
    """The Whisper to use and no reason, or none and why not; notes the choice."""
    if word == "auto" and parts.embedded_only:
        return None, "; profile embedded"
    found = await asyncio.to_thread(_folder, parts, word)
    if found is None:
        if word == STARTER:
            return None, f"; this installation holds no {word}: visavis train-starter whisper makes one"
        ids = parts.models_for(TASK)
        if word != "auto":
            return None, f"; {word} is not here: visavis models pull {word}"
        return None, f"; no Whisper is here: visavis models pull {ids[0]}" if ids else ""
    name, folder, origin = found
    try:
        engine, device, reason = await asyncio.to_thread(build, parts, name, folder)
        await _warmed(parts, engine)
    except PipelineError as error:
        return None, f"; {name} cannot be used: {error.message}"
    parts.choices.note(STAGE, engine.name, f"{origin}; {reason}; {EMBEDDED} stands by", device=device)
    return engine, ""


def build(parts: Parts, name: str, folder: Path) -> tuple[WhisperRecognizer, str, str]:
    """The engine on the model in ``folder``, its device and why there. Raises :class:`PipelineError`."""
    device, reason = parts.device_for("ctranslate2")
    threads = threads_for(STAGE, parts.cores)
    precision = "float16" if device == "cuda" else "int8"
    plan = Loadable(
        name,
        partial(load_whisper, folder, device, threads=threads),
        precision=precision,
        device=device,
        estimate=parts.estimate(name, precision),
    )
    language = parts.settings.language or ("en" if name == STARTER or name.endswith(("-en", ".en")) else None)
    batch_wait = 0.003 if device == "cuda" else 0.0
    settings = WhisperSettings(language=language, task=parts.settings.stt_task)
    return WhisperRecognizer(parts.residency.add(plan), settings, max_wait=batch_wait), device, reason


async def _warmed(parts: Parts, engine: WhisperRecognizer) -> None:
    """Load the engine's model; one that cannot be loaded leaves no thread behind. Raises :class:`PipelineError`."""
    try:
        await engine.warm()
    except BaseException:
        await engine.close()
        raise
    parts.workers.append(engine.worker)


def _folder(parts: Parts, word: str) -> tuple[str, Path, str] | None:
    if word == STARTER:
        return (STARTER, shipped(), "comes with visavis") if is_shipped() else None
    return parts.folder_of(TASK, word, lambda model_id: _hears(model_id, parts.settings.language))


def _hears(model_id: str, language: str) -> bool:
    """Whether a model knows the language; those whose name ends in ``en`` know English only."""
    return language in ENGLISH or not model_id.endswith(("-en", ".en"))
