"""The folder of one model in the store: its versions, which of them is current, and what each holds.

``<model id>/<version>/`` holds a ``manifest.json`` and the files that engines open; those of a hub lie in the cache of
``huggingface_hub`` at ``hub/``, and the manifest says where. ``<model id>/current.json`` names the version in use. A
version is a commit: the hub's, or else one made of the contents, so that the same files are the same version.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import ModelError
from pipelines.models.catalogue_sources import FileName
from pipelines.models.sources_hub import drop
from pipelines.models.store_sums import mismatch, move

MANIFEST = "manifest.json"
_POINTER = "current.json"
_VERSION = re.compile(r"[0-9a-f]{12}")
_RECENT = 2_000_000_000
"""Nanoseconds within which two changes of a file may have the same time."""


class Taken(BaseModel):
    """A file of the user's that was copied, as it was then."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: Path
    size: int
    modified: int
    """Nanoseconds since the epoch."""

    @classmethod
    def now(cls, path: Path) -> Taken:
        """``path`` as it is. Raises :class:`OSError`."""
        found = path.stat()
        return cls(path=path.absolute(), size=found.st_size, modified=found.st_mtime_ns)

    @property
    def has_changed(self) -> bool:
        """Whether there is another file now; one that is gone has not changed."""
        try:
            return Taken.now(self.path) != self
        except OSError:
            return False


class Manifest(BaseModel):
    """What a version is. Written last, so a version with a manifest is complete."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str
    digest: str
    """Of the catalogue's entry that it was made by."""
    origin: str
    """Where the files came from, for people."""
    files: Mapping[FileName, str]
    """Name → sha256."""
    stamps: Mapping[FileName, tuple[int, int]] = {}
    """Name → size and time of change (ns) when the checksum was last compared."""
    revision: str | None = None
    """The commit at the hub that they are of."""
    snapshot: Path | None = None
    """Where they lie, if not beside the manifest; relative to the store if they are the store's own."""
    installed: str = ""
    """UTC, ISO 8601."""
    taken: tuple[Taken, ...] = ()
    """The user's own files that it was made of."""

    @property
    def commit(self) -> str:
        """Forty hexadecimal digits."""
        return self.revision or commit_of(self.files)

    def write(self, folder: Path) -> None:
        """Into ``folder``."""
        new = folder / f"{MANIFEST}.new"
        new.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        move(new, folder / MANIFEST)


def commit_of(files: Mapping[str, str]) -> str:
    """What stands for a commit where no hub has given one; ``files``: name → sha256."""
    lines = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:40]


def stamp(path: Path, *, ours: bool = False) -> tuple[int, int]:
    """Size and time of change. Raises :class:`OSError`.

    A file of ``ours`` that was written just now is dated back: the next change cannot have the same time.
    """
    found = path.stat()
    if ours and time.time_ns() - found.st_mtime_ns < _RECENT:
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - _RECENT))
        found = path.stat()
    return found.st_size, found.st_mtime_ns


