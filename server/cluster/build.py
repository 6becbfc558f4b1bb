"""Settings → a node, or what a worker shares; where the extra is missing, that is said."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from media.clock import MonotonicClock
from server.cluster.credentials import Credentials
from server.cluster.door import Door
from server.cluster.membership import Local, Membership
from server.cluster.node import Commons, Node, Shared
from server.cluster.store import Store
from server.http.access.client_secrets import ClientSecrets
from server.http.app import Among
from server.settings import Settings, SettingsError
from server.workers.ids import ids_of


def shared_of(settings: Settings, store: Store | None = None) -> Shared | None:
    """For a process with sessions; ``None`` for a server that is alone. Raises :class:`SettingsError`."""
    if settings.cluster_url is None:
        return None
    return Shared(settings, store or _store(settings), MonotonicClock())


def among_of(settings: Settings, shared: Shared | None) -> Among | None:
    """What the application of a server without workers is; ``None``: it is alone."""
    if shared is None:
        return None
    ids = ids_of(None, settings.node)
    secrets = ClientSecrets(time.time, ids, shared.tell_secret)
    return Among(ids, shared.memory, secrets, front=False)


def node_of(
    settings: Settings, url: str, local: Local, shared: Shared | None = None, store: Store | None = None
) -> Node | None:
    """A node that listens at ``url``; ``None`` for a server that is alone. Raises :class:`SettingsError`."""
    if settings.cluster_url is None or settings.cluster_secret is None or settings.node is None:
        return None
    if shared is not None:
        store, credentials = shared.store, shared.credentials
    else:
        store = store or _store(settings)
        credentials = Credentials(settings.cluster_secret.get_secret_value(), time.time)
    address, clock = settings.node_address or url, MonotonicClock()
    membership = Membership(settings.node, address, store, credentials, clock, local)
    door = Door(membership, local, settings, credentials, clock, raw=shared is None)
    return Node(settings, membership, door, local, shared, Commons(store, credentials, clock))


def _store(settings: Settings) -> Store:
    assert settings.cluster_url is not None
    try:
        from server.cluster.redis_store import RedisStore
    except ImportError as error:
        message = f"cluster_url: needs the extra `cluster` (pip install '.[cluster]'): {error}"
        raise SettingsError(message) from error
    address = settings.cluster_url.get_secret_value()
    try:
        return RedisStore(address)
    except ValueError as error:
        shown = urlsplit(address).scheme
        raise SettingsError(f"cluster_url: {shown}://… is no address of Redis: {error}") from error
