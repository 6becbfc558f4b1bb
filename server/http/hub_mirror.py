"""A Hugging Face hub for other machines: any client of one is served from here with ``HF_ENDPOINT`` set to this server.

Routes and headers are those that ``huggingface_hub`` asks for: what a repository is and holds, and its files, whole or
in parts. See :mod:`pipelines.models.mirror` for which repositories there are. What is not here is fetched from this
server's own hub, once for all who ask, and sent on while it arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from aiohttp import web

from pipelines.errors import ModelError
from pipelines.models.mirror import Mirror, Offer, is_of_catalogue
from pipelines.models.sources_hub import HubFile
from pipelines.runtime.worker import Worker
from server.http.errors import error_response
from server.http.ranges import copy, is_ranged, range_of

P = ParamSpec("P")
T = TypeVar("T")

_BLOCK = 256 << 10
_READS = 64
"""Blocks asked for at a time; who asks for one more waits."""
_FETCHES, _QUESTIONS, _LOOKS = 4, 4, 2
"""Files got from the hub at a time, repositories it is asked for, and models of the catalogue that are looked at."""
_LOOK_SECONDS = 0.1
"""How often it is looked whether more of a file has arrived."""
_REPO = r"{repo:[^/]+(?:/[^/]+)?}"
_ERRORS = {"repo_unknown": "RepoNotFound", "revision_unknown": "RevisionNotFound", "file_unknown": "EntryNotFound"}
"""What huggingface_hub tells missing things by."""


def add_hub_mirror(app: web.Application, mirror: Mirror) -> None:
    """Serve what ``mirror`` has."""
    hub = _HubMirror(mirror)
    app.router.add_get(f"/api/models/{_REPO}/revision/{{revision}}", hub.describe)
    app.router.add_get(f"/api/models/{_REPO}/tree/{{revision}}", hub.tree)
    app.router.add_get(f"/api/models/{_REPO}/tree/{{revision}}/{{folder:.+}}", hub.tree)
    app.router.add_get(f"/api/models/{_REPO}", hub.describe)
    app.router.add_get(f"/{_REPO}/resolve/{{revision}}/{{path:.+}}", hub.send)
    app.on_cleanup.append(hub.close)


class _Turns:
    """Threads for one kind of work, and who may use them."""

    def __init__(self, name: str, threads: int) -> None:
        self._worker = Worker(name, threads=threads, inbox=_READS)
        self._turns = asyncio.Semaphore(threads)
        self.close = self._worker.close

    async def run(self, function: Callable[[], T]) -> T:
        async with self._turns:
            return await self._worker.run(function)


class _Threads:
    """Threads for files alone: reading must not wait for models, and neither for codecs.

    What a hub is asked waits for no file that it sends, and what is here for no hub.
    """

    def __init__(self) -> None:
        self._reading = Worker("hub-files", threads=2, inbox=_READS)
        self._places = asyncio.Semaphore(_READS)
        self.fetches = _Turns("hub-fetches", _FETCHES)
        self.questions = _Turns("hub-questions", _QUESTIONS)
        self.looks = _Turns("hub-looks", _LOOKS)
        self._flights: dict[Hashable, asyncio.Task[Any]] = {}

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what takes milliseconds."""
        async with self._places:
            return await self._reading.run(function, *args, **kwargs)

    def once(self, key: Hashable, turns: _Turns, function: Callable[[], T]) -> asyncio.Task[T]:
        """Run what may take minutes, once for all who ask meanwhile; it goes on when they leave."""
        task = self._flights.get(key)
        if task is None:
            task = self._flights[key] = asyncio.create_task(turns.run(function), name="hub-fetch")
            task.add_done_callback(partial(self._landed, key))
        return task

    def _landed(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # whoever still waits is told it

    async def close(self) -> None:
        """End the threads."""
        flights = list(self._flights.values())
        for task in flights:
            task.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        self._reading.close()
        for turns in (self.fetches, self.questions, self.looks):
            turns.close()


class _HubMirror:
    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._threads = _Threads()

    async def close(self, app: web.Application) -> None:
        """End the threads."""
        await self._threads.close()

    async def describe(self, request: web.Request) -> web.Response:
        """What a repository is, and its files."""
        try:
            repo = (await self._offer(request)).repo
        except ModelError as error:
            return _refused(error)
        siblings = [
            {"rfilename": file.path, "size": file.size, "blobId": _oid(file), **_lfs(file, "sha256")}
            for file in repo.files.values()
        ]
        about = {"id": repo.name, "modelId": repo.name, "sha": repo.commit, "private": False, "tags": []}
        return web.json_response({**about, "siblings": siblings})

    async def tree(self, request: web.Request) -> web.Response:
        """The files in a folder of a repository."""
        try:
            offer = await self._offer(request)
            folder = request.match_info.get("folder", "").strip("/")
            inside = f"{folder}/" if folder else ""
            files = [file for path, file in offer.repo.files.items() if path.startswith(inside)]
            if folder and not files:
                raise ModelError("file_unknown", f"{offer.repo.name} has no folder {folder!r}")
        except ModelError as error:
            return _refused(error)
        deep = request.query.get("recursive", "").lower() in ("true", "1")
        folders = {file.path[len(inside) :].partition("/")[0] for file in files if "/" in file.path[len(inside) :]}
        entries = [{"type": "directory", "path": inside + name, "oid": "0" * 40, "size": 0} for name in sorted(folders)]
        listed = [file for file in files if deep or "/" not in file.path[len(inside) :]]
        entries += [
            {"type": "file", "path": file.path, "size": file.size, "oid": _oid(file), **_lfs(file, "oid")}
            for file in listed
        ]
        return web.json_response(entries)

    async def send(self, request: web.Request) -> web.StreamResponse:
        """A file, or a range of it."""
        try:
            offer = await self._offer(request)
            file = offer.file(request.match_info["path"])
        except ModelError as error:
            return _refused(error)
        headers = {
            "X-Repo-Commit": offer.repo.commit,
            "ETag": f'"{file.sha256 or file.git}"',
            "X-Linked-Etag": f'"{file.sha256 or file.git}"',
            "X-Linked-Size": str(file.size),
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        size, ranged = file.size or 0, is_ranged(request, headers["ETag"])
        start, end = range_of(request, size) if ranged else (0, size)
        if ranged and start >= end:
            message = f"{request.headers['Range']} is not a range of the {size} bytes of {file.path}"
            return error_response(416, "range_not_satisfiable", message, headers={"Content-Range": f"bytes */{size}"})
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        response = web.StreamResponse(status=206 if ranged else 200, headers=headers)
        response.content_length = end - start
        try:
            if request.method == "HEAD":
                await response.prepare(request)
            else:
                await self._send(request, response, (offer, file), start, end)
            await response.write_eof()
            return response
        except ModelError as error:
            if response.prepared:
                raise ConnectionResetError(error.message) from error  # the client sees that it is not whole
            return _refused(error)

    async def _offer(self, request: web.Request) -> Offer:
        asked = request.match_info["repo"], request.match_info.get("revision", "main")
        if (known := self._mirror.remembered(*asked)) is not None:
            return known
        turns = self._threads.looks if is_of_catalogue(asked[0]) else self._threads.questions
        return await asyncio.shield(self._threads.once(asked, turns, partial(self._mirror.offer, *asked)))

    async def _send(
        self, request: web.Request, response: web.StreamResponse, what: tuple[Offer, HubFile], start: int, end: int
    ) -> None:
        offer, file = what
        path = await self._threads.read(self._mirror.held, offer, file)
        if path is None:
            fetch = self._threads.once(
                (offer.repo.name, offer.repo.commit, file.path),
                self._threads.fetches,
                partial(self._mirror.path, offer, file),
            )
            while not fetch.done():
                # The last byte is kept back until the file has been compared with its checksum.
                block = await self._threads.read(
                    self._mirror.arrived, offer, file, start, min(end, (file.size or 1) - 1)
                )
                if block:
                    await response.prepare(request)
                    await response.write(block)
                    start += len(block)
                else:
                    await asyncio.wait([fetch], timeout=_LOOK_SECONDS)
            path = await fetch
        with await self._threads.read(Path.open, path, "rb") as opened:
            await response.prepare(request)
            await copy(opened, response, start, end, self._threads.read)


def _oid(file: HubFile) -> str:
    """The id of the git blob, or what is as good where none is known."""
    return file.git or (file.sha256 or "")[:40]


def _lfs(file: HubFile, name: str) -> dict[str, dict[str, object]]:
    if file.sha256 is None:
        return {}
    return {"lfs": {name: file.sha256, "size": file.size, "pointerSize": 130}}


def _refused(error: ModelError) -> web.Response:
    """As a hub does it, so that its clients can tell a file that is not there from a hub that is not."""
    if error.code not in _ERRORS:
        return error_response(502, error.code, error.message)
    told = error.message.encode("ascii", "replace").decode().splitlines()[0]
    headers = {"X-Error-Code": _ERRORS[error.code], "X-Error-Message": told}
    return error_response(404, error.code, error.message, headers=headers)
