"""Models of the catalogue for tests that prove the product on real weights.

They are fetched once into the user's cache, as the server does; where that cannot be, the test is skipped and says why.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from pipelines.errors import ModelError
from pipelines.models.store import ModelFiles, ModelStore
from server.settings import load_settings


@cache
def _ensured(model_id: str) -> ModelFiles | str:
    settings = load_settings({})
    try:
        return ModelStore(settings.model_cache).ensure(model_id)
    except ModelError as error:
        return error.message


def real_model(model_id: str) -> ModelFiles:
    """The files of a model; skips the test where they cannot be had."""
    if os.environ.get("VISAVIS_TEST_OFFLINE"):
        pytest.skip("VISAVIS_TEST_OFFLINE is set")
    found = _ensured(model_id)
    if isinstance(found, str):
        pytest.skip(found)
    return found


def real_folder(model_id: str) -> Path:
    """The folder in which a model's files lie."""
    files = real_model(model_id)
    return next(iter(files.files.values())).parent
