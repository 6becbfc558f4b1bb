"""What the settings and the pipeline ask for, checked by name before anything is loaded: it is done or refused.

Only where nothing in particular is asked for (``auto``) may something else serve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from pipelines.engines.stt.whisper_settings import ENGLISH_ONLY, LANGUAGES, translates
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.errors import DefinitionError
from pipelines.models.catalogue import Model, hub_gguf
from pipelines.models.store import ModelStore
from pipelines.routing.definition import Pipeline, Stage, StageType
from pipelines.runtime.hardware import Devices, survey
from pipelines.text import unknown
from server.settings import Settings

POCKETSPHINX = "pocketsphinx"
STARTER, OPENAI = "starter", "openai"
ESPEAK = "espeak-ng"
LISTENING = (POCKETSPHINX,)
THINKING = (STARTER, OPENAI)
SPEAKING = (ESPEAK,)
"""Engines that can be asked for by name, beside the catalogue's models."""
TASKS: dict[StageType, str] = {
    "audio_to_text": "speech-to-text",
    "text_generation": "chat",
    "text_to_audio": "text-to-speech",
}
ENGLISH = ("", "en")
ESPEAK_VOICES = EspeakVoice.voices
GGUF = ".gguf"
_ACCELERATED = ("ctranslate2", "torch", "onnxruntime")
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

    def __init__(self, settings: Settings, pipeline: Pipeline, store: ModelStore) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._store = store

    def check(self, look: Callable[[], Devices] = survey) -> None:
        """All of them, and the device."""
        if self._settings.profile == "bench":
            return
        self.listening()
        self.thinking()
        self.speaking()
        self.device(look)

    def stage(self, kind: StageType) -> Stage:
        """The pipeline's stage; :class:`DefinitionError` (``stage_missing``) when there is none."""
        stage = self._pipeline.stage(kind)
        if stage is None:
            raise DefinitionError("stage_missing", f"pipeline {self._pipeline.id} has no stage of type {kind}")
        return stage

    def listening(self) -> Wish:
        """Who listens: a model that knows the language, and can translate if that is asked for."""
        settings = self._settings
        wish = self._wish("audio_to_text", "stt_model", settings.stt_model, LISTENING)
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
            raise DefinitionError("wrong_model", f"{wish.asked}: it knows English alone; for {what} legal are {legal}")
        return self._obtainable(Wish(wish.word, wish.asked, fitting, wish.required))

    def thinking(self) -> Wish:
        """Who thinks."""
        bits = self._settings.chat_quantization
        wish = self._wish("text_generation", "chat_model", self._settings.chat_model, THINKING)
        if bits is not None and (wish.word in THINKING or self._is_gguf(wish)):
            raise DefinitionError(
                "wrong_model", f"chat_quantization: is for a chat model on transformers, not for {wish.word}"
            )
        if bits is not None and not any(map(find_spec, ("bitsandbytes", "torchao"))):
            raise DefinitionError("library_missing", f"chat_quantization {bits}: needs bitsandbytes (or torchao)")
        return self._obtainable(wish)

    def speaking(self) -> Wish:
        """Who speaks: what is asked for, with the voice that is asked for."""
        wish = self._wish("text_to_audio", "tts_model", self._settings.tts_model, SPEAKING, folders=False)
        name = self._settings.voice or self.stage("text_to_audio").parameters.get("voice")
        if name is None or (name in ESPEAK_VOICES and wish.word in ("auto", ESPEAK)):
            return self._obtainable(wish)
        models = self._models("text_to_audio")
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
            raise DefinitionError("device_unavailable", f"device: there is no {wanted} here ({why}); legal are {legal}")

    # ------------------------------------------------------------------------------------------------ helpers

    def _models(self, kind: StageType) -> Sequence[Model]:
        return [model for model in self._store.catalogue.models if model.task == TASKS[kind]]

    def _wish(self, kind: StageType, name: str, setting: str, engines: Sequence[str], *, folders: bool = True) -> Wish:
        """The setting's word, or else the pipeline's."""
        stage = self.stage(kind)
        models = tuple(model.id for model in self._models(kind))
        given = setting != "auto"
        word = setting if given else stage.model
        field = name if given else f"pipeline {self._pipeline.id}, stage {stage.id}, model"
        wish = Wish(word, f"{field} {word}", models, required=word != "auto")
        legal = ("auto", *engines, *models)
        if word in legal or (folders and wish.folder is not None):
            return wish
        more = (*legal, "a folder") if folders else legal
        if kind == "text_generation":
            if wish.file is not None:
                return wish
            if hub_gguf(word) is not None:
                return replace(wish, models=(*models, word))
            more = (*more, "a .gguf file", "OWNER/NAME-GGUF[:QUANTISATION] on the hub")
        raise DefinitionError("model_unknown", f"{field}: {unknown('model', word, more)}")

    def _is_gguf(self, wish: Wish) -> bool:
        if wish.folder is not None:
            return any(wish.folder.glob(f"*{GGUF}"))
        known = wish.word in wish.models and self._store.catalogue.get(wish.word).requires == "xllamacpp"
        return known or wish.file is not None

    def _hears(self, model_id: str) -> bool:
        """Whether a recogniser can do what is asked of it."""
        english = model_id in LISTENING or model_id.endswith(ENGLISH_ONLY)
        if self._settings.stt_task == "translate":
            return not english and translates(model_id)
        return self._settings.language in ENGLISH or not english

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
    guess = f"; did you mean {word[:2]}? Legal" if word[:2] in LANGUAGES else "; legal"
    return f"there is no language {word!r}{guess} are {', '.join(LANGUAGES)}"


def not_here(model_id: str) -> DefinitionError:
    """What is said of a model that is missing and must not be fetched."""
    message = f"{model_id} is not here, and nothing may be fetched (download: false): visavis models pull {model_id}"
    return DefinitionError("model_missing", message)


def voices_of(model: Model) -> list[str]:
    """The voices' own names, as ``en_US-lessac-medium``."""
    return [file.name.removesuffix(".onnx") for file in model.files if file.name.endswith(".onnx")]
