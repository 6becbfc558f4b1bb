"""What a visavis has for clients of Hugging Face: the models that it holds, and what it can get from its own hub.

The models of the catalogue are the repositories ``visavis/ID``, wherever they came from: ``main`` is the current
version, and the digest of the catalogue's entry means it too, as long as it was made by that entry. Every other
repository is that of the hub; what has been fetched of it once lies in the store.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import ModelError
from pipelines.models.sources_hub import COMMIT, OURS, HubFile, Repo, blob_of
from pipelines.models.store import ModelStore
from pipelines.models.store_layout import Version, stamp
from pipelines.models.store_sums import sha256_of

_NAME = re.compile(r"\w[\w.\-]*(/\w[\w.\-]*)?")
_REVISION = re.compile(r"\w[\w.\-]*(/\w[\w.\-]*)*")
_BLOCK = 256 << 10
_REMEMBERED_SECONDS = 30.0
"""How long a branch means the commit that the hub said: clients ask for every file anew."""


def is_of_catalogue(name: str) -> bool:
    """Whether a repository is a model of the catalogue, which lies here or nowhere."""
    return name.startswith(f"{OURS}/")


@dataclass(frozen=True, slots=True)
class Offer:
    """A repository and where its files are, if they must be here."""

    repo: Repo
    held: Mapping[str, Path] = field(default_factory=dict)

    def file(self, path: str) -> HubFile:
        """Raises :class:`ModelError` (``file_unknown``)."""
        if path not in self.repo.files:
            raise ModelError("file_unknown", f"{self.repo.name} has no file {path!r} at {self.repo.commit[:12]}")
        return self.repo.files[path]


class Mirror:
    """``fetches``: whether what is not here may be got from the hub. Methods block unless they
    say otherwise; any thread may call."""

    def __init__(self, store: ModelStore, *, fetches: bool) -> None:
        self._store = store
        self._fetches = fetches
        self._known: dict[tuple[str, str], tuple[float, Offer]] = {}
        self._compared: dict[Path, tuple[int, int]] = {}
        self._resumed: set[Path] = set()

    def offer(self, name: str, revision: str) -> Offer:
        """What there is of a repository.

        Raises :class:`ModelError`: ``repo_unknown``, ``revision_unknown``, or ``download_failed`` when the hub does not
        say and nothing is here.
        """
        if not _NAME.fullmatch(name) or ".." in name:
            raise ModelError("repo_unknown", f"{name!r} is no name of a repository")
        if not _REVISION.fullmatch(revision) or ".." in revision:
            raise ModelError("revision_unknown", f"{revision!r} is no revision")
        if is_of_catalogue(name):
            return self._of_catalogue(name, revision)
        offer = self.remembered(name, revision)
        if offer is None:
            offer = self._of_hub(name, revision)
            self._known[name, revision] = time.monotonic() + _REMEMBERED_SECONDS, offer
        return offer

    def remembered(self, name: str, revision: str) -> Offer | None:
        """What the hub has said of a repository a moment ago. Does not block."""
        until, offer = self._known.get((name, revision), (0.0, None))
        return offer if time.monotonic() <= until else None

    def path(self, offer: Offer, file: HubFile) -> Path:
        """Where a file is, fetched now if need be. Raises :class:`ModelError`."""
        if offer.held:
            return offer.held[file.path]
        path = self.held(offer, file)
        if path is None:
            part = self._part(offer, file)
            (self._resumed.add if part.exists() else self._resumed.discard)(part)
            path = self._store.hub.fetch(offer.repo, file, self._store.hub_cache)
            self._compared[path] = stamp(path, ours=True)
        return path

    def held(self, offer: Offer, file: HubFile) -> Path | None:
        """Where a file is if it is here, and has been compared since it was changed."""
        if offer.held:
            return offer.held[file.path]
        path = blob_of(self._store.hub_cache, offer.repo, file).parents[1] / "snapshots" / offer.repo.commit / file.path
        return path if path.exists() and self._compared.get(path) == stamp(path) else None

    def arrived(self, offer: Offer, file: HubFile, start: int, end: int) -> bytes:
        """What has come of a file that is being fetched, some of the bytes from ``start`` to ``end``.

        Nothing of one that is gone on with: its beginning may yet turn out to be wrong.
        """
        part = self._part(offer, file)
        if part in self._resumed or start >= end:
            return b""
        try:
            with part.open("rb") as opened:
                opened.seek(start)
                return opened.read(min(_BLOCK, end - start))
        except OSError:
            return b""

    def _part(self, offer: Offer, file: HubFile) -> Path:
        blob = blob_of(self._store.hub_cache, offer.repo, file)
        return blob.with_name(f"{blob.name}.part")

    def _of_catalogue(self, name: str, revision: str) -> Offer:
        model_id = name.partition("/")[2]
        try:
            model = self._store.catalogue.get(model_id)
        except ModelError as error:
            raise ModelError("repo_unknown", error.message) from error
        shelf = self._store.shelf(model_id)
        version = shelf.current()
        if COMMIT.fullmatch(revision):
            version = next(
                (one for one in shelf.versions() if one.manifest.commit == revision), "no such version is here"
            )
        elif isinstance(version, Version) and revision not in ("main", version.manifest.digest):
            raise ModelError("revision_unknown", f"{model_id} is not here as {revision!r} means it")
        problem = version if isinstance(version, str) else version.problem() or self._astray(version)
        if problem or isinstance(version, str):
            raise ModelError("revision_unknown", f"{model.id} cannot be served: {problem}")
        paths = {name: version.folder / name for name in version.manifest.files}
        files = {
            name: HubFile(path=name, size=paths[name].stat().st_size, sha256=sha256)
            for name, sha256 in version.manifest.files.items()
        }
        return Offer(Repo(name=name, commit=version.manifest.commit, files=files), paths)

    def _astray(self, version: Version) -> str | None:
        if version.manifest.snapshot and version.manifest.snapshot.is_absolute():  # the user's own cache
            return None
        root = self._store.root.resolve()
        paths = [version.folder / name for name in version.manifest.files]
        astray = [path.name for path in paths if not path.resolve().is_relative_to(root)]
        return f"{astray[0]} lies outside the store" if astray else None

    def _of_hub(self, name: str, revision: str) -> Offer:
        hub, cache = self._store.hub, self._store.hub_cache
        problem = ModelError("repo_unknown", f"{name} is not here, and downloads are off")
        if self._fetches:
            try:
                return Offer(hub.repo(name, revision, cache))
            except ModelError as error:
                code = "repo_unknown" if error.code == "not_found" else error.code
                problem = ModelError(code, f"the hub ({name}): {error.message}")
        found = hub.cached(name, revision, cache)
        if found is None:
            raise problem
        root, repo = found
        files = {
            path: file if file.checksum else file.model_copy(update={"sha256": sha256_of(root / path)})
            for path, file in repo.files.items()
        }
        return Offer(Repo(name=name, commit=repo.commit, files=files), {path: root / path for path in files})
