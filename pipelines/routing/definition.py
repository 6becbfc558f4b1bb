"""The YAML pipelines: stages, backends, policy and options as validated data.

A file that is not valid raises :class:`~pipelines.errors.DefinitionError` whose message names the file, the line
where YAML itself is broken, the field, and the legal values.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from pipelines.errors import DefinitionError
from pipelines.routing.graph import Graph
from pipelines.routing.stage_types import Medium, Problem, Problems, StageType, Strict, checked, explain
from pipelines.text import base_url
from pipelines.tools.definition import ToolsFile, ToolSpec

Hardware = Literal["cpu", "cuda", "igpu", "npu", "remote"]
"""What a backend runs on."""
Preferred = Literal["auto", "cpu", "gpu", "cuda", "igpu", "npu", "remote"]
"""``gpu`` is either of ``cuda`` and ``igpu``."""

F = TypeVar("F", bound=Strict)

SHIPPED = Path(__file__).parent.parent / "definitions"
"""The folder of the definitions that come with the product."""


class ForwardingPolicy(Strict):
    """When and where a stage is handed on."""

    enable_confidence_check: bool = False
    min_confidence: float = Field(0.0, ge=0, le=1)
    enable_latency_check: bool = False
    max_latency_ms: float | None = Field(None, gt=0)
    enable_thermal_check: bool = False
    max_temperature: float | None = None
    """Degrees Celsius."""
    max_retries: int = Field(0, ge=0, le=10)
    escalation_path: tuple[str, ...] = ()
    """Backend ids, tried in order."""


class Stage(Strict):
    """One step of a pipeline."""

    id: str
    type: StageType
    name: str = ""
    description: str = ""
    inputs: tuple[str, ...] = ()
    """Ids of earlier stages, or ``input`` for what the pipeline is given; empty: the stage before, or ``input``."""
    preferred_hardware: Preferred = "auto"
    model: str = "auto"
    """An engine's name, or ``auto`` for the best that is present."""
    forwarding_policy: ForwardingPolicy = ForwardingPolicy()
    options: dict[str, Any] = Field(default_factory=dict)
    """Handed to the stage; which there are depends on its type (:mod:`pipelines.routing.stage_types`)."""

    @field_validator("options")
    @classmethod
    def _are_known(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return checked(info.data.get("type", ""), value)


class Options(Strict):
    """Of a whole pipeline."""

    enable_streaming: bool = True
    preserve_context: bool = True
    latency_critical: bool = False
    collect_metrics: bool = True
    parallel_stages: bool = False


class Pipeline(Strict):
    """A named sequence of stages."""

    id: str
    name: str = ""
    description: str = ""
    stages: tuple[Stage, ...] = Field(min_length=1)
    options: Options = Options()

    @model_validator(mode="after")
    def _is_a_graph(self) -> Pipeline:
        problems = [
            Problem(("stages", place, "id"), f"stage ids must be unique; {stage.id} is there already")
            for place, stage in enumerate(self.stages)
            if stage.id in [other.id for other in self.stages[:place]]
        ]
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


class Backend(Strict):
    """Where stages can run."""

    id: str
    hardware: Hardware | None = None
    """``None``: as found out, ``remote`` for one with an address."""
    kind: Literal["local", "openai", "visavis"] = "local"
    base_url: str | None = None
    capabilities: dict[StageType, bool] = Field(default_factory=dict)
    models: tuple[str, ...] = ()
    """What it can be asked for; empty: as found out."""
    priority: int = 0
    """Among backends that are equal otherwise the higher one is asked first."""

    @model_validator(mode="after")
    def _has_address(self) -> Backend:
        if self.kind != "local" and not self.base_url:
            raise ValueError(f"base_url is required for a backend of kind {self.kind}")
        return self

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        return value if value is None else base_url(value)


class Definition(Strict):
    """One file."""

    pipelines: tuple[Pipeline, ...] = Field(min_length=1)
    backends: tuple[Backend, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    """What the language model may have the server do."""

    @model_validator(mode="after")
    def _paths_lead_somewhere(self) -> Definition:
        known = {backend.id for backend in self.backends}
        for pipeline in self.pipelines:
            for stage in pipeline.stages:
                unknown = [name for name in stage.forwarding_policy.escalation_path if name not in known]
                if unknown:
                    raise ValueError(
                        f"stage {stage.id}: escalation_path names {', '.join(unknown)}; "
                        f"the backends of this file are {', '.join(sorted(known)) or 'none'}"
                    )
        return self

    def backend(self, backend_id: str) -> Backend:
        """The backend with this id; ``KeyError`` when there is none."""
        return {backend.id: backend for backend in self.backends}[backend_id]


def load(path: Path) -> Definition:
    """Read and validate a file. Raises :class:`DefinitionError`."""
    return _loaded(path, Definition)


def load_tools(path: Path) -> tuple[ToolSpec, ...]:
    """The same for a file that holds tools alone."""
    return _loaded(path, ToolsFile).tools


def _loaded(path: Path, kind: type[F]) -> F:
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise DefinitionError("definition_unreadable", f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DefinitionError("definition_not_yaml", f"{path}: is no text in UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark is not None else ""
        raise DefinitionError("definition_not_yaml", f"{path}:{line} {getattr(error, 'problem', error)}") from error
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(str(problem) for problem in explain(error)[:5])
        raise DefinitionError("definition_invalid", f"{path}: {problems}") from error


LIVE = frozenset(("audio_to_text", "text_generation", "text_to_audio", "video_analysis"))
"""Types of stages that the live conversation runs."""


def without_effect(definition: Definition) -> list[str]:
    """What a valid file asks for and the live conversation does not do yet, for people."""
    first, *others = definition.pipelines
    found = [f"pipeline {pipeline.id}: only the first of a file is run" for pipeline in others]
    for stage in first.stages:
        policy = stage.forwarding_policy
        words = {
            f"type {stage.type}": stage.type not in LIVE,
            f"preferred_hardware {stage.preferred_hardware}": stage.preferred_hardware not in ("auto", "cpu"),
            "enable_confidence_check": policy.enable_confidence_check,
            "enable_latency_check": policy.enable_latency_check,
            "enable_thermal_check": policy.enable_thermal_check,
            "max_retries": policy.max_retries > 0,
        }
        found += [f"stage {stage.id}: {word}" for word, asked in words.items() if asked]
    options = first.options
    off = {
        "enable_streaming: false": not options.enable_streaming,
        "collect_metrics: false": not options.collect_metrics,
    }
    asked_of_all = off | {"parallel_stages": options.parallel_stages}
    return found + [f"options: {word}" for word, asked in asked_of_all.items() if asked]
