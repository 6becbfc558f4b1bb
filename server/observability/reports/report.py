"""One report: an exception, and what was known at that moment. JSON values only; no message, no local, no word said."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel

from pipelines.errors import PipelineError
from server.observability.history.series import Key
from server.observability.reports.redaction import causes, changed_settings, code_of, frames, pseudonym, type_name

Json = dict[str, Any]
LIBRARIES = (
    "aiortc",
    "aioice",
    "aiohttp",
    "av",
    "numpy",
    "onnxruntime",
    "ctranslate2",
    "faster-whisper",
    "torch",
    "transformers",
    "xllamacpp",
    "piper-tts",
    "mediapipe",
    "silero-vad",
    "pydantic",
    "uvloop",
)
"""Whose versions are told."""
LOAD: Mapping[str, str] = {
    "process_cpu_seconds_total": "cores",
    "process_resident_memory_bytes": "resident_bytes",
    "visavis_machine_cpu_share": "machine_cpu_share",
    "visavis_machine_memory_available_bytes": "available_bytes",
    "visavis_event_loop_delay_seconds": "event_loop_delay_seconds",
    "visavis_sessions": "sessions",
}
"""Series of the history → what they are called here."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is asked when something has gone wrong."""

    settings: BaseModel
    latest: Callable[[], Mapping[Key, float]] = dict
    """The load."""
    events: Callable[[str], Sequence[str]] = lambda session: ()
    """The kinds of the latest events of a session."""
    now: Callable[[], float] = lambda: 0.0
    """Seconds since 1970."""


def report(error: BaseException, about: Circumstances, *, session: str = "", engine: str = "", part: str = "") -> Json:
    """The report. ``engine`` is the worker that was at it, ``part`` the module that noticed."""
    own = [_described(error), *map(_described, causes(error))]
    stage = error.stage if isinstance(error, PipelineError) else None
    return {
        "id": fingerprint(own),
        "time": round(about.now(), 3),
        "version": _version("visavis"),
        **own[0],
        "causes": own[1:],
        "noticed_by": part,
        "engine": engine,
        "stage": stage if stage is None or stage.isidentifier() else None,
        "session": pseudonym(session) if session else "",
        "events": list(about.events(session)) if session else [],
        "load": {LOAD[name]: float(f"{value:.6g}") for (name, labels), value in about.latest().items() if name in LOAD},
        "settings": changed_settings(about.settings),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "libraries": dict(_libraries()),
    }


def fingerprint(described: Sequence[Json]) -> str:
    """The same for what went wrong in the same way at the same place, whoever it was for."""
    ours = [
        (one["type"], one["code"], [(row["file"], row["line"]) for row in one["trace"] if "file" in row])
        for one in described
    ]
    return hashlib.sha256(json.dumps(ours).encode()).hexdigest()[:12]


def _described(error: BaseException) -> Json:
    return {"type": type_name(type(error)), "code": code_of(error), "trace": frames(error.__traceback__)}


@cache
def _libraries() -> tuple[tuple[str, str], ...]:
    return tuple((name, found) for name in LIBRARIES if (found := _version(name)))


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
