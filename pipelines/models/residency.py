"""Models in memory: what engines hold their loaded model by, and who decides what stays.

An engine does not own its model. It takes a lease for as long as it computes, and what is not leased may be unloaded.
Models move in and out one at a time: only so can it be measured what each takes. Which have to go is a pure decision
over what is in memory (:func:`~pipelines.models.plans.idle`, :func:`~pipelines.models.plans.victims`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from media.clock import Clock, MonotonicClock
from pipelines.errors import ModelError
from pipelines.models.memory import MachineMemory, Memory, is_out_of_memory
from pipelines.models.plans import Key, Limits, Loadable, ModelEvent, ModelStatus, Transition, idle
from pipelines.models.residency_mover import Entry, Mover
from pipelines.runtime.worker import Worker

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")


class Resident(Protocol[T_co]):
    """A model that can be in memory. Blocking: use it on a worker's thread."""

    name: str

    def lease(self) -> AbstractContextManager[T_co]:
        """Load the model if need be and keep it in memory until the context ends. Reentrant and thread-safe.

        Raises :class:`~pipelines.errors.ModelError` when it cannot be loaded.
        """
        ...


class Kept(Generic[T]):
    """A model that is loaded already and never unloaded."""

    def __init__(self, name: str, model: T) -> None:
        self.name = name
        self._model = model

    @contextmanager
    def lease(self) -> Iterator[T]:
        """The model."""
        yield self._model


class Residency:
    """Loads models when they are first leased and unloads them when they are idle or in the way.

    ``on_event`` is called on the thread where it happens, which may be any.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        on_event: Callable[[ModelEvent], None] = lambda event: None,
        memory: Memory | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._clock = clock or MonotonicClock()
        self._mover = Mover(self.limits, memory or MachineMemory(), self._clock, on_event)

    def add(self, plan: Loadable[T]) -> Resident[T]:
        """Make a model known; nothing is loaded yet. The same name, precision and device give the same model.

        Another version replaces the one that was known: who holds that may finish, and then it is unloaded.
        """
        with self._mover.lock:
            entry = self._mover.entries.get(plan.key)
            if entry is None or entry.plan.version != plan.version:
                if entry is not None and entry.state != "unloaded":
                    self._mover.replaced.append(entry)
                entry = self._mover.entries[plan.key] = Entry(plan)
        return _Managed(self._mover, entry)

    @property
    def transitions(self) -> Mapping[tuple[Key, Transition], int]:
        """How often which model has made which transition."""
        with self._mover.lock:
            return MappingProxyType(dict(self._mover.transitions))

    def status(self) -> list[ModelStatus]:
        """All models in the order in which they were made known."""
        with self._mover.lock:
            return [
                ModelStatus(
                    name=entry.plan.name,
                    state=entry.state,
                    precision=entry.plan.precision,
                    device=entry.plan.device,
                    size=entry.size,
                    leases=entry.leases,
                    loads=entry.loads,
                    load_seconds=entry.load_seconds,
                )
                for entry in self._mover.entries.values()
            ]

    def load(self, model: str) -> bool:
        """Bring what is called ``model``, or is a use of it (``model (…)``), into memory; whether there is any.

        Blocks: call it on a worker. Raises :class:`PipelineError`.
        """
        entries = self._called(model)
        for entry in entries:
            with _Managed(self._mover, entry).lease():
                pass
        return bool(entries)

    def unload(self, model: str) -> bool:
        """Take it out of memory unless it is in use; whether anything of it was there and nothing is. Blocks."""
        entries = self._called(model)
        was = any(entry.state == "ready" for entry in entries)
        with self._mover.moving:
            self._mover.unload_replaced()
            self._mover.unload([entry.plan.key for entry in entries], "evicted")
        return was and not any(entry.state == "ready" for entry in entries)

    def _called(self, model: str) -> list[Entry]:
        with self._mover.lock:
            entries = list(self._mover.entries.values())
        return [entry for entry in entries if is_of(entry.plan.name, model)]

    def sweep(self, now: float) -> None:
        """Unload what has been idle for too long and what exceeds a budget. Blocks: call it on a worker."""
        with self._mover.moving:
            self._mover.unload_replaced()
            if self.limits.idle_seconds is not None:
                self._mover.unload(idle(self._mover.usages(), now, self.limits.idle_seconds), "idle_unloaded")
            for device in {status.device for status in self.status()}:
                self._mover.keep_to_budget(device)

    async def run(self, worker: Worker, every_seconds: float = 10.0) -> None:
        """Sweep on the worker again and again, until cancelled."""
        while True:
            await self._clock.sleep(every_seconds)
            await worker.run(self.sweep, self._clock.now())


def is_of(name: str, model: str) -> bool:
    """Whether what is loaded under ``name`` is ``model``, or a use of it."""
    return name == model or name.startswith(f"{model} (")


class _Managed(Generic[T]):
    """The :class:`Resident` that engines are given."""

    def __init__(self, mover: Mover, entry: Entry) -> None:
        self.name = entry.plan.name
        self._mover = mover
        self._entry = entry

    @contextmanager
    def lease(self) -> Iterator[T]:
        """See :class:`Resident`. Raises :class:`ModelError` (``out_of_memory``) also when memory runs out inside."""
        self._take()
        try:
            yield self._entry.model
        except ModelError:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise self._mover.ran_out(self._entry, error) from error
        finally:
            self._mover.give_back(self._entry)

    def _take(self) -> None:
        """One lease more, of a model that is in memory. While somebody else loads it, this waits for that."""
        entry, mover = self._entry, self._mover
        with mover.lock:
            failures = entry.failures
            if mover.leased(entry):
                return
        with mover.moving:
            with mover.lock:
                if mover.leased(entry):
                    return
                if entry.failures != failures:  # the load that we waited for has failed; so would another
                    raise ModelError(entry.code, entry.problem)
            mover.load(entry)
            with mover.lock:
                mover.leased(entry)
