"""Composition root: settings → the engines that all sessions share, each with the reason why it was chosen."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from pipelines.assistant.manners import Manners
from pipelines.errors import PipelineError
from pipelines.foresight.service import Foresight, Generator
from pipelines.interfaces.llm import calls_unasked
from pipelines.interfaces.stt import languages_of
from pipelines.interfaces.vision import VisionDetector
from pipelines.models.fetches import Fetch
from pipelines.models.residency import Residency
from pipelines.models.store import ModelStore
from pipelines.models.weights.adapters import Adapters
from pipelines.routing.definition import Pipeline
from pipelines.routing.library import Library
from pipelines.runtime.scaling import Bounds, Pool, WorkerPool
from pipelines.runtime.worker import Worker
from pipelines.tasks.service import TaskService
from pipelines.tools.toolbox import Toolbox
from pipelines.vision.detectors import DETECTORS, DetectorName
from pipelines.vision.settings import VisionSettings
from pipelines.vision.tracker_pool import TrackerPool
from pipelines.voice.settings import ConversationSettings, VoiceEngines
from pipelines.voice.tts import VoiceSettings
from server.engines.assistant import assistant_tools
from server.engines.backends import RoutedEngines, Sources
from server.engines.choices import Choice, Choices
from server.engines.foresight import generator
from server.engines.manners import MannersSet, manners_of, persona_of
from server.engines.on_demand import ModelsOnDemand
from server.engines.parts import Parts, Share, Upkeep
from server.engines.stages import llm, stt, tts, turn, vad
from server.engines.tasks import note_litert, task_service
from server.engines.tools import STAGE as TOOLS
from server.engines.tools import tools
from server.engines.vision import vision
from server.observability.model_metrics import CountingWorker
from server.settings import Settings
from server.stores import conversation, definition_library, shipped_library

log = logging.getLogger(__name__)


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
    choices: Choices
    residency: Residency = field(default_factory=Residency)
    """Which models are in memory."""
    store: ModelStore | None = None
    """Where model files are; ``None`` in tests."""
    workers: Sequence[CountingWorker] = ()
    """Whose queues and batches are counted."""
    pools: Sequence[Pool] = ()
    """What grows and shrinks with the work; later ones are added."""
    later: Sequence[Callable[[], Awaitable[None]]] = ()
    """Fetch better engines and put them to work; see :meth:`improve`."""
    upkeep: Sequence[Upkeep] = ()
    """What goes on as long as the server runs: looking for model servers, asking failed ones whether they are back."""
    default_voice: str | None = None
    """Of new sessions; ``None``: the pipeline's, or else the engine's first."""
    manners_set: MannersSet = field(default_factory=MannersSet)
    """What the settings say of how the assistant behaves by itself."""
    missing: Sequence[str] = ()
    """Models that would be fetched, if that were allowed."""
    say: Callable[[str], object] = log.info
    """Is told, in words for people, what could not be had."""
    tools: Toolbox | None = None
    """What the server does itself when the language model calls it."""
    library: Library | None = None
    """All pipelines that there are; ``None`` in tests."""
    adapters: Adapters = field(default_factory=Adapters)
    """Of the language model."""
    default_adapter: str | None = None
    """Of the conversations."""
    tasks: TaskService | None = None
    """What models do with one item; ``None``: made for the application that is served. Ends with that."""
    sources: Sources | None = None
    """Where pipelines find backends beside the conversation's engines; ``None``: nowhere."""

    trackers: TrackerPool | None = field(init=False, default=None)
    """Where sessions get their trackers; ``None`` without vision."""

    generator: Generator | None = None
    """The model that makes videos up, where the operator has chosen one."""

    foresight: Foresight = field(init=False)
    """Predictions of what comes next."""

    routes: RoutedEngines = field(init=False)
    """What the stages of any pipeline compute with."""

    def __post_init__(self) -> None:
        self.routes = RoutedEngines(self.voice, self.vision, self.sources)
        self.foresight = Foresight(lambda: self.voice.llm, lambda: self.voice.assistant.tasks, self.generator)
        if self.vision is not None:
            self.trackers = TrackerPool(self.vision)

    def vision_settings(self) -> VisionSettings:
        """How a new session is seen, from the pipeline's definition."""
        watch = self.pipeline.stage("video_analysis")
        parameters = watch.options if watch is not None else {}
        return VisionSettings(enabled=self.vision is not None, max_fps=float(parameters.get("max_fps", 12)))

    @property
    def unavailable_detectors(self) -> Mapping[DetectorName, str]:
        """Why detectors cannot be used; those not named here can."""
        if self.vision is None:
            reasons = [choice.reason for choice in self.choices.status() if choice.stage == "vision"]
            return dict.fromkeys(DETECTORS, "; ".join(reasons) or "the camera is not looked at")
        return self.vision.unavailable

    def for_pipeline(self, pipeline_id: str) -> Engines:
        """The same engines for conversations by another pipeline, which may choose others among them.

        Raises :class:`PipelineError`: ``unknown_pipeline``, ``no_conversation``.
        """
        view = copy(self)
        view.pipeline = (self.library or shipped_library()).get(pipeline_id)
        view.voice = self.routes.conversation(view.pipeline)
        return view

    def manners(self) -> Manners:
        """What the assistant does by itself in a new session: as the settings say, or else the pipeline's definition.

        Raises as :func:`~server.engines.manners.manners_of` does.
        """
        return manners_of(self.pipeline, self.manners_set)

    def conversation_settings(self) -> ConversationSettings:
        """What a new session starts with, from the pipeline's definition."""
        think, speak = self.pipeline.stage("text_generation"), self.pipeline.stage("text_to_audio")
        thinking = think.options if think is not None else {}
        speaking = speak.options if speak is not None else {}
        return ConversationSettings(
            instructions=persona_of(self.pipeline, self.manners_set),
            voice=VoiceSettings(self.default_voice or speaking.get("voice"), float(speaking.get("speed", 1.0))),
            max_tokens=int(thinking.get("max_tokens", 256)),
            adapters=((self.default_adapter, 1.0),) if self.default_adapter else (),
            preserve_context=self.pipeline.options.preserve_context,
            speculate=self.pipeline.options.latency_critical,
        )

    def rows(self) -> list[Choice]:
        """The choices as they are now; that of tools says when nobody can be expected to call them."""
        rows, llm = self.choices.status(), self.voice.llm
        if calls_unasked(llm):
            return rows
        why = f"{llm.name} is not known to call any by itself (docs/how-to/tools.md: which models do)"
        return [replace(row, reason=f"{why}: {row.reason}", ok=False) if row.stage == TOOLS else row for row in rows]

    def status(self) -> list[dict[str, Any]]:
        """The rows as JSON; who listens tells its languages, who sees its detectors."""
        rows = [asdict(choice) for choice in self.rows()]
        for row in rows:
            if row["stage"] == "stt":
                row["languages"] = list(languages_of(self.voice.stt))
            elif row["stage"] == "vision":
                row["detectors"] = [{"name": spec.name, "label": spec.label} for spec in DETECTORS.values()]
        return rows

    async def improve(self) -> None:
        """Fetch the models of better engines, several at a time, and let each serve what begins once it is there.

        What cannot be had is told once, and the engines that are there go on.
        """
        async with asyncio.TaskGroup() as group:
            for better in self.later:
                group.create_task(self._improved(better), name="better")

    async def _improved(self, better: Callable[[], Awaitable[None]]) -> None:
        try:
            await better()
        except PipelineError as error:
            self.say(error.message)
        except Exception:  # a defect in one must not keep the others from coming
            log.exception("no better engine")

    async def close(self) -> None:
        """End workers, processes and connections."""
        await self.routes.close()
        self.foresight.close()
        await self.voice.stt.close()
        await self.voice.llm.close()
        await self.voice.tts.close()
        if self.voice.turn is not None:
            await self.voice.turn.close()
        if self.tools is not None:
            await self.tools.close()
        if self.tasks is not None:
            self.tasks.close()
        if self.trackers is not None:
            await asyncio.to_thread(self.trackers.close)
        self.vision_worker.close()
        self.drawing_worker.close()


