"""Versions of models in the store: kept, listed, gone back to, removed; names that lead elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipelines.errors import ModelError
from pipelines.models import catalogue as catalogues
from pipelines.models.catalogue import Catalogue
from pipelines.models.store import ModelStore

FOLDER_MODEL = {"id": "ear", "folder": {"files": ["config.json", "*.bin"], "optional": ["vocabulary.*"]}}


def catalogue(number: int = 0) -> Catalogue:
    """``number`` tells apart two states of the entry of ``eye``."""
    common = {"task": "t", "licence": "MIT", "description": "for tests", "sources": [{"dir": "."}]}
    eye = {"id": "eye", "files": [{"name": "eye.onnx", "size": number}]}
    return Catalogue.model_validate({"models": [{**common, **eye}, {**common, **FOLDER_MODEL}]})


class Shop:
    """A store and the folder that it is filled from."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "models"
        self.folder.mkdir()
        self.store = ModelStore(tmp_path / "store", self.folder, catalogue=catalogue())

    def release(self, number: int) -> str:
        """The version of ``eye`` after the catalogue and the file have changed."""
        (self.folder / "eye.onnx").write_text(f"weights {number}")
        self.store.catalogue = catalogue(number)
        return self.store.ensure("eye").version

    def content(self) -> str:
        return self.store.ensure("eye").path.read_text()

    def versions(self) -> list[tuple[str, bool]]:
        return [(version.name, version.current) for version in self.store.shelf("eye").versions()]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def failure(store: ModelStore, model_id: str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        store.ensure(model_id)
    return caught.value


# ---------------------------------------------------------------------------------------------------- versions


def test_the_last_two_versions_are_kept(shop: Shop) -> None:
    first, second, third = (shop.release(number) for number in (1, 2, 3))
    assert len({first, second, third}) == 3
    assert shop.versions() == [(third, True), (second, False)]
    assert shop.content() == "weights 3"


def test_one_can_go_back_and_stays_there_until_the_next_pull(shop: Shop) -> None:
    first, second = shop.release(1), shop.release(2)
    assert shop.store.rollback("eye").name == first
    assert shop.versions() == [(second, False), (first, True)]
    assert shop.content() == "weights 1"
    assert shop.store.verify("eye") is None
    with pytest.raises(ModelError, match=f"no earlier version; here: {second}, {first}"):
        shop.store.rollback("eye")
    (shop.folder / "eye.onnx").unlink()  # nothing needs to be fetched to go forward
    assert shop.store.pull("eye").version == second
    assert shop.content() == "weights 2"


def test_a_version_that_is_not_sound_is_not_gone_back_to(shop: Shop) -> None:
    first, second = shop.release(1), shop.release(2)
    (shop.store.root / "eye" / first / "eye.onnx").write_text("spoilt")
    with pytest.raises(ModelError, match=r"is not sound: eye\.onnx has the checksum"):
        shop.store.rollback("eye")
    assert shop.versions() == [(second, True), (first, False)]


def test_after_a_broken_file_one_can_go_back(shop: Shop) -> None:
    first, second = shop.release(1), shop.release(2)
    (shop.folder / "eye.onnx").unlink()  # and it cannot be had again
    (shop.store.root / "eye" / second / "eye.onnx").write_text("weights X")
    assert "eye.onnx has the checksum" in str(shop.store.verify("eye"))
    assert shop.store.rollback("eye").name == first
    assert shop.store.verify("eye") is None
    assert shop.content() == "weights 1"


def test_a_version_gone_back_to_and_then_spoilt_is_replaced_by_what_can_be_had(shop: Shop) -> None:
    first, second = shop.release(1), shop.release(2)
    shop.store.rollback("eye")
    (shop.store.root / "eye" / first / "eye.onnx").unlink()
    assert shop.store.ensure("eye").version == second


def test_removing_the_current_version_leaves_the_other(shop: Shop) -> None:
    first, second = shop.release(1), shop.release(2)
    assert shop.store.remove("eye", second) == len("weights 2")
    assert shop.versions() == [(first, True)]
    with pytest.raises(ModelError, match=f"eye has no version 'x'; here: {first}"):
        shop.store.remove("eye", "x")
    shop.store.remove("eye", first)
    assert not (shop.store.root / "eye").exists()


def test_removing_all_of_it_also_removes_what_was_half_downloaded(shop: Shop) -> None:
    shop.release(1)
    parts = shop.store.root / "parts" / "eye"
    parts.mkdir(parents=True)
    (parts / "half.part").write_bytes(bytes(100))
    assert shop.store.remove("eye") == len("weights 1") + 100
    assert not parts.exists()
    assert shop.versions() == []
    with pytest.raises(ModelError, match="eye is not in the store"):
        shop.store.remove("eye")


def test_files_without_a_published_checksum_are_held_to_that_of_their_arrival(shop: Shop) -> None:
    shop.release(1)
    path = shop.store.ensure("eye").path
    path.write_text("weights l")
    assert "eye.onnx has the checksum" in (shop.store.verify("eye") or "")
    assert shop.content() == "weights 1"


def test_the_digests_of_models_in_existing_stores_have_not_changed() -> None:
    """A new field in the catalogue must not make everybody download everything again."""
    digests = {model.id: model.digest for model in catalogues.load().models}
    assert digests["mediapipe-hand-landmarker"] == "fe44dd1b55b65531"
    assert digests["smart-turn"] == "17d8fca80424181a"


@pytest.mark.parametrize("pointer", ["{", "[]", '{"version": "../../etc"}', '{"version": 5}'])
def test_a_pointer_that_cannot_be_used_is_made_again(shop: Shop, pointer: str) -> None:
    version = shop.release(1)
    (shop.store.root / "eye" / "current.json").write_text(pointer)
    assert shop.store.verify("eye") == "it is not in the store"
    assert shop.store.ensure("eye").version == version


# ---------------------------------------------------------------------------------------------------- the user's folder


def test_a_whole_folder_is_a_model(shop: Shop) -> None:
    ear = shop.folder / "ear"
    ear.mkdir()
    for name in ("config.json", "model.bin", "vocabulary.txt", "notes.md"):
        (ear / name).write_text(name)
    files = shop.store.ensure("ear")
    assert files.path.is_dir()
    assert sorted(files.files) == ["config.json", "model.bin", "vocabulary.txt"]
    assert (files.path / "model.bin").read_text() == "model.bin"


def test_a_folder_that_lacks_a_file(shop: Shop) -> None:
    assert "the folder of models: holds no folder ear" in failure(shop.store, "ear").message
    (shop.folder / "ear").mkdir()
    (shop.folder / "ear" / "config.json").write_text("{}")
    assert "the folder of models: its folder ear holds no *.bin" in failure(shop.store, "ear").message


def test_the_store_of_another_machine_is_such_a_folder(shop: Shop, tmp_path: Path) -> None:
    shop.release(1)
    other = ModelStore(tmp_path / "other", shop.store.root, catalogue=catalogue(1))
    (shop.folder / "eye.onnx").unlink()
    assert other.ensure("eye").path.read_text() == "weights 1"


def test_a_folder_that_cannot_be_read_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)  # mode bits do not stop root
    assert (
        f"the folder of models: {shop.folder} cannot be read (Permission denied)" in failure(shop.store, "eye").message
    )


