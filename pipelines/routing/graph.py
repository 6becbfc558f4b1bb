"""The stages of a pipeline as a graph: who takes whose output, in which order they come, what goes in and out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, get_args

from pipelines.routing.stage_types import STAGE_TYPES, Medium, Problem, Problems, StageType
from pipelines.text import unknown

INPUT = "input"
"""In ``inputs``: what the pipeline is given."""
MEDIA: tuple[Medium, ...] = get_args(Medium)


class GraphStage(Protocol):
    """What a graph reads of a stage."""

    @property
    def id(self) -> str: ...
    @property
    def type(self) -> StageType: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...


S = TypeVar("S", bound=GraphStage)


@dataclass(frozen=True, slots=True)
class Graph(Generic[S]):
    """A pipeline's stages, each after those whose output it takes."""

    order: tuple[S, ...]
    """Every stage after its sources, otherwise as they are written."""
    sources: Mapping[str, tuple[str, ...]]
    """Stage id → ids of the stages whose output it takes, and :data:`INPUT`; never empty."""
    takes: tuple[Medium, ...]
    """What of the pipeline's input some stage takes or can be given besides."""
    gives: tuple[Medium, ...]
    """What comes out: the media of the sinks."""
    sinks: tuple[S, ...]
    """The stages whose output no stage takes: it is the pipeline's."""
    needed: frozenset[str]
    """Ids of the stages without which some sink has nothing to work on. The others are left out of a run whose input
    holds nothing for them: a conversation goes on without a camera."""

    @classmethod
    def of(cls, stages: Sequence[S]) -> Graph[S]:
        """The graph of ``stages``. Raises :class:`Problems` with the places below ``stages``."""
        sources = {}
        problems: list[Problem] = []
        for place, stage in enumerate(stages):
            sources[stage.id] = stage.inputs or ((stages[place - 1].id,) if place else (INPUT,))
            problems += _names(place, stage, stages)
        if not problems:
            problems = _cycles(stages, sources)
        if not problems:
            problems = _misfits(stages, sources)
        if problems:
            raise Problems(problems)
        taken = {source for names in sources.values() for source in names}
        sinks = tuple(stage for stage in stages if stage.id not in taken)
        order = _ordered(stages, sources)
        used = {
            medium for stage in stages if INPUT in sources[stage.id] for medium in STAGE_TYPES[stage.type].all_taken
        }
        given = {STAGE_TYPES[stage.type].gives for stage in sinks}
        return cls(order, sources, _media(used), _media(given), sinks, _needed(order, sources, sinks))

    def consumers(self, stage_id: str) -> tuple[S, ...]:
        """The stages that take the output of this one, or of :data:`INPUT`."""
        return tuple(stage for stage in self.order if stage_id in self.sources[stage.id])

    def fed(self, given: Collection[Medium]) -> frozenset[str]:
        """Ids of the stages that have something to work on when the input holds the media ``given``."""
        fed: set[str] = set()
        gives = {stage.id: STAGE_TYPES[stage.type].gives for stage in self.order}
        for stage in self.order:
            names = self.sources[stage.id]
            coming = {gives[name] for name in names if name in fed} | (set(given) if INPUT in names else set())
            if coming & set(STAGE_TYPES[stage.type].takes):
                fed.add(stage.id)
        return frozenset(fed)

    def lacking(self, given: Collection[Medium]) -> str:
        """Why the pipeline cannot run on an input of the media ``given``, for people; empty when it can."""
        fed = self.fed(given)
        for stage in self.order:
            if stage.id in self.needed and stage.id not in fed:
                return f"stage {stage.id}: {stage.type} takes {either(STAGE_TYPES[stage.type].takes)}; " + (
                    f"the input holds {' and '.join(_media(given))}" if given else "the input is empty"
                )
        return ""


def either(words: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _media(found: Iterable[Medium]) -> tuple[Medium, ...]:
    kept = set(found)
    return tuple(medium for medium in MEDIA if medium in kept)


def _names(place: int, stage: S, stages: Sequence[S]) -> list[Problem]:
    """What is wrong with the names in ``inputs``."""
    known = [other.id for other in stages if other.id != stage.id]
    problems = []
    for n, name in enumerate(stage.inputs):
        where = (place, "inputs", n)
        if name == stage.id:
            problems.append(Problem(where, f"stage {stage.id} cannot take its own output"))
        elif name in stage.inputs[:n]:
            problems.append(Problem(where, f"{name} is named twice"))
        elif name != INPUT and name not in known:
            problems.append(Problem(where, unknown("stage", name, [INPUT, *known])))
    return problems


def _cycles(stages: Sequence[S], sources: Mapping[str, tuple[str, ...]]) -> list[Problem]:
    """The first round that outputs would go."""
    ended: set[str] = {INPUT}
    places = {stage.id: place for place, stage in enumerate(stages)}
    for stage in stages:
        path: list[str] = []
        todo = [stage.id]
        while todo:
            name = todo[-1]
            if path and path[-1] == name:
                ended.add(path.pop())
                todo.pop()
            elif name in ended:
                todo.pop()
            elif name in path:
                round_trip = [*reversed(path[path.index(name) :]), path[-1]]
                where = (places[name], "inputs")
                return [Problem(where, f"stages wait for each other: {' → '.join(round_trip)}")]
            else:
                path.append(name)
                todo += sources[name]
    return []


def _misfits(stages: Sequence[S], sources: Mapping[str, tuple[str, ...]]) -> list[Problem]:
    """Stages that are given what their type does not take, or nothing that it needs."""
    types = {stage.id: stage.type for stage in stages}
    problems = []
    for place, stage in enumerate(stages):
        shape = STAGE_TYPES[stage.type]
        where = (place, "inputs") if stage.inputs else (place,)
        gives = {name: STAGE_TYPES[types[name]].gives for name in sources[stage.id] if name != INPUT}
        wrong = [f"stage {name} gives {gives[name]}" for name in gives if gives[name] not in shape.all_taken]
        said = f"stage {stage.id}: {stage.type} takes {either(shape.takes)}"
        hint = "" if stage.inputs else f" (without inputs a stage takes the output of the one before; [{INPUT}] is "
        hint += "" if stage.inputs else "what the pipeline is given)"
        if wrong:
            problems.append(Problem(where, f"{said}; {' and '.join(wrong)}{hint}"))
        elif INPUT not in sources[stage.id] and not any(medium in shape.takes for medium in gives.values()):
            besides = " and ".join(f"{medium} of stage {name}" for name, medium in gives.items())
            problems.append(Problem(where, f"{said}; {besides} can only be given besides{hint}"))
    return problems


def _ordered(stages: Sequence[S], sources: Mapping[str, tuple[str, ...]]) -> tuple[S, ...]:
    """Topological order (A. B. Kahn, 1962), of several the one nearest to how they are written."""
    order: list[S] = []
    done = {INPUT}
    waiting = list(stages)
    while waiting:
        stage = next(stage for stage in waiting if done.issuperset(sources[stage.id]))
        waiting.remove(stage)
        order.append(stage)
        done.add(stage.id)
    return tuple(order)


def _needed(order: Sequence[S], sources: Mapping[str, tuple[str, ...]], sinks: Sequence[S]) -> frozenset[str]:
    needed = {stage.id for stage in sinks}
    gives = {stage.id: STAGE_TYPES[stage.type].gives for stage in order}
    for stage in reversed(order):
        if stage.id in needed:
            takes = STAGE_TYPES[stage.type].takes
            needed.update(name for name in sources[stage.id] if name != INPUT and gives[name] in takes)
    return frozenset(needed)
