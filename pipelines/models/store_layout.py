"""The folder of one model in the store: its versions, which of them is current, and what each holds.

``<model id>/<version>/`` holds the files that engines open and a ``manifest.json``; ``<model id>/current.json`` names
the version in use. A version is called by what it contains, so the same files are the same version wherever they came
from. An older layout, the files directly in ``<model id>/``, is read and moved over by the next change.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import ModelError
from pipelines.models.catalogue import FileName
from pipelines.models.store_sums import is_pointer, mismatch, move

MANIFEST = "manifest.json"
_POINTER = "current.json"
_VERSION = re.compile(r"[0-9a-f]{12}")


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
    revision: str | None = None
    """The commit at the hub that they are of."""
    installed: str = ""
    """UTC, ISO 8601."""
    taken: tuple[Taken, ...] = ()
    """The user's own files that it was made of."""

    @property
    def version(self) -> str:
        """Twelve hexadecimal digits."""
        lines = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()[:12]

    def write(self, folder: Path) -> None:
        """Into ``folder``."""
        (folder / MANIFEST).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def now() -> str:
    """The time for :attr:`Manifest.installed`."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True)
class Version:
    """A version that is here; whether it is sound is another question."""

    folder: Path
    manifest: Manifest
    current: bool

    @property
    def name(self) -> str:
        """Twelve hexadecimal digits."""
        return self.manifest.version

    @property
    def size(self) -> int:
        """Bytes on disk."""
        paths = [self.folder / name for name in self.manifest.files]
        return sum(path.stat().st_size for path in paths if path.exists())

    def changed(self) -> str | None:
        """What the user has done since to the files that it was taken from; ``None`` when nothing."""
        paths = [str(taken.path) for taken in self.manifest.taken if taken.has_changed]
        return f"{' and '.join(paths)} {'has' if len(paths) == 1 else 'have'} changed" if paths else None

    def problem(self) -> str | None:
        """What is wrong with the files, which are all read for it; ``None`` when they are sound."""
        for name, sha256 in self.manifest.files.items():
            path = self.folder / name
            if path.is_file() and is_pointer(path):
                return f"{path} is a Git LFS pointer and not the file itself"
            if wrong := mismatch(path, sha256):
                return wrong
        return None


class Shelf:
    """All versions of one model. Whoever changes something holds the model's lock."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def versions(self) -> list[Version]:
        """Newest first."""
        current = self._current_folder()
        folders = [self.home, *self.home.glob("*/")] if self.home.is_dir() else []
        found = []
        for folder in folders:
            if _VERSION.fullmatch(folder.name) or folder == self.home:
                manifest = read_manifest(folder)
                if manifest is not None:
                    found.append(Version(folder, manifest, folder == current))
        return sorted(found, key=lambda version: version.manifest.installed, reverse=True)

    def current(self) -> Version | str:
        """The version in use, or what is wrong."""
        folder = self._current_folder()
        if folder is None or not (folder / MANIFEST).exists():
            return "it is not in the store"
        manifest = read_manifest(folder)
        return Version(folder, manifest, True) if manifest else "its manifest cannot be read"

    @property
    def held(self) -> bool:
        """Whether the user has chosen the current version, whatever the catalogue asks for."""
        return bool(self._pointer().get("held"))

    def put(self, ready: Path, manifest: Manifest, bin_folder: Path) -> None:
        """Take in the files of the folder ``ready`` as the current version; what it replaces goes to ``bin_folder``."""
        self.modernise()
        target = self.home / manifest.version
        manifest.write(ready)
        if target.exists():
            move(target, bin_folder)
        move(ready, target)
        self.switch(manifest.version)

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
        if version is None:
            shutil.rmtree(self.home)
            return
        self.modernise()
        shutil.rmtree(self.home / version.name)
        if version.current:
            (self.home / _POINTER).unlink(missing_ok=True)
            if rest := self.versions():
                self.switch(rest[0].name)
            else:
                shutil.rmtree(self.home)

    def prune(self, keep: int) -> None:
        """Delete all but the current version and the newest others, ``keep`` in all."""
        others = [version for version in self.versions() if not version.current]
        for version in others[max(0, keep - 1) :]:
            shutil.rmtree(version.folder)

    def modernise(self) -> None:
        """Move files that lie directly in the folder, as older releases kept them, into a version's folder."""
        self.home.mkdir(parents=True, exist_ok=True)
        manifest = read_manifest(self.home)
        if manifest is not None:
            target = self.home / manifest.version
            for name in (*manifest.files, MANIFEST):
                if (self.home / name).exists():
                    move(self.home / name, target / name)
            self.switch(manifest.version)
        for path in self.home.iterdir():  # left of an older release and unreadable
            if path.is_file() and path.name != _POINTER:
                path.unlink()

    def _current_folder(self) -> Path | None:
        version = self._pointer().get("version")
        if isinstance(version, str) and _VERSION.fullmatch(version):
            return self.home / version
        return self.home if (self.home / MANIFEST).exists() else None

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
