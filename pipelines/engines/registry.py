"""THE table of engines: which library serves which stage, on what, what it needs, and what builds it.

The composition of the server (``server/engines``), the legal values of settings, ``visavis serve --help``, ``visavis
doctor`` and the table in ``docs/how-to/write-an-engine.md`` read it. Another engine is a module with a builder, and a
row here; a model that it runs is a row of ``pipelines/models/catalogue.yaml``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar

from pipelines.models.catalogue import Model
from pipelines.models.residency import Residency
from pipelines.models.store import ModelFiles
from pipelines.models.weights.adapters import Adapters
from pipelines.models.weights.placement import DeviceMap
from pipelines.runtime.batching import BatchWorker
from pipelines.runtime.scaling import Pool

Stage = Literal["vad", "turn", "stt", "llm", "tts", "vision"]
TASKS: dict[Stage, str] = {
    "turn": "turn-detection",
    "stt": "speech-to-text",
    "llm": "chat",
    "tts": "text-to-speech",
}
"""Stages → the task of the catalogue's models that serve them; every other task is vision's."""
E = TypeVar("E")
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the settings say of how engines run, and the pipeline."""

    device: str = "auto"
    language: str = ""
    """Code of the language that is spoken; empty: what the model knows, or detects."""
    translate: bool = False
    """Whether speech is to be translated into English."""
    quantization: str | None = None
    """One of :data:`pipelines.models.weights.quantization.LEGAL`."""
    processes: int = 1
    """Embedded recognisers at a time."""
    tone_seconds: float = 3.0
    """Length of the tone of the benchmark's voice."""
    instructions: str = ""
    """Of the pipeline that ships, for the language model."""
    device_map: DeviceMap | None = None
    """How a chat model is dealt out to several devices."""
    llama_host: Path | None = None
    """Socket of who lends llama.cpp to several processes; ``None``: this one starts its own."""


