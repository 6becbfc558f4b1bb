"""The models that are here for a task: of the catalogue, in the user's own folder, in caches of the hub.

Nothing is fetched, and an id is only ever compared with those that were found: it is never made into a path.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError
from pipelines.interfaces.task import ModelFolder, TaskSpec
from pipelines.models.catalogue import Model
from pipelines.models.store import ModelFiles, ModelStore
from pipelines.tasks.architectures import serves

log = logging.getLogger(__name__)

_WEIGHTS = (".safetensors", ".bin", ".onnx", ".gguf", ".pt", ".tflite", ".part")
_LARGEST_CONFIG = 4 << 20
"""Bytes of a ``config.json`` that is read."""


@dataclass(frozen=True, slots=True)
class TaskModel:
    """A model that is here."""

    id: str
    folder: Path
    """What ``load`` is given: a folder, or a file where single files are models."""
    origin: str
    """Where it lies, for people: ``catalogue``, ``folder``, ``hub cache``, or empty for a task without a model."""
    revision: str = ""
    library: str = ""
    """What runs it, where that is not what the task says."""
    fits: int = 1
    """How well it would serve when nobody has named one; 0: not at all."""

    @property
    def estimate(self) -> int:
        """Bytes in memory, roughly: those of the weights and a fifth more; 0 if unknown."""
        with suppress(OSError):
            files = [self.folder] if self.folder.is_file() else self.folder.iterdir()
            sizes = [path.stat().st_size for path in files if path.suffix in _WEIGHTS]
            return sum(sizes) * 6 // 5
        return 0


class TaskModels:
    """Looks for models. Blocking."""

    def __init__(self, store: ModelStore | None, folders: Sequence[Path] = ()) -> None:
        self._store = store
        own = [store.folder] if store is not None and store.folder is not None else []
        self._folders = (*own, *folders)
        self._told: set[Path] = set()

    def of_catalogue(self, spec: TaskSpec[Any, Any, Any]) -> list[Model]:
        """What the catalogue has for the task, the preferred first."""
        wanted = spec.catalogue_task or spec.name
        known = self._store.catalogue.models if self._store is not None else ()
        if spec.files:
            return [model for model in known if any(fnmatchcase(name, spec.files) for name in model.results)]
        return [model for model in known if model.task == wanted]

    def here(self, spec: TaskSpec[Any, Any, Any], *, take: bool) -> list[TaskModel]:
        """Models of the task, the preferred first. With ``take`` those of the catalogue are also taken into the store
        from the user's folder, which may copy files."""
        if spec.files:
            return self._files_here(spec)
        found: dict[str, TaskModel] = {}
        for model in self.of_catalogue(spec):
            if (files := self._in_store(model.id, take=take)) is not None:
                folder = files.path if files.path.is_dir() else files.path.parent
                fits = 1 if spec.fits is None else self._fits(spec, folder)
                found[model.id] = TaskModel(
                    model.id, folder, "catalogue", files.version, _library(model.requires), fits=fits
                )
        for origin, name, revision, path in (*self._in_folders(), *self._in_caches()):
            if name not in found:
                found[name] = TaskModel(name, path, origin, revision, fits=self._fits(spec, path))
        return sorted(found.values(), key=lambda model: -model.fits)

    def _fits(self, spec: TaskSpec[Any, Any, Any], path: Path) -> int:
        """How well the model in ``path`` fits; one that cannot be looked at serves nobody, and hides no other."""
        try:
            return serves(spec, folder_at(path))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a folder is its own
            if path not in self._told:
                self._told.add(path)
                log.warning("%s is passed over, for it cannot be read: %s", path, error)
            return 0

    def _files_here(self, spec: TaskSpec[Any, Any, Any]) -> list[TaskModel]:
        """Models that are single files: those of the catalogue, then those in folders, by name without its ending."""
        found: dict[str, TaskModel] = {}
        for model in self.of_catalogue(spec):
            if (files := self._in_store(model.id, take=False)) is not None:
                mine = {name: path for name, path in files.files.items() if fnmatchcase(name, spec.files)}
                for name, path in mine.items():
                    model_id = model.id if len(mine) == 1 else f"{model.id}/{Path(name).stem}"
                    found[model_id] = TaskModel(model_id, path, "catalogue", files.version)
        for root in self._folders:
            for before, folder in (("", root), *((f"{inner.name}/", inner) for inner in _folders_in(root))):
                with suppress(OSError):
                    for path in sorted(folder.glob(spec.files)):
                        found.setdefault(before + path.stem, TaskModel(before + path.stem, path, "folder"))
        return list(found.values())

    def _in_store(self, model_id: str, *, take: bool) -> ModelFiles | None:
        if self._store is None:
            return None
        try:
            return self._store.here(model_id) if take else self._store.find(model_id)
        except ModelError:  # broken: as good as not here, and pulling it again mends it
            return None

    def _in_folders(self) -> Iterator[tuple[str, str, str, Path]]:
        """Folders with a model, themselves or one level further down (``OWNER/NAME``)."""
        for root in self._folders:
            for path in _folders_in(root):
                if _is_model(path):
                    yield "folder", path.name, "", path
                else:
                    for inner in _folders_in(path):
                        if _is_model(inner):
                            yield "folder", f"{path.name}/{inner.name}", "", inner

    def _in_caches(self) -> Iterator[tuple[str, str, str, Path]]:
        """Repositories in caches of ``huggingface_hub``, in the version that ``main`` meant when they came."""
        from huggingface_hub.constants import HF_HUB_CACHE

        own = [self._store.hub_cache] if self._store is not None else []
        for cache in (*own, Path(HF_HUB_CACHE)):
            for home in _folders_in(cache, "models--*"):
                with suppress(OSError):
                    revision = (home / "refs/main").read_text("utf-8").strip()
                    path = home / "snapshots" / revision
                    if "/" not in revision and _is_model(path):
                        name = home.name.removeprefix("models--").replace("--", "/", 1)
                        yield "hub cache", name, revision[:12], path


def _is_model(path: Path) -> bool:
    """Whether a folder holds a model of transformers, or a pipeline of diffusers."""
    return any((path / name).is_file() for name in ("config.json", "model_index.json"))


def folder_at(path: Path) -> ModelFolder:
    """What can be told of the model in ``path``."""
    config: Any = None
    names: frozenset[str] = frozenset()
    with suppress(OSError, ValueError):
        names = frozenset(one.name for one in path.iterdir())
        file = path / "config.json"
        if file.stat().st_size <= _LARGEST_CONFIG:
            config = json.loads(file.read_text("utf-8"))
    return ModelFolder(path, config if isinstance(config, dict) else {}, names)


def _library(requires: str | None) -> str:
    return "torch" if requires == "transformers" else requires or ""


def _folders_in(root: Path, pattern: str = "*") -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in root.glob(pattern) if path.is_dir() and not path.name.startswith("."))
    return []
