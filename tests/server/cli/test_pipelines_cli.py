"""``visavis pipelines``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from server.cli.main import main

MINE = "pipelines:\n  - id: mine\n    name: My own\n    stages:\n      - {id: clean, type: audio_enhance}\n"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``status, output, errors = run("list")``."""
    monkeypatch.setenv("VISAVIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "240")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["pipelines", *arguments])
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


def test_pipelines_are_listed_with_what_they_take_and_give(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / "mine.yaml"
    path.write_text(MINE + "  - {id: transcribe, stages: [{id: a, type: audio_to_text}]}\n")
    (tmp_path / "mine" / "broken.yaml").write_text("oops")
    status, output, _ = run("list", "--pipelines", str(path.parent))
    assert status == 0
    rows = [[word.strip(" │┃") for word in line.split("│")[1:-1]] for line in output.splitlines()]
    assert ["mine", "My own", "audio → audio", "clean", str(path)] in rows
    assert ["transcribe", "", "audio, video → text", "a", f"{path} (replaces one that ships)"] in rows
    assert ["read-aloud", "Read aloud", "text → audio", "speak", "ships"] in rows
    assert f"not in use: {path.parent / 'broken.yaml'}: line 1: must be a mapping, not 'oops'" in output


def test_pipelines_are_listed_as_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("oops")
    status, output, _ = run("list", "--json", "--pipelines", str(tmp_path))
    listed = json.loads(output)
    assert (status, [problem["file"] for problem in listed["problems"]]) == (0, [str(tmp_path / "broken.yaml")])
    (row,) = [row for row in listed["data"] if row["id"] == "read-aloud"]
    assert row == {
        "id": "read-aloud",
        "name": "Read aloud",
        "description": "Text → speech, clause by clause while the text is still coming.",
        "takes": ["text"],
        "gives": ["audio"],
        "stages": [{"id": "speak", "type": "text_to_audio"}],
        "file": "read-aloud.yaml",
        "shipped": True,
        "replaces": False,
    }


def test_files_are_checked(run: Run, tmp_path: Path) -> None:
    sound, broken, backends = (tmp_path / f"{name}.yaml" for name in ("sound", "broken", "backends"))
    sound.write_text(MINE.replace("enhance}", "enhance, forwarding_policy: {escalation_path: [there, away]}}"))
    broken.write_text(MINE.replace("clean", "1"))
    backends.write_text("backends: [{id: away}]\nbackend_map: {there: cpu}\n")
    status, output, _ = run("check", str(sound), str(backends))
    assert (status, output.splitlines()) == (
        0,
        [
            f"sound: {sound}: mine",
            "  mine, stage clean: backend away is absent: no address and nothing of that name here (backend_map can "
            "say what stands for it)",
            f"sound: {backends}: no pipelines",
        ],
    )
    status, output, _ = run("check", str(broken), str(backends))
    assert (status, output.splitlines()) == (
        1,
        [
            f"wrong: {broken}: line 5: pipelines.0.stages.0.id: must be a valid string, not 1",
            f"sound: {backends}: no pipelines",
        ],
    )


def test_a_file_that_is_not_there_and_an_action_that_is_none_are_told(run: Run, tmp_path: Path) -> None:
    status, output, _ = run("check", str(tmp_path / "gone.yaml"))
    assert (status, output) == (1, f"wrong: {tmp_path / 'gone.yaml'}: No such file or directory\n")
    status, _, errors = run("lst")
    assert status == 2
    assert "there is no 'lst'; did you mean list? Legal values are list, run, check" in errors


def test_a_backend_of_ones_own_costs_no_more_of_what_ships_than_cannot_run_on_it(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    url = "http://127.0.0.1:11434/v1"
    capable = "capabilities: {text_generation: true}"
    file.write_text(MINE + f"backends:\n  - {{id: ollama, kind: openai, base_url: '{url}', {capable}}}\n")
    status, output, _ = run("check", str(file))
    assert (status, f"sound: {file}: mine" in output) == (0, True)
    assert "not in use:" in output
    status, output, _ = run("list", "--json", "--pipelines", str(tmp_path))
    listed = json.loads(output)
    (problem,) = listed["problems"]
    assert "video-analysis.yaml: line 25: " in problem["message"]
    assert "ollama cannot do video_summary" in problem["message"]
    ids = {row["id"] for row in listed["data"]}
    without = {row["id"] for row in json.loads(run("list", "--json")[1])["data"]}
    assert without - ids == {"video-notes"}
    assert ids - without == {"mine"}
