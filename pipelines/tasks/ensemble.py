"""Several models of one task as one more model of it: asked at the same time, and their answers made one.

For tasks whose result is a list of labels (``{label, score}``) or of places in an order (``{index, score}``). How the
scores become one: ``mean``, ``weighted`` (the mean by the members' weights), ``vote`` (each gives its weight to what it
finds likeliest), ``rank_fusion`` (reciprocal ranks, G. V. Cormack et al., *Reciprocal Rank Fusion*, SIGIR 2009: for
scores that do not compare). A member that is missing or fails is left out, and the result says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Le
from pydantic import Field, ValidationError, model_validator

from pipelines.errors import DefinitionError, PipelineError
from pipelines.interfaces.task import CALLERS_FAULT, Done, TaskError, TaskRunner, TaskSpec
from pipelines.routing.stage_types import Strict, explained
from pipelines.tasks.model_folders import TaskModel

RANK_CONSTANT = 60
"""k of the paper: how little the first places differ."""
Combine = Literal["mean", "weighted", "vote", "rank_fusion"]
Scores = Mapping[Any, float]
"""Label, or place of a document → score."""
_MOST = ("top_k", "top_n")
"""Parameters that cut a result short: members are asked for all, and the whole is cut."""


class Member(Strict):
    """A model of the ensemble."""

    model: str = Field(min_length=1, max_length=200)
    weight: float = Field(1.0, gt=0, le=1000)


class Ensemble(Strict):
    """What the file says of one."""

    id: str = Field(pattern=r"^[\w][\w.\-]{0,99}$")
    """The name of the model that it is."""
    task: str = Field(min_length=1)
    members: Annotated[tuple[Member, ...], Field(min_length=2, max_length=16)]
    combine: Combine = "mean"
    at_least: int = Field(1, ge=1)
    """So many members must have answered."""

    @model_validator(mode="after")
    def _is_sound(self) -> Ensemble:
        names = [member.model for member in self.members]
        if twice := next((name for name in names if names.count(name) > 1 or name == self.id), None):
            raise ValueError(f"members: {twice} is named twice, or is the ensemble itself")
        if self.at_least > len(names):
            raise ValueError(f"at_least: is {self.at_least}, and there are {len(names)} members")
        if self.combine == "mean" and any(member.weight != 1.0 for member in self.members):
            raise ValueError("members: weights have no effect with combine mean; give weighted, vote or rank_fusion")
        return self


class _File(Strict):
    ensembles: tuple[Ensemble, ...]


def read_ensembles(path: Path, tasks: Sequence[str]) -> tuple[Ensemble, ...]:
    """The ensembles in a YAML file. Raises :class:`DefinitionError` naming the field and what is legal."""
    try:
        found = _File.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DefinitionError("unreadable", f"{path}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = "; ".join(map(explained, error.errors(include_url=False)))
        raise DefinitionError("invalid", f"{path}: {problems}") from error
    names = [one.id for one in found.ensembles]
    for one in found.ensembles:
        if one.task not in tasks:
            legal = ", ".join(sorted(tasks))
            raise DefinitionError("invalid", f"{path}: {one.id}: there is no task {one.task!r}; legal: {legal}")
        if names.count(one.id) > 1:
            raise DefinitionError("invalid", f"{path}: {one.id} is there twice")
    return found.ensembles


def insist_aligned(ensemble: str, labels: Mapping[str, Sequence[str]]) -> None:
    """Raise :class:`TaskError` (``labels_differ``) unless the members know the same labels, in whatever order."""
    sets = {model: frozenset(known) for model, known in labels.items() if known}
    for model, known in sets.items():
        first, wanted = next(iter(sets.items()))
        if known != wanted:
            odd = ", ".join(sorted(known ^ wanted)[:8])
            raise TaskError("labels_differ", f"model: {ensemble}: {first} and {model} know different labels: {odd}")


# ------------------------------------------------------------------------------------------------ how scores are one


def combined(combine: Combine, members: Sequence[tuple[float, Scores]]) -> dict[Any, float]:
    """The scores of all ``members`` (weight, scores) as one, the best first. Pure."""
    keys = list(dict.fromkeys(key for _, scores in members for key in scores))
    total = sum(weight for weight, _ in members)
    if combine in ("mean", "weighted"):
        found = {key: sum(weight * scores.get(key, 0.0) for weight, scores in members) / total for key in keys}
    elif combine == "vote":
        found = dict.fromkeys(keys, 0.0)
        for weight, scores in members:
            found[max(scores, key=lambda key: scores[key])] += weight / total
    else:
        found = dict.fromkeys(keys, 0.0)
        for weight, scores in members:
            for place, key in enumerate(sorted(scores, key=lambda key: -scores[key]), 1):
                found[key] += weight / (RANK_CONSTANT + place)
        whole = sum(found.values())
        found = {key: score / whole for key, score in found.items()}
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _rows(output: Any) -> dict[Any, dict[str, Any]]:
    """The rows of a result by label or place. Raises :class:`TaskError` (``cannot_combine``)."""
    rows = output if isinstance(output, list) else []
    name = next((name for name in ("label", "index") if rows and isinstance(rows[0], dict) and name in rows[0]), None)
    if name is None or any(not isinstance(row.get("score"), int | float) for row in rows):
        raise TaskError("cannot_combine", "model: only results with a score for each label, or for each place, combine")
    return {row[name]: row for row in rows}


def _usual_and_most(spec: TaskSpec[Any, Any, Any]) -> tuple[int | None, dict[str, int]]:
    """How many rows a task tells unless it is asked for more, and how it is asked for as many as it tells at most."""
    fields = spec.parameters.model_fields
    for name in _MOST:
        if name in fields and fields[name].default is not None:
            bounds = [one.le for one in fields[name].metadata if isinstance(one, Le)]
            return fields[name].default, {name: int(str(bounds[0]))} if bounds else {}
    return None, {}


class EnsembleRunner:
    """See :class:`~pipelines.interfaces.task.TaskRunner`. ``runner`` gives that of a member, ``afresh`` that of one
    whose results are not those of before; either may raise."""

    def __init__(
        self,
        ensemble: Ensemble,
        spec: TaskSpec[Any, Any, Any],
        runner: Callable[[str], TaskRunner],
        afresh: Callable[[str], TaskRunner] | None = None,
    ) -> None:
        self.spec = spec
        self.models = (TaskModel(ensemble.id, Path(), "ensemble"),)
        self._ensemble = ensemble
        self._runner = runner
        self._afresh = afresh or runner

    def afresh(self) -> EnsembleRunner:
        """One whose members compute what they may have computed before."""
        return EnsembleRunner(self._ensemble, self.spec, self._afresh)

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        """What the members say together. Raises what the first one raised when too few answer, and what any says of
        the request itself."""
        given = dict(parameters or {})
        most = next((given.pop(name) for name in _MOST if name in given), None)
        usual, all_of_them = _usual_and_most(self.spec)
        most = usual if most is None else most
        if most is not None and (not isinstance(most, int) or most < 1):
            raise TaskError("invalid_value", f"parameters.top_k: must be a whole number of at least 1, not {most!r}")
        members = self._ensemble.members
        answers = await asyncio.gather(
            *(self._ask(member.model, inputs, {**given, **all_of_them}) for member in members), return_exceptions=True
        )
        found: list[tuple[float, Done]] = []
        failed: dict[str, PipelineError] = {}
        for member, answer in zip(members, answers, strict=True):
            if isinstance(answer, Done):
                found.append((member.weight, answer))
            elif not isinstance(answer, PipelineError) or answer.code in CALLERS_FAULT:
                raise answer
            else:
                failed[member.model] = answer
        if len(found) < self._ensemble.at_least:
            raise next(iter(failed.values()))
        return self._one(found, failed, most)

    async def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        """Raises :class:`TaskError`: there is a result only once all have answered."""
        pieces: list[Any] = []
        for piece in pieces:
            yield piece
        raise TaskError("unsupported_value", f"stream: {self._ensemble.id} gives its result in one piece")

    async def _ask(self, model: str, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Done:
        return await self._runner(model).run(inputs, parameters)

    def _one(self, found: Sequence[tuple[float, Done]], failed: Mapping[str, PipelineError], most: int | None) -> Done:
        rows = [(weight, _rows(done.output)) for weight, done in found]
        plain = [(weight, {key: float(row["score"]) for key, row in one.items()}) for weight, one in rows]
        whole = {key: row for _, one in reversed(rows) for key, row in one.items()}
        scores = list(combined(self._ensemble.combine, plain).items())
        missing = {name: error.message for name, error in failed.items()}
        without = f", without {', '.join(missing)}" if missing else ""
        names = [done.model for _, done in found]
        return Done(
            [{**whole[key], "score": score} for key, score in scores[:most]],
            sum(done.tokens for _, done in found),
            model=f"{self._ensemble.id} ({self._ensemble.combine} of {', '.join(names)}{without})",
            missing=missing,
        )
