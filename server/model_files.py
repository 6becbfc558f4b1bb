"""Models for other instances: the files that this one holds, so that a fleet downloads a model once.

``GET /v1/models/files/{model}`` says what there is; ``GET /v1/models/files/{model}/{version}/{file}`` sends a file, or
a range of it; the version may be ``current``. Only files that the manifest of a catalogued model names are served, and
only after their checksums have been compared.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import IO

from aiohttp import web

from pipelines.errors import ModelError
from pipelines.models.sources_server import PATH
from pipelines.models.store import ModelStore
from pipelines.models.store_layout import Version
from server.http_errors import error_response

_BLOCK = 256 << 10


def add_model_files(app: web.Application, store: ModelStore) -> None:
    """Serve the models of ``store``."""
    files = _ModelFiles(store)
    app.router.add_get(f"{PATH}/{{model}}", files.describe)
    app.router.add_get(f"{PATH}/{{model}}/{{version}}/{{file}}", files.send)


class _ModelFiles:
    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._sound: dict[Path, tuple[int, ...]] = {}
        """Files that have been compared → what would show that they have changed since."""
        self._comparing = asyncio.Lock()

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
        return await _respond(request, version.folder / name, f'"{version.manifest.files[name]}"')

    async def _version(self, model_id: str, name: str) -> Version:
        async with self._comparing:
            return await asyncio.to_thread(self._sound_version, model_id, name)

    def _sound_version(self, model_id: str, name: str) -> Version:
        shelf = self._store.shelf(model_id)
        version = shelf.current() if name == "current" else shelf.find(name)
        if isinstance(version, str):
            raise ModelError("model_not_here", f"{model_id} cannot be served: {version}")
        paths = [version.folder / file for file in version.manifest.files]
        try:
            state = {path: _state(path, shelf.home) for path in paths}
        except OSError as error:
            raise ModelError("model_not_here", f"{model_id} cannot be served: {error}") from error
        if any(self._sound.get(path) != state[path] for path in paths):
            if problem := version.problem():
                raise ModelError("model_not_here", f"{model_id} cannot be served: {problem}")
            self._sound.update(state)
        return version


def _state(path: Path, home: Path) -> tuple[int, ...]:
    if not path.resolve().is_relative_to(home.resolve()):
        raise OSError(f"{path.name} lies outside the store")
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


async def _respond(request: web.Request, path: Path, etag: str) -> web.StreamResponse:
    with await asyncio.to_thread(path.open, "rb") as file:
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
            await _copy(file, response, start, end)
        await response.write_eof()
        return response


async def _copy(file: IO[bytes], response: web.StreamResponse, start: int, end: int) -> None:
    file.seek(start)
    while start < end:
        block = await asyncio.to_thread(file.read, min(_BLOCK, end - start))
        if not block:
            raise ConnectionResetError("the file has become shorter")  # the client sees that it is not whole
        await response.write(block)
        start += len(block)
