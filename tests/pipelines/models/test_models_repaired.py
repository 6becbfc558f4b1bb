"""Files in the user's folder that are broken, repaired or replaced: what the next start uses and tells."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.errors import ModelError
from pipelines.models.catalogue import Catalogue
from pipelines.models.sources_http import Downloader
from pipelines.models.sources_hub import Hub
from pipelines.models.store import ModelFiles, ModelStore
from pipelines.models.store_layout import MANIFEST
from tests.fakes.file_server import FileServer

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"
COMMON = {"task": "t", "licence": "MIT", "description": "for tests", "sources": [{"dir": "."}]}
CATALOGUE = Catalogue.model_validate(
    {
        "models": [
            COMMON | {"id": "ear", "folder": {"files": ["*.bin"]}},
            COMMON | {"id": "eye", "files": [{"name": "eye.onnx"}]},
        ]
    }
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine" / "ear").mkdir(parents=True)
    return tmp_path / "mine"


@pytest.fixture
def store(tmp_path: Path, folder: Path) -> ModelStore:
    return ModelStore(tmp_path / "store", folder, catalogue=CATALOGUE)


def write(path: Path, data: bytes, *, at: int) -> None:
    """A file that was changed at second ``at``."""
    path.write_bytes(data)
    os.utime(path, (at, at))


def content(files: ModelFiles | None) -> bytes:
    assert files is not None
    return next(iter(files.files.values())).read_bytes()


@pytest.mark.parametrize("name", ["ear/model.bin", "eye.onnx"])
def test_a_pointer_is_no_model_and_its_repair_is_one(store: ModelStore, folder: Path, name: str) -> None:
    model_id = name[:3]
    write(folder / name, POINTER, at=1)
    with pytest.raises(ModelError, match=f"{folder / name} is a Git LFS pointer .* git lfs pull") as caught:
        store.here(model_id)
    assert caught.value.code == "lfs_pointer"
    with pytest.raises(
        ModelError, match=f"could not be had .the folder of models: {folder / name} is a Git LFS pointer"
    ):
        store.ensure(model_id)
    write(folder / name, b"weights", at=2)
    assert content(store.here(model_id)) == b"weights"


@pytest.mark.parametrize("ask", ["here", "ensure"])
def test_a_file_that_was_replaced_is_taken_again(store: ModelStore, folder: Path, ask: str) -> None:
    """Half a file is a model like any other to the store: only its engine can tell, and only its owner mend it."""
    write(folder / "ear" / "model.bin", b"weig", at=1)
    assert content(getattr(store, ask)("ear")) == b"weig"
    assert store.taken_from("ear") == str(folder / "ear" / "model.bin")
    write(folder / "ear" / "model.bin", b"weights", at=2)
    assert content(getattr(store, ask)("ear")) == b"weights"


def test_a_sound_copy_outlives_its_original(store: ModelStore, folder: Path, caplog) -> None:
    path = folder / "ear" / "model.bin"
    write(path, b"weights", at=1)
    store.here("ear")
    write(path, POINTER, at=2)
    assert content(store.here("ear")) == b"weights"
    assert f"{path} is a Git LFS pointer" in caplog.text
    path.unlink()
    assert content(store.here("ear")) == b"weights"


def test_what_has_not_changed_is_not_copied_again(store: ModelStore, folder: Path) -> None:
    write(folder / "ear" / "model.bin", b"weights", at=1)
    first = store.here("ear")
    assert first is not None
    installed = (first.path / MANIFEST).read_text()
    store.here("ear")
    assert (first.path / MANIFEST).read_text() == installed


def test_a_version_that_was_gone_back_to_stays(store: ModelStore, folder: Path) -> None:
    path = folder / "ear" / "model.bin"
    write(path, b"older weights", at=1)
    store.here("ear")
    write(path, b"newer weights", at=2)
    store.here("ear")
    store.rollback("ear")
    write(path, b"newest weights", at=3)
    assert content(store.here("ear")) == b"older weights"


def test_a_broken_folder_does_not_keep_other_places_from_being_asked(tmp_path: Path, folder: Path) -> None:
    write(folder / "ear" / "model.bin", POINTER, at=1)
    with FileServer() as server:
        server.put_repo("a/ear", {"model.bin": b"weights from the hub"})
        hub = {"sources": [{"dir": "."}, {"hub": "a/ear", "revision": "main"}]}
        ear = COMMON | {"id": "ear", "folder": {"files": ["*.bin"]}} | hub
        downloader = Downloader()
        store = ModelStore(
            tmp_path / "store",
            folder,
            catalogue=Catalogue.model_validate({"models": [ear]}),
            downloader=downloader,
            hub=Hub(downloader, endpoint=server.url),
        )
        assert content(store.ensure("ear")) == b"weights from the hub"
