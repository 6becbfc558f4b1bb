"""Models for other instances: the files that this one holds, so that a fleet downloads a model once.

``GET /v1/models/files/{model}`` says what there is; ``GET /v1/models/files/{model}/{version}/{file}`` sends a file, or
a range of it; the version may be ``current``. Only files that the manifest of a catalogued model names are served, and
only after their checksums have been compared.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from aiohttp import web

from pipelines.errors import ModelError
from pipelines.models.sources_server import PATH
from pipelines.models.store import ModelStore
from pipelines.models.store_layout import Version
from pipelines.runtime.worker import Worker
from server.http.errors import error_response

P = ParamSpec("P")
T = TypeVar("T")

_BLOCK = 256 << 10
_READS = 64
"""Blocks asked for at a time; who asks for one more waits."""


def add_model_files(app: web.Application, store: ModelStore) -> None:
    """Serve the models of ``store``."""
    files = _ModelFiles(store)
    app.router.add_get(f"{PATH}/{{model}}", files.describe)
    app.router.add_get(f"{PATH}/{{model}}/{{version}}/{{file}}", files.send)
    app.on_cleanup.append(files.close)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a comparison of checksums has found."""

    state: dict[Path, tuple[int, ...]]
    """Of the files at that time: what would show that they have changed since."""
    problem: str | None


class _Disk:
    """Threads for files alone: reading must not wait for models, hashing for nobody, and neither for codecs."""

    def __init__(self) -> None:
        self._reading = Worker("model-files", threads=2, inbox=_READS)
        self._hashing = Worker("model-sums")
        self._places = asyncio.Semaphore(_READS)
        self._turn = asyncio.Lock()

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what takes milliseconds."""
        async with self._places:
            return await self._reading.run(function, *args, **kwargs)

    async def compare(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what reads whole models, one after another."""
        async with self._turn:
            return await self._hashing.run(function, *args, **kwargs)

    def close(self) -> None:
        """End the threads."""
        self._reading.close()
        self._hashing.close()


class _ModelFiles:
    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._judged: dict[Path, _Judged] = {}
        """Folders of versions → the last comparison, which is not made again before a file has changed."""
        self._disk = _Disk()

    async def close(self, app: web.Application) -> None:
        """End the threads."""
        self._disk.close()

    async def describe(self, request: web.Request) -> web.Response:
        """Which files the current version of a model has."""
        try:
            version = await self._version(request.match_info["model"], "current")
        except ModelError as error:
            return error_response(404, error.code, error.message, "model")
        manifest = version.manifest
        files = [
            {"name": name, "size": (version.folder / name).stat().st_size, "sha256": sha256}
            for name, sha256 in manifest.files.items()
        ]
        model = {"object": "model.files", "id": manifest.model, "version": version.name, "digest": manifest.digest}
        return web.json_response({**model, "revision": manifest.revision, "files": files})

    async def send(self, request: web.Request) -> web.StreamResponse:
        """A file."""
        asked = request.match_info
        try:
            version = await self._version(asked["model"], asked["version"])
        except ModelError as error:
            param = "version" if error.code == "version_unknown" else "model"
            return error_response(404, error.code, error.message, param)
        name = asked["file"]
        if name not in version.manifest.files:
            known = ", ".join(version.manifest.files)
            return error_response(404, "file_unknown", f"{asked['model']} has no file {name!r}; it has {known}", "file")
        return await _respond(self._disk, request, version.folder / name, f'"{version.manifest.files[name]}"')

    async def _version(self, model_id: str, name: str) -> Version:
        """The version, its files compared. Raises :class:`ModelError`."""
        version, state = await self._disk.read(self._find, model_id, name)
        judged = self._judged.get(version.folder)
        if judged is None or judged.state != state:
            judged = await self._disk.compare(self._judge, version, state)
        if judged.problem is not None:
            raise ModelError("model_not_here", f"{model_id} cannot be served: {judged.problem}")
        return version

    def _find(self, model_id: str, name: str) -> tuple[Version, dict[Path, tuple[int, ...]]]:
        shelf = self._store.shelf(model_id)
        version = shelf.current() if name == "current" else shelf.find(name)
        if isinstance(version, str):
            raise ModelError("model_not_here", f"{model_id} cannot be served: {version}")
        paths = [version.folder / file for file in version.manifest.files]
        try:
            return version, {path: _state(path, shelf.home) for path in paths}
        except OSError as error:
            raise ModelError("model_not_here", f"{model_id} cannot be served: {error}") from error

    def _judge(self, version: Version, state: dict[Path, tuple[int, ...]]) -> _Judged:
        judged = self._judged.get(version.folder)
        if judged is None or judged.state != state:  # nobody before us in the queue has compared the same
            judged = self._judged[version.folder] = _Judged(state, version.problem())
        return judged


def _state(path: Path, home: Path) -> tuple[int, ...]:
    if not path.resolve().is_relative_to(home.resolve()):
        raise OSError(f"{path.name} lies outside the store")
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


async def _respond(disk: _Disk, request: web.Request, path: Path, etag: str) -> web.StreamResponse:
    with await disk.read(path.open, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        start, end = 0, size
        ranged = "Range" in request.headers and request.headers.get("If-Range", etag) == etag
        if ranged:
            try:
                start, end, _ = request.http_range.indices(size)
            except ValueError:
                start, end = size, size
            if start >= end:
                message = f"{request.headers['Range']} is not a range of the {size} bytes of {path.name}"
                unsatisfied = {"Content-Range": f"bytes */{size}"}
                return error_response(416, "range_not_satisfiable", message, headers=unsatisfied)
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        response = web.StreamResponse(status=206 if ranged else 200, headers=headers)
        response.content_length = end - start
        await response.prepare(request)
        if request.method != "HEAD":
            await _copy(disk, file, response, start, end)
        await response.write_eof()
        return response


async def _copy(disk: _Disk, file: IO[bytes], response: web.StreamResponse, start: int, end: int) -> None:
    file.seek(start)
    while start < end:
        block = await disk.read(file.read, min(_BLOCK, end - start))
        if not block:
            raise ConnectionResetError("the file has become shorter")  # the client sees that it is not whole
        await response.write(block)
        start += len(block)
