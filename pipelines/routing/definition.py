"""The YAML pipelines: stages, backends, policy and options as validated data.

A file that is not valid raises :class:`~pipelines.errors.DefinitionError` whose message names the file, the line, the
field, and the legal values. What goes beyond one file (backends of others, what stands for what) is checked by
:mod:`pipelines.routing.library`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from pipelines.definitions.loading import Document, read
from pipelines.definitions.mapping import OLLAMA, Backend, BackendMap, Backends, checked_map
from pipelines.routing.graph import INPUT, Graph
from pipelines.routing.stage_types import Medium, Problem, Problems, StageType, Strict, checked
from pipelines.tools.definition import ToolsFile, ToolSpec

Preferred = Literal["auto", "cpu", "gpu", "cuda", "igpu", "npu", "remote"]
"""``gpu`` is either of ``cuda`` and ``igpu``."""

TELLS_CONFIDENCE: tuple[StageType, ...] = (
    "audio_to_text",
    "audio_translate",
    "text_generation",
    "video_to_text",
    "video_summary",
)
"""Types whose engines tell how sure they are: recognisers, and language models that say that they do not know."""

SHIPPED = Path(__file__).parent.parent / "definitions"
"""The folder of the definitions that come with the product."""


def _identifier(value: str) -> str:
    """Ids travel in addresses, headers and metrics."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError(f"must be up to 64 letters, digits and . _ -, the first a letter or digit, not {value[:80]!r}")
    return value


def _stage_id(value: str) -> str:
    if value == INPUT:
        raise ValueError(f"{INPUT} is what the pipeline is given; call the stage something else")
    return value


Identifier = Annotated[str, AfterValidator(_identifier)]
StageId = Annotated[Identifier, AfterValidator(_stage_id)]


class ForwardingPolicy(Strict):
    """When and where a stage is handed on."""

    enable_confidence_check: bool = False
    min_confidence: float = Field(0.0, ge=0, le=1)
    """Below it the next backend is asked."""
    enable_latency_check: bool = False
    max_latency_ms: float | None = Field(None, gt=0)
    """Without a usable first result for so long, the next backend is asked too."""
    enable_thermal_check: bool = False
    max_temperature: float | None = Field(None, gt=0, le=150)
    """Degrees Celsius from which on a backend is passed over."""
    max_retries: int = Field(0, ge=0, le=10)
    """How often the same backend is asked again before the next one is."""
    escalation_path: tuple[str, ...] = Field((), max_length=32)
    """Backend ids, tried in order."""

    @model_validator(mode="after")
    def _words_agree(self) -> ForwardingPolicy:
        limits: tuple[tuple[str, bool, str, float | None, str], ...] = (
            ("enable_confidence_check", self.enable_confidence_check, "min_confidence", self.min_confidence, "0.6"),
            ("enable_latency_check", self.enable_latency_check, "max_latency_ms", self.max_latency_ms, "300"),
            ("enable_thermal_check", self.enable_thermal_check, "max_temperature", self.max_temperature, "85"),
        )
        problems = []
        for switch, on, limit, value, example in limits:
            if on and not value:
                problems.append(Problem((switch,), f"needs {limit} above 0, such as {example}"))
            elif value and switch not in self.model_fields_set:
                problems.append(Problem((limit,), f"has no effect without {switch}: true"))
        for place, name in enumerate(self.escalation_path):
            if name in self.escalation_path[:place]:
                problems.append(Problem(("escalation_path", place), f"{name} is named twice"))
        if problems:
            raise Problems(problems)
        return self


