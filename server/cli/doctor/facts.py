"""What ``visavis doctor`` looks at. Nothing here judges, and nothing that fails ends the examination."""

from __future__ import annotations

import asyncio
import logging
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from pipelines.engines.registry import ENGINES
from pipelines.engines.remote.link import Link
from pipelines.engines.remote.messages import STATUS, Deployed
from pipelines.errors import PipelineError
from pipelines.routing.definition import load_tools
from pipelines.runtime.hardware import Devices, survey
from server.cli.preflight import bind_error, folder_problems, wishes_of
from server.settings import Settings, SettingsError
from server.stores import conversation, model_store

_OTHERS = ("visavis", "aiohttp", "aiortc", "av", "numpy", "onnxruntime-gpu", "torchvision", "openvino", "mcp", "ray")
PACKAGES = tuple(dict.fromkeys((*_OTHERS, *(package for spec in ENGINES for package in spec.packages))))
"""Whose versions are told."""

_RAY_SECONDS = 20.0
"""For Ray to be joined and asked."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model of the catalogue."""

    id: str
    task: str
    description: str
    problem: str | None
    """Why it cannot be used as it is; ``None`` when it is there and sound."""
    stored: bool = False
    """Whether there is anything of it, be it sound or not."""
    licence: str = ""
    """SPDX identifier: what may be done with its weights."""
    requires: str | None = None
    """The library that runs it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was found."""

    python: tuple[int, int, int]
    system: str
    versions: Mapping[str, str | None]
    """Of :data:`PACKAGES`; ``None`` is not installed."""
    devices: Devices
    torchvision_wants: str | None = None
    """The exact version of torch that the installed torchvision is built for."""
    vision_reports: bool = False
    """Whether MediaPipe tells its maker how it is used."""
    vision: str | None = None
    """Why nothing can be looked at, ending in ``: `` and a command; ``None`` when it can."""
    tcp_problem: str | None = None
    """Why the port cannot be had."""
    udp_problem: str | None = None
    """Why no media can be received."""
    tls_problem: str | None = None
    """Why HTTPS cannot be served as the settings ask for; ``None`` also when they do not."""
    tls_days: float | None = None
    """Until the certificate expires; ``None``: there is none yet, or none is asked for."""
    cache_problem: str | None = None
    """Why nothing can be kept in the cache folder."""
    cache_free: int | None = None
    """Bytes."""
    asked_problem: str | None = None
    """What the settings or the pipeline ask for and cannot have; ``None`` when all can be had."""
    ray: str | None = None
    """What a Ray cluster runs of ours, for people; ``None``: the settings name none, or it cannot be told."""
    ray_problem: str | None = None
    """Why it cannot."""
    tools: Sequence[tuple[str, str]] = ()
    """What the server runs itself, as it is written down: a name, and what it is."""
    grpc_problem: str | None = None
    """Why the port for gRPC cannot be had; ``None`` also when none is asked for."""
    folder_problems: Sequence[str] = ()
    """What of the folders that the settings name cannot be used, as a start refuses it."""
    models: Sequence[ModelState] = ()
    catalogue_problem: str | None = None
    served: str | None = None
    """The language model that a server offers, and where."""
    not_served: str = ""
    """Where one was looked for, and what came of it."""


