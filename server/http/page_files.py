"""The page's own files. Few and small, they are read once, so that no request names a path on the disk.

And the headers that browsers go by, of every response.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web

from server.http.origins import parse_origin

STATIC = Path(__file__).parents[2] / "static"
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; media-src 'self' blob:; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'"
)
PERMISSIONS_POLICY = ", ".join(
    f"{name}=(self)"
    for name in ("microphone", "camera", "display-capture", "screen-wake-lock", "speaker-selection", "autoplay")
)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}
"""Fixed, as the operating system's own table may call JavaScript plain text, which browsers do not run."""


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    headers: dict[str, str]


def secured(allowed_origins: Iterable[str]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A signal handler of applications (``on_response_prepare``) that adds the headers.

    Pages of ``allowed_origins`` may show the server's page in a frame; those that are not named (``*``) may not.
    """
    named = " ".join(str(origin) for text in allowed_origins if (origin := parse_origin(text)) is not None)
    policy = "; ".join((CONTENT_SECURITY_POLICY, f"frame-ancestors {named}" if named else "frame-ancestors 'none'"))

    async def secure(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Server"] = "visavis"  # and not which versions of what
        if response.content_type == "text/html":
            response.headers["Content-Security-Policy"] = policy
            response.headers["Permissions-Policy"] = PERMISSIONS_POLICY

    return secure


class PageFiles:
    """Serves ``index.html`` at ``/``, ``foresight.html`` at ``/foresight``, all of a folder under ``/static/``."""

    def __init__(self, folder: Path) -> None:
        paths = [path for path in sorted(folder.rglob("*")) if path.suffix in _TYPES and path.is_file()]
        self._files = {path.relative_to(folder).as_posix(): _read(path) for path in paths}

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/", self._index)
        app.router.add_get("/foresight", self._foresight)
        app.router.add_get("/static/{name:.+}", self._named)

    async def _index(self, request: web.Request) -> web.Response:
        return self._send(request, "index.html")

    async def _foresight(self, request: web.Request) -> web.Response:
        return self._send(request, "foresight.html")

    async def _named(self, request: web.Request) -> web.Response:
        return self._send(request, request.match_info["name"])

    def _send(self, request: web.Request, name: str) -> web.Response:
        file = self._files.get(name)
        if file is None:
            raise web.HTTPNotFound
        if _same(request.headers.getall(hdrs.IF_NONE_MATCH, ()), file.headers[hdrs.ETAG]):
            return web.Response(status=304, headers=file.headers)
        return web.Response(body=file.body, headers=file.headers)


def _read(path: Path) -> _File:
    body = path.read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return _File(body, {hdrs.CONTENT_TYPE: _TYPES[path.suffix], hdrs.ETAG: tag, hdrs.CACHE_CONTROL: "no-cache"})


def _same(tags: tuple[str, ...] | list[str], tag: str) -> bool:
    """Whether the client has this version already (RFC 9110, 13.1.2: compared weakly)."""
    given = {part.strip().removeprefix("W/") for line in tags for part in line.split(",")}
    return tag in given or "*" in given
