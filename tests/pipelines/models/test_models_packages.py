"""Models out of packages of several kinds: in parts, packed twice, of one package or more."""

from __future__ import annotations

import hashlib
import io
import subprocess
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from pipelines.errors import ModelError
from pipelines.models import catalogue
from pipelines.models.catalogue import Catalogue
from pipelines.models.sources import Pip
from pipelines.models.sources_http import Progress
from pipelines.models.store import ModelStore

HEAD, TAIL, CONFIG, WEIGHTS = b"the first half, " * 50, b"the second half", b"{}", b"packed twice"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return packed.getvalue()


PACKAGES = {
    "ears-1==1.0": zipped(ears_1__model_dot_part1=HEAD),
    "ears-2==1.0": zipped(ears_2__model_dot_part2=TAIL, ears_2__config_dot_json=CONFIG),
    "words==2.0": zipped(words__model_dot_zip=zipped(weights_dot_bin=WEIGHTS)),
}


def ears(**changed: Any) -> dict[str, Any]:
    return {
        "id": "ears",
        "task": "speech-to-text",
        "licence": "MIT",
        "description": "for tests",
        "folder": {"files": ["model.bin", "config.json"]},
        "sources": [
            {
                "wheels": [
                    {
                        "wheel": "ears-1==1.0",
                        "size": len(PACKAGES["ears-1==1.0"]),
                        "members": {"model.part1": {"path": "ears_1/model.part1", "sha256": sha(HEAD)}},
                    },
                    {
                        "wheel": "ears-2==1.0",
                        "members": {
                            "model.part2": {"path": "ears_2/model.part2", "sha256": sha(TAIL)},
                            "config.json": {"path": "ears_2/config.json", "sha256": sha(CONFIG)},
                        },
                    },
                ],
                "join": {"model.bin": {"parts": ["model.part1", "model.part2"], "sha256": sha(HEAD + TAIL), **changed}},
            }
        ],
    }


WORDS = {
    "id": "words",
    "task": "embedding",
    "licence": "MIT",
    "description": "for tests",
    "files": [{"name": "weights.bin", "sha256": sha(WEIGHTS)}],
    "sources": [
        {"wheel": "words==2.0", "members": {"weights.bin": {"path": "words/model.zip", "inside": "weights.bin"}}}
    ],
}


