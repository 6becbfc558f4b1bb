"""The file that says which engines run on a Ray cluster, how many of each and with what limits. Pure.

It is checked before anything is deployed; a message names file, field and the legal values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from pipelines.definitions.loading import read
from pipelines.errors import listed
from pipelines.routing.stage_types import Problem, Problems, Strict
from pipelines.tasks.registry import TASKS
from pipelines.text import unknown

CONVERSATION = ("stt", "llm", "tts")
FORESIGHT = "foresight"
DEPLOYABLE = (*CONVERSATION, FORESIGHT, *TASKS)
"""What a deployment can be: a stage of the conversation, the generator of predictions, or a task."""


class Scale(Strict):
    """Between how many replicas there are."""

    min: int = Field(1, ge=0, le=1000)
    max: int = Field(1, ge=1, le=1000)

    @model_validator(mode="after")
    def _are_in_order(self) -> Scale:
        if self.min > self.max:
            raise Problems([Problem(("min",), f"{self.min} is more than max, {self.max}")])
        return self


class Row(Strict):
    """One engine of the file."""

    stage: str
    """One of :data:`DEPLOYABLE`; each once."""
    model: str = Field("auto", min_length=1)
    """A model of the catalogue, a folder or file on the replica's machine, or an engine that needs no model."""
    device: str = "auto"
    language: str = ""
    """Of a recogniser, as the setting of that name."""
    replicas: Annotated[int, Field(ge=1, le=1000)] | Scale = 1
    gpus: float = Field(0.0, ge=0, le=64)
    """Of each replica; a part of one where several share it. What is reserved, and not what is used."""
    cpus: float = Field(1.0, ge=0, le=1024)
    resources: dict[str, float] = Field(default_factory=dict)
    """Others that the machine has to have, as its ``ray start --resources`` says."""
    max_ongoing: int = Field(16, ge=1, le=10_000)
    """Calls that a replica works on at a time."""
    max_queued: int = Field(32, ge=0, le=100_000)
    """Calls that may wait for that, of one visavis; one more is refused and done locally."""
    target: float = Field(8.0, gt=0)
    """Calls per replica that the number of replicas aims at, where it may change: about 70 % of a batch."""
    up_seconds: float = Field(5.0, ge=0)
    down_seconds: float = Field(300.0, ge=0)
    """How long there must be more, or less, to do until replicas are added, or taken away."""
    batch: int = Field(8, ge=1, le=256)
    """Of a recogniser: utterances that are computed together."""
    batch_wait_ms: float = Field(5.0, ge=0, le=1000)
    """How long one waits for others."""
    per_node: int | None = Field(None, ge=1, le=100)
    """The most replicas on one machine, so that the loss of one does not take all; ``None``: as many as fit."""
    others: int = Field(2, ge=0, le=100)
    """Replicas that a session may go to while its own is full; 0: it waits for its own."""
    health_seconds: float = Field(10.0, gt=0)
    """How often a replica is asked whether it works."""
    drain_seconds: float = Field(20.0, ge=0)
    """What calls get to end when a replica is taken away."""

    @property
    def least(self) -> int:
        """Replicas that there always are."""
        return self.replicas if isinstance(self.replicas, int) else self.replicas.min

    @property
    def most(self) -> int:
        """Replicas that there are at most."""
        return self.replicas if isinstance(self.replicas, int) else self.replicas.max

    @model_validator(mode="after")
    def _can_be_done(self) -> Row:
        problems = []
        if self.stage not in DEPLOYABLE:
            problems.append(Problem(("stage",), unknown("stage", self.stage, DEPLOYABLE)))
        given = self.model_fields_set
        if self.stage != "stt":
            names = ("batch", "batch_wait_ms", "language")
            problems += [Problem((name,), "is for the stage stt") for name in names if name in given]
        if self.least == self.most:
            names = ("target", "up_seconds", "down_seconds")
            problems += [Problem((name,), "needs replicas: {min: …, max: …}") for name in names if name in given]
        if self.stage == "stt" and self.batch > self.max_ongoing:
            problems.append(Problem(("batch",), f"{self.batch} is more than max_ongoing, {self.max_ongoing}"))
        if problems:
            raise Problems(problems)
        return self


class Place(Strict):
    """Where replicas find models, on whichever machine they run."""

    models: Path | None = None
    """Folder of models there."""
    cache: Path | None = None
    """Where they are kept. Default: as ``visavis serve`` has it."""
    download: bool = True
    """Whether what is missing is fetched."""


class Plan(Place):
    """The file."""

    application: str = Field("visavis", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,40}$")
    """What the applications are called before the stage's name; the setting ``ray_application`` says the same."""
    engines: tuple[Row, ...] = Field(min_length=1, max_length=64)

    @property
    def place(self) -> Place:
        """What it says for all replicas."""
        return Place(models=self.models, cache=self.cache, download=self.download)

    @model_validator(mode="after")
    def _each_once(self) -> Plan:
        stages = [row.stage for row in self.engines]
        twice = [name for name in dict.fromkeys(stages) if stages.count(name) > 1]
        if twice:
            raise Problems([Problem(("engines",), f"{listed(twice)}: is there twice; each stage has one deployment")])
        return self


def read_plan(file: Path) -> Plan:
    """Raises :class:`~pipelines.errors.DefinitionError` naming file, line, field and what is legal."""
    return read(file).validated(Plan)
