"""The pipelines that there are: those that ship, and those of a folder that its owner may change while the server runs.

Files are read one by one and put together: backends and maps of one are for all. A file that is not valid changes
nothing: what it said before goes on, and why is told. Pipelines are values, so whoever runs one keeps it as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from media.clock import Clock
from pipelines.definitions.loading import Document
from pipelines.definitions.mapping import OLLAMA, Backend, Backends, Place
from pipelines.errors import DefinitionError, only_logged
from pipelines.routing.definition import SHIPPED, Definition, Pipeline, load_part, misfits
from pipelines.routing.stage_types import Problem
from pipelines.runtime.worker import Worker
from pipelines.text import unknown

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.5
"""How often is looked whether files have changed."""
MOST_FILES = 200
"""Of a folder."""
SUFFIXES = (".yaml", ".yml")

Listener = Callable[["State"], object]


@dataclass(frozen=True, slots=True)
class FileProblem:
    """Why a file, or a part of it, is not in use."""

    file: str
    message: str
    shipped: bool = False
    """Whether the file came with the product: then the cause is what another says of backends."""

    def json(self) -> dict[str, str]:
        """For clients."""
        return {"file": self.file, "message": self.message}


@dataclass(frozen=True, slots=True)
class Entry:
    """A pipeline, and where it is from."""

    pipeline: Pipeline
    file: Path
    shipped: bool
    """Whether it came with the product."""
    replaces: bool = False
    """Whether one that ships has the same id, and is not used."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything at one moment."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    backends: Backends = field(default_factory=Backends)
    problems: tuple[FileProblem, ...] = ()
    notes: tuple[str, ...] = ()
    """What is as its owner may not expect: a pipeline in place of one that ships."""


_Signature = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _File:
    """One file as it was last read."""

    path: Path
    shipped: bool
    signature: _Signature
    read: tuple[Definition, Document] | None
    """What is in it; ``None``: it is not valid."""
    used: tuple[Definition, Document] | None
    """What it said when it was last in use."""
    problem: str = ""


