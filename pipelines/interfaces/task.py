"""Tasks: what a model does with one item of input, as data in and out. One file per task in :mod:`pipelines.tasks`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from pipelines.errors import PipelineError

M = TypeVar("M")
I = TypeVar("I", bound=BaseModel)  # noqa: E741
P = TypeVar("P", bound=BaseModel)


class TaskError(PipelineError):
    """A task failed, or cannot be done as asked. Codes of the caller's faults: :data:`CALLERS_FAULT`."""

    stage = "task"


CALLERS_FAULT = frozenset(("invalid_value", "input_too_long", "unsupported_value"))


@dataclass(frozen=True, slots=True)
class Job(Generic[I, P]):
    """One item."""

    inputs: I
    parameters: P


@dataclass(frozen=True, slots=True)
class Done:
    """The result of one item."""

    output: Any
    """As the task's ``output`` says."""
    tokens: int = 0
    """That were read, where the model has tokens."""
    answer_tokens: int = 0
    """That were written."""
    manner: str = ""
    """How it was done, where a model does not do what the task usually means: told beside the model's id."""
    model: str = ""
    """Which did it; filled in by the task service, as the next one."""
    revision: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Of an ensemble: the members that had no part in it → why."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What can be told of a folder with a model before it is loaded."""

    path: Path
    config: Mapping[str, Any]
    """Its ``config.json``; empty without one."""
    names: frozenset[str]
    """The files in it."""

    @property
    def architecture(self) -> str:
        """Such as ``BertForSequenceClassification``; empty if unknown."""
        named = self.config.get("architectures")
        return str(named[0]) if isinstance(named, list) and named else ""


@dataclass(frozen=True, slots=True)
class TaskSpec(Generic[M, I, P]):
    """One task: its data, and how a model is loaded and run for it. ``load``, ``run`` and ``stream`` block: they are
    called on a worker's thread."""

    name: str
    """In ``/v1/tasks/{name}``: the name that the Hugging Face hub gives it, where it has one."""
    about: str
    """For people."""
    inputs: type[I]
    parameters: type[P]
    output: Any
    """A type that pydantic validates: what :attr:`Done.output` of one item is."""
    load: Callable[[Path, str, str], M]
    """(folder, device, dtype) → the model. Raises :class:`~pipelines.errors.ModelError` (``model_broken``,
    ``model_needs_remote_code``)."""
    run: Callable[[M, Sequence[Job[I, P]]], Sequence[Done | PipelineError]]
    """One result per item, in order; a bad item gets an error and does not spoil the others."""
    stream: Callable[[M, Job[I, P], Callable[[], bool]], Iterator[Any]] | None = None
    """Pieces of one item's output; ends soon after the function that it is given turns true. Before the end it yields
    :class:`Done` with the whole."""
    cost: Callable[[Job[I, P]], int] = lambda job: 1
    """Roughly, in tokens: what a batch is limited by, and what length buckets are made of."""
    group: Callable[[Job[I, P]], Hashable] = lambda job: None
    """Only items of the same group share a batch."""
    packages: tuple[str, ...] = ("transformers", "torch")
    """Without them it cannot run."""
    library: str = "torch"
    """What computes, for its devices (:data:`pipelines.runtime.hardware.LIBRARIES`)."""
    catalogue_task: str = ""
    """The task of the models of the catalogue that serve it; empty: ``name``."""
    needs_model: bool = True
    """False for what needs no model files, such as cropping: ``load`` is given an empty path."""
    fits: Callable[[ModelFolder], int] | None = None
    """How well a folder that nobody has named would serve, 0 (or ``False``) for not at all; ``None``: by the
    architecture that its ``config.json`` tells (:mod:`pipelines.tasks.architectures`)."""
    cached: Callable[[Job[I, P]], bool] = lambda job: False
    """Whether the same item has the same result again, and that is small enough to keep for a while."""
    files: str = ""
    """For what single files are models of, whatever they are for: a pattern such as ``*.tflite``. They are looked for
    in the folders of models, in the folders in these, and among the files of the catalogue's models; ``load`` and
    ``tell`` are given the file. Nobody can guess which is meant: it has to be named if there are several."""
    tell: Callable[[Path], Mapping[str, Any]] | None = None
    """What can be told of a model without loading it, for clients. Raises as ``load``."""
    unload: Callable[[M], object] | None = None
    """For models that own processes; dropping the last reference is enough for the others."""
    batch: int = 16
    """Items of a batch, at most: 1 for what is computed one after another in any case, so that clients have their turn
    between items, and where there is ``stream`` between pieces. Tasks with the same ``load`` share one model in memory,
    those with the same ``run`` as well share batches."""


class TaskRunner(Protocol):
    """One task with one model."""

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        """The result of one item. Cancelling it takes the item out of its batch, or ends it.

        Raises :class:`TaskError` (with the field's name) for what is not legal, and any other
        :class:`~pipelines.errors.PipelineError` when it failed.
        """
        ...

    def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        """Pieces of the result as they are made, then :class:`Done`. Closing it ends the work."""
        ...


class Tasks(Protocol):
    """All tasks, as stages of pipelines, tools and routes ask for them."""

    def models(self, task: str) -> Sequence[str]:
        """Ids of the models that are here for ``task``, the preferred first; of a task without models, its name."""
        ...

    def why_not(self, task: str) -> str:
        """Why ``task`` cannot be done here, and what to do about it; empty when it can."""
        ...

    def runner(self, task: str, model: str = "auto") -> TaskRunner:
        """``task`` by ``model``. Raises :class:`TaskError` (``unknown_task``,
        ``model_not_here``, ``unknown_model``)."""
        ...
