"""``GET /v1/status``: what a client needs to know before it calls. Everybody may know the name and whether a key is
needed; the rest is for those who have it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aiohttp import hdrs, web

from pipelines.interfaces.llm import adapters_of, takes_images
from pipelines.interfaces.stt import languages_of
from pipelines.models.fetches import Fetch
from pipelines.routing.definition import Pipeline
from pipelines.routing.stage_types import StageType
from pipelines.runtime.scaling import Pool
from pipelines.vision.detectors import DETECTORS
from pipelines.voice.spoken_text.languages import language_of
from server.engines.build import Engines
from server.engines.quality import STAGES, Quality, advice, quality_of
from server.http.access.granted import GRANTED
from server.http.access.neighbours import NEIGHBOURS
from server.http.signaling.ice_servers import ice_servers_for
from server.load.readings import HIGHEST
from server.load.state import Load
from server.sessions import Registry
from server.settings import Settings
from server.stores import shipped_library

STATUS = "/v1/status"
_CONVERSES: tuple[StageType, ...] = ("audio_to_text", "text_generation", "text_to_audio")
"""Stages of a pipeline that can be used live."""
Json = dict[str, Any]


def short(settings: Settings, *, ready: bool) -> Json:
    """What everybody may know."""
    return {"name": "visavis", "version": _version(), "auth_required": settings.api_key is not None, "ready": ready}


def progress(fetches: Iterable[tuple[str, Fetch]]) -> list[Json]:
    """Stage and model of what is still on its way, and how far it has come."""
    return [
        {"engine": stage, "name": fetch.model, "percent": _percent(fetch)}
        for stage, fetch in fetches
        if fetch.state in ("waiting", "fetching")
    ]


def load_json(load: Load) -> Json:
    """The level, what it was taken for, and all that is measured."""
    reason = load.reason
    return {
        "level": load.level,
        "reason": asdict(reason.cause) if reason is not None else None,
        "retry_after": load.retry_after() if load.level == HIGHEST else None,
        "measures": [{**asdict(one.cause), "detail": one.detail or None} for one in load.readings],
    }


class Status:
    """The handler of a server that is ready."""

    def __init__(
        self,
        engines: Engines,
        settings: Settings,
        sessions: Registry,
        load: Load,
        why: Callable[[Pool], str] = lambda pool: "",
    ) -> None:
        """``why`` a pool has the size that it has."""
        self._engines = engines
        self._settings = settings
        self._sessions = sessions
        self._load = load
        self._why = why

    async def get(self, request: web.Request) -> web.Response:
        """The status, for whoever asks."""
        told = short(self._settings, ready=True)
        if GRANTED in request:
            told |= self._whole(request)
        return web.json_response(told, headers={hdrs.CACHE_CONTROL: "no-store"})

    def _whole(self, request: web.Request) -> Json:
        engines, settings, voice = self._engines, self._settings, self._engines.voice
        node = request.app[NEIGHBOURS].status() if NEIGHBOURS in request.app else None
        return {
            **({"node": node} if node is not None else {}),
            "warming_up": progress((row.stage, fetch) for row in engines.rows() for fetch in row.fetching),
            "engines": engines.status(),
            "quality": self._quality(),
            "ray": self._ray(),
            "pipelines": [{"id": one.id, "description": one.description or one.name} for one in self._pipelines()],
            "pipeline": engines.pipeline.id,
            "voices": [{"id": name, "name": _spoken(name), "language": language_of(name)} for name in voice.tts.voices],
            "languages": list(languages_of(voice.stt)),
            "models": [voice.llm.name, *(f"{voice.llm.name}:{name}" for name in adapters_of(voice.llm))],
            "detectors": self._detectors(),
            "takes_pictures": takes_images(voice.llm),
            "limits": {
                "max_sessions": settings.max_sessions,
                "free_sessions": self._sessions.free,
                "max_viewers": settings.max_viewers,
            },
            "load": load_json(self._load),
            "https_url": self._https(request),
            "recording": {
                "allowed": settings.recordings is not None,
                "max_minutes": settings.recording_minutes,
                "max_mb": settings.recording_mb,
            },
            "pools": [self._pool(pool) for pool in engines.pools],
            "ice_servers": [server.json() for server in ice_servers_for(request)],
        }

    def _ray(self) -> Json | None:
        sources = self._engines.sources
        return None if sources is None or sources.ray is None else sources.ray.status()

    def _pool(self, pool: Pool) -> Json:
        bounds = pool.bounds
        return {
            "name": pool.name,
            "size": pool.size,
            "least": bounds.least,
            "most": bounds.most,
            "why": self._why(pool),
        }

    def _quality(self) -> Json:
        rows = self._engines.rows()
        models = self._engines.store.catalogue.models if self._engines.store is not None else ()
        words: dict[str, Quality] = dict.fromkeys(STAGES, "basic")
        words |= {row.stage: quality_of(row, models) for row in rows if row.stage in STAGES}
        found = {row.stage for row in rows}
        return {**words, "advice": advice({k: v for k, v in words.items() if k in found}, rows, models)}

    def _pipelines(self) -> list[Pipeline]:
        own, library = self._engines.pipeline, self._engines.library or shipped_library()
        others = [one for one in library.pipelines.values() if one.id != own.id]
        return [own, *(one for one in others if all(map(one.stage, _CONVERSES)))]

    def _detectors(self) -> list[Json]:
        unavailable = self._engines.unavailable_detectors
        return [
            {"name": name, "available": name not in unavailable, "reason": unavailable.get(name)} for name in DETECTORS
        ]

    def _https(self, request: web.Request) -> str | None:
        """An address with which browsers give the page a microphone, as far as it is known."""
        named = next((origin for origin in self._settings.public_origins if origin.startswith("https://")), None)
        return named or (f"https://{request.host}" if self._settings.serves_tls else None)


@cache
def _version() -> str:
    try:
        return version("visavis")
    except PackageNotFoundError:
        return "unknown"


def _percent(fetch: Fetch) -> int | None:
    return min(100, fetch.done * 100 // fetch.total) if fetch.state == "fetching" and fetch.total else None


def _spoken(name: str) -> str:
    """A voice's name for people: ``en_US-joe-medium`` → ``joe``; other names are as they are."""
    parts = name.split("-")
    return parts[1] if len(parts) == 3 and "_" in parts[0] else name