async def build_engines(
    settings: Settings,
    say: Callable[[str], object] = log.info,
    report: Callable[[Fetch], object] = lambda fetch: None,
    share: Share | None = None,
) -> Engines:
    """Load what the definition asks for; ``say`` is told what takes long, ``report`` how far downloads have come.

    ``share``: what of the machine they may use, where there are several workers.

    Raises :class:`~pipelines.errors.PipelineError` when the conversation cannot work, or not as asked.
    """
    library = await asyncio.to_thread(definition_library, settings)
    definition = conversation(settings, library)
    for problem in library.problems:
        say(problem.message)
    given = MannersSet.of(settings)
    manners_of(definition.pipelines[0], given)
    parts = Parts(settings, definition, say, report, share)
    parts.upkeep.append(partial(library.keep_watching, parts.clock))
    await asyncio.to_thread(parts.check)
    tasks = task_service(settings, parts.store, parts.residency)
    await asyncio.to_thread(note_litert, parts)
    voice, box = await _voice(parts, tasks)
    lookers, drawers = (Worker(name, threads=settings.vision_threads) for name in ("vision", "drawing"))
    most = settings.vision_threads if "vision_threads" in settings.model_fields_set else max(1, parts.cores)
    parts.pools += [WorkerPool(worker, Bounds(1, max(most, settings.vision_threads))) for worker in (lookers, drawers)]
    parts.pools += tasks.pools
    return Engines(
        voice,
        await vision(parts),
        lookers,
        drawers,
        parts.pipeline,
        parts.choices,
        parts.residency,
        parts.store,
        parts.workers,
        parts.pools,
        parts.later,
        parts.upkeep,
        settings.voice,
        given,
        parts.missing,
        say,
        box,
        library=library,
        adapters=parts.adapters,
        default_adapter=settings.chat_adapter,
        tasks=tasks,
        generator=await generator(parts),
        sources=Sources(
            lambda: library.backends,
            ModelsOnDemand(parts),
            tasks=lambda: tasks,
            temperature=parts.temperature,
            environment=os.environ.get,
        ),
    )


async def _voice(parts: Parts, tasks: TaskService) -> tuple[VoiceEngines, Toolbox | None]:
    voice = VoiceEngines(
        await vad(parts),
        turn=await turn(parts),
        stt=await stt(parts),
        llm=await llm(parts),
        tts=await tts(parts),
        assistant=await assistant_tools(parts, tasks),
        tools=(box := await tools(parts)) or tuple,  # last: whatever fails before leaves none of their processes behind
    )
    return voice, box