class Site(Protocol):
    """Where an engine is built: the machine, the models that are here, and what is asked for."""

    cores: int
    residency: Residency

    @property
    def adapters(self) -> Adapters:
        """Those that answers of the language model can be asked for with."""
        ...

    @property
    def asked(self) -> Asked:
        """What the settings say."""
        ...

    def device_for(self, library: str) -> tuple[str, str]:
        """Where engines on ``library`` run, and why. Blocking. Raises :class:`~pipelines.errors.ModelError`."""
        ...

    def estimate(self, model_id: str, precision: str) -> int:
        """Bytes that a model takes in memory, by the catalogue; 0 if unknown."""
        ...

    def model(self, model_id: str) -> Model | None:
        """What the catalogue knows of a model."""
        ...

    def others(self, task: str, model_id: str) -> Sequence[ModelFiles]:
        """The models for a task that are here beside ``model_id``, the preferred first. Blocking."""
        ...

    async def aside(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what takes long on a thread of its own."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What an engine is built on: a model that is here, or nothing for an engine that needs none."""

    name: str
    """Of the model, or of the engine."""
    path: Path | None = None
    """A file or a folder; ``None``: the engine of that name, which needs no model."""
    origin: str = ""
    """Where it came from, for people."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """By name, for a model of the catalogue."""
    required: bool = False
    """Whether nothing else may serve in its place."""
    now: bool = True
    """Whether it is to be loaded at once, and not only when it is first used."""

    @classmethod
    def of(cls, files: ModelFiles) -> Found:
        """A model as the store gives it."""
        return cls(files.id, files.path, f"from {files.origin}", files.files)

    @property
    def place(self) -> Path:
        """``path`` of a model."""
        assert self.path is not None
        return self.path

    @property
    def folder(self) -> Path:
        """``path``, or the folder that the file lies in."""
        return self.place if self.place.is_dir() else self.place.parent


@dataclass(frozen=True, slots=True)
class Built(Generic[E]):
    """An engine, its device and why it."""

    engine: E
    device: str = "cpu"
    reason: str = ""
    workers: tuple[BatchWorker[Any, Any], ...] = ()
    """Whose queues and batches are counted."""
    pools: tuple[Pool, ...] = ()
    """What of it grows and shrinks with the work."""
    warm: Callable[[], Awaitable[object]] | None = None
    """A first computation, for which neither the start nor the first answer is to wait."""


ANYTHING = "anything"
"""What is read by an engine that tells what it misses only when it loads it."""
Build = Callable[[Site, Found], Awaitable[Built[Any]]]
"""Builds an engine, loaded. Raises :class:`~pipelines.errors.PipelineError`, and then leaves no thread behind."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine."""

    name: str
    """What it is asked for by, where it reads no model files."""
    stage: Stage
    about: str
    """What it is, for people."""
    build: str = ""
    """``module:function``, a :data:`Build`; empty where it takes more than a model: an address, or several models."""
    packages: tuple[str, ...] = ()
    """Without them it cannot run; a model of the catalogue ``requires`` the first."""
    library: str = ""
    """What computes, for its devices (:data:`pipelines.runtime.hardware.LIBRARIES`); empty: the processor."""
    reads: str = ""
    """``module:function``, whether a file or folder is a model for it, or :data:`ANYTHING`; the first in the table that
    says so gets it. Empty: it needs no model, and is asked for by name."""
    runs: str = ""
    """Where it runs, if that is no device of its library."""
    stands_by: bool = False
    """Whether it always is there: it serves until a better one has come, and when that fails."""
    remark: str = ""
    """What is wrong with an engine that stands by."""
    languages: tuple[str, ...] = ("en",)
    """Of a recogniser without a model; others know what their model knows."""
    stub: bool = False
    """Whether it is for measuring only (profile ``bench``)."""

    def builder(self) -> Build:
        """The function that ``build`` names."""
        build: Build = resolve_name(self.build)
        return build

    def may_read(self, path: Path) -> bool:
        """Whether ``path`` is a model for it. Raises :class:`~pipelines.errors.ModelError` when it cannot tell."""
        return self.reads == ANYTHING or (bool(self.reads) and bool(resolve_name(self.reads)(path)))


_STT, _LLM, _TTS = "pipelines.engines.stt", "pipelines.engines.llm", "pipelines.engines.tts"
ENGINES: list[EngineSpec] = [
    EngineSpec(
        "silero", "vad", "Silero VAD, which its package carries", "pipelines.engines.vad.silero:build",
        ("silero-vad", "onnxruntime"),
    ),
    EngineSpec(
        "smart-turn", "turn", "judges from the sound whether you have finished",
        "pipelines.engines.turn.smart_turn:build", ("onnxruntime", "faster-whisper"),
    ),
    EngineSpec(
        "moonshine", "stt", "Moonshine: English, and quick", f"{_STT}.moonshine:build", ("onnxruntime",),
        reads=f"{_STT}.moonshine_model:is_moonshine",
    ),
    EngineSpec(
        "openvino-whisper", "stt", "Whisper on OpenVINO: for Intel's NPUs and GPUs", f"{_STT}.openvino_whisper:build",
        ("openvino", "openvino-genai"), "openvino", reads=f"{_STT}.openvino_whisper:is_openvino",
    ),
    EngineSpec(
        "whisper", "stt", "Whisper on CTranslate2: many languages", f"{_STT}.whisper:build",
        ("faster-whisper", "ctranslate2"), "ctranslate2", reads=ANYTHING,
    ),
    EngineSpec(
        "pocketsphinx", "stt", "embedded English recogniser; needs no download",
        f"{_STT}.pocketsphinx_recognizer:build", ("pocketsphinx",), stands_by=True, remark="often wrong",
    ),
    EngineSpec("openai", "llm", "any OpenAI-compatible server"),
    EngineSpec(
        "llama.cpp", "llm", "GGUF files", f"{_LLM}.llama:build", ("xllamacpp",),
        reads=f"{_LLM}.llama:gguf_in", runs="llama.cpp in a process of its own",
    ),
    EngineSpec(
        "openvino", "llm", "models in OpenVINO's format, for Intel's NPUs and GPUs", f"{_LLM}.openvino_chat:build",
        ("openvino", "openvino-genai"), "openvino", reads=f"{_LLM}.openvino_chat:is_openvino",
    ),
    EngineSpec(
        "transformers", "llm", "folders of the hub, on torch", f"{_LLM}.transformers_chat:build",
        ("transformers", "torch"), "torch", reads=ANYTHING,
    ),
    EngineSpec(
        "starter", "llm", "the small built-in model", f"{_LLM}.numpy_chat:build", stands_by=True,
        remark="a very small model",
    ),
    EngineSpec(
        "piper", "tts", "Piper: neural voices", f"{_TTS}.piper_voices:build", ("piper-tts", "onnxruntime"),
        "onnxruntime", reads=ANYTHING,
    ),
    EngineSpec(
        "espeak-ng", "tts", "embedded voice; needs no download", f"{_TTS}.espeak:build", ("espeakng-loader",),
        stands_by=True, remark="robotic",
    ),
    EngineSpec(
        "litert", "vision", "LiteRT: any `.tflite` model, for the task `tflite`", packages=("ai-edge-litert",),
    ),
    EngineSpec("mediapipe", "vision", "MediaPipe: faces, hands, bodies and things", packages=("mediapipe",)),
    EngineSpec("bench", "stt", "for measuring", "pipelines.engines.stubs:build_stt", stub=True),
    EngineSpec("bench", "llm", "for measuring", "pipelines.engines.stubs:build_llm", stub=True),
    EngineSpec("bench", "tts", "for measuring", "pipelines.engines.stubs:build_tts", stub=True),
]  # fmt: skip
"""In order of preference within a stage."""


def engines(stage: Stage) -> list[EngineSpec]:
    """Those of a stage, without its stub."""
    return [spec for spec in ENGINES if spec.stage == stage and not spec.stub]


def named(stage: Stage) -> tuple[str, ...]:
    """The engines that are asked for by their own name."""
    return tuple(spec.name for spec in engines(stage) if not spec.reads)


def called(stage: Stage, name: str) -> EngineSpec:
    """The engine that is asked for by ``name``. Raises :class:`KeyError` when there is none."""
    for spec in engines(stage):
        if spec.name == name and not spec.reads:
            return spec
    raise KeyError(name)


def standby(stage: Stage) -> EngineSpec:
    """The engine that always is there."""
    return next(spec for spec in engines(stage) if spec.stands_by)


def stub(stage: Stage) -> EngineSpec:
    """What stands for a stage where the server around it is measured."""
    return next(spec for spec in ENGINES if spec.stage == stage and spec.stub)


def reader(stage: Stage, path: Path) -> EngineSpec:
    """The engine for the model in ``path``. Raises :class:`~pipelines.errors.ModelError` when it is not clear."""
    return next(spec for spec in engines(stage) if spec.may_read(path))


def runner(stage: Stage, requires: str | None) -> EngineSpec | None:
    """The engine for a model of the catalogue, without a look at its files."""
    readers = [spec for spec in engines(stage) if spec.reads]
    if requires is None:
        return readers[-1] if readers else None
    return next((spec for spec in readers if spec.packages[0] == requires), None)


def stage_of(task: str) -> Stage:
    """The stage that models for ``task`` serve."""
    return next((stage for stage, served in TASKS.items() if served == task.partition(".")[0]), "vision")
