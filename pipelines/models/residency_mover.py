"""The mover of :mod:`pipelines.models.residency`: loads and unloads models, one at a time, and counts who uses them."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from traceback import clear_frames
from typing import Any

from media.clock import Clock
from pipelines.errors import ModelError, PipelineError
from pipelines.models.memory import Memory, is_out_of_memory, mebibytes
from pipelines.models.plans import Key, Limits, Loadable, ModelEvent, Room, State, Transition, Usage, victims

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Entry:
    """What is known of one model."""

    plan: Loadable[Any]
    state: State = "unloaded"
    model: Any = None
    leases: int = 0
    last_used: float | None = None
    measured: int = 0
    """Bytes; the most that was seen, for what is loaded a second time may find memory that the process kept."""
    before: int | None = None
    """What the process held before the load, as long as it can be compared with what it holds now."""
    loads: int = 0
    load_seconds: float = 0.0
    failures: int = 0
    code: str = ""
    problem: str = ""
    """Why it could not be loaded. Not kept as an exception, which would keep alive what the load had taken."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.measured or self.plan.estimate


class Mover:
    """The models that are known, and the only one that loads and unloads them.

    Whoever calls :meth:`load`, :meth:`unload` or :meth:`keep_to_budget` holds :attr:`moving`.
    """

    def __init__(self, limits: Limits, memory: Memory, clock: Clock, on_event: Callable[[ModelEvent], None]) -> None:
        self.limits = limits
        self.entries: dict[Key, Entry] = {}
        self.replaced: list[Entry] = []
        """Older versions of some of them that are in memory; they are unloaded as soon as nobody uses them."""
        self.transitions: Counter[tuple[Key, Transition]] = Counter()
        self.lock = threading.Lock()
        """Guards the entries and the counter; held for moments."""
        self.moving = threading.RLock()
        """Held for as long as a load takes. Taken before :attr:`lock`, never after it."""
        self._memory = memory
        self._clock = clock
        self._on_event = on_event

    # ------------------------------------------------------------------------------------------------ leases

    def leased(self, entry: Entry) -> bool:
        """Count one more user if the model is in memory. With :attr:`lock` held."""
        if entry.state != "ready":
            return False
        entry.leases += 1
        entry.last_used = self._clock.now()
        return True

    def give_back(self, entry: Entry) -> None:
        """Count one user less."""
        with self.lock:
            self._measure(entry)  # the first use shows what is mapped from files
            entry.before = None
            entry.leases -= 1
            entry.last_used = self._clock.now()

    def ran_out(self, entry: Entry, error: BaseException) -> ModelError:
        """Memory ran out in a computation: unload what is not in use, so that another attempt may succeed."""
        problem = ModelError("out_of_memory", f"{entry.plan.name} ran out of memory: {_one_line(error)}")
        clear_frames(error.__traceback__)
        self._emit(entry, "out_of_memory", message=problem.message)
        with self.moving:
            self._make_all_room(entry.plan.device)
        return problem

    # ------------------------------------------------------------------------------------------------ loading

    def load(self, entry: Entry) -> None:
        """Bring the model into memory. Raises :class:`PipelineError`."""
        self._begin_move(entry, "loading")
        self._emit(entry, "loading")
        begun = self._clock.now()
        with self.lock:
            if self.entries.get(entry.plan.key) is not entry:
                self._forget(entry)
                self.replaced.append(entry)  # whoever still holds an older version has asked for it once more
        try:
            self.unload_replaced()
            self._make_room(entry)
            model = self._build(entry)
        except PipelineError as error:
            with self.lock:
                entry.state, entry.code, entry.problem = "unloaded", error.code, error.message
                entry.failures += 1
                self._forget(entry)
            self._emit(entry, "failed", message=error.message)
            raise
        seconds = self._clock.now() - begun
        with self.lock:
            entry.model, entry.state, entry.problem = model, "ready", ""
            entry.last_used = self._clock.now()
            entry.loads += 1
            entry.load_seconds += seconds
            if entry.plan.warm_up is not None or not entry.size:
                self._measure(entry)
        self._emit(entry, "ready", seconds=seconds, size=entry.size)
        self.keep_to_budget(entry.plan.device, sparing=entry)

    def _build(self, entry: Entry) -> Any:
        """Load and warm up; once more with all the room there can be if memory runs out."""
        name = entry.plan.name
        for again in (False, True):
            try:
                entry.before = self._memory.used(entry.plan.device)
                return _construct(entry.plan)
            except Exception as error:
                ran_out = is_out_of_memory(error)
                if isinstance(error, PipelineError) and not ran_out:
                    raise
                code, what = ("out_of_memory", "ran out of memory") if ran_out else ("load_failed", "failed to load")
                problem = ModelError(code, f"{name} {what}: {_one_line(error)}")
                clear_frames(error.__traceback__)  # whoever holds the error must not hold half a model by it
                if again or not ran_out:
                    raise problem from error
            self._emit(entry, "out_of_memory", message=problem.message)
            self._make_all_room(entry.plan.device)
        raise AssertionError("unreachable")

    def _measure(self, entry: Entry) -> None:
        used = self._memory.used(entry.plan.device) if entry.before is not None else None
        if used is not None and entry.before is not None:
            entry.measured = max(entry.measured, used - entry.before)

    def _begin_move(self, entry: Entry, state: State) -> None:
        with self.lock:
            entry.state = state
            for other in self.entries.values():
                other.before = None  # from now on the difference is not theirs alone

    # ------------------------------------------------------------------------------------------------ unloading

    def usages(self, device: str | None = None) -> list[Usage[Key]]:
        """What is in memory, there or anywhere."""
        with self.lock:
            return [
                Usage(key, entry.size, entry.last_used or 0.0, entry.leases)
                for key, entry in self.entries.items()
                if entry.state == "ready" and device in (None, entry.plan.device)
            ]

    def _make_room(self, entry: Entry) -> None:
        """Evict what is in the way. Raises :class:`ModelError` (``does_not_fit``)."""
        device, need = entry.plan.device, entry.size
        while need:
            room, models = self._room(device), self.usages(device)
            chosen = victims(models, need, room)
            if chosen is None:
                raise ModelError("does_not_fit", _does_not_fit(entry.plan, need, room, models))
            if not chosen:
                return
            self.unload(chosen, "evicted")  # and look again: it may have given back less than it was said to take

    def _room(self, device: str) -> Room:
        free = self._memory.free(device)
        return Room(self.limits.budgets.get(device), None if free is None else max(0, free - self.limits.headroom))

    def _make_all_room(self, device: str) -> None:
        self.unload([usage.key for usage in self.usages(device)], "evicted")
        self._memory.trim()

    def keep_to_budget(self, device: str, sparing: Entry | None = None) -> None:
        """Evict what is too much now that sizes have been measured. What is in use stays, and so does ``sparing``."""
        spared = None if sparing is None else sparing.plan.key
        models = [replace(u, leases=u.leases + 1) if u.key == spared else u for u in self.usages(device)]
        self.unload(victims(models, 0, Room(self.limits.budgets.get(device))) or [], "evicted")

    def unload(self, keys: Iterable[Key], transition: Transition) -> None:
        """Let go of those models, but for the ones that have been leased meanwhile."""
        self._unload([self.entries[key] for key in keys], transition)

    def unload_replaced(self) -> None:
        """Let go of older versions that are not in use."""
        with self.lock:
            replaced = [entry for entry in self.replaced if entry.state == "ready"]
        self._unload(replaced, "evicted")

    def _unload(self, entries: Iterable[Entry], transition: Transition) -> None:
        gone = [entry for entry in entries if self._drop(entry)]
        if not gone:
            return
        self._memory.trim()
        for entry in gone:
            with self.lock:
                entry.state = "unloaded"
                self._forget(entry)
            self._emit(entry, transition, size=entry.size)

    def _forget(self, entry: Entry) -> None:
        """Of an older version nothing is left. With :attr:`lock` held."""
        self.replaced = [one for one in self.replaced if one is not entry]

    def _drop(self, entry: Entry) -> bool:
        """Let go of the model unless somebody has leased it meanwhile."""
        with self.lock:
            if entry.leases or entry.state != "ready":
                return False
            entry.state, model, entry.model = "unloading", entry.model, None
        self._begin_move(entry, "unloading")
        if entry.plan.unload is not None:
            try:
                entry.plan.unload(model)
            except Exception:
                log.exception("unloading %s", entry.plan.name)
        return True

    def _emit(self, entry: Entry, transition: Transition, **more: Any) -> None:
        plan = entry.plan
        with self.lock:
            self.transitions[plan.key, transition] += 1
        self._on_event(ModelEvent(plan.name, transition, plan.precision, plan.device, **more))


def _construct(plan: Loadable[Any]) -> Any:
    model = plan.load()
    if plan.warm_up is not None:
        try:
            plan.warm_up(model)
        except BaseException:
            if plan.unload is not None:
                plan.unload(model)
            raise
    return model


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _does_not_fit(plan: Loadable[Any], need: int, room: Room, models: Sequence[Usage[Key]]) -> str:
    takers = [f"{m.key[0]} {mebibytes(m.size)}{' (in use)' if m.leases else ''}" for m in models]
    limits = []
    if room.budget is not None:
        limits.append(f"the budget for models is {mebibytes(room.budget)}")
    if room.free is not None:
        limits.append(f"{mebibytes(room.free)} are free")
    limits.append(f"loaded are {', '.join(takers)}" if takers else "no other model is loaded")
    return f"{plan.name} needs {mebibytes(need)} on {plan.device}; {'; '.join(limits)}"