def now() -> str:
    """The time for :attr:`Manifest.installed`."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True)
class Version:
    """A version that is here; whether it is sound is another question."""

    home: Path
    """Where its manifest is."""
    folder: Path
    """Where its files are."""
    manifest: Manifest
    current: bool

    @property
    def name(self) -> str:
        """Twelve hexadecimal digits."""
        return self.home.name

    @property
    def size(self) -> int:
        """Bytes on disk."""
        paths = [self.folder / name for name in self.manifest.files]
        return sum(path.stat().st_size for path in paths if path.exists())

    def changed(self) -> str | None:
        """What the user has done since to the files that it was taken from; ``None`` when nothing."""
        paths = [str(taken.path) for taken in self.manifest.taken if taken.has_changed]
        return f"{' and '.join(paths)} {'has' if len(paths) == 1 else 'have'} changed" if paths else None

    def problem(self, *, thorough: bool = False) -> str | None:
        """What is wrong with the files; ``None`` when they are sound.

        Only those are read that have changed since their checksum was compared; all of them if ``thorough``.
        """
        stamps: dict[str, tuple[int, int]] = {}
        problem = None
        for name, sha256 in self.manifest.files.items():
            path = self.folder / name
            found = None
            with suppress(OSError):  # the comparison says why
                found = stamp(path)
            known = found is not None and found == self.manifest.stamps.get(name) and not thorough
            if not known and (wrong := mismatch(path, sha256)):
                problem = problem or wrong
            elif found is not None:
                stamps[name] = found
        if stamps != self.manifest.stamps:
            with suppress(OSError):  # a store that cannot be written to is read in full each time
                self.manifest.model_copy(update={"stamps": stamps}).write(self.home)
        return problem


class Shelf:
    """All versions of one model. Whoever changes something holds the model's lock."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def versions(self) -> list[Version]:
        """Newest first."""
        current = self._current_home()
        homes = self.home.glob("*/") if self.home.is_dir() else ()
        found = [self._version(home, home == current) for home in homes if _VERSION.fullmatch(home.name)]
        here = [version for version in found if version is not None]
        return sorted(here, key=lambda version: version.manifest.installed, reverse=True)

    def _version(self, home: Path, current: bool) -> Version | None:
        manifest = read_manifest(home)
        if manifest is None:
            return None
        folder = self.home.parent / manifest.snapshot if manifest.snapshot else home
        return Version(home, folder, manifest, current)

    def current(self) -> Version | str:
        """The version in use, or what is wrong."""
        home = self._current_home()
        if home is None or not (home / MANIFEST).exists():
            return "it is not in the store"
        return self._version(home, True) or "its manifest cannot be read"

    @property
    def held(self) -> bool:
        """Whether the user has chosen the current version, whatever the catalogue asks for."""
        return bool(self._pointer().get("held"))

    def put(self, ready: Path, manifest: Manifest, bin_folder: Path) -> None:
        """Take in the files of the folder ``ready`` as the current version; what it replaces goes to ``bin_folder``."""
        self.home.mkdir(parents=True, exist_ok=True)
        version = manifest.commit[:12]
        manifest.write(ready)
        if (self.home / version).exists():
            move(self.home / version, bin_folder)
        move(ready, self.home / version)
        self.switch(version)

    def switch(self, version: str, *, held: bool = False) -> None:
        """Make ``version`` the current one."""
        text = json.dumps({"version": version, "held": held}) + "\n"
        new = self.home / f"{_POINTER}.new"
        new.write_text(text, encoding="utf-8")
        move(new, self.home / _POINTER)

    def previous(self) -> Version:
        """The version before the current one. Raises :class:`ModelError` (``no_previous_version``)."""
        versions = self.versions()
        at = next((n for n, version in enumerate(versions) if version.current), -1)
        if at < 0 or at + 1 >= len(versions):
            here = ", ".join(version.name for version in versions) or "none"
            raise ModelError("no_previous_version", f"{self.home.name} has no earlier version; here: {here}")
        return versions[at + 1]

    def find(self, name: str) -> Version:
        """The version called ``name``. Raises :class:`ModelError` (``version_unknown``) naming those there are."""
        versions = self.versions()
        for version in versions:
            if version.name == name:
                return version
        here = ", ".join(version.name for version in versions) or "none"
        raise ModelError("version_unknown", f"{self.home.name} has no version {name!r}; here: {here}")

    def remove(self, version: Version | None = None) -> None:
        """Delete a version, or all of them. The newest of the others becomes the current one."""
        for one in self.versions() if version is None else [version]:
            self._drop(one)
        rest = [] if version is None else self.versions()
        if not rest:
            shutil.rmtree(self.home)
        elif version is not None and version.current:
            self.switch(rest[0].name)

    def prune(self, keep: int) -> None:
        """Delete all but the current version and the newest others, ``keep`` in all."""
        others = [version for version in self.versions() if not version.current]
        for version in others[max(0, keep - 1) :]:
            self._drop(version)

    def _drop(self, version: Version) -> None:
        """Delete a version and, of the hub's cache, what no other version of any model needs."""
        shutil.rmtree(version.home)
        snapshot = version.manifest.snapshot
        if snapshot is None or snapshot.is_absolute():  # the user's own cache is not ours to clear
            return
        others = [other for home in self.home.parent.glob("*/") for other in Shelf(home).versions()]
        needed = {other.folder / name for other in others for name in other.manifest.files}
        drop({version.folder / name for name in version.manifest.files} - needed)

    def _current_home(self) -> Path | None:
        version = self._pointer().get("version")
        return self.home / version if isinstance(version, str) and _VERSION.fullmatch(version) else None

    def _pointer(self) -> dict[str, object]:
        try:
            data = json.loads((self.home / _POINTER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a version's folder; ``None`` when there is none that can be read."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None
