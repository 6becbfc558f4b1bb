"""What the settings and the pipeline ask for, checked by name before anything is loaded: it is done or refused.

Only where nothing in particular is asked for (``auto``) may something else serve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from pipelines.engines.registry import ENGINES, TASKS, Stage, called, named, runner
from pipelines.engines.stt.whisper_settings import ENGLISH_ONLY, LANGUAGES, translates
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.errors import DefinitionError
from pipelines.models.catalogue import Model, hub_gguf
from pipelines.models.store import ModelStore
from pipelines.models.weights.adapters import Adapters
from pipelines.routing.definition import Definition
from pipelines.routing.definition import Stage as PipelineStage
from pipelines.routing.stage_types import StageType
from pipelines.runtime.hardware import Devices, survey
from pipelines.text import unknown
from server.settings import Settings

STARTER, OPENAI, ESPEAK = "starter", "openai", "espeak-ng"
TYPES: dict[Stage, StageType] = {"stt": "audio_to_text", "llm": "text_generation", "tts": "text_to_audio"}
"""Stages → what a pipeline calls them."""
ENGLISH = ("", "en")
ESPEAK_VOICES = EspeakVoice.voices
GGUF = ".gguf"
_ACCELERATED = tuple(dict.fromkeys(spec.library for spec in ENGINES if spec.library))
"""Libraries that engines of the conversation run on."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall serve a stage."""

    word: str
    """``auto``, an engine, a model of the catalogue or of the hub, a folder or a file."""
    asked: str
    """Who asks for what, for messages: ``stt_model whisper-base``."""
    models: tuple[str, ...] = ()
    """Models of the catalogue that will do, the preferred first."""
    required: bool = False
    """Whether nothing else may serve instead."""
    served: str = ""
    """The model that a server of the stage's path is asked for by this name, where ``word`` is ``openai``."""

    @property
    def folder(self) -> Path | None:
        """The folder that ``word`` is, if it is one."""
        path = Path(self.word).expanduser()
        return path if self.word != "auto" and self.word not in self.models and path.is_dir() else None

    @property
    def file(self) -> Path | None:
        """The GGUF file that ``word`` is, if it is one."""
        path = Path(self.word).expanduser()
        return path if path.suffix.lower() == GGUF and path.is_file() else None


