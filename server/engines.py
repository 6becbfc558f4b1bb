"""Composition root: settings → the engines that all sessions share, each with the reason why it was chosen."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from media.clock import local_time
from pipelines.engines.bench import BenchModel, BenchRecognizer, BenchVoice
from pipelines.engines.espeak import EspeakVoice
from pipelines.engines.mediapipe_tasks import MediaPipeVision
from pipelines.engines.openai_chat import OpenAIChat, discover
from pipelines.engines.pocketsphinx import PocketSphinxRecognizer
from pipelines.engines.scripted import ScriptedModel
from pipelines.engines.silero import SileroVad
from pipelines.engines.smart_turn import SmartTurn
from pipelines.errors import DefinitionError, ModelError, PipelineError
from pipelines.models.store import ModelStore
from pipelines.ports import DetectionKind, LanguageModel, SpeechToText, TextToSpeech, VisionDetector
from pipelines.routing.definition import Definition, Pipeline, Stage, StageType, load
from pipelines.routing.fallback import FallbackModel
from pipelines.voice.phrase_files import PhraseFiles
from pipelines.voice.phrases import CachedVoice
from pipelines.voice.settings import ConversationSettings, VoiceEngines
from pipelines.voice.tts import VoiceSettings
from pipelines.worker import Worker
from server.settings import Settings

log = logging.getLogger(__name__)

VISION_MODELS: dict[DetectionKind, str] = {
    "face": "mediapipe-face-detector",
    "hand": "mediapipe-hand-landmarker",
    "pose": "mediapipe-pose-landmarker",
}
BENCH_REASON = "benchmark stub (profile bench): for measuring, answers nothing real"
_PLURAL: dict[DetectionKind, str] = {"face": "faces", "hand": "hands", "pose": "poses"}
DISCOVERY_SECONDS = 0.5
"""A language model server on this machine answers at once or is not there."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which engine serves a stage, and why."""

    stage: str
    engine: str
    device: str
    reason: str
    ok: bool = True


@dataclass(slots=True)
class Engines:
    """Everything that is loaded once. Build with :func:`build_engines`; the builder closes it."""

    voice: VoiceEngines
    vision: VisionDetector | None
    vision_worker: Worker
    """Threads that look at pictures."""
    drawing_worker: Worker
    """Threads that draw; apart from the lookers so that the video stays live while they are busy."""
    pipeline: Pipeline
    choices: list[Choice]

    @property
    def vision_fps(self) -> float:
        """Pictures per second that are looked at, at most."""
        watch = self.pipeline.stage("video_analysis")
        return float(watch.parameters.get("max_fps", 12)) if watch is not None else 0.0

    def conversation_settings(self) -> ConversationSettings:
        """What a new session starts with, from the pipeline's definition."""
        think, speak = self.pipeline.stage("text_generation"), self.pipeline.stage("text_to_audio")
        thinking = think.parameters if think is not None else {}
        speaking = speak.parameters if speak is not None else {}
        return ConversationSettings(
            instructions=str(thinking.get("instructions", "")),
            voice=VoiceSettings(speaking.get("voice"), float(speaking.get("speed", 1.0))),
            max_tokens=int(thinking.get("max_tokens", 256)),
            preserve_context=self.pipeline.options.preserve_context,
            speculate=self.pipeline.options.latency_critical,
        )

    def status(self) -> list[dict[str, Any]]:
        """The choices as JSON rows."""
        return [asdict(choice) for choice in self.choices]

    def failed(self, stage: str, reason: str) -> None:
        """Note that a stage's engine does not do its work at present."""
        self.choices[:] = [replace(c, reason=reason, ok=False) if c.stage == stage else c for c in self.choices]

    async def close(self) -> None:
        """End workers, processes and connections."""
        await self.voice.stt.close()
        await self.voice.llm.close()
        await self.voice.tts.close()
        if self.voice.turn is not None:
            await self.voice.turn.close()
        self.vision_worker.close()
        self.drawing_worker.close()


