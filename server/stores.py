"""Settings → the store of model files, and the library of pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pipelines.engines.registry import ENGINES
from pipelines.models.sources_hub import ModelServer
from pipelines.models.store import ModelStore
from pipelines.routing.definition import Definition, load
from pipelines.routing.library import Library
from server.settings import Settings


def model_store(settings: Settings, server: str | None = None, key: str | None = None) -> ModelStore:
    """The store that the settings describe; ``server`` and ``key`` replace theirs.

    Raises :class:`~pipelines.errors.ModelError` (``server_invalid``).
    """
    if server is None and settings.model_server is not None:
        server = settings.model_server
        key = settings.model_server_key.get_secret_value() if settings.model_server_key is not None else None
    return ModelStore(settings.model_cache, settings.models, server=ModelServer(server, key) if server else None)


@cache
def shipped_library() -> Library:
    """The pipelines that ship, and no others. Blocking, the first time."""
    return Library()


def conversation(settings: Settings, library: Library | None = None) -> Definition:
    """The definition of the live conversation, beside what the files of the folder in the settings declare.

    Blocking. Raises :class:`~pipelines.errors.DefinitionError`.
    """
    if library is None and settings.pipelines is not None:
        library = definition_library(settings)
    return load(settings.pipeline, library.backends if library is not None else None)


def definition_library(settings: Settings, files: Sequence[Path] = ()) -> Library:
    """The pipelines that ship, that of the conversation, and those of the folder in the settings; ``files`` besides.

    Blocking. Raises :class:`~pipelines.errors.ModelError` as :func:`model_store` does; files that are not valid are
    told by the library.
    """
    names = {model.id for model in model_store(settings).catalogue.models} | {spec.name for spec in ENGINES}

    def here(model: str) -> bool:
        return model in names or "/" in model or Path(model).expanduser().exists()

    return Library(settings.pipelines, files=(settings.pipeline, *files), here=here)
