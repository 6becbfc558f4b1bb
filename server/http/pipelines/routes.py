"""``/v1/pipelines``: which there are, who does their work, and runs of them."""

from __future__ import annotations

from aiohttp import web

from pipelines.routing.definition import Pipeline
from pipelines.runtime.worker import Worker
from pipelines.text import unknown
from server.http.errors import HttpError
from server.http.pipelines.house import Pipelines
from server.http.pipelines.inputs import Workers
from server.http.pipelines.meters import RunMeters
from server.http.pipelines.places import Places
from server.http.pipelines.runs import Runs
from server.http.pipelines.store import RunStore
from server.http.pipelines.tell import pipeline_json, plan_json
from server.http.pipelines.wishes import asked
from server.settings import Settings

PLACES = web.AppKey("pipeline_places", Places)
STORE = web.AppKey("pipeline_runs", RunStore)
PIPELINES = "/v1/pipelines"
PIPELINE, RUN = f"{PIPELINES}/{{pipeline}}", f"{PIPELINES}/runs/{{run}}"
STREAMED_BODIES = frozenset((PIPELINE,))
"""Routes whose handlers read the body themselves, as it arrives."""


def add_pipelines(app: web.Application, house: Pipelines, settings: Settings) -> RunMeters:
    """The routes. What they own ends with ``app``. Returns what is counted."""
    places = Places(settings.pipeline_runs, settings.pipeline_queue)
    files = Worker("pipeline-files", threads=settings.pipeline_runs, inbox=2 * settings.pipeline_runs)
    workers = Workers(files, Worker("pipeline-codecs", threads=2, inbox=1024))
    app[PLACES] = places
    app[STORE] = store = RunStore()
    handlers = PipelineHandlers(house, Runs(house, places, store, workers, settings), store)
    app.router.add_get(PIPELINES, handlers.list)
    app.router.add_get(RUN, handlers.run)
    app.router.add_get(PIPELINE, handlers.get)
    app.router.add_post(PIPELINE, handlers.post)

    async def close(app: web.Application) -> None:
        workers.files.close()
        workers.codecs.close()
        house.close()

    app.on_cleanup.append(close)
    return RunMeters(places, store)


class PipelineHandlers:
    """The handlers."""

    def __init__(self, house: Pipelines, runs: Runs, store: RunStore) -> None:
        self._house = house
        self._runs = runs
        self._store = store

    async def list(self, request: web.Request) -> web.Response:
        """All pipelines, and what is wrong with files that hold none."""
        rows = [pipeline_json(one, *self._house.origin(one.id)) for one in self._house.all]
        problems = [{"file": file, "message": message} for file, message in self._house.problems]
        return web.json_response({"object": "list", "data": rows, "problems": problems})

    async def get(self, request: web.Request) -> web.Response:
        """One of them, and who would do its work for a request with these headers."""
        pipeline = self._found(request)
        wishes = asked(request.headers, lambda: self._house.backends).wishes
        return web.json_response(plan_json(pipeline, self._house, wishes))

    async def run(self, request: web.Request) -> web.Response:
        """What became of a run."""
        run_id = request.match_info["run"]
        run = self._store.find(run_id)
        if run is None:
            raise HttpError(404, "run_not_found", f"there is no run {run_id[:80]!a}, or no longer", "run")
        return web.json_response(run.json())

    async def post(self, request: web.Request) -> web.StreamResponse:
        """A run on what the body holds."""
        return await self._runs.answer(request, self._found(request))

    def _found(self, request: web.Request) -> Pipeline:
        return found(self._house, request.match_info["pipeline"])


def found(house: Pipelines, pipeline_id: str) -> Pipeline:
    """The pipeline of that id. Raises :class:`HttpError` (404) naming those that there are."""
    pipeline = house.find(pipeline_id)
    if pipeline is None:
        message = unknown("pipeline", pipeline_id[:80], sorted(one.id for one in house.all))
        raise HttpError(404, "pipeline_not_found", message, "pipeline")
    return pipeline
