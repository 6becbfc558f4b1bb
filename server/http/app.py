"""Routes and lifespan, nothing else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from media.clock import MonotonicClock
from pipelines.models.memory import trim_heap
from pipelines.models.mirror import Mirror
from pipelines.runtime.tidying import keep_tidy
from pipelines.runtime.worker import Worker
from pipelines.voice.history import new_id
from server.composition import Composer, Watchers
from server.engines.build import Engines
from server.engines.pipelines import pipeline_house
from server.engines.tasks import task_service
from server.grpc.extra import Shared, add_grpc
from server.http.access.admittance import LIMITS, Admittance
from server.http.access.client_secrets import ClientSecrets
from server.http.access.cors import allow_reading
from server.http.access.load import LOAD
from server.http.access.secret_routes import add_client_secrets
from server.http.auth import guard
from server.http.bodies import LARGEST_BODY, bodies
from server.http.doc_pages import DocPages
from server.http.errors import errors
from server.http.foresight.routes import LARGER_BODIES as PICTURE_BODIES
from server.http.foresight.routes import add_foresight
from server.http.hub_mirror import add_hub_mirror
from server.http.openapi.document import add_openapi
from server.http.page_files import STATIC, PageFiles, secured
from server.http.pipelines.routes import STREAMED_BODIES, add_pipelines
from server.http.recordings import RecordingRoutes
from server.http.request_ids import tell_request_id
from server.http.rest.routes import LARGER_BODIES, add_rest
from server.http.signaling.calls import add_calls
from server.http.signaling.ice_servers import get_ice_servers
from server.http.signaling.live import add_live
from server.http.signaling.offer import REGISTRY, SETTINGS, WATCHED, post_offer
from server.http.signaling.realtime import REALTIME, get_realtime
from server.http.signaling.small_webrtc import add_small_webrtc
from server.http.signaling.whip import add_whip
from server.http.status import STATUS, Status
from server.http.tasks.routes import LARGER_BODIES as TASK_BODIES
from server.http.tasks.routes import add_tasks
from server.http.tracking.start import CATCHER, SCALER, add_tracking, history_of
from server.load.assembly import probe_of, watch_load
from server.load.state import Load
from server.load.watch import LoadMetrics
from server.observability.history.history import History
from server.observability.loop_monitor import LoopWatch
from server.observability.metrics import Metrics
from server.observability.tracking_metrics import TrackingMetrics
from server.recordings.store import Limits, Recordings
from server.resumption import Memory
from server.sessions import Registry
from server.settings import Settings
from server.stores import model_store
from server.transports.webrtc import ice
from server.workers.ids import NewId
from server.wyoming.listener import listening

if TYPE_CHECKING:
    from server.grpc.listener import GrpcListener

log = logging.getLogger(__name__)

ENGINES = web.AppKey("engines", Engines)
METRICS = web.AppKey("metrics", Metrics)
HISTORY = web.AppKey("history", History)
WYOMING_PORT = web.AppKey("wyoming_port", int)


@dataclass(frozen=True, slots=True)
class Among:
    """What an application is among others, when a front passes requests on to it."""

    ids: NewId
    """Makes ids that tell whose they are."""
    memory: Memory
    """Where its conversations are kept, too."""
    secrets: ClientSecrets
    """Client secrets of all of them."""
    number: int = 0
    """Which of them it is."""
    cores: int | None = None
    """Processors that it may count on; ``None``: all."""
    front: bool = True
    """Whether a front has counted the requests; ``False``: it is a node of several, and they come here."""


def create_app(
    settings: Settings,
    engines: Engines,
    ready: asyncio.Event | None = None,
    grpc: GrpcListener | None = None,
    among: Among | None = None,
) -> web.Application:
    """The application. Ending it ends every session; the engines stay with the caller.

    ``ready``: as for :class:`~server.observability.loop_monitor.LoopWatch`; ``grpc``: a port that listens already.
    """
    ice.gather_as_set(settings)
    ids = among.ids if among is not None else new_id
    secrets = among.secrets if among is not None else ClientSecrets(time.time, ids)
    behind = among is not None and among.front
    admittance = Admittance(settings, secrets, MonotonicClock(), front=behind)
    of_grpc = Admittance(settings, secrets, MonotonicClock()) if behind else admittance  # has no front
    larger = {**LARGER_BODIES, **TASK_BODIES, **PICTURE_BODIES}
    layers = [guard(settings, admittance), errors, bodies(settings.request_timeout, larger, STREAMED_BODIES)]
    app = web.Application(middlewares=layers, client_max_size=LARGEST_BODY)
    app[SETTINGS] = settings
    app[WATCHED] = among is not None
    app[ENGINES] = engines
    app[METRICS] = metrics = Metrics(engines)
    app[HISTORY] = history = history_of(settings, among.number if among is not None else 0)
    recordings = _recordings(settings)
    app[LIMITS] = of_grpc.limits  # what a front counts is the front's
    app[LOAD] = load = Load(MonotonicClock())
    probe = probe_of(settings, engines, among.cores if among is not None else None)
    watchers = Watchers(history.notes, probe.sound.add)
    composer = Composer(engines, settings, MonotonicClock(), metrics, recordings, ids, watchers)
    memory = among.memory if among is not None else None
    app[REGISTRY] = registry = Registry(composer, settings, MonotonicClock(), metrics, memory, load)
    metrics.registry.register(LoadMetrics(load, lambda: registry.living))
    _add_signaling(app, ids)
    add_client_secrets(app, secrets, composer.effective_session)
    _add_pages(app, recordings)
    store = engines.store or model_store(settings)
    add_hub_mirror(app, Mirror(store, fetches=settings.download))
    tasks = engines.tasks or task_service(settings, store, engines.residency)
    folders = [store.folder, store.root] if settings.chat_adapter_loading else []
    add_rest(app, engines, add_tasks(app, tasks), tasks, list(filter(None, folders)))
    add_foresight(app, engines.foresight)
    house = pipeline_house(engines, MonotonicClock(), metrics.observe_run)
    metrics.registry.register(add_pipelines(app, house, settings))
    add_openapi(app, keyed=settings.api_key is not None)
    for prepare in (allow_reading, tell_request_id, secured(settings.allowed_origins)):
        app.on_response_prepare.append(prepare)
    add_grpc(app, Shared(settings, engines, of_grpc, store, house), grpc)
    app.on_shutdown.append(_close_sessions)
    if recordings is not None:
        app.on_cleanup.append(partial(_close_recordings, recordings))
    app.cleanup_ctx.append(partial(_watch_loop, ready, probe.loop.add))
    if settings.shedding == "auto":
        watch_load(app, load, probe, lambda: registry.living, MonotonicClock(), ready)
    app.cleanup_ctx.append(_keep_engines)
    _add_history(app, history)
    if settings.wyoming_port is not None:
        app.cleanup_ctx.append(_speak_wyoming)
    return app


def _add_pages(app: web.Application, recordings: Recordings | None) -> None:
    """The page, its documentation, what was recorded, and how the server is."""
    PageFiles(STATIC).add_to(app)
    DocPages().add_to(app)
    RecordingRoutes(recordings).add_to(app)
    app.router.add_get("/healthz", _alive)
    app.router.add_get("/readyz", _ready)
    app.router.add_get("/v1/engines", _engines)
    status = Status(app[ENGINES], app[SETTINGS], app[REGISTRY], app[LOAD], lambda pool: app[SCALER].why(pool))
    app.router.add_get(STATUS, status.get)
    app.router.add_get("/metrics", _metrics)


def _add_history(app: web.Application, history: History) -> None:
    history.watched.sessions = lambda: app[REGISTRY].ids
    add_tracking(app, history, app[SETTINGS], app[ENGINES])
    app[METRICS].registry.register(TrackingMetrics(history, app[SCALER], app[CATCHER]))


def _add_signaling(app: web.Application, ids: NewId) -> None:
    """The ways in which sessions begin and end."""
    app.router.add_post("/offer", post_offer)
    app.router.add_get("/v1/realtime/ice_servers", get_ice_servers)
    add_calls(app)
    add_live(app)
    app.router.add_get(REALTIME, get_realtime, allow_head=False)
    viewers = add_whip(app)
    app[METRICS].viewers.set_function(lambda: len(viewers))
    add_small_webrtc(app, ids)


def _recordings(settings: Settings) -> Recordings | None:
    if settings.recordings is None:
        return None
    return Recordings(settings.recordings, Limits(60.0 * settings.recording_minutes, settings.recording_mb << 20))


async def _alive(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _ready(request: web.Request) -> web.Response:
    if request.app[REGISTRY].has_room:
        return web.json_response({"status": "ready"})
    busy = request.app[LOAD].refusal("session", "normal") is not None
    return web.json_response({"status": "busy" if busy else "full"}, status=503)


async def _engines(request: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": request.app[ENGINES].status()})


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(body=request.app[METRICS].render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _watch_loop(
    ready: asyncio.Event | None, late: Callable[[float], object], app: web.Application
) -> AsyncIterator[None]:
    metrics = app[METRICS]
    notes = app[HISTORY].notes

    def observe(seconds: float) -> None:
        metrics.loop_delay.observe(seconds)
        notes.late(seconds)
        late(seconds)

    watch = LoopWatch(MonotonicClock(), observe, ready)
    metrics.longest_delay.set_function(lambda: watch.longest)
    task = asyncio.create_task(watch.run(), name="loop-watch")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _keep_engines(app: web.Application) -> AsyncIterator[None]:
    """Unload models that nobody uses, fetch better ones, look after model servers, and tell of every change."""
    engines, worker = app[ENGINES], Worker("residency")
    forget = engines.choices.on_change(app[REGISTRY].tell_engines)  # before anything can change
    tasks = [
        asyncio.create_task(engines.residency.run(worker), name="residency"),
        asyncio.create_task(engines.improve(), name="improve"),
        asyncio.create_task(keep_tidy(app[REGISTRY], MonotonicClock(), partial(worker.run, trim_heap)), name="tidy"),
        *(asyncio.create_task(work(), name="upkeep") for work in engines.upkeep),
    ]
    for task in tasks:
        task.add_done_callback(_tell_defect)
    yield
    forget()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    worker.close()


async def _speak_wyoming(app: web.Application) -> AsyncIterator[None]:
    engines = app[ENGINES]
    async with listening(app[SETTINGS], engines.voice, engines.conversation_settings) as app[WYOMING_PORT]:
        yield


def _tell_defect(task: asyncio.Task[None]) -> None:
    """The engines that are there go on, but a defect in the upkeep must not pass unseen until the end."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the task %s has failed", task.get_name(), exc_info=error)


async def _close_recordings(recordings: Recordings, app: web.Application) -> None:
    recordings.close()


async def _close_sessions(app: web.Application) -> None:
    await app[REGISTRY].close_all(app[SETTINGS].shutdown_timeout)
