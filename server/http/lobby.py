"""What is served while the engines load: the page, probes, the status, and to everything else when to come again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from media.clock import MonotonicClock
from pipelines.engines.registry import stage_of
from pipelines.models.catalogue import Catalogue
from pipelines.models.fetches import Fetch
from server.http.access.admittance import Admittance
from server.http.access.client_secrets import ClientSecrets
from server.http.access.cors import allow_reading
from server.http.access.granted import GRANTED
from server.http.auth import guard
from server.http.errors import RETRY_AFTER_SECONDS, error_response, errors
from server.http.page_files import STATIC, PageFiles, secured
from server.http.request_ids import tell_request_id
from server.http.status import STATUS, Json, progress, short
from server.settings import Settings


class Arrivals:
    """Models that the start waits for, as they are reported; ``tell`` is told of each report, too. From any thread."""

    def __init__(self, catalogue: Catalogue, tell: Callable[[Fetch], object] = lambda fetch: None) -> None:
        self._stages = {model.id: stage_of(model.task) for model in catalogue.models}
        self._tell = tell
        self._lock = threading.Lock()
        self._known: dict[str, Fetch] = {}

    def __call__(self, fetch: Fetch) -> None:
        with self._lock:
            self._known[fetch.model] = fetch
        self._tell(fetch)

    def progress(self) -> list[Json]:
        """How far they have come."""
        with self._lock:
            known = list(self._known.values())
        return progress((str(self._stages.get(fetch.model, "")), fetch) for fetch in known)


class Progress(Protocol):
    """What is waited for."""

    def progress(self) -> list[Json]:
        """How far it has come."""
        ...


def create_lobby(settings: Settings, arrivals: Progress) -> web.Application:
    """The application of a server that still loads. Who needs a key later needs it now."""
    access = guard(settings, Admittance(settings, ClientSecrets(time.time), MonotonicClock()))
    app = web.Application(middlewares=[access, errors])

    async def status(request: web.Request) -> web.Response:
        told = short(settings, ready=False)
        return web.json_response(told | ({"warming_up": arrivals.progress()} if GRANTED in request else {}))

    async def ready(request: web.Request) -> web.Response:
        return web.json_response({"status": "starting"}, status=503)

    async def alive(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def later(request: web.Request) -> web.Response:
        message = "the server is loading its models"
        told = arrivals.progress()
        if told:
            names = (f"{row['name']} {'' if row['percent'] is None else row['percent']}" for row in told)
            message += ": " + ", ".join(f"{name} %" if name[-1].isdigit() else name.strip() for name in names)
        return error_response(503, "warming_up", message, retry_after=RETRY_AFTER_SECONDS, progress=told)

    PageFiles(STATIC).add_to(app)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    app.router.add_get(STATUS, status)
    app.router.add_route("*", "/{path:.*}", later)
    for prepare in (allow_reading, tell_request_id, secured(settings.allowed_origins)):
        app.on_response_prepare.append(prepare)
    return app