class Stage(Strict):
    """One step of a pipeline."""

    id: StageId
    type: StageType
    name: str = Field("", max_length=200)
    description: str = Field("", max_length=2000)
    """For people, as ``name``."""
    inputs: tuple[str, ...] = Field((), max_length=16)
    """Ids of stages, or ``input`` for what the pipeline is given; empty: the stage before, or ``input``."""
    preferred_hardware: Preferred = "auto"
    model: str = Field("auto", min_length=1, max_length=500)
    """An engine's or a model's name, or ``auto`` for the best that is present."""
    forwarding_policy: ForwardingPolicy = ForwardingPolicy()
    options: dict[str, Any] = Field(default_factory=dict)
    """Handed to the stage; which there are depends on its type (:mod:`pipelines.routing.stage_types`)."""

    @field_validator("options")
    @classmethod
    def _are_known(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return checked(info.data.get("type", ""), value)

    @model_validator(mode="after")
    def _can_be_unsure(self) -> Stage:
        if self.forwarding_policy.enable_confidence_check and self.type not in TELLS_CONFIDENCE:
            message = f"has no effect: nobody tells how sure a result of {self.type} is; legal with "
            where = ("forwarding_policy", "enable_confidence_check")
            raise Problems([Problem(where, message + ", ".join(TELLS_CONFIDENCE))])
        return self


class Assistant(Strict):
    """How a pipeline that converses behaves by itself."""

    instructions: str | None = Field(None, max_length=20_000)
    """Who the assistant is, in place of the ``instructions`` of its ``text_generation``."""
    greeting: str = Field("", max_length=1_000)
    """What it says first."""
    idle_prompt_seconds: float = Field(0.0, ge=0, le=3_600)
    """Silence after which it speaks up once; 0: never."""
    idle_prompt: str = Field("", max_length=1_000)
    """What it says then; empty: what the model thinks of."""
    idle_end_minutes: float = Field(0.0, ge=0, le=1_440)
    """Without a word of the user for so long a session ends; 0: never."""

    @model_validator(mode="after")
    def _is_said_sometime(self) -> Assistant:
        if self.idle_prompt and not self.idle_prompt_seconds:
            raise Problems([Problem(("idle_prompt",), "needs idle_prompt_seconds above 0, such as 20")])
        return self


class Options(Strict):
    """Of a whole pipeline."""

    enable_streaming: bool = True
    preserve_context: bool = True
    latency_critical: bool = False
    collect_metrics: bool = True
    parallel_stages: bool = False


class Pipeline(Strict):
    """Stages that hand on what they make."""

    id: Identifier
    name: str = Field("", max_length=200)
    description: str = Field("", max_length=2000)
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=64)
    options: Options = Options()
    assistant: Assistant = Assistant()
    """For those that converse: with ``audio_to_text``, ``text_generation`` and ``text_to_audio``."""

    @model_validator(mode="after")
    def _is_a_graph(self) -> Pipeline:
        problems = [
            Problem(("stages", place, "id"), f"stage ids must be unique; {stage.id} is there already")
            for place, stage in enumerate(self.stages)
            if stage.id in [other.id for other in self.stages[:place]]
        ]
        needed: tuple[StageType, ...] = ("audio_to_text", "text_generation", "text_to_audio")
        if self.assistant.model_fields_set and not all(map(self.stage, needed)):
            problems.append(Problem(("assistant",), f"has no effect without stages of the types {', '.join(needed)}"))
        if problems:
            raise Problems(problems)
        try:
            assert self.graph
        except Problems as error:
            raise Problems([Problem(("stages", *one.where), one.message) for one in error.problems]) from None
        return self

    @cached_property
    def graph(self) -> Graph[Stage]:
        """Who takes whose output."""
        return Graph.of(self.stages)

    @property
    def order(self) -> tuple[Stage, ...]:
        """The stages, each after those whose output it takes."""
        return self.graph.order

    def sources(self, stage: Stage) -> tuple[str, ...]:
        """Ids of the stages whose output ``stage`` takes, and ``input`` for what the pipeline is given."""
        return self.graph.sources[stage.id]

    @property
    def takes(self) -> tuple[Medium, ...]:
        """What of its input it uses; :meth:`Graph.lacking` tells whether some input is enough."""
        return self.graph.takes

    @property
    def gives(self) -> tuple[Medium, ...]:
        """What comes out."""
        return self.graph.gives

    def stage(self, kind: StageType) -> Stage | None:
        """The first stage of this type."""
        return next((stage for stage in self.stages if stage.type == kind), None)


