"""Model files from a model hub (Hugging Face or a mirror of it).

Address, token and offline switch are huggingface_hub's own (``HF_ENDPOINT``, ``HF_TOKEN`` or a login,
``HF_HUB_OFFLINE``). The transfer is ours: that library compares no checksums, and asks a closed port for 23 seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from pipelines.errors import ModelError
from pipelines.models.catalogue import HubSource, Model
from pipelines.models.catalogue_sources import FileName, RelativePath
from pipelines.models.sources_http import Downloader, Remote
from pipelines.models.store_sums import Checksum

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MOST_PAGES = 50


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server has of a model."""

    files: tuple[Remote, ...]
    revision: str | None = None


class _Lfs(BaseModel):
    oid: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Entry(BaseModel):
    type: Literal["file", "directory"] | str
    path: RelativePath
    oid: str = ""
    size: int | None = None
    lfs: _Lfs | None = None


class _Revision(BaseModel):
    sha: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


_ENTRIES = TypeAdapter(list[_Entry])
_NAME: TypeAdapter[str] = TypeAdapter(FileName)


class Hub:
    """A hub. ``endpoint``, ``token`` and ``cache`` (folder) default to what huggingface_hub would use."""

    def __init__(
        self,
        downloader: Downloader,
        *,
        endpoint: str | None = None,
        token: str | None = None,
        cache: Path | None = None,
    ) -> None:
        self._downloader = downloader
        self._endpoint = endpoint
        self._token = token
        self._cache = cache

    def offer(self, model: Model, source: HubSource, revision: str | None) -> Offer:
        """The files of ``model`` at ``revision``, by default the catalogue's. Raises :class:`ModelError`."""
        from huggingface_hub import constants, get_token

        if constants.HF_HUB_OFFLINE and self._endpoint is None:
            raise ModelError("download_failed", "HF_HUB_OFFLINE is set")
        base = (self._endpoint or constants.ENDPOINT).rstrip("/")
        token = self._token or get_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            commit = self._commit(f"{base}/api/models/{source.hub}", source, revision, headers)
            entries = {
                entry.path.rpartition("/")[2]: entry
                for entry in self._entries(f"{base}/api/models/{source.hub}/tree/{commit}", source, headers)
                if entry.type == "file"
            }
            wanted = model.folder.pick(sorted(entries)) if model.folder else [file.name for file in model.files]
            if missing := [name for name in wanted if name not in entries]:
                raise ModelError("not_found", f"{source.hub} holds no {', '.join(missing)}")
            url = f"{base}/{source.hub}/resolve/{commit}/"
            files = tuple(_remote(_NAME.validate_python(name), entries[name], url, headers) for name in wanted)
            return Offer(files, commit)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise ModelError("download_failed", f"the hub's answer makes no sense: {problem}") from error

    def cached(self, model: Model, source: HubSource) -> tuple[dict[str, Path], str] | None:
        """The files and their commit, if huggingface_hub's own cache happens to hold them all."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            path = snapshot_download(source.hub, revision=source.revision, local_files_only=True, cache_dir=self._cache)
        except (LocalEntryNotFoundError, OSError, ValueError):
            return None
        folder = Path(path) / source.path
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.is_dir() else []
        try:
            wanted = model.folder.pick(names) if model.folder else [file.name for file in model.files]
        except ModelError:
            return None
        commit = Path(path).name
        if not set(wanted) <= set(names) or not _COMMIT.fullmatch(commit):
            return None
        return {name: (folder / name).resolve() for name in wanted}, commit

    def _commit(self, api: str, source: HubSource, revision: str | None, headers: dict[str, str]) -> str:
        asked = revision or source.revision
        if _COMMIT.fullmatch(asked):
            return asked
        data, _ = self._downloader.read_json(f"{api}/revision/{asked}", headers)
        return _Revision.model_validate(data).sha

    def _entries(self, tree: str, source: HubSource, headers: dict[str, str]) -> Iterator[_Entry]:
        url: str | None = f"{tree}/{quote(source.path)}" if source.path else tree
        for _ in range(_MOST_PAGES):
            if url is None:
                return
            data, url = self._downloader.read_json(url, headers)
            yield from (entry for entry in _ENTRIES.validate_python(data) if _is_directly_in(entry.path, source.path))


def _is_directly_in(path: str, folder: str) -> bool:
    return path.rpartition("/")[0] == folder.strip("/")


def _remote(name: str, entry: _Entry, url: str, headers: dict[str, str]) -> Remote:
    if entry.lfs:
        checksum = Checksum("sha256", entry.lfs.oid)
    elif _COMMIT.fullmatch(entry.oid):
        checksum = Checksum("git", entry.oid)
    else:
        raise ModelError("download_failed", f"the hub gives no checksum of {name}")
    return Remote(name, url + quote(entry.path), entry.size, checksum, headers)