async def build_engines(settings: Settings, say: Callable[[str], None] = log.info) -> Engines:
    """Load what the definition asks for; ``say`` is told what takes long.

    Raises :class:`PipelineError` when the conversation cannot work.
    """
    definition = load(settings.pipeline)
    return await _Builder(settings, definition, say).build()


class _Builder:
    """Fills the stages one after another, noting a choice for each."""

    def __init__(self, settings: Settings, definition: Definition, say: Callable[[str], None]) -> None:
        self._say = say
        self._settings = settings
        self._definition = definition
        self._pipeline = definition.pipelines[0]
        self._bench = settings.profile == "bench"
        self._choices: list[Choice] = []

    async def build(self) -> Engines:
        vad = await asyncio.to_thread(SileroVad)
        self._note("voice activity", vad.name, "Silero's ONNX file, which its package carries")
        turn = await asyncio.to_thread(self._turn_detector)
        stt = await self._listen()
        llm = await self._think()
        tts = await asyncio.to_thread(self._speak)
        vision_worker = Worker("vision", threads=self._settings.vision_threads)
        vision = await self._watch()
        return Engines(
            VoiceEngines(vad, stt, llm, tts, turn),
            vision,
            vision_worker,
            Worker("drawing", threads=self._settings.vision_threads),
            self._pipeline,
            self._choices,
        )

    def _turn_detector(self) -> SmartTurn | None:
        store = ModelStore(self._settings.model_cache, self._settings.models)
        try:
            engine = SmartTurn(store.ensure("smart-turn", self._say).path)
        except PipelineError as error:
            reason = f"no turn detector: {error.message}; words and pauses decide when a turn is over"
            self._note("turn", "rules", reason, ok=False)
            return None
        self._note("turn", engine.name, "judges from the sound whether you have finished")
        return engine

    async def _listen(self) -> SpeechToText:
        stage = self._stage("audio_to_text", ("pocketsphinx",))
        if self._bench:
            self._note("listen", BenchRecognizer.name, BENCH_REASON)
            return BenchRecognizer()
        engine = PocketSphinxRecognizer(processes=self._settings.stt_processes)
        await engine.warm()
        self._note("listen", engine.name, _why(stage, "embedded English recogniser; needs no download"))
        return engine

    async def _think(self) -> LanguageModel:
        stage = self._stage("text_generation", ("scripted", "openai"))
        if self._bench:
            self._note("think", BenchModel.name, BENCH_REASON)
            return BenchModel()
        scripted = ScriptedModel(local_time)
        if self._settings.profile == "embedded" or stage.model == "scripted":
            why = "profile embedded" if stage.model == "auto" else "the pipeline names it"
            self._note("think", scripted.name, f"{why}; a small responder, not a language model")
            return scripted
        served, reason = await self._served_model(stage)
        if served is None:
            self._note("think", scripted.name, f"{reason}; a small responder, not a language model")
            return scripted
        self._note("think", served.name, reason)
        return FallbackModel([served, scripted], lambda name, error: log.warning("%s failed: %s", name, error))

    async def _served_model(self, stage: Stage) -> tuple[LanguageModel | None, str]:
        settings = self._settings
        key = settings.llm_api_key.get_secret_value() if settings.llm_api_key is not None else None
        tried = []
        for server, url in self._servers(stage):
            try:
                models = await discover(url, key, timeout=DISCOVERY_SECONDS if server == "ollama" else 5.0)
            except PipelineError as error:
                unreachable = error.code in ("llm_unreachable", "llm_timeout")
                tried.append(f"no {server} at {url}" if unreachable else f"{server}: {error.message}")
                continue
            name = settings.llm_model or (models[0] if models else None)
            if name is None:
                tried.append(f"{server} at {url} has no model")
            elif models and name not in models:
                tried.append(f"{server} at {url} has no model {name}; it has {', '.join(models[:8])}")
            else:
                return OpenAIChat(url, name, api_key=key, server=server), f"found at {url}"
        return None, "; ".join(tried) or "no model server is named"

    def _servers(self, stage: Stage) -> list[tuple[str, str]]:
        """Model servers to try: the one in the settings, else those on the stage's escalation path."""
        if self._settings.llm_url is not None:
            return [("openai", self._settings.llm_url)]
        backends = [self._definition.backend(name) for name in stage.forwarding_policy.escalation_path]
        return [(b.id, b.base_url) for b in backends if b.kind == "openai" and b.base_url]

    def _speak(self) -> TextToSpeech:
        stage = self._stage("text_to_audio", ("espeak-ng",))
        if self._bench:
            self._note("speak", BenchVoice.name, BENCH_REASON)
            return BenchVoice(self._settings.bench_tone_seconds)
        engine = EspeakVoice()
        self._note("speak", engine.name, _why(stage, "embedded voice; needs no download"))
        return self._remembering(engine, version("espeakng-loader"))

    def _remembering(self, engine: TextToSpeech, release: str) -> TextToSpeech:
        """``engine`` with a cache of its phrases; they are good for this release of its library and of our code."""
        settings = self._settings
        if not settings.phrase_cache_mb and not settings.phrase_disk_mb:
            return engine
        files = PhraseFiles(settings.phrase_cache, settings.phrase_disk_mb << 20) if settings.phrase_disk_mb else None
        if files is not None:
            files.scan()
        memory = settings.phrase_cache_mb << 20
        return CachedVoice(engine, version=f"{release} {_code_of(engine)}", memory_bytes=memory, files=files)

    async def _watch(self) -> VisionDetector | None:
        if self._pipeline.stage("video_analysis") is None:
            self._note("watch", "none", "the pipeline has no video_analysis stage")
            return None
        if self._bench or not self._settings.vision:
            self._note("watch", "none", "profile bench" if self._bench else "switched off (vision: false)")
            return None
        missing = await asyncio.to_thread(MediaPipeVision.probe)
        if missing is not None:
            self._note("watch", "none", f"{missing}; without it no faces, hands or poses are seen", ok=False)
            return None
        return await asyncio.to_thread(self._load_vision)

    def _load_vision(self) -> VisionDetector | None:
        """The detectors whose models can be had; the others are told as missing, and why."""
        store = ModelStore(self._settings.model_cache, self._settings.models)
        models: dict[DetectionKind, Path] = {}
        failure: ModelError | None = None
        for kind, model_id in VISION_MODELS.items():
            try:
                files = store.find(model_id) if failure is not None else store.ensure(model_id, self._say)
            except ModelError as error:
                failure, files = error, None
            if files is not None:
                models[kind] = files.path
        if models:
            engine = MediaPipeVision(models)
            self._note("watch", engine.name, f"finds {', '.join(_PLURAL[kind] for kind in models)}")
        if failure is not None:
            missing = ", ".join(_PLURAL[kind] for kind in VISION_MODELS if kind not in models)
            self._note("watch", "none", f"no {missing}: {failure.message}", ok=False)
        return engine if models else None

    def _stage(self, kind: StageType, engines: tuple[str, ...]) -> Stage:
        stage = self._pipeline.stage(kind)
        if stage is None:
            raise DefinitionError("stage_missing", f"pipeline {self._pipeline.id} has no stage of type {kind}")
        if stage.model not in ("auto", *engines):
            message = f"stage {stage.id}: model {stage.model} is unknown; legal are auto, {', '.join(engines)}"
            raise DefinitionError("model_unknown", message)
        return stage

    def _note(self, stage: str, engine: str, reason: str, *, ok: bool = True) -> None:
        self._choices.append(Choice(stage, engine, "cpu" if engine != "none" else "-", reason, ok))


def _code_of(engine: object) -> str:
    """Tells apart two states of the file an engine is in: a louder voice must not be answered with old audio."""
    try:
        return f"{zlib.crc32(inspect.getsource(sys.modules[type(engine).__module__]).encode()):08x}"
    except OSError:  # installed without its source
        return version("visavis")


def _why(stage: Stage, reason: str) -> str:
    return reason if stage.model == "auto" else f"the pipeline names it; {reason}"
