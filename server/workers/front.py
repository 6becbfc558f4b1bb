"""The front of several workers: it chooses one for each session, and passes everything on that is not its own.

Its own are the page, the probes, the metrics of all, and ``/v1/workers``. Requests about a session, a start or with a
client secret carry the worker in the id (:mod:`server.workers.ids`); new sessions go to the one with the fewest; all
else goes to the oldest, so that the models of tasks are loaded once. Media goes past it, from worker to client.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST

from media.clock import Clock, MonotonicClock
from server.http.access.admittance import LIMITS, Admittance
from server.http.access.cors import allow_reading
from server.http.access.keys import key_of
from server.http.access.load import is_urgent
from server.http.access.neighbours import NEIGHBOURS
from server.http.auth import guard
from server.http.bodies import bodies
from server.http.doc_pages import DocPages
from server.http.errors import HttpError, busy_response, errors, full_response
from server.http.page_files import STATIC, PageFiles, secured
from server.http.proxies import Proxies
from server.http.request_ids import tell_request_id
from server.http.signaling.watching import WATCH, seconds_in, told
from server.http.status import STATUS
from server.settings import Settings
from server.workers.board import Board, Seat
from server.workers.ids import worker_in
from server.workers.of_all.metrics import merged
from server.workers.of_all.status import joined
from server.workers.of_all.tracking import add_front_tracking
from server.workers.passing import AwayError, Passing, away, json_of, to_socket
from server.workers.process import WorkerFailedError
from server.workers.supervisor import Supervisor
from server.workers.watches import News, Watches

log = logging.getLogger(__name__)

REST = "/{path:.*}"
OFFERS = ("/offer", "/api/offer")
"""Offers in JSON that may name a session whose conversation goes on."""
BEGIN = ("/v1/realtime/calls", "/v1/live/sessions", "/whip", "/start")
"""Where other sessions begin (``POST``). All these bodies are read here: a worker that turns out to be gone has not
answered yet, and another can be asked."""
SPREAD = frozenset({"/v1/realtime/client_secrets"})
"""What may be done by any worker, and ties what follows to it."""
REALTIME = "/v1/realtime"
STATUS_SECONDS = 2.0
"""For a worker to tell its status; one that is late is left out."""
WORKERS, RESTART, RESTART_ALL = "/v1/workers", "/v1/workers/{number}/restart", "/v1/workers/restart"
"""What a server of one process has not."""
_PASSED = frozenset({"/{path}", STATUS, *OFFERS, *BEGIN})


class Front:
    """The handlers. ``clock`` times how long conversations are kept."""

    def __init__(self, supervisor: Supervisor, settings: Settings, clock: Clock) -> None:
        self._supervisor = supervisor
        self._settings = settings
        self._node = settings.node
        self._clock = clock
        self._proxies = Proxies(settings.trusted_proxies)
        self._ways: dict[int, Passing] = {}
        self._restarts: set[asyncio.Task[None]] = set()
        self._restarting_all = False
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def _board(self) -> Board:
        return self._supervisor.board

    # ------------------------------------------------------------------------------------------------ passed on

    async def passed(self, request: web.Request) -> web.StreamResponse:
        """Whatever is not the front's own."""
        path, call = request.path, request.query.get("call_id", "")
        number = worker_in(path, self._node) or worker_in(call, self._node)
        if self._board.is_quiet(number):
            raise away()  # no other knows of what this is about
        seat = self._board.find(number or self._of_key(request))
        if request.path == REALTIME and request.method == hdrs.METH_GET and "call_id" not in request.query:
            return await self._begun(request, None, seat)
        if seat is not None:
            return await self._way(seat).answer(request)
        if request.path == "/whep" and request.method == hdrs.METH_POST:
            return await self._way(self._only_watched()).answer(request)
        spread = request.path in SPREAD and request.method == hdrs.METH_POST
        seat = self._board.least_loaded() if spread else self._board.house()
        if seat is None:
            raise away()
        return await self._way(seat).answer(request)

    async def begun(self, request: web.Request) -> web.StreamResponse:
        """A request that a session begins with."""
        body = await request.read()
        return await self._while_there_are_workers(
            lambda: self._begun(request, body, self._board.find(self._of_key(request)))
        )

    async def offered(self, request: web.Request) -> web.StreamResponse:
        """An offer in JSON, which may name the session that it goes on with (``resume``, ``pc_id``)."""
        body = await request.read()
        return await self._while_there_are_workers(lambda: self._offered(request, body))

    async def _while_there_are_workers(self, ask: Callable[[], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        """A worker that is gone is noticed a moment later: ask again, of those that are left."""
        for _ in self._board.seats:
            try:
                return await ask()
            except AwayError:
                log.info("a worker is gone; another is asked")
        return await ask()

    async def _offered(self, request: web.Request, body: bytes) -> web.StreamResponse:
        told = json_of(body)
        named = told.get("resume") or told.get("pc_id") if isinstance(told, dict) else None
        session = named if isinstance(named, str) and worker_in(named, self._node) is not None else None
        seat = self._board.find(worker_in(session, self._node)) if session is not None else None
        if seat is not None and (seat.state == "ready" or request.method != hdrs.METH_POST):
            return await self._counted(request, seat, body)
        if session is not None and (state := self._board.conversation(session, self._clock.now())) is not None:
            return await self._moved(request, body, session, state)
        return await self._begun(request, body, self._board.find(self._of_key(request)))

    def _of_key(self, request: web.Request) -> int | None:
        """The worker that a client secret belongs to."""
        return worker_in(key_of(request.headers) or "", self._node)

    async def _begun(self, request: web.Request, body: bytes | None, seat: Seat | None = None) -> web.StreamResponse:
        """A new session: of this worker if it takes any, or else where there is the least to do."""
        urgent = is_urgent(request.headers, json_of(body) if body else None)
        seat = seat if seat is not None and seat.state == "ready" else None
        if seat is None and not urgent and (wait := self._board.busy_for) is not None:
            return busy_response("all workers have too much to do", wait)
        seat = seat or self._board.least_loaded()
        if seat is None:
            raise away()
        if not self._board.places_for(urgent=urgent):
            places, reserved = self._board.places, self._board.reserved
            what = "the only place is taken" if places == 1 else f"all {places} places are taken"
            if not urgent and reserved:
                what = f"all places are taken but {reserved} that are kept for sessions of high priority"
            return full_response(what, places)
        return await self._counted(request, seat, body)

    async def _moved(self, request: web.Request, body: bytes, session: str, state: str) -> web.StreamResponse:
        """The conversation of a worker that ends, or has ended, goes on in another."""
        seat = self._board.least_loaded()
        worker = self._supervisor.worker(seat) if seat is not None else None
        if seat is None or worker is None:
            raise away()
        await worker.adopt(session, state)
        answer = await self._counted(request, seat, body)
        before = self._board.moved(session) if answer.status == 200 else None
        if before is not None and (old := self._supervisor.worker(before)) is not None:
            old.send("replaced", session=session)
        return answer

    async def _counted(self, request: web.Request, seat: Seat, body: bytes | None = None) -> web.StreamResponse:
        """The worker's answer; meanwhile, and until the worker counts the session itself, it counts as coming."""
        seat.ask()
        if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":  # its answer ends with the session
            seat.answered(begun=True)
            return await self._way(seat).answer(request, body)
        begun = False
        try:
            answer = await self._way(seat).answer(request, body, lost=lambda: seat.state == "quiet")
            begun = answer.status < 300
            return answer
        except AwayError:
            if seat.state != "quiet":  # that one is looked after already
                self._supervisor.lost(seat)
            raise
        finally:
            seat.answered(begun=begun)

    def _only_watched(self) -> Seat:
        seats = [seat for seat in self._board.seats if self._board.find(seat.number) and seat.sessions + seat.coming]
        if len(seats) > 1:
            count = sum(seat.sessions + seat.coming for seat in seats)
            message = f"there are {count} sessions: watch one of them at /whep/SESSION"
            raise HttpError(409, "several_sessions", message, "session")
        seat = seats[0] if seats else self._board.house()
        if seat is None:
            raise away()
        return seat

    def _way(self, seat: Seat) -> Passing:
        way = self._ways.get(seat.number)
        if way is None:
            self._let_go()
            worker = self._supervisor.worker(seat)
            if worker is None:
                raise away()
            scheme = "https" if self._settings.serves_tls else "http"
            way = self._ways[seat.number] = Passing(to_socket(worker.orders.socket), self._proxies, scheme)
        return way

    def _let_go(self) -> None:
        """Close the connections to workers that are gone: another has come, so some may be."""
        living = {seat.number for seat in self._board.seats}
        for number in [number for number in self._ways if number not in living]:
            task = asyncio.create_task(self._ways.pop(number).close(), name="way")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    # ------------------------------------------------------------------------------------------------ its own

    async def status(self, request: web.Request) -> web.StreamResponse:
        """``GET /v1/status`` of the oldest worker, with the places of all and what is worse in another."""
        told = await asyncio.gather(*(self._status_of(seat, request) for seat in self._board.serving))
        answers = [(number, code, body) for number, code, body in told if code]
        if not answers:
            raise away()
        (_, code, first), others = answers[0], answers[1:]
        if isinstance(first.get("limits"), dict):
            first = joined(first, {number: body for number, status, body in others if status == code})
            first["limits"] |= {"max_sessions": self._board.places, "free_sessions": self._board.free}
            first["limits"]["workers"] = len(self._board.seats)
            if NEIGHBOURS in request.app:
                first["node"] = request.app[NEIGHBOURS].status()
        return web.json_response(first, status=code, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def _status_of(self, seat: Seat, request: web.Request) -> tuple[int, int, dict[str, Any]]:
        """Number, HTTP status and body; a status of 0 for a worker that does not answer in time."""
        try:
            way = self._way(seat)
            async with asyncio.timeout(STATUS_SECONDS):
                code, body = await way.fetch(request.raw_path, way.headers_of(request))
            told = json.loads(body)
        except (aiohttp.ClientError, AwayError, TimeoutError, ValueError):
            return seat.number, 0, {}
        return seat.number, code, told

    async def alive(self, request: web.Request) -> web.Response:
        """``GET /healthz``."""
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """``GET /readyz``: whether some worker takes another session."""
        if self._board.free:
            return web.json_response({"status": "ready"})
        full = "full" if self._board.busy_for is None else "busy"
        return web.json_response({"status": full if self._board.house() is not None else "starting"}, status=503)

    async def workers(self, request: web.Request) -> web.Response:
        """``GET /v1/workers``."""
        return web.json_response({"object": "list", "data": self._board.shown()})

    async def restart(self, request: web.Request) -> web.Response:
        """``POST /v1/workers/{number}/restart``: 202 at once; a new one starts, and then this one's sessions move."""
        text = request.match_info["number"]
        seat = self._board.find(int(text)) if text.isdecimal() and len(text) < 10 else None
        if seat is None or seat.state != "ready":
            serving = ", ".join(str(one.number) for one in self._board.seats if one.state == "ready")
            raise HttpError(404, "worker_not_found", f"number: there is no worker {text[:20]!a}; those are {serving}")
        if not seat.restarting:
            seat.restarting = True
            self._keep(self._restarted(seat))
        return web.json_response({"number": seat.number, "state": seat.shown}, status=202)

    async def restart_all(self, request: web.Request) -> web.Response:
        """``POST /v1/workers/restart``: 202 at once; all of them, one after another."""
        numbers = self.begin_restart_of_all()
        return web.json_response({"numbers": numbers, "state": "restarting"}, status=202)

    def begin_restart_of_all(self) -> list[int]:
        """Replace every worker that serves now, unless that is being done already; returns their numbers."""
        if not self._restarting_all:
            self._restarting_all = True
            seats = self._board.serving
            for seat in seats:
                seat.restarting = True
            self._keep(self._all_restarted(seats))
        return [seat.number for seat in self._board.serving]

    async def _restarted(self, seat: Seat) -> None:
        try:
            with suppress(WorkerFailedError, OSError):  # it was told in the log
                await self._supervisor.restart(seat.number)
        finally:
            seat.restarting = False

    async def _all_restarted(self, seats: list[Seat]) -> None:
        try:
            await self._supervisor.restart_all()
            log.info("every worker has been replaced")
        except (WorkerFailedError, OSError):
            log.error("not every worker has been replaced")
        finally:
            self._restarting_all = False
            for seat in seats:
                seat.restarting = False

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="restart")
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def watch(self, request: web.Request) -> web.Response:
        """``GET /v1/sessions/{session}/watch``: answered when its worker leaves or is gone, or after ``?wait=``."""
        session = request.match_info["session"]
        number = worker_in(session, self._node)
        if number is None:
            raise HttpError(404, "session_not_found", f"there is no session {session[:80]!a}", "session")
        seconds = seconds_in(request.query.get("wait"))
        news: News | None = News("gone")
        if (seat := self._board.find(number)) is not None:
            news = News("leaving") if seat.state == "leaving" else await self._watches.wait(number, seconds, session)
        if news is None:  # too many wait: this one is to ask now and then
            return told(session, "serving", again=seconds)
        await self._clock.sleep(news.after)
        return told(session, news.state)

    @property
    def _watches(self) -> Watches:
        return self._supervisor.watches

    async def metrics(self, request: web.Request) -> web.Response:
        """``GET /metrics`` of all workers."""
        texts = {number: body.decode() for number, body in (await self.fetched("/metrics")).items()}
        more = list(request.app[NEIGHBOURS].collect()) if NEIGHBOURS in request.app else []
        body = await asyncio.to_thread(merged, texts, self._board.seats, more)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def fetched(self, path: str) -> dict[int, bytes]:
        """What each worker that serves answers to ``GET path``, by its number; without those that do not say 200."""
        key = self._settings.api_key
        headers = {hdrs.AUTHORIZATION: f"Bearer {key.get_secret_value()}"} if key is not None else {}
        seats = self._board.serving
        told = await asyncio.gather(*(self._way(seat).fetch(path, headers) for seat in seats), return_exceptions=True)
        return {
            seat.number: answer[1]
            for seat, answer in zip(seats, told, strict=True)
            if not isinstance(answer, BaseException) and answer[0] == 200
        }

    async def close(self, app: web.Application) -> None:
        """End what is passed on and what is being restarted."""
        for task in list(self._restarts):
            task.cancel()
        await asyncio.gather(*self._restarts, *self._closing, return_exceptions=True)
        for way in self._ways.values():
            await way.close()


FRONT = web.AppKey("front", Front)


def create_front(supervisor: Supervisor, settings: Settings) -> web.Application:
    """The application of the front; the supervisor stays with the caller."""
    clock = MonotonicClock()
    front = Front(supervisor, settings, clock)
    admittance = Admittance(settings, supervisor.secrets.known, clock)
    access = guard(settings, admittance, behind=_PASSED)
    app = web.Application(middlewares=[access, errors, bodies(settings.request_timeout, streamed={"/{path}"})])
    app[LIMITS] = admittance.limits
    PageFiles(STATIC).add_to(app)
    DocPages().add_to(app)
    router = app.router
    router.add_get("/healthz", front.alive)
    router.add_get("/readyz", front.ready)
    router.add_get("/metrics", front.metrics)
    router.add_get(WORKERS, front.workers)
    router.add_post(RESTART_ALL, front.restart_all)
    router.add_post(RESTART, front.restart)
    router.add_get(WATCH, front.watch, allow_head=False)
    router.add_get(STATUS, front.status)
    add_front_tracking(app, settings, front.fetched)
    for path in OFFERS:
        router.add_post(path, front.offered)
    for path in BEGIN:
        router.add_post(path, front.begun)
    router.add_patch("/api/offer", front.offered)
    router.add_route("*", REST, front.passed)
    for prepare in (allow_reading, tell_request_id, secured(settings.allowed_origins)):
        app.on_response_prepare.append(prepare)
    app.on_cleanup.append(front.close)
    app[FRONT] = front
    return app
