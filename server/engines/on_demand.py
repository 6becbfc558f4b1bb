"""Engines that pipelines name beside those of the conversation: built from what is in the store when first asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from pipelines.engines.registry import TASKS, Built, EngineSpec, Found, Stage, called, named, reader, runner
from pipelines.engines.stt.whisper_settings import ENGLISH_ONLY, LANGUAGES, translates
from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.llm import ChatRequest, LanguageModel, ModelAround, Piece, takes_tools
from pipelines.interfaces.stt import PLAIN, Hearing, Recognition, SpeechToText, can_hear, languages_of, streams_partials
from pipelines.interfaces.tts import Speech, TextToSpeech
from pipelines.models.catalogue import Model
from pipelines.text import unknown
from server.engines.parts import Parts
from server.engines.stages import remembering
from server.engines.wishes import voices_of

E = TypeVar("E", SpeechToText, LanguageModel, TextToSpeech)


class Deferred(Generic[E]):
    """An engine that is built by ``build`` when it is first asked, once; after a failure the next who asks tries again.

    Waiting for it is cancelled with whoever waits, building is not: others may wait, too.
    """

    def __init__(self, name: str, build: Callable[[], Awaitable[E]]) -> None:
        self.name = name
        self.built: E | None = None
        self._build: Callable[[], Awaitable[E]] = build
        self._building: asyncio.Task[E] | None = None

    async def get(self) -> E:
        """The engine. Raises :class:`PipelineError` when it cannot be built."""
        if self.built is not None:
            return self.built
        if self._building is None or self._building.done():
            self._building = asyncio.create_task(self._make(), name=f"build {self.name}")
        return await asyncio.shield(self._building)

    async def close(self) -> None:
        """End the engine, or its building."""
        if self._building is not None:
            self._building.cancel()
            await asyncio.wait([self._building])
        if self.built is not None:
            await self.built.close()

    async def _make(self) -> E:
        self.built = await self._build()
        return self.built


class DeferredRecognizer(Deferred[SpeechToText]):
    """Implements :class:`~pipelines.interfaces.stt.SpeechToText`."""

    @property
    def streams_partials(self) -> bool:
        """Of the engine, once it is built; until then none are promised."""
        return self.built is not None and streams_partials(self.built)

    @property
    def languages(self) -> tuple[str, ...]:
        """By the model's name until the engine is built."""
        if self.built is not None:
            return languages_of(self.built)
        return ("en",) if self._knows_english_alone else tuple(LANGUAGES)

    def can_hear(self, asked: Hearing) -> bool:
        """By the model's name until the engine is built."""
        if self.built is not None or asked == PLAIN:
            return self.built is None or can_hear(self.built, asked)
        return self.name.startswith("whisper") and not (
            asked.translate and (self._knows_english_alone or not translates(self.name))
        )

    async def open(self) -> Recognition:
        """Start an utterance."""
        return await (await self.get()).open()

    @property
    def _knows_english_alone(self) -> bool:
        return self.name.endswith(ENGLISH_ONLY) or self.name in named("stt")


class DeferredModel(Deferred[LanguageModel]):
    """Implements :class:`~pipelines.interfaces.llm.LanguageModel`."""

    @property
    def takes_tools(self) -> bool:
        """Whether it can be offered tools: not known to be so before it is built."""
        return self.built is not None and takes_tools(self.built)

    @property
    def takes_images(self) -> bool:
        """As of tools."""
        return self.built is not None and ModelAround(self.built).takes_images

    @property
    def takes_choice(self) -> bool:
        """As of tools."""
        return self.built is not None and ModelAround(self.built).takes_choice

    @property
    def takes_format(self) -> bool:
        """As of tools."""
        return self.built is not None and ModelAround(self.built).takes_format

    @property
    def takes_logprobs(self) -> bool:
        """As of tools."""
        return self.built is not None and ModelAround(self.built).takes_logprobs

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer."""
        engine = await self.get()
        async with aclosing(engine.stream(request)) as pieces:
            async for piece in pieces:
                yield piece


class DeferredVoice(Deferred[TextToSpeech]):
    """Implements :class:`~pipelines.interfaces.tts.TextToSpeech`; ``voices`` are those that the catalogue names."""

    def __init__(self, name: str, build: Callable[[], Awaitable[TextToSpeech]], voices: Sequence[str]) -> None:
        super().__init__(name, build)
        self._voices = tuple(voices)

    @property
    def voices(self) -> tuple[str, ...]:
        """Of the engine, once it is built."""
        return self.built.voices if self.built is not None else self._voices

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak one clause."""
        engine = await self.get()
        async with aclosing(engine.synthesize(text, voice, speed)) as pieces:
            async for piece in pieces:
                yield piece


