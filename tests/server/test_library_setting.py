"""The setting ``pipelines``: a folder is checked before the start, read at the start, and watched while it serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import DefinitionError
from pipelines.routing.definition import SHIPPED
from server.cli.preflight import check
from server.engines.build import build_engines
from server.settings import SettingsError, load_settings
from server.stores import conversation, definition_library

MINE = "pipelines:\n  - {id: mine, stages: [{id: clean, type: audio_enhance, model: nobodys"
PATH = "forwarding_policy: {escalation_path: [b]}}]}\nbackends: [{id: b, models: [x]}]\n"


def test_a_folder_that_is_not_there_is_refused_before_the_start(tmp_path: Path) -> None:
    settings = load_settings({"port": 0, "cache": tmp_path, "pipelines": tmp_path / "gone"})
    with pytest.raises(SettingsError, match=r"^pipelines: .*gone: No such file or directory; it must be a folder that"):
        check(settings)


def test_a_model_that_is_neither_here_nor_at_a_backend_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"{MINE}, {PATH}")
    settings = load_settings({"cache": tmp_path, "pipelines": tmp_path})
    (problem,) = definition_library(settings).problems
    assert problem.message.endswith("no backend of the escalation_path has the model 'nobodys': b has x")
    for known in ("whisper-base", "pocketsphinx", "openai/whisper-tiny", "."):
        (tmp_path / "mine.yaml").write_text(f"{MINE}, {PATH}".replace("nobodys", known))
        assert definition_library(settings).problems == (), known


def test_the_conversation_may_name_what_files_of_the_folder_declare(tmp_path: Path) -> None:
    folder, file = tmp_path / "mine", tmp_path / "conversation.yaml"
    folder.mkdir()
    shipped = (SHIPPED / "voice-assistant.yaml").read_text("utf-8")
    file.write_text(shipped.replace("[ollama, cpu]", "[there, mapped, ollama, cpu]"), "utf-8")
    flags = {"cache": tmp_path, "pipeline": file}
    with pytest.raises(DefinitionError, match="there is no backend 'there'"):
        conversation(load_settings(flags))
    (folder / "backends.yaml").write_text(
        "backends: [{id: there, kind: openai, base_url: 'http://192.0.2.1/v1'}]\nbackend_map: {mapped: there}\n"
    )
    definition = conversation(load_settings(flags | {"pipelines": folder}))
    assert [definition.backend(name).id for name in ("there", "mapped", "ollama", "cpu")] == [
        *("there", "there", "ollama", "cpu")
    ]


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
