"""What stages of pipelines compute with: for each a route over the backends that can do it.

Backends are those of this machine (``cpu``, ``cuda``, ``igpu``, ``npu``) with the engines of the live conversation and
those that pipelines name beside them, and the servers that files declare. ``auto`` is whoever serves the conversation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from media.clock import Clock, MonotonicClock
from pipelines.definitions.mapping import GPU, LOCAL, Backends, Hardware, Resolved
from pipelines.engines.registry import Stage as EngineStage
from pipelines.errors import PipelineError, VisionError, listed
from pipelines.interfaces.llm import LanguageModel
from pipelines.interfaces.stt import SpeechToText
from pipelines.interfaces.task import TaskError, TaskRunner, Tasks
from pipelines.interfaces.tts import TextToSpeech
from pipelines.interfaces.vision import VisionDetector
from pipelines.routing import run
from pipelines.routing.definition import Pipeline, Stage
from pipelines.routing.policy import Condition, Need, order
from pipelines.routing.routes.llm import FallbackModel
from pipelines.routing.routes.route import Route
from pipelines.routing.routes.rung import Engine, Rung
from pipelines.routing.routes.speech import FallbackRecognizer, FallbackVoice, PatientRecognizer
from pipelines.routing.routes.task import CurrentRunner, RoutedTask, TaskEngine
from pipelines.routing.second_opinion import Doubt, SecondOpinion
from pipelines.routing.stage_types import StageType
from pipelines.runtime.temperature import Temperatures
from pipelines.voice.settings import VoiceEngines
from server.engines.on_demand import ModelsOnDemand
from server.engines.remote.engines import KINDS, Servers, address
from server.engines.remote.ray import RayEngines

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Engine)
SERVED: Mapping[EngineStage, tuple[StageType, ...]] = {
    "stt": ("audio_to_text", "audio_translate", "video_to_text"),
    "llm": ("text_generation", "video_summary"),
    "tts": ("text_to_audio", "audio_translate"),
}
"""What the engines of the conversation are needed for."""
HERE: tuple[Hardware, ...] = ("cpu", "cuda", "igpu", "npu")
PLAIN: Mapping[EngineStage, StageType] = {"stt": "audio_to_text", "llm": "text_generation", "tts": "text_to_audio"}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where backends come from, beside the conversation. What is ``None`` is not there."""

    declared: Callable[[], Backends] = Backends
    """What the files say, as it is now."""
    models: ModelsOnDemand | None = None
    tasks: Callable[[], Tasks | None] = lambda: None
    temperature: Temperatures = lambda hardware: None
    environment: Callable[[str], str | None] = lambda name: None
    """The value of an environment variable, for keys."""
    ray: RayEngines | None = None
    """Engines of a Ray cluster; who closes the backends closes them."""


