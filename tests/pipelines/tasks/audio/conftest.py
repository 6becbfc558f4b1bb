"""Tiny models for sound, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.tasks.audio import automatic_speech_recognition as asr
from pipelines.tasks.audio.models.clap import Clap, load_clap
from tests.fakes import tiny_sound_models, tiny_whisper
from tests.real_models import real_folder


@pytest.fixture(scope="session")
def tiny_clap(tmp_path_factory: pytest.TempPathFactory) -> Clap:
    return load_clap(tiny_sound_models.clap(tmp_path_factory.mktemp("clap")), "cpu", "float32")


@pytest.fixture(scope="session")
def tiny_ct2_whisper(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tiny_whisper.build(tmp_path_factory.mktemp("ct2") / "whisper")
    return asr.SPEC.load(folder, "cpu", "auto")


@pytest.fixture(scope="session")
def tiny_hf_whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper.save_original(tmp_path_factory.mktemp("hf-whisper"))


@pytest.fixture(scope="session")
def base_whisper() -> Any:
    return asr.SPEC.load(real_folder("whisper-base"), "cpu", "auto")