class Library:
    """``folder`` may be changed while this is used; so may the ``files`` beside it, such as that of the live
    conversation, which may hold tools. ``here`` tells whether this machine may have a model of that name.

    Reading blocks: :meth:`reload` is for a worker's thread, or for a moment at which nobody waits.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        files: Sequence[Path] = (),
        shipped: Path = SHIPPED,
        here: Callable[[str], bool] = lambda model: True,
    ) -> None:
        self.folder = folder
        self._own = tuple(files)
        self._shipped = shipped
        self._here = here
        self._files: dict[Path, _File] = {}
        self._folder_problem = ""
        self._listeners: list[Listener] = []
        self.state = State()
        """Replaced as a whole, so that it may be read from any thread."""
        self.reload()

    # --------------------------------------------------------------------------------------------- what there is

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """All of them by id, those that ship first."""
        return {name: entry.pipeline for name, entry in self.state.entries.items()}

    @property
    def backends(self) -> Backends:
        """All that the files say of backends."""
        return self.state.backends

    @property
    def problems(self) -> tuple[FileProblem, ...]:
        """What of the files is not in use, and why."""
        return self.state.problems

    def get(self, pipeline_id: str) -> Pipeline:
        """The pipeline. Raises :class:`DefinitionError` (``unknown_pipeline``) naming those there are."""
        entry = self.state.entries.get(pipeline_id)
        if entry is None:
            legal = sorted(self.state.entries)
            raise DefinitionError("unknown_pipeline", unknown("pipeline", pipeline_id[:80], legal))
        return entry.pipeline

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """``listener`` is called with every new state by :meth:`keep_watching`, until the function given back is."""
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    # ------------------------------------------------------------------------------------------------- changes

    async def keep_watching(self, clock: Clock) -> NoReturn:
        """Read again what has changed, as long as the task runs."""
        worker = Worker("definitions")
        try:
            while True:
                await clock.sleep(LOOK_SECONDS)
                with only_logged("reading definitions"):
                    before = self.state
                    if await worker.run(self.reload):
                        self._tell(before)
        finally:
            worker.close()

    def reload(self) -> bool:
        """Read what has changed; whether anything has. Blocking."""
        paths = self._paths()
        files = {path: self._looked(path, shipped) for path, shipped in paths.items()}
        folder_problem = self._folder_problem
        if files == self._files:
            return self._renewed(self.state, folder_problem)
        combined = _combined(list(files.values()), self._here, self._own)
        kept = {path: _kept(file, combined.rejected) for path, file in files.items()}
        self._files = kept
        return self._renewed(combined.state, folder_problem)

    def _renewed(self, state: State, folder_problem: str) -> bool:
        of_folder = [FileProblem(str(self.folder), folder_problem)] if folder_problem else []
        others = [problem for problem in state.problems if problem.file != str(self.folder)]
        renewed = State(state.entries, state.backends, (*of_folder, *others), state.notes)
        changed, self.state = renewed != self.state, renewed
        return changed

    def _paths(self) -> dict[Path, bool]:
        """The files → whether they ship, in the order in which they count. A folder that is gone keeps its files."""
        found = dict.fromkeys(_yaml_in(self._shipped), True)
        for path in self._own:
            if path.resolve() not in {other.resolve() for other in found}:
                found[path] = False
        self._folder_problem = ""
        if self.folder is not None:
            try:
                own = _yaml_in(self.folder)
            except OSError as error:
                self._folder_problem = error.strerror or str(error)
                own = [path for path, file in self._files.items() if not file.shipped and path not in self._own]
            if len(own) > MOST_FILES:
                self._folder_problem = f"holds {len(own)} files of definitions; the first {MOST_FILES} are read"
            there = {path.resolve() for path in found}
            found |= {path: False for path in own[:MOST_FILES] if path.resolve() not in there}
        return found

    def _looked(self, path: Path, shipped: bool) -> _File:
        """The file as it is now, read only if it has changed."""
        before = self._files.get(path)
        try:
            status = path.stat()
            signature: _Signature = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        except OSError:
            signature = ()
        if before is not None and before.signature == signature:
            return before
        used = before.used if before is not None else None
        try:
            return _File(path, shipped, signature, load_part(path), used)
        except DefinitionError as error:
            return _File(path, shipped, signature, None, used, error.message)

    def _tell(self, before: State) -> None:
        for problem in self.state.problems:
            if problem not in before.problems:
                log.warning("%s", problem.message)
        for note in self.state.notes:
            if note not in before.notes:
                log.info("%s", note)
        names = {name for name, entry in self.state.entries.items() if before.entries.get(name) != entry}
        gone = sorted(before.entries.keys() - self.state.entries.keys())
        if names or gone:
            log.info("pipelines read again: %s", ", ".join([*sorted(names), *(f"{name} is gone" for name in gone)]))
        for listener in tuple(self._listeners):
            with only_logged("telling of definitions"):
                listener(self.state)


def _yaml_in(folder: Path) -> list[Path]:
    """Raises :class:`OSError`."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    return sorted(found, key=lambda path: (path.stem, path.suffix))


# ------------------------------------------------------------------------------------------------ putting together


_Chosen = tuple[_File, Definition, Document]


@dataclass(frozen=True, slots=True)
class _Combined:
    state: State
    rejected: Mapping[Path, str]
    """Files of which what they say now cannot be used beside the others, and why."""


def _kept(file: _File, rejected: Mapping[Path, str]) -> _File:
    """``file`` with what of it is in use from now on."""
    used = file.used if file.read is None or file.path in rejected else file.read
    return _File(file.path, file.shipped, file.signature, file.read, used, file.problem)


