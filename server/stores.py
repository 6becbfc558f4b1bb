"""Settings → the store of model files."""

from __future__ import annotations

from pipelines.models.sources_hub import ModelServer
from pipelines.models.store import ModelStore
from server.settings import Settings


def model_store(settings: Settings, server: str | None = None, key: str | None = None) -> ModelStore:
    """The store that the settings describe; ``server`` and ``key`` replace theirs.

    Raises :class:`~pipelines.errors.ModelError` (``server_invalid``).
    """
    if server is None and settings.model_server is not None:
        server = settings.model_server
        key = settings.model_server_key.get_secret_value() if settings.model_server_key is not None else None
    return ModelStore(settings.model_cache, settings.models, server=ModelServer(server, key) if server else None)
