"""Models that several test modules need, made once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.stt import whisper_utterance
from pipelines.engines.stt.whisper import WhisperRecognizer
from pipelines.engines.stt.whisper_model import Whisper, load_whisper
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.models.residency import Kept
from tests.fakes import tiny_whisper
from tests.fakes.watched_whisper import BELIEVE, WatchedWhisper


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


@pytest.fixture
def watched(whisper: Whisper) -> WatchedWhisper:
    """That model, under observation."""
    return WatchedWhisper(whisper)


@pytest.fixture
async def make(
    watched: WatchedWhisper, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., WhisperRecognizer]]:
    """``recognizer = make(**settings)``: on the watched model unless told otherwise."""
    monkeypatch.setattr(
        whisper_utterance, "_SHARE", 0.0
    )  # a busy machine decodes slowly, and would have fewer partials
    engines = []

    def made(*, model: Any = watched, name: str = "whisper-test", **settings: Any) -> WhisperRecognizer:
        chosen = WhisperSettings(**{"language": "en", "guard": BELIEVE, **settings})
        engines.append(WhisperRecognizer(Kept(name, model), chosen))
        return engines[-1]

    yield made
    watched.gate.set()
    for engine in engines:
        await engine.close()