@dataclass(frozen=True, slots=True)
class OnDemand:
    """One engine, or why there is none."""

    engine: Any
    """``None``: none."""
    model: str
    device: str = "cpu"
    size: float = 0.0
    why_not: str = ""


class ModelsOnDemand:
    """The models of the store for a stage, by name. Each is one engine for all pipelines that name it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._engines: dict[tuple[Stage, str], Deferred[Any]] = {}

    def find(self, stage: Stage, names: Sequence[str]) -> OnDemand:
        """The first of ``names`` that is a model or an engine of the stage.

        Cheap but for a look into the store's folder: nothing is loaded.
        """
        parts = self._parts
        for name in names:
            model = self._model(stage, name)
            if model is None and name not in named(stage):
                continue
            known = model.id if model is not None else name
            if (stage, known) not in self._engines and model is not None and not self._is_here(model):
                return OnDemand(None, known, why_not=f"{known} is not here: visavis models pull {known}")
            device, size = self._facts(stage, model)
            return OnDemand(self._engine(stage, known, model), known, device, size)
        legal = (*named(stage), *(one.id for one in parts.store.catalogue.models if one.task == TASKS[stage]))
        return OnDemand(None, names[0], why_not=unknown("model", names[0], legal))

    async def close(self) -> None:
        """End those that were built."""
        for engine in self._engines.values():
            await engine.close()

    def _model(self, stage: Stage, name: str) -> Model | None:
        """The catalogue's model of that name, or with a voice of that name."""
        models = [model for model in self._parts.store.catalogue.models if model.task == TASKS[stage]]
        return next((model for model in models if name == model.id or name in voices_of(model)), None)

    def _is_here(self, model: Model) -> bool:
        """Whether it seems to be: what is wrong with its files shows when they are loaded."""
        store = self._parts.store
        if store.folder is not None and any(store.folder.glob(f"{model.id}*")):
            return True
        return bool(store.shelf(model.id).versions())

    def _facts(self, stage: Stage, model: Model | None) -> tuple[str, float]:
        spec = runner(stage, model.requires) if model is not None else None
        device = "cpu"
        if spec is not None and spec.library:
            try:
                device, _ = self._parts.device_for(spec.library)
            except PipelineError:
                device = "cpu"  # building it says why it cannot run
        return device, float(self._parts.estimate(model.id, "")) if model is not None else 0.0

    def _engine(self, stage: Stage, name: str, model: Model | None) -> Deferred[Any]:
        if (stage, name) not in self._engines:
            build = partial(self._build, stage, name, is_model=model is not None)
            made: Deferred[Any]
            if stage == "stt":
                made = DeferredRecognizer(name, build)
            elif stage == "llm":
                made = DeferredModel(name, build)
            else:
                made = DeferredVoice(name, build, voices_of(model) if model is not None else ())
            self._engines[stage, name] = made
        return self._engines[stage, name]

    async def _build(self, stage: Stage, name: str, *, is_model: bool) -> Any:
        parts = self._parts
        if not is_model:
            return await self._finished(stage, called(stage, name), Found(name))
        files = await parts.aside(parts.present, name)
        if files is None:
            raise ModelError("model_missing", f"{name} is not here: visavis models pull {name}")
        found = Found.of(files)
        spec = await parts.aside(reader, stage, found.place)
        return await self._finished(stage, spec, found)

    async def _finished(self, stage: Stage, spec: EngineSpec, found: Found) -> Any:
        built: Built[Any] = await spec.builder()(self._parts, found)
        self._parts.workers += built.workers
        self._parts.pools += built.pools
        return remembering(self._parts, built) if stage == "tts" else built.engine
