"""What can be refused before anything is loaded: a port that is taken, a folder that is not there, a name nobody knows.

Light on purpose: a wrong flag is told within a second, not after half a minute of loading.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from pipelines.models.sources_http import within
from pipelines.routing.definition import load_tools
from server.engines.manners import MannersSet, manners_of
from server.engines.wishes import Wishes
from server.settings import Settings, SettingsError
from server.stores import conversation, model_store

RESOLVE_SECONDS = 3.0
"""The system looks for a name much longer, and cannot be interrupted meanwhile."""
WRITABLE = "it must be a folder that can be written to, or made"


def check(settings: Settings) -> None:
    """Raise :class:`SettingsError` or :class:`~pipelines.errors.PipelineError` for what cannot be done as asked."""
    problems = [*_port(settings), *folder_problems(settings), *_certificate(settings)]
    if problems:
        raise SettingsError("; ".join(problems))
    wishes_of(settings).check()


def wishes_of(settings: Settings) -> Wishes:
    """What is asked for by name. Raises :class:`~pipelines.errors.PipelineError` for what the files that are named do
    not hold, or hold in vain."""
    if settings.tools is not None:
        load_tools(settings.tools)
    definition = conversation(settings)
    manners_of(definition.pipelines[0], MannersSet.of(settings))
    return Wishes(settings, definition, model_store(settings))


def _port(settings: Settings) -> list[str]:
    host, port = settings.host, settings.port
    error = bind_error(host, port, socket.SOCK_STREAM)
    if error is None:
        return []
    if isinstance(error, socket.gaierror | TimeoutError):
        return [f"host: {host} cannot be found ({error.strerror or 'no answer'}); give an address of this machine"]
    if error.errno == errno.EADDRNOTAVAIL:
        return [f"host: {host} is no address of this machine; 0.0.0.0 and :: are all of them"]
    if error.errno == errno.EADDRINUSE:
        return [f"port: {port} is taken on {host} (by another visavis, perhaps); --port 0 takes a free one"]
    return [f"port: cannot listen on {host}:{port}: {error.strerror or error}"]


def bind_error(host: str, port: int, kind: socket.SocketKind) -> OSError | None:
    """Why nothing can listen there; ``None`` when it can. Every address of ``host`` is tried, as the server does."""
    try:
        for family, address in _addresses(host, port, kind):
            with socket.socket(family, kind) as probe:
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
                if kind == socket.SOCK_STREAM:
                    probe.listen(1)  # two may bind to a port, but only one may listen
    except OSError as error:
        return error
    return None


def _addresses(host: str, port: int, kind: socket.SocketKind) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    """Raises :class:`OSError`, of which :class:`TimeoutError` is one."""
    found = within(RESOLVE_SECONDS, lambda: socket.getaddrinfo(host or None, port, type=kind, flags=socket.AI_PASSIVE))
    return [(family, address) for family, _, _, _, address in found]


def _certificate(settings: Settings) -> list[str]:
    if not settings.serves_tls:
        return []
    from server.http.tls.context import tls_context  # half a second of imports, for those who serve HTTPS

    try:
        tls_context(settings)
    except SettingsError as error:
        return [str(error)]
    return []


def folder_problems(settings: Settings) -> list[str]:
    """What of the folders that the settings name cannot be read, or cannot be written to."""
    problems = []
    for name, folder in (("models", settings.models), ("pipelines", settings.pipelines)):
        if folder is None:
            continue
        try:
            os.listdir(folder)
        except OSError as error:
            problems.append(f"{name}: {folder}: {error.strerror}; it must be a folder that can be read")
    cache = settings.cache.expanduser()
    if "cache" in settings.model_fields_set and (problem := _unusable(cache)):
        problems.append(f"cache: {settings.cache}: {problem}; {WRITABLE}")
    if settings.recordings is not None and (problem := _unusable(settings.recordings)):
        problems.append(f"recordings: {settings.recordings}: {problem}; {WRITABLE}")
    return problems


def _unusable(folder: Path) -> str | None:
    """Why nothing can be kept in ``folder``; it need not be there yet."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir():
        return f"{place} is no folder"
    return None if os.access(place, os.W_OK | os.X_OK) else f"{place} cannot be written to"
