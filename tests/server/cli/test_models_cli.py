"""``visavis models``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.models import checks
from pipelines.models.catalogue import Catalogue, Model, load
from pipelines.models.store import ModelFiles
from server.cli.main import main
from tests.fakes.file_server import COMMIT, FileServer

COMMON = {"task": "t", "licence": "MIT", "description": "for tests", "sources": [{"dir": "."}]}
EYE = {"id": "eye", "files": [{"name": "eye.onnx"}], "requires": "mediapipe", "memory": {"int8": 5}}
EAR = {"id": "ear", "folder": {"files": ["*.bin"]}}
CATALOGUE = Catalogue.model_validate({"models": [COMMON | EYE, COMMON | EAR]})

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``status, output = run("list")``: the command with a store of its own."""
    monkeypatch.setattr("pipelines.models.catalogue.load", lambda: CATALOGUE)
    monkeypatch.setenv("VISAVIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VISAVIS_MODELS", str(tmp_path / "folder"))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "eye.onnx").write_bytes(b"weights")

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["models", *arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out + err

    return run


def stored(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "cache" / "models" / "eye").glob("*/eye.onnx")
    return path


def test_from_pulling_to_removing(run: Run, tmp_path: Path) -> None:
    status, output = run("list")
    assert status == 0
    assert "eye" in output
    assert "none" in output
    status, output = run("pull", "eye")
    assert (status, stored(tmp_path).read_bytes()) == (0, b"weights")
    assert f"from the folder of models: {stored(tmp_path)}" in output
    version = stored(tmp_path).parent.name
    assert version in run("list")[1]
    assert run("verify") == (0, "eye: sound\n")
    assert run("rm", "eye", "--version", version) == (0, f"removed {version} of eye: 0.0 MB freed\n")
    assert run("verify") == (0, "no model is here\n")
    assert run("rm", "eye") == (2, "visavis: models: eye is not in the store (not_installed)\n")


def test_the_list_cuts_no_name_off_and_tells_what_a_pull_would_fetch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = EAR | {"id": "ear-" + "very-" * 30 + "long", "download": 148}
    monkeypatch.setattr(
        "pipelines.models.catalogue.load", lambda: Catalogue(models=(*CATALOGUE.models, Model(**COMMON, **longest)))
    )
    monkeypatch.setenv("COLUMNS", "30")
    status, output = run("list")
    assert status == 0
    assert any(longest["id"] in line and "(148 MB to fetch)" in line for line in output.splitlines())


def test_every_model_that_ships_tells_how_much_is_fetched_for_it() -> None:
    assert all(model.download for model in load().models)


def test_the_list_for_programs(run: Run, tmp_path: Path) -> None:
    run("pull", "eye")
    eye, ear = json.loads(run("list", "--json")[1])["data"]
    assert (eye["memory"], eye["requires"], eye["licence"], eye["held"]) == ({"int8": 5}, "mediapipe", "MIT", False)
    (version,) = eye["versions"]
    assert version["version"] == stored(tmp_path).parent.name
    assert (version["current"], version["bytes"]) == (True, 7)
    assert ear["versions"] == []


def test_a_spoilt_file_and_its_repair(run: Run, tmp_path: Path) -> None:
    run("pull", "eye")
    stored(tmp_path).write_bytes(b"weighty")
    status, output = run("verify", "eye")
    assert status == 1
    assert "eye.onnx has the checksum" in output
    assert "`visavis models pull eye` fetches it" in output
    assert run("pull", "eye")[0] == 0
    assert run("verify", "eye") == (0, "eye: sound\n")


def test_going_back(run: Run, tmp_path: Path) -> None:
    run("pull", "eye")
    first = stored(tmp_path).parent.name
    assert run("rollback", "eye") == (
        2,
        f"visavis: models: eye has no earlier version; here: {first} (no_previous_version)\n",
    )
    (tmp_path / "folder" / "eye.onnx").write_bytes(b"newer weights")
    assert run("pull", "eye", "--update")[0] == 0
    status, output = run("rollback", "eye")
    assert status == 0
    assert output == f"eye is back at version {first} and stays there until `visavis models pull eye`\n"
    assert f"{first} (held)" in run("list")[1]


def test_one_model_that_cannot_be_had_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    status, output = run("pull", "ear", "eye")
    assert status == 1
    assert "ear could not be had (the folder of models: holds no folder ear)" in output
    assert stored(tmp_path).exists()


@pytest.mark.parametrize("action", [("pull",), ("verify",), ("check",), ("rm",), ("rollback",)])
@pytest.mark.parametrize(
    ("name", "said"), [("nose", "legal"), ("../eye", "legal"), ("eyes", "did you mean eye? Legal")]
)
def test_an_unknown_model_names_those_there_are(
    run: Run, tmp_path: Path, action: tuple[str], name: str, said: str
) -> None:
    before = run("pull", "eye")
    assert before[0] == 0
    assert run(*action, name) == (
        2,
        f"visavis: models: there is no model '{name}'; {said} values are eye, ear (model_unknown)\n",
    )
    assert stored(tmp_path).exists()


def test_another_instance_is_asked_first(run: Run, tmp_path: Path) -> None:
    with FileServer() as fake:
        (tmp_path / "folder" / "eye.onnx").unlink()
        status, output = run("pull", "eye", "--server", fake.url, "--server-key", "secret")
        assert status == 1
        assert "the model server 127.0.0.1:" in output
        assert "answered 404 Not Found" in output
        digest = CATALOGUE.get("eye").digest
        assert (fake.asked, fake.keys) == (
            [(f"/api/models/visavis/eye/revision/{digest}", None)],
            ["Bearer secret"],
        )


def test_what_another_instance_has_is_downloaded(run: Run, tmp_path: Path) -> None:
    (tmp_path / "folder" / "eye.onnx").unlink()
    with FileServer() as fake:
        fake.put_repo("visavis/eye", {"eye.onnx": b"served weights"}, revision=CATALOGUE.get("eye").digest)
        status, output = run("pull", "eye", "--server", fake.url)
    assert status == 0
    assert "downloading eye from the model server 127.0.0.1:" in output
    assert Path(output.split()[-1]).read_bytes() == b"served weights"
    assert f"{COMMIT[:12]}" in run("list")[1]
    assert run("verify") == (0, "eye: sound\n")
    assert run("rm", "eye")[0] == 0
    assert not list((tmp_path / "cache" / "models").rglob("*eye*.onnx"))


def test_models_are_given_something_to_do(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = ("t", "mediapipe")
    monkeypatch.setitem(checks.CHECKS, kind, lambda files: f"saw [b]{files.path.name}[/b]")
    assert run("check", "eye") == (0, "eye: works: saw [b]eye.onnx[/b]\n")  # from the folder
    assert run("check", "eye", "ear") == (
        1,
        "eye: works: saw [b]eye.onnx[/b]\near: it is not here; `visavis models pull ear` fetches it\n",
    )

    def broken(files: ModelFiles) -> str:
        raise ValueError("no such network")

    monkeypatch.setitem(checks.CHECKS, kind, broken)
    assert run("check") == (1, "eye: ValueError: no such network\n")
    run("rm", "eye")
    (tmp_path / "folder" / "eye.onnx").unlink()
    assert run("check") == (0, "no model is here\n")