def _combined(files: Sequence[_File], here: Callable[[str], bool], may_hold_tools: Sequence[Path]) -> _Combined:
    problems = [FileProblem(str(file.path), _going_on(file.problem, file.used)) for file in files if file.problem]
    saying = [(file, file.read or file.used) for file in files]
    backends = _backends((file, said[0]) for file, said in saying if said is not None)
    rejected: dict[Path, str] = {}
    chosen: list[_Chosen] = []
    for file, said in saying:
        if said is None:
            continue
        found = list(_wrong(said[0], backends, here, tools=file.path in may_hold_tools or file.shipped))
        if found and file.shipped and all(one.where[:1] == ("pipelines",) for one in found):
            # Whoever describes backends of their own loses what cannot run on those, and nothing else.
            problems.append(FileProblem(str(file.path), said[1].error(found).message, shipped=True))
            said = _without({one.where[1] for one in found}, said[0]), said[1]
        elif found:
            message = said[1].error(found).message
            rejected[file.path] = message
            problems.append(FileProblem(str(file.path), _going_on(message, file.used)))
            said = file.used
        if said is not None:
            chosen.append((file, *said))
    backends = _backends((file, definition) for file, definition, _ in chosen)
    entries: dict[str, Entry] = {}
    notes: list[str] = []
    for position, (file, definition, document) in enumerate(chosen):
        for place, pipeline in enumerate(definition.pipelines):
            there = entries.get(pipeline.id)
            if there is not None and not there.shipped:
                said_twice = Problem(("pipelines", place, "id"), f"{pipeline.id} is in {there.file} already")
                problems.append(FileProblem(str(file.path), document.error([said_twice]).message))
                continue
            if there is not None:
                notes.append(f"{pipeline.id} of {file.path} replaces the one that ships")
            entries[pipeline.id] = Entry(pipeline, file.path, file.shipped, there is not None)
        problems += _declared_elsewhere(chosen[position], chosen[:position])
    return _Combined(State(entries, backends, tuple(problems), tuple(notes)), rejected)


def _without(places: Container[object], definition: Definition) -> Definition:
    """``definition`` without the pipelines at these places."""
    rest = tuple(one for place, one in enumerate(definition.pipelines) if place not in places)
    return definition.model_copy(update={"pipelines": rest})


def _going_on(message: str, used: object) -> str:
    return f"{message} (what the file said before goes on)" if used is not None else message


def _wrong(
    definition: Definition, backends: Backends, here: Callable[[str], bool], *, tools: bool
) -> Iterable[Problem]:
    """What of a file does not fit to the others."""
    if definition.tools and not tools:
        yield Problem(("tools",), "are read from the file of the setting pipeline, and from that of the setting tools")
    yield from backends.problems(name for name in definition.backend_map if name in backends.backend_map)
    yield from misfits(definition, backends, here)


def _backends(files: Iterable[tuple[_File, Definition]]) -> Backends:
    """What all files say; where they differ the first counts, and those that ship last."""
    declared: dict[str, Backend] = {}
    backend_map: dict[str, str | Place] = {}
    model_map: dict[str, str] = {}
    for _, definition in sorted(files, key=lambda one: one[0].shipped):
        for backend in definition.backends:
            declared.setdefault(backend.id, backend)
        for name, target in definition.backend_map.items():
            backend_map.setdefault(name, target)
        for model, other in definition.model_map.items():
            model_map.setdefault(model, other)
    return Backends({OLLAMA.id: OLLAMA} | declared, backend_map, model_map)


def _declared_elsewhere(one: _Chosen, before: Sequence[_Chosen]) -> Iterable[FileProblem]:
    """What an earlier file says otherwise of a backend or a model."""
    file, definition, document = one
    for other, earlier, _ in before:
        if file.shipped or other.shipped:
            continue
        theirs = {backend.id: backend for backend in earlier.backends}
        differing: list[tuple[tuple[str | int, ...], str]] = [
            (("backends", place, "id"), backend.id)
            for place, backend in enumerate(definition.backends)
            if theirs.get(backend.id, backend) != backend
        ]
        differing += [(("backend_map", name), name) for name in _differing(definition.backend_map, earlier.backend_map)]
        differing += [(("model_map", name), name) for name in _differing(definition.model_map, earlier.model_map)]
        found = [
            Problem(where, f"{other.path} says something else of {name}, which counts") for where, name in differing
        ]
        if found:
            yield FileProblem(str(file.path), document.error(found).message)


def _differing(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    return [name for name, value in mine.items() if name in theirs and theirs[name] != value]