class Index:
    """Stands where pip is started; ``away`` are packages that it does not have."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.asked: list[str] = []

    def __call__(
        self, command: list[str], seconds: float, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        if "config" in command:
            return subprocess.CompletedProcess(command, 1, "", "")
        package = command[command.index("download") + 1]
        self.asked.append(package)
        if package in self.away:
            return subprocess.CompletedProcess(command, 1, "", f"ERROR: no {package}")
        (Path(command[command.index("--dest") + 1]) / "package.whl").write_bytes(PACKAGES[package])
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def index() -> Index:
    return Index()


def store(tmp_path: Path, index: Index, *models: dict[str, Any]) -> ModelStore:
    return ModelStore(tmp_path, catalogue=Catalogue.model_validate({"models": models}), pip=Pip(run=index))


def test_a_file_in_parts_is_joined_and_the_parts_are_not_kept(tmp_path: Path, index: Index) -> None:
    files = store(tmp_path, index, ears()).ensure("ears")
    assert files.path.is_dir()
    assert {name: path.read_bytes() for name, path in files.files.items()} == {
        "model.bin": HEAD + TAIL,
        "config.json": CONFIG,
    }
    assert list((tmp_path / "parts").iterdir()) == []
    assert store(tmp_path, index, ears()).ensure("ears").origin == files.origin
    assert index.asked == ["ears-1==1.0", "ears-2==1.0"]


def test_what_two_models_are_made_of_is_downloaded_once(tmp_path: Path, index: Index) -> None:
    models = store(tmp_path, index, WORDS, {**WORDS, "id": "more-words"})
    models.ensure("words")
    assert models.ensure("more-words").path.read_bytes() == WEIGHTS
    assert index.asked == ["words==2.0"]


def test_a_package_that_has_arrived_is_not_downloaded_again(tmp_path: Path, index: Index) -> None:
    index.away = {"ears-2==1.0"}
    with pytest.raises(ModelError, match=r"no ears-2==1\.0"):
        store(tmp_path, index, ears()).ensure("ears")
    index.away = set()
    store(tmp_path, index, ears()).ensure("ears")
    assert index.asked == ["ears-1==1.0", "ears-2==1.0", "ears-2==1.0"]


def test_removing_a_model_removes_what_came_of_its_packages_unless_another_is_getting_them(
    tmp_path: Path, index: Index
) -> None:
    models = store(tmp_path, index, ears())
    for wheel in ("ears-1==1.0", "ears-2==1.0"):
        folder = tmp_path / "parts" / f"wheel-{wheel}"
        folder.mkdir(parents=True)
        (folder / f"{'a' * 64}.part").write_bytes(bytes(100))
    (tmp_path / "locks").mkdir()
    with FileLock(tmp_path / "locks" / "ears-2==1.0.lock"):
        assert models.remove("ears") == 100
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["wheel-ears-2==1.0"]
    assert models.remove("ears") == 100
    assert list((tmp_path / "parts").iterdir()) == []
    with pytest.raises(ModelError, match="ears is not in the store"):
        models.remove("ears")


def test_the_whole_is_checked(tmp_path: Path, index: Index) -> None:
    with pytest.raises(ModelError, match=r"joined from its parts, model\.bin has the checksum"):
        store(tmp_path, index, ears(sha256="0" * 64)).ensure("ears")
    assert store(tmp_path, index, ears()).find("ears") is None


def test_a_file_that_is_packed_twice(tmp_path: Path, index: Index) -> None:
    assert store(tmp_path, index, WORDS).ensure("words").path.read_bytes() == WEIGHTS


def test_the_next_source_serves_when_a_package_is_gone(tmp_path: Path, index: Index) -> None:
    first = ears()
    first["sources"].insert(0, {**first["sources"][0], "wheels": [dict(w) for w in first["sources"][0]["wheels"]]})
    first["sources"][0]["wheels"][0]["wheel"] = "withdrawn==1.0"
    index.away = {"withdrawn==1.0"}
    assert store(tmp_path, index, first).ensure("ears").files["model.bin"].read_bytes() == HEAD + TAIL


def test_progress_counts_what_lies_on_the_disk(tmp_path: Path) -> None:
    told: list[Progress] = []
    wait = threading.Event()

    def slow(command: list[str], seconds: float, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        if "config" in command:
            return subprocess.CompletedProcess(command, 1, "", "")
        package = command[command.index("download") + 1]
        growing = Path(environment["TMPDIR"]) / "pip-unpack"
        growing.mkdir()
        (growing / "package.whl").write_bytes(PACKAGES[package][:10])
        wait.wait(20)
        (Path(command[command.index("--dest") + 1]) / "package.whl").write_bytes(PACKAGES[package])
        return subprocess.CompletedProcess(command, 0, "", "")

    def report(progress: Progress) -> None:
        told.append(progress)
        wait.set()

    models = Catalogue.model_validate({"models": [ears()]})
    ModelStore(tmp_path, catalogue=models, pip=Pip(run=slow)).ensure("ears", report=report)
    assert told[0] == Progress("ears", "ears-1==1.0", 10, len(PACKAGES["ears-1==1.0"]))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"parts": ["model.part1", "model.part3"]}, "model.part3 is joined into a file of ears, but in no package"),
        ({"parts": ["model.part1"]}, "at least 2 items"),
    ],
)
def test_a_catalogue_that_cannot_be_served_is_refused(change: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Catalogue.model_validate({"models": [ears(**change)]})


def test_a_member_without_a_checksum_is_refused() -> None:
    model = ears()
    del model["sources"][0]["wheels"][1]["members"]["config.json"]["sha256"]
    with pytest.raises(ValueError, match=r"needs the sha256 of config\.json"):
        Catalogue.model_validate({"models": [model]})


def test_what_ships_is_valid() -> None:
    assert catalogue.load().get("whisper-base").task == "speech-to-text"