class Wishes:
    """Reads the wish for each stage. Every method raises :class:`DefinitionError` naming the setting and what is legal.

    Nothing is loaded or hashed for it, and no network is asked.
    """

    def __init__(self, settings: Settings, definition: Definition, store: ModelStore) -> None:
        self._settings = settings
        self._placed = definition.placed
        self._pipeline = definition.pipelines[0]
        self._store = store

    def check(self, look: Callable[[], Devices] = survey) -> None:
        """All of them, and the device."""
        self.names()
        if self._settings.profile != "bench":
            self.device(look)

    def names(self) -> None:
        """What is asked for by name; stubs are asked for nothing."""
        if self._settings.profile != "bench":
            self.stt()
            self.llm()
            self.tts()

    def stage(self, kind: StageType) -> PipelineStage:
        """The pipeline's stage; :class:`DefinitionError` (``stage_missing``) when there is none."""
        stage = self._pipeline.stage(kind)
        if stage is None:
            raise DefinitionError("stage_missing", f"pipeline {self._pipeline.id} has no stage of type {kind}")
        return stage

    def stt(self) -> Wish:
        """Who listens: a model that knows the language, and can translate if that is asked for."""
        settings = self._settings
        wish = self._wish("stt", "stt_model", settings.stt_model)
        language, translate = settings.language, settings.stt_task == "translate"
        if language and language not in LANGUAGES:
            raise DefinitionError("unknown_language", f"language: {_unknown_language(language)}")
        what = "stt_task translate" if translate else f"language {language}"
        fitting = tuple(model_id for model_id in wish.models if self._hears(model_id))
        if wish.word == "auto" and (translate or language not in ENGLISH):
            if not fitting:
                raise DefinitionError("model_unknown", f"{what}: no model of the catalogue can do that")
            return self._obtainable(Wish("auto", what, fitting, required=True))
        if wish.word != "auto" and wish.folder is None and not self._hears(wish.word):
            legal = ", ".join(("auto", *fitting, "a folder with a Whisper that can"))
            raise DefinitionError(
                "wrong_model", f"{wish.asked}: it knows English alone; for {what} legal values are {legal}"
            )
        return self._obtainable(Wish(wish.word, wish.asked, fitting, wish.required))

    def llm(self) -> Wish:
        """Who thinks."""
        bits = self._settings.chat_quantization
        wish = self._wish("llm", "chat_model", self._settings.chat_model)
        if bits is not None and (wish.word in named("llm") or self._is_gguf(wish)):
            raise DefinitionError(
                "wrong_model", f"chat_quantization: is for a chat model on transformers, not for {wish.word}"
            )
        if bits is not None and not any(map(find_spec, ("bitsandbytes", "torchao"))):
            raise DefinitionError("library_missing", f"chat_quantization {bits}: needs bitsandbytes (or torchao)")
        if self._settings.chat_device_map and (wish.word in named("llm") or self._is_gguf(wish)):
            message = f"chat_device_map: is for a chat model on transformers, not for {wish.word}"
            raise DefinitionError("wrong_model", f"{message}; llama.cpp deals out by itself")
        return self._obtainable(wish)

    def adapters(self, adapters: Adapters) -> None:
        """Whether those of the settings are for the chat model."""
        if not (known := adapters.known()):
            return
        wish = self.llm()
        if wish.word in named("llm"):
            message = f"chat_adapters: are for a model on transformers or llama.cpp, not for {wish.word}"
            raise DefinitionError("wrong_model", message)
        kind, what = ("gguf", "a GGUF file") if self._is_gguf(wish) else ("peft", "a folder as PEFT writes it")
        if wrong := next((one.name for one in known if one.kind != kind), None):
            raise DefinitionError("wrong_model", f"chat_adapters: {wrong} must be {what} for {wish.word}")
        if kind == "peft" and find_spec("peft") is None:
            raise DefinitionError("library_missing", "chat_adapters: need the package peft: pip install peft")

    def tts(self) -> Wish:
        """Who speaks: what is asked for, with the voice that is asked for."""
        wish = self._wish("tts", "tts_model", self._settings.tts_model, folders=False)
        name = self._settings.voice or self.stage("text_to_audio").options.get("voice")
        if name is None or (name in ESPEAK_VOICES and wish.word in ("auto", ESPEAK)):
            return self._obtainable(wish)
        models = self._models("tts")
        if any(model.folder is not None for model in models) and wish.word != ESPEAK:
            return self._obtainable(wish)  # which voices are in a folder shows when it is here
        carriers = {voice: model.id for model in models for voice in voices_of(model)}
        base = name.partition("#")[0]  # a speaker of it
        if wish.word == ESPEAK or base not in (*ESPEAK_VOICES, *carriers):
            legal = ESPEAK_VOICES if wish.word == ESPEAK else (*carriers, *ESPEAK_VOICES)
            raise DefinitionError("unknown_voice", f"voice: {unknown('voice', name, legal)}")
        if base in ESPEAK_VOICES:  # beside the model that is asked for
            return self._obtainable(wish)
        first = (carriers[base], *(model_id for model_id in wish.models if model_id != carriers[base]))
        return self._obtainable(Wish(first[0], f"voice {name}", first, required=True))

    def device(self, look: Callable[[], Devices] = survey) -> None:
        """Where models run."""
        wanted = self._settings.device
        if wanted in ("auto", "cpu"):
            return
        found = look()
        libraries = [found.library(name) for name in _ACCELERATED]
        if not any(wanted in library.devices for library in libraries):
            legal = ", ".join(
                dict.fromkeys(("auto", "cpu", *(one for library in libraries for one in library.devices)))
            )
            why = "; ".join(dict.fromkeys(library.reason for library in libraries if library.reason))
            raise DefinitionError(
                "device_unavailable", f"device: there is no {wanted} here ({why}); legal values are {legal}"
            )

    # ------------------------------------------------------------------------------------------------ helpers

    def _models(self, kind: Stage) -> Sequence[Model]:
        return [model for model in self._store.catalogue.models if model.task == TASKS[kind]]

    def _wish(self, kind: Stage, name: str, setting: str, *, folders: bool = True) -> Wish:
        """The setting's word, or else the pipeline's."""
        stage = self.stage(TYPES[kind])
        models = tuple(model.id for model in self._models(kind))
        given = setting != "auto"
        word = setting if given else stage.model
        field = name if given else f"pipeline {self._pipeline.id}, stage {stage.id}, model"
        wish = Wish(word, f"{field} {word}", models, required=word != "auto")
        legal = ("auto", *named(kind), *models)
        if word in legal or (folders and wish.folder is not None):
            return wish
        more = (*legal, "a folder") if folders else legal
        if kind == "llm":
            if wish.file is not None:
                return wish
            if hub_gguf(word) is not None:
                return replace(wish, models=(*models, word))
            more = (*more, "a .gguf file", "OWNER/NAME-GGUF[:QUANTISATION] on the hub")
            if not given and self._may_be_served(stage):
                return replace(wish, word=OPENAI, served=word)
        raise DefinitionError("model_unknown", f"{field}: {unknown('model', word, more)}")

    def _may_be_served(self, stage: PipelineStage) -> bool:
        """Whether a model server of its path may have the stage's model: what it lists shows when it is asked."""
        if stage.model.startswith((".", "/", "~")):
            return False  # a path
        found = (self._placed.resolve(name).backend for name in stage.forwarding_policy.escalation_path)
        return any(one is not None and one.kind == OPENAI and self._placed.may_have(stage.model, one) for one in found)

    def _is_gguf(self, wish: Wish) -> bool:
        if wish.folder is not None:
            return any(wish.folder.glob(f"*{GGUF}"))
        if wish.word not in wish.models:
            return wish.file is not None
        return not _on_transformers(self._store.catalogue.get(wish.word))

    def _hears(self, model_id: str) -> bool:
        """Whether a recogniser can do what is asked of it."""
        language, translate = self._settings.language, self._settings.stt_task == "translate"
        if model_id in named("stt"):
            return not translate and (language or "en") in called("stt", model_id).languages
        english = model_id.endswith(ENGLISH_ONLY)
        return (not english and translates(model_id)) if translate else (language in ENGLISH or not english)

    def _obtainable(self, wish: Wish) -> Wish:
        """``wish``, unless it is for models that are not here and may not be fetched."""
        ids = wish.models if wish.word == "auto" else (wish.word,)
        if not wish.required or self._settings.download or wish.folder is not None or ids[0] not in wish.models:
            return wish
        if self._store.folder is None and not any(self._store.shelf(model_id).versions() for model_id in ids):
            missing = not_here(ids[0])
            raise DefinitionError(missing.code, f"{wish.asked}: {missing.message}")
        return wish


def _unknown_language(word: str) -> str:
    guess = f"; did you mean {word[:2]}? Legal values" if word[:2] in LANGUAGES else "; legal values"
    return f"there is no language {word!r}{guess} are {', '.join(LANGUAGES)}"


def _on_transformers(model: Model) -> bool:
    spec = runner("llm", model.requires)
    return spec is not None and spec.name == "transformers"


def not_here(model_id: str) -> DefinitionError:
    """What is said of a model that is missing and must not be fetched."""
    message = f"{model_id} is not here, and nothing may be fetched (download: false): visavis models pull {model_id}"
    return DefinitionError("model_missing", message)


def voices_of(model: Model) -> list[str]:
    """The voices' own names, as ``en_US-lessac-medium``."""
    return [file.name.removesuffix(".onnx") for file in model.files if file.name.endswith(".onnx")]


def why(wish: Wish, reason: str) -> str:
    """``reason``, and that the engine was asked for if it was."""
    if wish.word == "auto":
        return reason
    return f"{'the pipeline names it' if wish.asked.startswith('pipeline') else 'chosen in the settings'}; {reason}"
