"""What ``GET /v1/status`` and recordings hold, as pydantic models: a part of :mod:`server.http.openapi.shapes`."""

from __future__ import annotations

from typing import Any, Literal

from server.http.openapi.shapes import EngineRow, ModelProgress, Shape


class ShortStatus(Shape):
    """What everybody may know; ``ready``: whether the engines are loaded."""

    name: Literal["visavis"]
    version: str
    auth_required: bool
    ready: bool


class StatusQuality(Shape):
    """How good the ears, the brain and the voice are that serve now; ``advice`` tells how they would be better."""

    stt: Literal["basic", "good", "best"]
    llm: Literal["basic", "good", "best"]
    tts: Literal["basic", "good", "best"]
    advice: str | None


class StatusPipeline(Shape):
    """A pipeline that conversations can run."""

    id: str
    description: str


class StatusVoice(Shape):
    """A voice; ``language`` is a code."""

    id: str
    name: str
    language: str


class StatusDetector(Shape):
    """Something that the camera's pictures can be searched for, or why not."""

    name: str
    available: bool
    reason: str | None


class StatusLimits(Shape):
    """How many may come."""

    max_sessions: int
    free_sessions: int
    max_viewers: int


class LoadCause(Shape):
    """A measurement and its limit."""

    measure: Literal["event_loop", "sound", "engine_wait", "engine_delay", "cpu", "cpu_pressure", "memory"]
    value: float
    limit: float
    unit: Literal["ms", "%"]


class LoadMeasure(LoadCause):
    """The same, and which of several it is."""

    detail: str | None


class StatusLoad(Shape):
    """How much there is to do: 0 nothing is given up, 4 nobody new is let in."""

    level: int
    reason: LoadCause | None
    retry_after: int | None
    measures: list[LoadMeasure]


class StatusRecording(Shape):
    """Whether sessions may be recorded, and how long and large a recording gets."""

    allowed: bool
    max_minutes: float
    max_mb: int


class RayEngine(Shape):
    """An engine on Ray, as far as is known: which it is, where, and how many replicas of it there are and run."""

    engine: str | None
    device: str | None
    status: str | None
    replicas: int | None
    running: int | None


class StatusRay(Shape):
    """The Ray cluster that runs engines; ``problem``: why not all of them can be had."""

    address: str
    application: str
    connected: bool
    problem: str | None
    engines: dict[str, RayEngine]


class StatusPool(Shape):
    """Threads or processes of an engine, of which there may be ``least`` to ``most``; ``why`` it has its ``size``."""

    name: str
    size: int
    least: int
    most: int
    why: str


class StatusNode(Shape):
    """What this server is among several nodes."""

    name: str
    state: Literal["ready", "draining"]
    registry: Literal["connected", "away", "name taken"]
    nodes: int


class Status(ShortStatus):
    """What a client needs to know before it calls. While the server still loads, only ``warming_up`` is more."""

    warming_up: list[ModelProgress]
    engines: list[EngineRow]
    quality: StatusQuality
    ray: StatusRay | None
    pipelines: list[StatusPipeline]
    pipeline: str
    voices: list[StatusVoice]
    languages: list[str]
    models: list[str]
    detectors: list[StatusDetector]
    takes_pictures: bool
    limits: StatusLimits
    load: StatusLoad
    https_url: str | None
    recording: StatusRecording
    ice_servers: list[dict[str, Any]]
    pools: list[StatusPool]
    node: StatusNode | None = None


class RecordedFile(Shape):
    """One of the files, and where it is fetched."""

    name: str
    bytes: int
    type: str
    url: str


class Recorded(Shape):
    """What has been recorded of a session."""

    session_id: str
    state: Literal["recording", "done"]
    seconds: float
    files: list[RecordedFile]


class RecordingGone(Shape):
    """It has been deleted."""

    session_id: str
    deleted: Literal[True]
