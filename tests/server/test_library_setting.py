"""The setting ``pipelines``: a folder is checked before the start, read at the start, and watched while it serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.cli.preflight import check
from server.engines.build import build_engines
from server.settings import SettingsError, load_settings
from server.stores import definition_library

MINE = "pipelines:\n  - {id: mine, stages: [{id: clean, type: audio_enhance, model: nobodys"
PATH = "forwarding_policy: {escalation_path: [b]}}]}\nbackends: [{id: b, models: [x]}]\n"


def test_a_folder_that_is_not_there_is_refused_before_the_start(tmp_path: Path) -> None:
    settings = load_settings({"port": 0, "cache": tmp_path, "pipelines": tmp_path / "gone"})
    with pytest.raises(SettingsError, match=r"^pipelines: .*gone: No such file or directory; legal is a folder that"):
        check(settings)


def test_a_model_that_is_neither_here_nor_at_a_backend_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"{MINE}, {PATH}")
    settings = load_settings({"cache": tmp_path, "pipelines": tmp_path})
    (problem,) = definition_library(settings).problems
    assert problem.message.endswith("no backend of the escalation_path has the model 'nobodys': b has x")
    for known in ("whisper-base", "pocketsphinx", "openai/whisper-tiny", "."):
        (tmp_path / "mine.yaml").write_text(f"{MINE}, {PATH}".replace("nobodys", known))
        assert definition_library(settings).problems == (), known


async def test_the_engines_have_the_library_and_watch_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"{MINE}}}]}}\n")
    (tmp_path / "broken.yaml").write_text("oops")
    said: list[str] = []
    settings = load_settings(
        {"cache": tmp_path, "pipelines": tmp_path, "profile": "bench", "vision": False, "download": False}
    )
    engines = await build_engines(settings, said.append)
    try:
        assert engines.library is not None
        assert engines.library.get("mine")
        assert [line for line in said if "broken.yaml" in line]
        assert [work for work in engines.upkeep if getattr(work, "func", None) == engines.library.keep_watching]
    finally:
        await engines.close()
