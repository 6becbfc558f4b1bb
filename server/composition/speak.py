"""Who speaks: the Piper voices that are here, and espeak-ng, which always is."""

from __future__ import annotations

import inspect
import sys
import zlib
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from pipelines.devices import threads_for
from pipelines.engines import piper_text, spoken
from pipelines.engines.bench import BenchVoice
from pipelines.engines.espeak import EspeakVoice
from pipelines.engines.piper import PiperVoices, load_piper
from pipelines.errors import DefinitionError, PipelineError, listed
from pipelines.models.plans import Loadable
from pipelines.models.residency import Resident
from pipelines.models.store import ModelFiles
from pipelines.ports import TextToSpeech
from pipelines.routing.fallback_voice import FallbackVoice
from pipelines.voice.phrase_files import PhraseFiles
from pipelines.voice.phrases import CachedVoice
from server.composition.parts import BENCH_REASON, Parts, why

if TYPE_CHECKING:
    from piper.voice import PiperVoice

STAGE = "speak"
TASK = "text-to-speech"
EMBEDDED = "espeak-ng"


def speak(parts: Parts) -> TextToSpeech:
    """The voices of all sessions. Blocking. Raises :class:`PipelineError` when nothing can speak."""
    if parts.bench:
        parts.choices.note(STAGE, BenchVoice.name, BENCH_REASON)
        return BenchVoice(parts.settings.bench_tone_seconds)
    word = parts.wanted("text_to_audio", parts.settings.tts_model, (EMBEDDED, *parts.models_for(TASK)))
    embedded = _remembering(parts, EspeakVoice(), version("espeakng-loader"))
    piper, missing = (None, "") if word == EMBEDDED else _piper(parts, word)
    if piper is None:
        reason = why(parts.stage("text_to_audio"), word, "embedded voice; needs no download")
        parts.choices.note(STAGE, embedded.name, f"{reason}{missing}")
    engines = [embedded] if piper is None else [piper, embedded]
    ladder = FallbackVoice(engines, parts.choices.failure_of(STAGE), parts.clock)
    parts.choices.watch(STAGE, ladder)
    if piper is None and word == "auto" and parts.may_download:
        parts.later.append(partial(_better, parts, ladder))
    return _checked(parts, ladder)


async def _better(parts: Parts, ladder: FallbackVoice) -> None:
    """Fetch the preferred voice and let it speak from then on. Raises :class:`PipelineError`."""
    models = [model for model in parts.store.catalogue.models if model.task == TASK]
    free = [model.id for model in models if not model.licence.startswith("LicenseRef")]
    if not free:  # a voice with a licence of its own is fetched by whoever has read that
        return
    files = await parts.fetch(free[0])
    engine, reason, device = await parts.aside(_built, parts, {files.id: files})
    ladder.prefer(engine)
    parts.choices.replace(STAGE, engine.name, f"{reason}; {EMBEDDED} stands by", device=device)


def _checked(parts: Parts, engine: TextToSpeech) -> TextToSpeech:
    """Raises :class:`DefinitionError` when the pipeline names a voice that there is not."""
    voice = parts.settings.voice or parts.stage("text_to_audio").parameters.get("voice")
    if voice is not None and voice not in engine.voices:
        raise DefinitionError("unknown_voice", f"voice: '{voice}' is not one of {listed(engine.voices)}")
    return engine


def _piper(parts: Parts, word: str) -> tuple[TextToSpeech | None, str]:
    """All voices that are here, ``word`` or the catalogue's first before the others; or none, and why not."""
    ids = parts.models_for(TASK)
    if word == "auto" and parts.embedded_only:
        return None, "; profile embedded"
    ordered = ids if word == "auto" else (word, *(model_id for model_id in ids if model_id != word))
    here = {model_id: files for model_id in ordered if (files := parts.present(model_id)) is not None}
    if word not in ("auto", *here):
        return None, f"; {word} is not here: visavis models pull {word}"
    if not here:
        return None, f"; no Piper voice is here: visavis models pull {ids[0]}" if ids else ""
    try:
        engine, reason, device = _built(parts, here)
    except PipelineError as error:
        return None, f"; {next(iter(here))} cannot be used: {error.message}"
    parts.choices.note(STAGE, engine.name, f"{reason}; {EMBEDDED} stands by", device=device)
    return engine, ""


def _built(parts: Parts, here: dict[str, ModelFiles]) -> tuple[TextToSpeech, str, str]:
    """An engine for these voices, with the first of them loaded; why, and its device. Raises :class:`PipelineError`."""
    device, reason = parts.device_for("onnxruntime")
    device = "cuda" if device == "cuda" else "cpu"  # Piper's graph has shapes that an NPU does not take
    residents = {_voice_of(files): _resident(parts, files, device) for files in here.values()}
    with next(iter(residents.values())).lease():  # now and not in the first conversation
        pass
    engine = PiperVoices(residents, threads=1)
    why_this = f"{listed(tuple(residents))}, from {next(iter(here.values())).origin}; {reason}"
    return _remembering(parts, engine, " ".join(files.version for files in here.values())), why_this, device


def _voice_of(files: ModelFiles) -> str:
    """The voice's own name, as ``en_US-lessac-medium``."""
    return next(name.removesuffix(".onnx") for name in files.files if name.endswith(".onnx"))


def _resident(parts: Parts, files: ModelFiles, device: str) -> Resident[PiperVoice]:
    network = next(path for name, path in files.files.items() if name.endswith(".onnx"))
    config = next(path for name, path in files.files.items() if name.endswith(".json"))
    threads = threads_for(STAGE, parts.cores)
    return parts.residency.add(
        Loadable(
            files.id,
            partial(load_piper, network, config, threads, "cuda" if device == "cuda" else "cpu"),
            precision="float32",
            device=device,
            estimate=parts.estimate(files.id, "float32"),
        )
    )


def _remembering(parts: Parts, engine: TextToSpeech, release: str) -> TextToSpeech:
    """``engine`` with a cache of its phrases; they are good for this release of its library and of our code."""
    settings = parts.settings
    if not settings.phrase_cache_mb and not settings.phrase_disk_mb:
        return engine
    files = PhraseFiles(settings.phrase_cache, settings.phrase_disk_mb << 20) if settings.phrase_disk_mb else None
    if files is not None:
        files.scan()
    memory = settings.phrase_cache_mb << 20
    return CachedVoice(engine, version=f"{release} {_code_of(engine)}", memory_bytes=memory, files=files)


def _code_of(engine: object) -> str:
    """Tells apart two states of the code that speaks: a louder voice must not be answered with old audio."""
    modules = (sys.modules[type(engine).__module__], piper_text, spoken)
    try:
        return f"{zlib.crc32(''.join(map(inspect.getsource, modules)).encode()):08x}"
    except OSError:  # installed without its source
        return version("visavis")
