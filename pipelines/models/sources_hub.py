"""Model files from a model hub: Hugging Face, a mirror of it, or another visavis.

``huggingface_hub`` says where the hub is, who asks and whether anybody may (``HF_ENDPOINT``, ``HF_TOKEN`` or a login,
``HF_HUB_OFFLINE``), resolves revisions, and keeps the cache. Large files are brought into that cache by our downloader:
the library removes what has arrived of a file when it is broken off, and compares no checksums.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urlsplit

import httpx2
from filelock import FileLock
from pydantic import BaseModel, Field, ValidationError

from pipelines.errors import ModelError
from pipelines.models.catalogue_sources import RelativePath
from pipelines.models.sources_http import Count, Downloader, Remote, answered, host_of, reason_of
from pipelines.models.store_sums import Checksum

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoSibling

COMMIT = re.compile(r"[0-9a-f]{40}")
OURS = "visavis"
"""Owner of the repositories under which a visavis serves the models of its catalogue."""
HUGGING_FACE = "https://huggingface.co"
_ASK_SECONDS = 10.0

T = TypeVar("T")


class HubFile(BaseModel):
    """A file of a repository."""

    path: RelativePath
    size: Annotated[int, Field(ge=0)] | None = None
    """Bytes."""
    git: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of large files."""

    @property
    def checksum(self) -> Checksum | None:
        """What the content is held to."""
        if self.sha256:
            return Checksum("sha256", self.sha256)
        return Checksum("git", self.git) if self.git else None


class Repo(BaseModel):
    """A repository at one commit."""

    name: str
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    files: Mapping[str, HubFile]
    """By path."""

    def within(self, folder: str) -> dict[str, HubFile]:
        """The files directly in ``folder``, by name."""
        parts = {path.rpartition("/"): file for path, file in self.files.items()}
        return {name: file for (parent, _, name), file in parts.items() if parent == folder.strip("/")}


