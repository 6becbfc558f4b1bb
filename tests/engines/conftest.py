"""Models that several test modules need, made once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.engines.whisper_model import Whisper, load_whisper
from tests.fakes import tiny_whisper


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper for CTranslate2: the folder ``VISAVIS_TEST_WHISPER``, or a tiny one with random weights."""
    given = os.environ.get("VISAVIS_TEST_WHISPER")
    return Path(given) if given else tiny_whisper.build(tmp_path_factory.mktemp("whisper") / "multilingual")


@pytest.fixture(scope="session")
def whisper(whisper_folder: Path) -> Whisper:
    """That model, loaded."""
    return load_whisper(whisper_folder, "cpu")


@pytest.fixture(scope="session")
def english_whisper(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    """A tiny one that knows English alone."""
    folder = tmp_path_factory.mktemp("whisper") / "english"
    return load_whisper(tiny_whisper.build(folder, multilingual=False), "cpu")