def test_a_folder_that_is_not_there_is_named(shop: Shop, tmp_path: Path) -> None:
    shop.store.folder = tmp_path / "elsewhere"
    assert f"{tmp_path / 'elsewhere'} cannot be read (No such file or directory)" in failure(shop.store, "eye").message


# ---------------------------------------------------------------------------------------------------- leading elsewhere

SUM = "a" * 64


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "../a", "files": [{"name": "f"}], "sources": []},
        {"id": "a", "files": [{"name": "../f"}], "sources": []},
        {"id": "a", "files": [{"name": "f"}], "sources": [{"dir": "../f"}]},
        {"id": "a", "files": [{"name": "f"}], "sources": [{"hub": "o/n", "revision": "main", "path": "x/../f"}]},
        {"id": "a", "files": [{"name": "f"}], "sources": [{"https": {"../f": "https://host/f"}}]},
        {
            "id": "a",
            "files": [{"name": "f", "sha256": SUM}],
            "sources": [{"wheel": "w==1", "python": "3.11", "platform": "any", "members": {"f": "../f"}}],
        },
    ],
)
def test_names_that_lead_elsewhere_are_named_and_refused(tmp_path: Path, entry: dict[str, object]) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(json.dumps({"models": [{"task": "t", "licence": "l", "description": "d", **entry}]}))
    with pytest.raises(ModelError, match=r"'.*\.\..*' leads out of its folder"):
        catalogues.load(path)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"files": [{"name": "f"}], "sources": [{"https": {"f": "http://host/f"}}]}, "is not an https address"),
        ({"files": [{"name": "f"}], "sources": [{"https": {"g": "https://host/f"}}]}, "g is not among the files of a"),
        ({"files": [{"name": "f"}], "sources": [{"hub": "o/n", "revision": "v1"}]}, "revision"),
        ({"sources": []}, "needs either files or folder"),
        ({"folder": {"files": ["x"]}, "sources": [{"https": {}}]}, "a is a folder"),
        (
            {
                "files": [{"name": "f"}],
                "sources": [{"wheel": "w==1", "python": "3", "platform": "any", "members": {"f": "f"}}],
            },
            "needs the sha256 of f",
        ),
    ],
)
def test_entries_that_make_no_sense(tmp_path: Path, entry: dict[str, object], reason: str) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(json.dumps({"models": [{"id": "a", "task": "t", "licence": "l", "description": "d", **entry}]}))
    with pytest.raises(ModelError, match=reason):
        catalogues.load(path)


def test_a_manifest_that_leads_elsewhere_is_not_read(shop: Shop) -> None:
    shop.release(1)
    manifest = shop.store.ensure("eye").path.with_name("manifest.json")
    data = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**data, "files": {"../../eye.onnx": SUM}}))
    assert shop.store.verify("eye") == "its manifest cannot be read"
    assert shop.content() == "weights 1"


@pytest.mark.parametrize("name", ["../eye", "..", "/etc", "eye/..", ""])
def test_a_model_whose_name_leads_elsewhere_is_unknown(shop: Shop, name: str) -> None:
    error = failure(shop.store, name)
    assert error.code == "model_unknown"
    assert repr(name) in error.message
    assert "eye, ear" in error.message