@dataclass(frozen=True, slots=True)
class ModelServer:
    """Another visavis to fetch models from: a hub that has the models of its catalogue as ``visavis/ID``."""

    url: str
    """Base, such as ``http://10.0.0.5:8080``."""
    key: str | None = field(default=None, repr=False)
    """Its API key, if it has one."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ModelError("server_invalid", f"{self.url!r} is not an address; legal is http(s)://HOST:PORT")

    def __str__(self) -> str:
        return f"the model server {host_of(self.url)}"


class Hub:
    """A hub. ``endpoint``, ``token`` and ``cache`` (the user's own) default to what huggingface_hub would use.

    Where ``HF_ENDPOINT`` names a mirror that fails, Hugging Face itself is asked, without a token. Methods block; any
    thread may call. ``folder`` is a cache in the layout of huggingface_hub. All raise :class:`ModelError`.
    """

    def __init__(
        self,
        downloader: Downloader,
        *,
        endpoint: str | None = None,
        token: str | bool | None = None,
        cache: Path | None = None,
    ) -> None:
        self.downloader = downloader
        self._endpoint = endpoint
        self._token = token
        self._cache = cache

    def repo(self, name: str, revision: str, folder: Path) -> Repo:
        """What the repository holds at ``revision``; what a branch means is noted in the cache.

        Codes: ``download_failed``; ``not_found`` for a repository or revision that is not there.
        """
        repo = self._ask(lambda api: self._described(api, name, revision))
        if not COMMIT.fullmatch(revision):
            ref = home_of(folder, name) / "refs" / revision
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(repo.commit)
        return repo

    def _described(self, api: HfApi, name: str, revision: str) -> Repo:
        self.downloader.check_reachable(api.endpoint)
        try:
            info = api.model_info(name, revision=revision, files_metadata=True, timeout=_ASK_SECONDS)
            return Repo(name=name, commit=info.sha or "", files={s.rfilename: _file(s) for s in info.siblings or ()})
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise ModelError("download_failed", f"the hub's answer makes no sense: {problem}") from error
        except json.JSONDecodeError as error:
            problem = f"{host_of(api.endpoint)} answered with something else than JSON"
            raise ModelError("download_failed", problem) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError("download_failed", f"the hub's answer makes no sense: {error}") from error

    def fetch(self, repo: Repo, file: HubFile, folder: Path, count: Count = lambda done, total: None) -> Path:
        """Bring a file into the cache, sound and whole, unless it is there.

        Codes: ``download_failed``, ``checksum``, ``no_space``.
        """
        if file.checksum is None:
            raise ModelError("download_failed", f"the hub gives no checksum of {file.path}")
        here = blob_of(folder, repo, file)
        lock = folder / ".locks" / here.parents[1].name / f"{here.name}.fetch.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if here.exists() and file.checksum.mismatch(here) is not None:
                here.unlink()
            path = self._ask(lambda api: self._fetch(api, repo, file, folder, count))
        if not file.sha256 and (problem := file.checksum.mismatch(path)):
            path.resolve().unlink()
            raise ModelError("checksum", problem)
        return path

    def _fetch(self, api: HfApi, repo: Repo, file: HubFile, folder: Path, count: Count) -> Path:
        from huggingface_hub import get_token, hf_hub_url
        from huggingface_hub.utils import silent_tqdm  # type: ignore[attr-defined]

        blob = blob_of(folder, repo, file)
        if file.sha256 and not blob.exists():
            url = hf_hub_url(repo.name, file.path, revision=repo.commit, endpoint=api.endpoint)
            key = get_token() if api.token is None else api.token
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            remote = Remote(file.path, url, file.size, file.checksum, headers)
            self.downloader.fetch(remote, blob, count)
        place: Any = silent_tqdm  # which is no subclass of the one that it stands in for
        path = Path(api.hf_hub_download(repo.name, file.path, revision=repo.commit, cache_dir=folder, tqdm_class=place))
        if path.resolve() != blob.resolve() and path.is_symlink():
            raise ModelError("checksum", f"{file.path} is not the file that the hub lists")
        return path

    def cached(self, name: str, revision: str, folder: Path | None = None) -> tuple[Path, Repo] | None:
        """The snapshot that a cache (default: the user's own) holds of a repository, whole or not."""
        from huggingface_hub import snapshot_download

        where = folder or self._cache
        try:
            root = Path(
                snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=[], cache_dir=where)
            )
        except (OSError, ValueError):  # what it raises for what is not there is both
            return None
        paths = [path for path in sorted(root.rglob("*")) if path.is_file()] if COMMIT.fullmatch(root.name) else []
        files = {path.relative_to(root).as_posix(): path for path in paths}
        found = {name: _cached_file(name, path) for name, path in files.items()}
        return (root, Repo(name=name, commit=root.name, files=found)) if found else None

    def _ask(self, ask: Callable[[HfApi], T]) -> T:
        from huggingface_hub import HfApi, constants

        if constants.is_offline_mode():
            raise ModelError("download_failed", "HF_HUB_OFFLINE is set")
        hubs: list[tuple[str, str | bool | None]] = [(self._endpoint or constants.ENDPOINT, self._token)]
        if self._endpoint is None and hubs[0][0] != HUGGING_FACE:
            hubs.append((HUGGING_FACE, False))
        failures = []
        for endpoint, token in hubs:
            try:
                with _told(endpoint):
                    return ask(HfApi(endpoint=endpoint, token=token))
            except ModelError as error:
                if error.code == "no_space":
                    raise
                failures.append(error)
        raise failures[0]


@contextmanager
def _told(endpoint: str) -> Iterator[None]:
    """Say in one line what huggingface_hub has met with."""
    from huggingface_hub.errors import HfHubHTTPError

    host = host_of(endpoint)
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise ModelError("not_found" if status == 404 else "download_failed", answered(endpoint, status)) from error
    except httpx2.HTTPError as error:
        raise ModelError("download_failed", f"{host}: {reason_of(error)}") from error
    except OSError as error:
        if error.errno is not None:  # of this machine
            raise
        raise ModelError("download_failed", f"{host}: {str(error).splitlines()[0]}") from error


def home_of(folder: Path, name: str) -> Path:
    """Where a cache in the layout of huggingface_hub keeps a repository."""
    return folder / f"models--{name.replace('/', '--')}"


def blob_of(folder: Path, repo: Repo, file: HubFile) -> Path:
    """Where it keeps the content of a file."""
    return home_of(folder, repo.name) / "blobs" / (file.sha256 or file.git or "")


def drop(paths: set[Path]) -> None:
    """Delete files of snapshots in such a cache, and what they are links to unless another snapshot needs it."""
    blobs = {path.resolve() for path in paths}
    for path in paths:
        path.unlink(missing_ok=True)
    for home in {blob.parents[1] for blob in blobs if blob.parent.name == "blobs"}:
        left = {path.resolve() for path in home.glob("snapshots/*/**/*") if path.is_symlink()}
        for blob in blobs - left:
            if blob.is_relative_to(home):
                blob.unlink(missing_ok=True)
        if not left and not any(home.glob("blobs/*.part")):  # which another model may be waiting for
            shutil.rmtree(home)


def _file(sibling: RepoSibling) -> HubFile:
    sha256 = sibling.lfs.sha256 if sibling.lfs else None
    return HubFile(path=sibling.rfilename, size=sibling.size, git=sibling.blob_id or None, sha256=sha256)


def _cached_file(name: str, path: Path) -> HubFile:
    """The cache calls contents by their checksum, where the file system has links."""
    etag = path.resolve().name
    kinds = {64: "sha256", 40: "git"} if path.is_symlink() and re.fullmatch(r"[0-9a-f]+", etag) else {}
    return HubFile.model_validate({"path": name, "size": path.stat().st_size, kinds.get(len(etag), "_"): etag})