class RoutedEngines:
    """Implements :class:`~pipelines.routing.stage_engines.StageEngines`. Close it before the conversation's engines."""

    def __init__(
        self,
        voice: VoiceEngines,
        vision: VisionDetector | None = None,
        sources: Sources | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._voice = voice
        self._vision = vision
        self._sources = sources or Sources()
        self._clock = clock or MonotonicClock()
        self._servers = Servers(self._sources.environment, self._sources.ray)
        self._rungs: dict[tuple[Any, ...], Rung[Any]] = {}
        """What is known of an engine stays, whoever asks for it."""

    # ------------------------------------------------------------------------------------------------- the protocol

    def recognizer(self, pipeline: Pipeline, stage: Stage) -> SpeechToText:
        """See :class:`~pipelines.routing.stage_engines.StageEngines`."""
        return PatientRecognizer(lambda: self._of(stage, "stt"), _logged, self._clock, need=self._need(pipeline, stage))

    def model(self, pipeline: Pipeline, stage: Stage) -> LanguageModel:
        """See :class:`~pipelines.routing.stage_engines.StageEngines`."""
        return FallbackModel(lambda: self._of(stage, "llm"), _logged, self._clock, need=self._need(pipeline, stage))

    def voice(self, pipeline: Pipeline, stage: Stage) -> TextToSpeech:
        """See :class:`~pipelines.routing.stage_engines.StageEngines`."""
        return FallbackVoice(lambda: self._of(stage, "tts"), _logged, self._clock, need=self._need(pipeline, stage))

    def vision(self, pipeline: Pipeline, stage: Stage) -> VisionDetector:
        """The detectors of this machine; there are no others. Raises :class:`VisionError` (``no_backend``)."""
        condition = self._seeing(stage)
        target = run.wishes.get().target_backend
        if condition.unable or (target and not condition.is_called(target)):
            problem = condition.unable or f"{target} does no {stage.type}; cpu does"
            raise VisionError("no_backend", f"{'X-Target-Backend: ' if target else ''}{problem}")
        assert self._vision is not None
        record = run.record.get()
        if record is not None and not record.attempts:
            record.attempts.append(Rung(_Detectors(self._vision), condition).note("the detectors of this machine"))
            record.attempts[-1].outcome = "served"
        return self._vision

    def task(self, pipeline: Pipeline, stage: Stage, task: str) -> TaskRunner:
        """See :class:`~pipelines.routing.stage_engines.StageEngines`."""
        return RoutedTask(lambda: self._doing(stage, task), _logged, self._clock, need=self._need(pipeline, stage))

    def conversation(self, pipeline: Pipeline) -> VoiceEngines:
        """The engines of conversations on ``pipeline``, which has the three stages of one.

        Recognisers that are not sure ask a second one while the end of the turn is still being decided.
        """
        stages = (pipeline.stage("audio_to_text"), pipeline.stage("text_generation"), pipeline.stage("text_to_audio"))
        listen, think, speak = stages
        if listen is None or think is None or speak is None:
            needed = "audio_to_text, text_generation and text_to_audio"
            raise PipelineError("no_conversation", f"pipeline {pipeline.id} is no conversation: that needs {needed}")
        need = self._need(pipeline, listen)
        stt = FallbackRecognizer(lambda: self._ears(listen, need), _logged, self._clock, need=need)
        return replace(self._voice, stt=stt, llm=self.model(pipeline, think), tts=self.voice(pipeline, speak))

    def _ears(self, stage: Stage, need: Need) -> list[Rung[Any]]:
        """The recognisers for a stage, the first two as one where the second is to hear what the first one doubts."""
        rungs = self._of(stage, "stt")
        doubt = Doubt.of(need.policy)
        found = order(need, run.Wishes(), [rung.condition(self._clock.now(), need.policy) for rung in rungs])
        sound = [rungs[one.index] for one in found.choices if one.sound and not rungs[one.index].facts.standby]
        if len(sound) < 2 or not doubt.sure:
            return rungs
        one, other = sound[:2]
        both = self._kept("both", id(one.engine), id(other.engine), doubt, lambda: self._both(one, other, doubt))
        return [both if rung is one else rung for rung in rungs]

    def _both(self, one: Rung[Any], other: Rung[Any], doubt: Doubt) -> Rung[Any]:
        return self._warm(SecondOpinion(one.engine, other.engine, doubt=doubt), one.facts)

    def plan(self, pipeline: Pipeline, stage: Stage, wishes: run.Wishes) -> Sequence[run.Attempt]:
        """See :class:`~pipelines.routing.stage_engines.StageEngines`."""
        if stage.type == "video_analysis":
            condition = self._seeing(stage)
            note = run.Attempt(condition.backend, condition.hardware, condition.model, condition.unable or "looks here")
            note.outcome = "unable" if condition.unable else "running"
            return [note]
        route: Route[Any] = self._route(pipeline, stage)
        return route.plan(wishes)

    async def close(self) -> None:
        """End engines that were built for pipelines, and connections to servers."""
        if self._sources.models is not None:
            await self._sources.models.close()
        await self._servers.close()

    @property
    def backends(self) -> tuple[str, ...]:
        """Ids and names that a request may force: those of this machine that have an engine, and those of the files."""
        here = {rung.facts.hardware for kind in SERVED for rung in self._live(kind) if rung.is_here} | {"cpu"}
        local = (name for name in LOCAL if name in here)
        return tuple(dict.fromkeys((*local, *self._sources.declared().resolved())))

    # -------------------------------------------------------------------------------------------------- candidates

    def _route(self, pipeline: Pipeline, stage: Stage) -> Any:
        makers: Mapping[EngineStage, Callable[[Pipeline, Stage], Any]]
        makers = {"stt": self.recognizer, "llm": self.model, "tts": self.voice}
        for kind, make in makers.items():
            if stage.type in SERVED[kind]:
                return make(pipeline, stage)
        describes = stage.type == "image_to_text" and stage.options.get("mode", "ocr") != "ocr"
        return self.task(pipeline, stage, "image-to-text" if describes else TASK_OF.get(stage.type, ""))

    def _need(self, pipeline: Pipeline, stage: Stage) -> Need:
        names = () if stage.model == "auto" else self._names(stage.model)
        return Need.of(stage, models=names, latency_critical=pipeline.options.latency_critical)

    def _names(self, model: str) -> tuple[str, ...]:
        """What a stage calls a model, and what that is called here."""
        return tuple(dict.fromkeys((model, self._sources.declared().model(model, None))))

    def _of(self, stage: Stage, kind: EngineStage) -> list[Rung[Any]]:
        """The backends for a stage that the conversation's kinds of engines serve."""
        rungs = list(self._live(kind))
        names = () if stage.model == "auto" else self._names(stage.model)
        if names and not any({rung.facts.model, *rung.facts.also} & {*names} for rung in rungs):
            rungs += self._on_demand(kind, names)
        return [*self._aliased(stage, rungs), *self._remote(stage, kind)]

    def _live(self, kind: EngineStage) -> Iterator[Rung[Any]]:
        """Whoever serves the conversation, one by one."""
        engine: Any = {"stt": self._voice.stt, "llm": self._voice.llm, "tts": self._voice.tts}[kind]
        if not isinstance(engine, Route):
            yield self._kept(kind, engine.name, lambda: Rung(engine, Condition("cpu", model=engine.name)))
            return
        rungs = engine.rungs
        apart = {id(rung.engine) for rung in rungs}
        for rung in rungs:
            inner = rung.engine
            if not isinstance(inner, SecondOpinion):
                yield rung
            elif id(inner.first) not in apart:  # the second one is a rung of its own
                first = inner.first
                facts = replace(rung.facts, model=first.name)
                yield self._kept(kind, id(first), lambda first=first, facts=facts: self._warm(first, facts))

    def _on_demand(self, kind: EngineStage, names: Sequence[str]) -> Iterator[Rung[Any]]:
        if self._sources.models is None:
            yield Rung(None, Condition("cpu", model=names[0], unable=f"{names[0]} is not here"))
            return
        found = self._sources.models.find(kind, names)
        device: Any = found.device if found.device in LOCAL else "cpu"
        facts = Condition(device, device, found.model, also=tuple(names), size=found.size, unable=found.why_not)
        if found.engine is None:
            yield Rung(None, facts)
        else:
            yield self._kept(kind, found.model, lambda: self._warm(found.engine, facts))

    def _warm(self, engine: Any, facts: Condition) -> Rung[Any]:
        return Rung(engine, facts, temperature=lambda: self._sources.temperature(facts.hardware))

    def _kept(self, *key: Any) -> Rung[Any]:
        *names, make = key
        known = tuple(names)
        if known not in self._rungs:
            self._rungs[known] = make()
        return self._rungs[known]

    def _aliased(self, stage: Stage, rungs: Sequence[Rung[Any]]) -> list[Rung[Any]]:
        """``rungs`` of this machine with the names that files have for them, and those of its backends that can not."""
        resolved = self._sources.declared().resolved()
        aliases: dict[str, list[str]] = {}
        for name, one in resolved.items():
            for hardware in ("cuda", "igpu") if one.id == GPU else (one.id,):
                if name != hardware:
                    aliases.setdefault(hardware, []).append(name)
        told = [rung.named(tuple(aliases.get(rung.facts.backend, ()))) for rung in rungs]
        here = {rung.facts.hardware for rung in rungs}
        for hardware in HERE:
            if hardware not in here:
                lacks = f"nothing for {stage.type} runs on {hardware} here"
                names = tuple(aliases.get(hardware, ()))
                told.append(Rung(None, Condition(hardware, hardware, aliases=names, unable=lacks)))
        return told

    def _remote(self, stage: Stage, kind: EngineStage | None, task: str = "") -> Iterator[Rung[Any]]:
        """Servers, and backends that are only names."""
        declared = self._sources.declared()
        seen: set[str] = set()
        aliases: dict[str, list[str]] = {}
        for name, one in declared.resolved().items():
            aliases.setdefault(one.id, []).append(name)
        found = declared.resolved()
        for name in dict.fromkeys((*stage.forwarding_policy.escalation_path, *found)):
            one = found.get(name) or declared.resolve(name)
            if one.id in seen or one.id in (*LOCAL, GPU):
                continue
            seen.add(one.id)
            names = tuple(alias for alias in aliases.get(one.id, ()) if alias != one.id)
            yield self._server(stage, kind, task, one, names)

    def _server(
        self, stage: Stage, kind: EngineStage | None, task: str, one: Resolved, aliases: tuple[str, ...]
    ) -> Rung[Any]:
        """The backend of a file, or why it cannot serve the stage."""
        backend, declared = one.backend, self._sources.declared()
        facts = Condition(one.id, "remote", aliases=aliases)
        if backend is None or one.absent:
            return Rung(None, replace(facts, hardware="cpu", unable=one.absent or "it is not here"))
        facts = replace(facts, priority=backend.priority, energy=backend.energy)
        needed = PLAIN[kind] if kind is not None else stage.type
        able = [word for word, can in backend.capabilities.items() if can] or KINDS[backend.kind]
        if stage.type not in able and needed not in able:
            return Rung(None, replace(facts, unable=f"{one.id} can do {listed(able) or 'nothing'}, not {stage.type}"))
        if backend.kind == "local":
            hardware = backend.hardware or "cpu"
            why = f"{one.id} has no address; backend_map can say that {hardware} stands for it"
            return Rung(None, replace(facts, hardware=hardware, unable=why))
        model = "" if stage.model == "auto" else declared.model(stage.model, backend)
        if model and backend.models and model not in backend.models:
            return Rung(None, replace(facts, unable=f"{one.id} has {listed(backend.models, 8)}, not {model}"))
        model = model or next(iter(backend.models), "")
        try:
            engine = self._servers.engine(backend, kind, model, task)
        except PipelineError as error:
            return Rung(None, replace(facts, unable=error.message))
        facts = replace(facts, model=model or "auto", also=() if stage.model == "auto" else (stage.model,))
        return self._kept("server", *address(backend), kind, task, model, lambda: Rung(engine, facts)).named(aliases)

    def _doing(self, stage: Stage, task: str) -> list[Rung[Any]]:
        """The backends for a task."""
        return [self._here(stage, task), *self._remote(stage, None, task)]

    def _here(self, stage: Stage, task: str) -> Rung[Any]:
        tasks = self._sources.tasks()
        if tasks is None or not task:
            return Rung(None, Condition("cpu", unable=f"this server does no {task or stage.type}"))
        if why := tasks.why_not(task):
            return Rung(None, Condition("cpu", unable=why))
        here = list(tasks.models(task))
        names = here[:1] if stage.model == "auto" else [name for name in self._names(stage.model) if name in here]
        if not names:
            return Rung(None, Condition("cpu", model=stage.model, unable=f"for {task} there is {listed(here, 9)}"))
        name = names[0]
        try:
            tasks.runner(task, name)
        except TaskError as error:
            return Rung(None, Condition("cpu", model=name, unable=error.message))
        facts = Condition("cpu", model=name, also=self._names(stage.model))
        runner = CurrentRunner(tasks, task, name)
        return self._kept("task", task, name, lambda: self._warm(TaskEngine(name, runner), facts))

    def _seeing(self, stage: Stage) -> Condition:
        if self._vision is None:
            return Condition("cpu", unable="the camera is not looked at here; visavis doctor tells why")
        return Condition("cpu", model=self._vision.name)


TASK_OF: Mapping[StageType, str] = {
    "audio_enhance": "audio-to-audio",
    "embedding": "feature-extraction",
    "image_to_text": "ocr",
    "text_to_image": "text-to-image",
    "image_edit": "image-edit",
    "image_enhance": "image-enhance",
    "text_to_video": "text-to-video",
}
"""The task that a stage asks for unless its options say otherwise, for its plan."""


class _Detectors:
    """The detectors, as something that has a name."""

    def __init__(self, vision: VisionDetector) -> None:
        self.name = vision.name

    async def close(self) -> None:
        """They are their owner's to close."""


def _logged(engine: str, error: PipelineError | None) -> None:
    if error is None:
        log.warning("%s works again", engine)
    else:
        log.warning("%s failed: %s", engine, error)
