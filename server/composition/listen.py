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
from pipelines.engines.whisper_settings import ENGLISH_ONLY, WhisperSettings
from pipelines.errors import PipelineError
from pipelines.models.plans import Loadable
from pipelines.models.store import ModelFiles
from pipelines.ports import SpeechToText
from pipelines.routing.fallback_stt import FallbackRecognizer
from server.composition.parts import BENCH_REASON, Parts, why
from server.composition.wishes import POCKETSPHINX, Wish

STAGE = "listen"


async def listen(parts: Parts) -> SpeechToText:
    """The recogniser of all sessions. Raises :class:`PipelineError` when nothing can listen, or not as asked."""
    if parts.bench:
        parts.choices.note(STAGE, BenchRecognizer.name, BENCH_REASON)
        return BenchRecognizer()
    wish = parts.wishes.listening()
    whisper, missing, broken = (None, "", "") if wish.word == POCKETSPHINX else await _whisper(parts, wish)
    embedded = PocketSphinxRecognizer(processes=parts.settings.stt_processes)
    if whisper is None:
        await embedded.warm()
        reason = why(wish, "embedded English recogniser; needs no download")
        parts.choices.note(STAGE, embedded.name, "; ".join(filter(None, (reason, missing))), wanted=broken)
    engines: list[SpeechToText] = [embedded] if whisper is None else [whisper, embedded]
    ladder = FallbackRecognizer(engines, parts.choices.failure_of(STAGE), parts.clock)
    parts.choices.watch(STAGE, ladder)
    if whisper is None and wish.word == "auto" and parts.may_download:
        parts.later.append(partial(_better, parts, ladder, wish))
    return ladder


async def _better(parts: Parts, ladder: FallbackRecognizer, wish: Wish) -> None:
    """Fetch the preferred Whisper, or the next that can be had, and let it listen from then on.

    Raises :class:`PipelineError` when none can be had.
    """

    async def use(files: ModelFiles) -> None:
        engine, device, reason = await parts.aside(build, parts, files.id, files.path)
        await _warmed(parts, engine)
        ladder.prefer(engine)
        reason = f"from {files.origin}; {reason}; {POCKETSPHINX} stands by"
        parts.choices.replace(STAGE, engine.name, reason, device=device)

    await parts.first(wish.models, use)


async def _whisper(parts: Parts, wish: Wish) -> tuple[WhisperRecognizer | None, str, str]:
    """The Whisper to use; or none, why not, and the name of one that is here and broken. Notes the choice."""
    if wish.word == "auto" and parts.embedded_only and not wish.required:
        return None, "profile embedded", ""
    found = await asyncio.to_thread(lambda: parts.folder_of(wish) or (parts.obtain(wish) if wish.required else None))
    if found is not None:
        name, folder, origin = found
        try:
            engine, device, reason = await asyncio.to_thread(build, parts, name, folder)
            await _warmed(parts, engine)
        except PipelineError as error:
            parts.refuse(wish, name, error)
        else:
            parts.choices.note(STAGE, engine.name, f"{origin}; {reason}; {POCKETSPHINX} stands by", device=device)
            return engine, "", ""
    return (None, *parts.lacking(wish, "Whisper"))


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
    language = parts.settings.language or ("en" if name.endswith(ENGLISH_ONLY) else None)
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