class Definition(Strict):
    """One file: pipelines, or what others name."""

    pipelines: tuple[Pipeline, ...] = Field((), max_length=200)
    backends: tuple[Backend, ...] = Field((), max_length=200)
    tools: tuple[ToolSpec, ...] = ()
    """What the language model may have the server do."""
    backend_map: BackendMap = Field(default_factory=dict)
    """Backend ids of pipelines → the backend that does their work here, ``absent``, or where to find it."""
    model_map: dict[str, str] = Field(default_factory=dict)
    """Models that pipelines name → what takes their place on this machine."""

    @field_validator("backend_map", mode="before")
    @classmethod
    def _is_map(cls, value: object) -> object:
        return checked_map(value)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Definition:
        problems = []
        pipelines, backends = [one.id for one in self.pipelines], [one.id for one in self.backends]
        for field, ids in (("pipelines", pipelines), ("backends", backends)):
            problems += [
                Problem((field, place, "id"), f"ids of {field} must be unique; {name} is there already")
                for place, name in enumerate(ids)
                if name in ids[:place]
            ]
        if problems:
            raise Problems(problems)
        return self

    @cached_property
    def placed(self) -> Backends:
        """What this file alone says of backends and models."""
        declared = {OLLAMA.id: OLLAMA} | {backend.id: backend for backend in self.backends}
        return Backends(declared, self.backend_map, self.model_map)

    def backend(self, backend_id: str) -> Backend:
        """What does the work of the backend with this id; ``KeyError`` when there is none."""
        if backend_id not in self.placed.known:
            raise KeyError(backend_id)
        resolved = self.placed.resolve(backend_id)
        return resolved.backend or Backend.model_construct(id=resolved.id)


def misfits(definition: Definition, placed: Backends, here: Callable[[str], bool]) -> Iterator[Problem]:
    """What the stages ask of backends, of this file or others, that cannot be.

    ``here`` tells whether a model of that name may be on this machine, which serves what no other backend does.
    """
    for n, pipeline in enumerate(definition.pipelines):
        for k, stage in enumerate(pipeline.stages):
            where = ("pipelines", n, "stages", k)
            path = stage.forwarding_policy.escalation_path
            unfit = [
                Problem((*where, "forwarding_policy", "escalation_path", place), message)
                for place, name in enumerate(path)
                if (message := placed.misfit(name, stage.type))
            ]
            yield from unfit
            own = stage.model == "auto" or here(placed.model(stage.model, None))
            if not unfit and not own and (message := placed.lacking(stage.model, path)):
                yield Problem((*where, "model"), message)


def load(path: Path, beside: Backends | None = None) -> Definition:
    """Read and validate a file that has pipelines and all that they name; ``beside`` is what other files declare, which
    the definition then has, too. Raises :class:`DefinitionError`."""
    document = read(path)
    definition = document.validated(Definition)
    if not definition.pipelines:
        raise document.error([Problem(("pipelines",), "must name at least one pipeline")])
    if beside is not None:
        declared = beside.declared | {backend.id: backend for backend in definition.backends}
        joined = {
            "backends": tuple(declared.values()),
            "backend_map": beside.backend_map | definition.backend_map,
            "model_map": beside.model_map | definition.model_map,
        }
        definition = definition.model_copy(update=joined)
    placed = definition.placed
    problems = [*placed.problems(definition.backend_map), *misfits(definition, placed, lambda model: True)]
    if problems:
        raise document.error(problems)
    return definition


def load_part(path: Path) -> tuple[Definition, Document]:
    """Read and validate one file of several that belong together. Raises :class:`DefinitionError`."""
    document = read(path)
    definition = document.validated(Definition)
    if not definition.model_fields_set & set(Definition.model_fields):
        raise document.error([Problem((), "holds nothing")])
    return definition, document


def load_tools(path: Path) -> tuple[ToolSpec, ...]:
    """The same for a file that holds tools alone."""
    return read(path).validated(ToolsFile).tools
