"""Model files out of a folder that the user keeps: published files, finished ones, whole models or another store."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pipelines.errors import ModelError
from pipelines.models.assemble import check_bundle
from pipelines.models.catalogue import Model
from pipelines.models.catalogue_sources import DirSource
from pipelines.models.store_layout import MANIFEST, Shelf
from pipelines.models.store_sums import is_pointer, mismatch


def from_folder(root: Path | None, source: DirSource, model: Model) -> dict[str, Path]:
    """The files of ``model`` under ``root``: the published ones, or the finished one as it lies there.

    They lie in ``root`` itself, in its subfolder of the model's name, or as a store of this kind has them. Raises
    :class:`ModelError`: ``not_found``; ``folder_unreadable``; ``checksum``; ``lfs_pointer``.
    """
    if root is None:
        raise ModelError("not_found", "none is set")
    found = _found(root, source, model)
    refuse_pointers(found.values())
    return found


def refuse_pointers(paths: Iterable[Path]) -> None:
    """Raise :class:`ModelError` (``lfs_pointer``) when git left a note in the place of a file."""
    for path in paths:
        if _is_pointer(path):
            raise ModelError("lfs_pointer", f"{path} is a Git LFS pointer and not the file itself: git lfs pull")


def _is_pointer(path: Path) -> bool:
    try:
        return is_pointer(path)
    except OSError as error:
        raise ModelError("folder_unreadable", f"{path} cannot be read ({error.strerror})") from error


def _found(root: Path, source: DirSource, model: Model) -> dict[str, Path]:
    base = root / source.dir
    names = _names_in(base)
    homes = [base / model.id] if model.id in names else []
    if homes and not isinstance(version := Shelf(homes[0]).current(), str):
        homes.insert(0, version.folder)
    if model.folder is not None:
        return _whole_folder(model, homes)
    places = [base, *homes]
    for place in homes:
        _names_in(place)  # so that one that cannot be read is told from one that is empty
    if model.assemble and (ready := _first(places, model.assemble.file)):
        if not _is_pointer(ready):
            check_bundle(model.assemble, ready)
        return {model.assemble.file: ready}
    found = {}
    for file in model.files:
        path = _first(places, file.name)
        if path is None:
            raise ModelError("not_found", f"holds no {' nor '.join(dict.fromkeys((*model.results, file.name)))}")
        if file.sha256 and not _is_pointer(path) and (problem := mismatch(path, file.sha256)):
            raise ModelError("checksum", problem)
        found[file.name] = path
    return found


def _whole_folder(model: Model, homes: list[Path]) -> dict[str, Path]:
    assert model.folder is not None
    if not homes:
        raise ModelError("not_found", f"holds no folder {model.id}")
    names = [name for name in _names_in(homes[0]) if name != MANIFEST and (homes[0] / name).is_file()]
    try:
        return {name: homes[0] / name for name in model.folder.pick(names)}
    except ModelError as error:
        raise ModelError(error.code, f"its folder {model.id} {error.message}") from error


def _first(places: list[Path], name: str) -> Path | None:
    return next((place / name for place in places if (place / name).is_file()), None)


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise ModelError("folder_unreadable", f"{folder} cannot be read ({error.strerror})") from error
