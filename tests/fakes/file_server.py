"""A web server of files, a model hub if need be, that counts what is asked and breaks off when told to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

COMMIT = "c0ffee" + "0" * 34


class FileServer:
    """``files`` (path → content), at :attr:`url` while the context lasts."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(files or {})
        self.asked: list[tuple[str, str | None]] = []
        """Path and Range of each request for a file."""
        self.heads: list[str] = []
        """Paths of which only the size and the like were asked for."""
        self.keys: list[str | None] = []
        """What stood in Authorization."""
        self.cuts: dict[str, list[int]] = {}
        """Path → after how many bytes of the answer the connection ends, one entry for each request to come."""
        self.before: Callable[[str], object] = lambda path: None
        """Called before a file is sent."""
        self.half_sent: Callable[[str], object] = lambda path: None
        """Called where the connection is about to be cut."""
        self.redirects: dict[str, str] = {}
        self.etags: dict[str, str] = {}
        """Path → what a hub calls the content; only such paths have a commit."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FileServer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def count(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(path for path, _ in self.asked)

    def put_repo(self, repo: str, files: dict[str, bytes], *, commit: str = COMMIT, revision: str = "main") -> None:
        """A repository of the hub whose ``revision`` is ``commit``; files other than JSON are large ones."""
        siblings = []
        for path, data in files.items():
            sibling: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": blob_id(data)}
            resolved = f"/{repo}/resolve/{commit}/{path}"
            self.files[resolved], self.etags[resolved] = data, blob_id(data)
            if not path.endswith(".json"):
                self.etags[resolved] = hashlib.sha256(data).hexdigest()
                sibling["lfs"] = {"sha256": self.etags[resolved], "size": len(data), "pointerSize": 130}
            siblings.append(sibling)
        described = json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode()
        for meant in (revision, commit):
            self.files[f"/api/models/{repo}/revision/{meant}"] = described


def blob_id(data: bytes) -> str:
    """What git calls a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    fake: FileServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.fake.heads.append(self.path)
        data = self.fake.files.get(self.path)
        self._head(404 if data is None else 200, len(data or b""), **self._named())

    def _named(self) -> dict[str, str]:
        etag = self.fake.etags.get(self.path)
        commit = self.path.split("/resolve/")[-1].partition("/")[0]
        return {"ETag": f'"{etag}"', "X-Repo-Commit": commit} if etag else {}

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.path = self.path.partition("?")[0]
        self.fake.asked.append((self.path, wanted))
        self.fake.keys.append(self.headers.get("Authorization"))
        self.fake.before(self.path)
        if self.path in self.fake.redirects:
            self._head(302, 0, Location=self.fake.redirects[self.path])
        elif (data := self.fake.files.get(self.path)) is None:
            self._head(404, 0)
        else:
            self._send(data, wanted)

    def _send(self, data: bytes, wanted: str | None) -> None:
        etag = f'"{self.fake.etags.get(self.path) or hashlib.sha256(data).hexdigest()}"'
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start and self.headers.get("If-Range", etag) != etag:
            start = 0
        if start and start >= len(data):
            self._head(416, 0)
            return
        part = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        self._head(206 if start else 200, len(data) - start, **{"ETag": etag, **self._named(), **part})
        cuts = self.fake.cuts.get(self.path)
        if not cuts:
            self.wfile.write(data[start:])
            return
        self.wfile.write(data[start : start + cuts.pop(0)])
        self.wfile.flush()
        self.fake.half_sent(self.path)
        self.close_connection = True

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that was killed
            super().handle()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass
