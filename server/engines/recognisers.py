"""Which recogniser reads a folder of model files, and how it is built on them.

Another one is a function here and a row in :data:`_READERS`; what may be asked for by name is in the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipelines.engines.stt.moonshine import MoonshineRecognizer
from pipelines.engines.stt.moonshine_model import is_moonshine, load_moonshine
from pipelines.engines.stt.whisper import WhisperRecognizer
from pipelines.engines.stt.whisper_model import load_whisper
from pipelines.engines.stt.whisper_settings import ENGLISH_ONLY, WhisperSettings
from pipelines.engines.stt.window_recognizer import WindowRecognizer
from pipelines.errors import ListenError
from pipelines.models.plans import Loadable
from pipelines.runtime.hardware import threads_for
from server.engines.parts import Parts
from server.engines.wishes import ENGLISH

STAGE = "listen"
Built = tuple[WindowRecognizer, str, str]
"""The engine, its device, and why there."""


async def build(parts: Parts, name: str, path: Path) -> Built:
    """The recogniser for the folder ``path``, or the one that the file ``path`` lies in, loaded.

    Raises :class:`~pipelines.errors.PipelineError`.
    """
    engine, device, reason = await parts.aside(_read, parts, name, path)
    try:
        await engine.warm()
    except BaseException:  # it leaves no thread behind
        await engine.close()
        raise
    parts.workers.append(engine.worker)
    return engine, device, reason


def _read(parts: Parts, name: str, path: Path) -> Built:
    folder = path if path.is_dir() else path.parent
    read = next(read for reads, read in _READERS if reads(folder))
    return read(parts, name, folder)


def _moonshine(parts: Parts, name: str, folder: Path) -> Built:
    if parts.settings.language not in ENGLISH or parts.settings.stt_task == "translate":
        raise ListenError("stt_language", f"{name} is a Moonshine: it knows English alone and translates nothing")
    load = partial(load_moonshine, folder, threads_for(STAGE, parts.cores))
    plan = Loadable(name, load, precision="float32", estimate=parts.estimate(name, "float32"))
    reason = "on the CPU, a Moonshine is too small for more" if parts.settings.device != "auto" else "on the CPU"
    return MoonshineRecognizer(parts.residency.add(plan)), "cpu", reason


def _whisper(parts: Parts, name: str, folder: Path) -> Built:
    device, reason = parts.device_for("ctranslate2")
    precision = "float16" if device == "cuda" else "int8"
    plan = Loadable(
        name,
        partial(load_whisper, folder, device, threads=threads_for(STAGE, parts.cores)),
        precision=precision,
        device=device,
        estimate=parts.estimate(name, precision),
    )
    language = parts.settings.language or ("en" if name.endswith(ENGLISH_ONLY) else None)
    settings = WhisperSettings(language=language, task=parts.settings.stt_task)
    max_wait = 0.003 if device == "cuda" else 0.0
    return WhisperRecognizer(parts.residency.add(plan), settings, max_wait=max_wait), device, reason


_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Parts, str, Path], Built]], ...] = (
    (is_moonshine, _moonshine),
    (lambda folder: True, _whisper),  # tells what it misses
)
"""What tells by a folder's files that they are of its kind, and what builds the engine."""
