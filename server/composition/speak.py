"""Who speaks: the Piper voices that are here, and espeak-ng, which always is."""

from __future__ import annotations

import inspect
import sys
import zlib
from functools import partial
from importlib.metadata import version

from pipelines.devices import threads_for
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
        return _checked(parts, embedded)
    ladder = FallbackVoice([piper, embedded], parts.choices.failure_of(STAGE), parts.clock)
    parts.choices.watch(STAGE, ladder)
    return _checked(parts, ladder)


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
        device, reason = parts.device_for("onnxruntime")
        device = "cuda" if device == "cuda" else "cpu"  # Piper's graph has shapes that an NPU does not take
        residents = {_voice_of(files): _resident(parts, files, device) for files in here.values()}
        first = next(iter(residents.values()))
        with first.lease():  # now and not in the first conversation
            pass
    except PipelineError as error:
        return None, f"; {next(iter(here))} cannot be used: {error.message}"
    engine = PiperVoices(residents, threads=1)
    origin = next(iter(here.values())).origin
    names = listed(tuple(residents))
    parts.choices.note(STAGE, engine.name, f"{names}, from {origin}; {reason}; {EMBEDDED} stands by", device=device)
    return _remembering(parts, engine, " ".join(files.version for files in here.values())), ""


def _voice_of(files: ModelFiles) -> str:
    """The voice's own name, as ``en_US-lessac-medium``."""
    return next(name.removesuffix(".onnx") for name in files.files if name.endswith(".onnx"))


def _resident(parts: Parts, files: ModelFiles, device: str) -> Resident:  # type: ignore[type-arg]
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
    """Tells apart two states of the file an engine is in: a louder voice must not be answered with old audio."""
    try:
        return f"{zlib.crc32(inspect.getsource(sys.modules[type(engine).__module__]).encode()):08x}"
    except OSError:  # installed without its source
        return version("visavis")