async def gather(settings: Settings) -> Facts:
    """Look at everything: some seconds, for libraries are started (elsewhere) and model files are checked."""
    devices, stored, (served, not_served) = await asyncio.gather(
        asyncio.to_thread(survey, deep=True), asyncio.to_thread(_models, settings), _language_model(settings)
    )
    models, catalogue_problem = stored
    ray, ray_problem = await _ray(settings)
    tls_problem, tls_days = _certificate(settings)
    cache_problem, cache_free = _writable(settings.cache.expanduser())
    return Facts(
        python=sys.version_info[:3],
        system=platform.platform(),
        versions={name: _version(name) for name in PACKAGES},
        devices=devices,
        torchvision_wants=_torch_of_torchvision(),
        vision=(vision := _vision()),
        vision_reports=vision is None and await asyncio.to_thread(_reports),
        tcp_problem=_bindable(settings.host, settings.port, socket.SOCK_STREAM),
        udp_problem=_bindable((settings.ice_address or (settings.host,))[0], 0, socket.SOCK_DGRAM),
        tls_problem=tls_problem,
        tls_days=tls_days,
        cache_problem=cache_problem,
        cache_free=cache_free,
        asked_problem=_asked(settings),
        ray=ray,
        ray_problem=ray_problem,
        tools=_tools(settings),
        grpc_problem=_grpc(settings),
        folder_problems=folder_problems(settings),
        models=models,
        catalogue_problem=catalogue_problem,
        served=served,
        not_served=not_served,
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torch_of_torchvision() -> str | None:
    try:
        wanted = requires("torchvision") or []
    except PackageNotFoundError:
        return None
    exact = [
        line.split(";")[0].split("==")[1].strip(" ()") for line in wanted if line.startswith("torch") and "==" in line
    ]
    return exact[0] if exact else None


def _vision() -> str | None:
    try:
        from pipelines.engines.mediapipe.tasks import MediaPipeVision
    except ImportError as error:
        return f"the detectors cannot be loaded ({error}): pip install mediapipe"
    return MediaPipeVision.probe()


def _reports() -> bool:
    """Whether MediaPipe cannot be kept from reporting to its maker. Loads the library."""
    from pipelines.engines.mediapipe.library import stop_reports

    try:
        return not stop_reports()
    except (ImportError, OSError):  # a library that cannot be loaded reports nothing
        return False


def _bindable(host: str, port: int, kind: socket.SocketKind) -> str | None:
    """Why nothing can listen there; ``None`` when it can."""
    error = bind_error(host, port, kind)
    return None if error is None else error.strerror or str(error) or "no answer"


def _certificate(settings: Settings) -> tuple[str | None, float | None]:
    """Nothing is made for it: the certificate of ``tls_self_signed`` is made by the start that needs it."""
    from server.http.tls.context import days_left, tls_context, tls_folder

    try:
        if settings.tls_cert is not None:
            tls_context(settings)
            return None, days_left(settings.tls_cert)
        if settings.tls_self_signed and (made := tls_folder(settings) / "self-signed.crt").exists():
            return None, days_left(made)
    except (SettingsError, OSError, ValueError) as error:
        return str(error), None
    return None, None


def _writable(folder: Path) -> tuple[str | None, int | None]:
    """Why nothing can be written into ``folder`` (or where it would be made), and the bytes free there."""
    place = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        free = shutil.disk_usage(place).free
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"visavis")
    except OSError as error:
        return f"{place}: {error.strerror or error}", None
    return None, free


def _grpc(settings: Settings) -> str | None:
    if settings.grpc_port is None:
        return None
    return _bindable(settings.host_of_grpc, settings.grpc_port, socket.SOCK_STREAM)


def _asked(settings: Settings) -> str | None:
    """Nothing is loaded for it, and devices are told elsewhere."""
    try:
        wishes_of(settings).names()
    except PipelineError as error:
        return error.message
    return None


def _tools(settings: Settings) -> list[tuple[str, str]]:
    """Nothing of them is run, nor asked whether it is there."""
    try:
        more = load_tools(settings.tools) if settings.tools is not None else ()
        return [(one.title, one.what) for one in (*conversation(settings).tools, *more)]
    except PipelineError:  # told as what is asked for
        return []


def _models(settings: Settings) -> tuple[list[ModelState], str | None]:
    try:
        store = model_store(settings)
        return [
            ModelState(
                m.id, m.task, m.description, store.verify(m.id), (store.root / m.id).exists(), m.licence, m.requires
            )
            for m in store.catalogue.models
        ], None
    except PipelineError as error:
        return [], error.message


async def _ray(settings: Settings) -> tuple[str | None, str | None]:
    """The engines on Ray, asked as a server would; or why they cannot be had."""
    if settings.ray_address is None:
        return None, None
    link = Link(settings.ray_address, settings.ray_application)
    try:
        found: dict[str, Deployed] = await link.call(STATUS, _RAY_SECONDS)
    except PipelineError as error:
        return None, error.message
    finally:
        await link.close()
    if missing := [stage for stage in settings.remote_stages if stage not in found]:
        return None, f"{settings.ray_application} has no {', '.join(missing)} there: visavis serve-engines"
    told = (f"{stage} {one.status.lower()}, {one.running} of {one.replicas} replicas" for stage, one in found.items())
    return "; ".join(told) or "nothing is deployed there", None


async def _language_model(settings: Settings) -> tuple[str | None, str]:
    """The model that a server offers and where, as a start finds it; or where it was looked for."""
    try:
        from server.engines.model_servers import ModelServers
        from server.engines.parts import Parts

        model, reason = await ModelServers(Parts(settings, conversation(settings), log.debug)).find()
    except (ImportError, PipelineError) as error:
        return None, str(error)
    if model is None:
        return None, reason
    await model.close()
    return f"{model.name}, {reason}", ""
