"""Who speaks: the Piper voices that are here, and espeak-ng, which always is."""

from __future__ import annotations

from functools import partial

from pipelines.engines.stubs import BenchVoice
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.engines.tts.phrases import CachedVoice
from pipelines.engines.tts.piper_clause import Voice
from pipelines.engines.tts.piper_voices import PiperVoices, load_piper
from pipelines.errors import DefinitionError, PipelineError, listed, only_logged
from pipelines.interfaces.tts import TextToSpeech
from pipelines.models.plans import Loadable
from pipelines.models.residency import Resident
from pipelines.models.store import ModelFiles
from pipelines.routing.failover_tts import FallbackVoice
from pipelines.runtime.hardware import threads_for
from pipelines.text import unknown
from server.engines.parts import BENCH_REASON, Parts, why
from server.engines.wishes import ESPEAK, TASKS, Wish

STAGE = "speak"
TASK = TASKS["text_to_audio"]
_ENGLISH = "piper-en_"
"""How the names of English voices begin: what answers by itself must be understood."""


def speak(parts: Parts) -> TextToSpeech:
    """The voices of all sessions. Blocking. Raises :class:`PipelineError` when nothing can speak, or not as asked."""
    if parts.bench:
        parts.choices.note(STAGE, BenchVoice.name, BENCH_REASON)
        return BenchVoice(parts.settings.bench_tone_seconds)
    wish = parts.wishes.speaking()
    embedded = _remembering(parts, EspeakVoice())
    piper, missing, broken = (None, "", "") if wish.word == ESPEAK else _piper(parts, wish)
    if piper is None:
        reason = why(wish, "embedded voice; needs no download")
        parts.choices.note(STAGE, embedded.name, "; ".join(filter(None, (reason, missing))), wanted=broken)
    engines = [embedded] if piper is None else [piper, embedded]
    ladder = FallbackVoice(engines, parts.choices.failure_of(STAGE), parts.clock)
    parts.choices.watch(STAGE, ladder)
    if piper is None and wish.word == "auto" and parts.may_download:
        parts.later.append(partial(_better, parts, ladder))
    return _checked(parts, ladder)


async def _better(parts: Parts, ladder: FallbackVoice) -> None:
    """Fetch the preferred voice, or the next that can be had, and let it speak from then on.

    Raises :class:`PipelineError` when none can be had.
    """
    models = [model for model in parts.store.catalogue.models if model.task == TASK]
    # A voice with a licence of its own is fetched by whoever has read that.
    free = [model.id for model in models if not model.licence.startswith("LicenseRef")]
    english = [model_id for model_id in free if model_id.startswith(_ENGLISH)] or free[:1]

    async def use(files: ModelFiles) -> None:
        engine, reason, device = await parts.aside(_built, parts, {files.id: files})
        await engine.warm()
        ladder.prefer(_remembering(parts, engine))
        parts.choices.replace(STAGE, engine.name, f"{reason}; {ESPEAK} stands by", device=device)

    await parts.first(english, use)


def _checked(parts: Parts, engine: TextToSpeech) -> TextToSpeech:
    """Raises :class:`DefinitionError` when a voice is asked for that there is not."""
    voice = parts.settings.voice or parts.stage("text_to_audio").parameters.get("voice")
    if voice is not None and voice not in engine.voices:
        raise DefinitionError("unknown_voice", f"voice: {unknown('voice', voice, engine.voices)}")
    return engine


def _piper(parts: Parts, wish: Wish) -> tuple[TextToSpeech | None, str, str]:
    """All voices that are here, the one that is asked for or the catalogue's first before the others.

    Or none, why not, and the name of one that is here and broken.
    """
    if wish.word == "auto" and parts.embedded_only:
        return None, "profile embedded", ""
    if wish.required:
        parts.obtain(wish)
    ordered = wish.models if wish.word == "auto" else (wish.word, *(one for one in wish.models if one != wish.word))
    here = {model_id: files for model_id in ordered if (files := parts.present(model_id)) is not None}
    if here:
        try:
            engine, reason, device = _built(parts, here)
        except PipelineError as error:
            parts.refuse(wish, next(iter(here)), error)
        else:
            parts.choices.note(STAGE, engine.name, f"{reason}; {ESPEAK} stands by", device=device)
            parts.later.append(partial(_warmed, engine))
            return _remembering(parts, engine), "", ""
    return (None, *parts.lacking(wish, "Piper voice"))


async def _warmed(engine: PiperVoices) -> None:
    """Speak a first sentence to nobody: it takes some 0.4 s, which the first answer is not to pay nor the start."""
    with only_logged(f"warming {engine.name}"):
        await engine.warm()


def _built(parts: Parts, here: dict[str, ModelFiles]) -> tuple[PiperVoices, str, str]:
    """An engine for these voices, with the first of them loaded; why, and its device. Raises :class:`PipelineError`."""
    device, reason = parts.device_for("onnxruntime")
    device = "cuda" if device == "cuda" else "cpu"  # Piper's graph has shapes that an NPU does not take
    residents = {_voice_of(files): _resident(parts, files, device) for files in here.values()}
    with next(iter(residents.values())).lease():  # now and not in the first conversation
        pass
    engine = PiperVoices(residents, threads=1)
    why_this = f"{listed(tuple(residents))}, from {next(iter(here.values())).origin}; {reason}"
    return engine, why_this, device


def _voice_of(files: ModelFiles) -> str:
    """The voice's own name, as ``en_US-lessac-medium``."""
    return next(name.removesuffix(".onnx") for name in files.files if name.endswith(".onnx"))


def _resident(parts: Parts, files: ModelFiles, device: str) -> Resident[Voice]:
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


def _remembering(parts: Parts, engine: TextToSpeech) -> TextToSpeech:
    """``engine`` with a cache of its phrases, unless the settings want none."""
    megabytes = parts.settings.phrase_cache_mb
    return CachedVoice(engine, memory_bytes=megabytes << 20) if megabytes else engine
