"""Models over HTTP: a local hub and file server, broken connections, two processes, full disks, no network."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ModelError
from pipelines.models.catalogue import Catalogue
from pipelines.models.catalogue_sources import HttpsSource
from pipelines.models.sources_http import Downloader, Progress, Remote
from pipelines.models.sources_hub import Hub, ModelServer
from pipelines.models.store import ModelStore
from pipelines.models.store_sums import Checksum, mismatch, sha256_of
from tests.fakes.file_server import COMMIT, FileServer
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[3]
WEIGHTS = random.Random(1).randbytes(3_000_000)
CONFIG = b'{"layers": 2}'
REPO = {"config.json": CONFIG, "model.bin": WEIGHTS, "README.md": b"# read me"}
FOLDER = {
    "id": "tiny",
    "task": "speech-to-text",
    "licence": "MIT",
    "description": "for tests",
    "folder": {"files": ["config.json", "model.bin"], "optional": ["vocabulary.*"]},
    "sources": [{"dir": "."}, {"hub": "owner/tiny", "revision": "main"}],
}
VOICE = {
    "id": "voice",
    "task": "text-to-speech",
    "licence": "MIT",
    "description": "for tests",
    "files": [{"name": "a.onnx"}, {"name": "a.onnx.json"}],
    "sources": [{"hub": "owner/voices", "revision": COMMIT, "path": "en/a"}],
}
CATALOGUE = Catalogue.model_validate({"models": [FOLDER, VOICE]})
MAIN = "/api/models/owner/tiny/revision/main"
WEIGHTS_PATH = f"/owner/tiny/resolve/{COMMIT}/model.bin"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        server.put_repo("owner/tiny", REPO)
        server.put_repo("owner/voices", {"en/a/a.onnx": WEIGHTS[:5000], "en/a/a.onnx.json": CONFIG, "de/b.onnx": b""})
        yield server


@pytest.fixture
def store(tmp_path: Path, server: FileServer) -> ModelStore:
    return make_store(tmp_path, server.url)


def make_store(tmp_path: Path, url: str, **options: Any) -> ModelStore:
    downloader = options.pop("downloader", None) or Downloader()
    hub = Hub(downloader, endpoint=url, token="secret", cache=tmp_path / "cache")
    options = {"catalogue": CATALOGUE, "downloader": downloader, "hub": hub, **options}
    return ModelStore(tmp_path / "store", **options)


def failure(store: ModelStore, model_id: str = "tiny") -> ModelError:
    with pytest.raises(ModelError) as caught:
        store.ensure(model_id)
    return caught.value


def closed_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


# ---------------------------------------------------------------------------------------------------- the hub


def test_a_folder_from_the_hub_is_pinned_on_arrival(store: ModelStore, server: FileServer) -> None:
    reported: list[Progress] = []
    said: list[str] = []
    files = store.ensure("tiny", said.append, reported.append)
    assert {path.name: path.read_bytes() for path in files.path.iterdir()} == {
        "config.json": CONFIG,
        "model.bin": WEIGHTS,
    }
    assert files.version == COMMIT[:12]
    manifest = json.loads((store.root / "tiny" / files.version / "manifest.json").read_text())
    assert manifest["revision"] == COMMIT
    assert manifest["files"]["model.bin"] == sha256_of(files.path / "model.bin")
    assert said == ["downloading tiny from the hub (owner/tiny) (3 MB)"]
    done = [progress.done for progress in reported if progress.file == "model.bin"]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, len(WEIGHTS))
    assert reported[-1] == Progress("tiny", "model.bin", len(WEIGHTS), len(WEIGHTS))
    assert set(server.keys) == {"Bearer secret"}
    asked = len(server.asked)
    assert store.ensure("tiny") == files
    assert len(server.asked) == asked
    assert not list(store.hub_cache.glob("*/blobs/*.part"))


def test_files_in_a_subfolder_of_a_pinned_commit(store: ModelStore, server: FileServer) -> None:
    files = store.ensure("voice")
    assert files.path.name == "a.onnx"
    assert files.files["a.onnx.json"].read_bytes() == CONFIG
    assert not [path for path in server.count if path.endswith("revision/main")]


def test_a_hub_that_moves_on_is_followed_only_when_asked(store: ModelStore, server: FileServer) -> None:
    first = store.ensure("tiny")
    newer = "d" * 40
    server.put_repo("owner/tiny", {**REPO, "config.json": b"{}"}, commit=newer)
    (first.path / "config.json").write_bytes(b"spoilt")
    assert store.ensure("tiny").version == first.version  # repaired, not renewed
    assert store.pull("tiny").version == first.version
    second = store.pull("tiny", update=True)
    assert second.version != first.version
    assert second.files["config.json"].read_bytes() == b"{}"
    assert server.count[WEIGHTS_PATH] == 1  # the file that stayed the same is here already
    assert server.count[WEIGHTS_PATH.replace(COMMIT, newer)] == 0


def listing(*names: str) -> bytes:
    """An answer without sizes and checksums."""
    return json.dumps({"id": "owner/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}).encode()


@pytest.mark.parametrize(
    ("path", "answer", "reason"),
    [
        (MAIN, b'{"sha": "main"}', "makes no sense"),
        (MAIN, b"<html>", "something else than JSON"),
        (MAIN, b"[]", "makes no sense"),
        (MAIN, listing("../x"), "'../x' leads out"),
        (MAIN, listing("model.bin"), "no config.json"),
        (MAIN, listing("model.bin", "config.json"), "gives no checksum of config.json"),
    ],
)
def test_a_hub_whose_answers_make_no_sense(
    store: ModelStore, server: FileServer, path: str, answer: bytes, reason: str
) -> None:
    server.files[path] = answer
    assert reason in failure(store).message


def test_a_hub_without_the_model(store: ModelStore, server: FileServer) -> None:
    server.files.clear()
    error = failure(store)
    assert error.code == "model_unavailable"
    assert "the hub (owner/tiny): 127.0.0.1:" in error.message
    assert "answered 404 Not Found" in error.message


def test_what_is_in_the_cache_of_the_hubs_own_library_is_taken(tmp_path: Path) -> None:
    repo = tmp_path / "cache" / "models--owner--tiny"
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    for name, data in REPO.items():
        (snapshot / name).write_bytes(data)
    files = make_store(tmp_path, closed_port()).ensure("tiny")
    assert files.files["model.bin"].read_bytes() == WEIGHTS
    assert (snapshot / "model.bin").exists()


def test_a_version_is_a_commit_and_one_can_go_back_to_it(store: ModelStore, server: FileServer) -> None:
    newer = "d" * 40
    store.ensure("tiny")
    server.put_repo("owner/tiny", {**REPO, "config.json": b"{}"}, commit=newer)
    assert store.pull("tiny", update=True).version == newer[:12]
    assert store.rollback("tiny").name == COMMIT[:12]
    back = store.ensure("tiny")
    assert (back.files["config.json"].read_bytes(), back.files["model.bin"].read_bytes()) == (CONFIG, WEIGHTS)
    asked = len(server.asked)
    assert store.pull("tiny").version == newer[:12]
    assert len(server.asked) == asked


def test_what_leaves_the_cache_with_a_version(tmp_path: Path, server: FileServer) -> None:
    """Two models out of one commit, and a file that two commits have in common."""
    second = VOICE | {"id": "second", "files": [{"name": "b.onnx"}]}
    second["sources"] = [{"hub": "owner/voices", "revision": COMMIT, "path": "de"}]
    store = make_store(tmp_path, server.url, catalogue=Catalogue.model_validate({"models": [FOLDER, VOICE, second]}))
    for model_id in ("tiny", "voice", "second"):
        store.ensure(model_id)
    assert store.remove("voice") == 5000 + len(CONFIG)
    assert store.verify("second") is None
    assert [path.name for path in store.hub_cache.glob("models--owner--voices/snapshots/*/**/*.onnx")] == ["b.onnx"]
    store.remove("second")
    assert not (store.hub_cache / "models--owner--voices").exists()
    server.put_repo("owner/tiny", {**REPO, "config.json": b"{}"}, commit="d" * 40)
    store.pull("tiny", update=True)
    store.remove("tiny", COMMIT[:12])
    assert store.verify("tiny") is None
    assert len([path for path in store.hub_cache.glob("models--owner--tiny/blobs/*") if path.is_file()]) == 2


def test_a_start_reads_only_what_has_changed(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte that has rotted is found by ``models verify``; from then on a start knows it too."""
    read: list[str] = []

    def counting(path: Path, sha256: str) -> str | None:
        read.append(path.name)
        return mismatch(path, sha256)

    path = store.ensure("tiny").files["model.bin"]
    monkeypatch.setattr("pipelines.models.store_layout.mismatch", counting)
    assert store.ensure("tiny").files["model.bin"] == path
    assert read == []
    found = path.stat()
    path.write_bytes(b"x" + WEIGHTS[1:])
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert store.find("tiny") is not None
    assert "model.bin has the checksum" in (store.verify("tiny") or "")
    assert sorted(read) == ["config.json", "model.bin"]
    assert store.find("tiny") is None
    assert store.ensure("tiny").files["model.bin"].read_bytes() == WEIGHTS
    os.utime(store.ensure("tiny").files["config.json"], (1, 1))
    read.clear()
    assert store.find("tiny") is not None
    assert store.find("tiny") is not None
    assert read == ["config.json"]


def test_offline_no_hub_is_asked(store: ModelStore, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "the hub (owner/tiny): HF_HUB_OFFLINE is set" in failure(store).message
    assert server.asked == server.heads == []


# ---------------------------------------------------------------------------------------------------- broken off


def test_a_connection_that_breaks_is_resumed(store: ModelStore, server: FileServer) -> None:
    server.cuts[WEIGHTS_PATH] = [1_000_000, 500_000]
    assert store.ensure("tiny").files["model.bin"].read_bytes() == WEIGHTS
    ranges = [wanted for path, wanted in server.asked if path == WEIGHTS_PATH]
    assert ranges == [None, "bytes=1000000-", "bytes=1500000-"]


def test_one_that_keeps_breaking_is_given_up_and_resumed_by_the_next(store: ModelStore, server: FileServer) -> None:
    server.cuts[WEIGHTS_PATH] = [1_000_000, 0]
    error = failure(store)
    assert "the connection was closed too early; the 1 MiB that arrived are kept" in error.message
    assert store.ensure("tiny").files["model.bin"].read_bytes() == WEIGHTS
    assert server.asked[-1] == (WEIGHTS_PATH, "bytes=1000000-")


def test_a_beginning_that_was_wrong_is_downloaded_again(store: ModelStore, server: FileServer) -> None:
    server.cuts[WEIGHTS_PATH] = [1_000_000, 0]
    failure(store)
    (part,) = store.hub_cache.glob("*/blobs/*.part")
    part.write_bytes(bytes(1_000_000))
    assert store.ensure("tiny").files["model.bin"].read_bytes() == WEIGHTS


def test_a_part_that_the_server_does_not_go_on_with(tmp_path: Path, server: FileServer) -> None:
    """The file has changed at its address since: everything is fetched anew."""
    target = tmp_path / "file"
    server.files["/file"], server.cuts["/file"] = b"old" * 1000, [100, 0]
    with pytest.raises(ModelError):
        Downloader().fetch(Remote("file", f"{server.url}/file"), target)
    server.files["/file"] = b"new" * 2000
    Downloader().fetch(Remote("file", f"{server.url}/file"), target)
    assert target.read_bytes() == b"new" * 2000
    assert server.asked[-1] == ("/file", "bytes=100-")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_part_that_is_too_long(tmp_path: Path, server: FileServer) -> None:
    server.files["/file"] = b"whole"
    (tmp_path / "file.part").write_bytes(b"more than there is")
    checksum = Checksum("sha256", "0" * 64)
    with pytest.raises(ModelError, match="refused to go on"):
        Downloader().fetch(Remote("file", f"{server.url}/file", checksum=checksum), tmp_path / "file")
    Downloader().fetch(Remote("file", f"{server.url}/file"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"whole"


PULL = """
import sys
from pathlib import Path
from pipelines.models import catalogue
from pipelines.models.sources_http import Downloader
from pipelines.models.sources_hub import Hub
from pipelines.models.store import ModelStore
root, url, catalogue_file = sys.argv[1:4]
downloader = Downloader()
hub = Hub(downloader, endpoint=url, token="secret", cache=Path(root) / "cache")
store = ModelStore(Path(root) / "store", catalogue=catalogue.load(Path(catalogue_file)), downloader=downloader, hub=hub)

def report(progress):
    if progress.done >= 1_000_000:
        print("a million bytes are here", flush=True)

tell = report if sys.argv[4:] else None
print(store.ensure("tiny", lambda line: print(line, flush=True), tell).version)
"""


def start_pull(tmp_path: Path, server: FileServer, *flags: str) -> subprocess.Popen[str]:
    catalogue = tmp_path / "catalogue.yaml"
    catalogue.write_text(json.dumps({"models": [FOLDER]}))
    command = [sys.executable, "-c", PULL, str(tmp_path), server.url, str(catalogue), *flags]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def test_a_download_whose_process_was_killed_is_resumed(tmp_path: Path, server: FileServer) -> None:
    killed = threading.Event()
    server.cuts[WEIGHTS_PATH], server.half_sent = [1_500_000], lambda path: killed.wait(PATIENCE)
    process = start_pull(tmp_path, server, "report")
    assert process.stdout is not None
    try:
        assert any(line.startswith("a million bytes") for line in process.stdout)
    finally:
        process.kill()
        process.communicate()
        killed.set()
    (part,) = (tmp_path / "store" / "hub").glob("*/blobs/*.part")
    here = part.stat().st_size
    assert here > 900_000
    assert make_store(tmp_path, server.url).ensure("tiny").files["model.bin"].read_bytes() == WEIGHTS
    assert server.asked[-1] == (WEIGHTS_PATH, f"bytes={here}-")


def test_two_processes_share_one_download(tmp_path: Path, server: FileServer) -> None:
    asked, both_there = threading.Event(), threading.Event()

    def hold(path: str) -> None:
        if path == WEIGHTS_PATH:
            asked.set()
            both_there.wait(PATIENCE)

    server.before = hold
    first = start_pull(tmp_path, server)
    assert asked.wait(PATIENCE)
    second = start_pull(tmp_path, server)
    assert second.stdout is not None
    line = second.stdout.readline()
    both_there.set()
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in (first, second)]
    assert line == "tiny: another process is at it; waiting\n"
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert outputs[0].splitlines()[-1] == outputs[1].splitlines()[-1]
    assert set(server.count.values()) == {1}


# ---------------------------------------------------------------------------------------------------- soundness


def test_a_flipped_byte_is_noticed_and_only_that_file_replaced(store: ModelStore, server: FileServer) -> None:
    path = store.ensure("tiny").files["model.bin"]
    spoilt = bytearray(WEIGHTS)
    spoilt[1_234_567] ^= 1
    path.write_bytes(spoilt)
    assert "model.bin has the checksum" in (store.verify("tiny") or "")
    assert store.find("tiny") is None
    assert store.ensure("tiny").files["model.bin"].read_bytes() == WEIGHTS
    assert server.count[WEIGHTS_PATH] == 2
    assert server.count[WEIGHTS_PATH.replace("model.bin", "config.json")] == 1


@pytest.mark.parametrize("name", ["model.bin", "config.json"])
def test_a_file_that_is_not_what_the_hub_says_is_not_kept(store: ModelStore, server: FileServer, name: str) -> None:
    path = WEIGHTS_PATH.replace("model.bin", name)
    good = server.files[path]
    server.files[path] = bytes(len(good))
    assert f"{name} has the checksum" in failure(store).message
    assert store.find("tiny") is None
    server.files[path] = good
    assert store.ensure("tiny").files[name].read_bytes() == good


def test_a_file_of_the_wrong_length_is_not_downloaded(store: ModelStore, server: FileServer) -> None:
    server.files[WEIGHTS_PATH] = b"short"
    assert "model.bin has 5 bytes instead of 3000000" in failure(store).message


# ---------------------------------------------------------------------------------------------------- published files


def published(url: str, **file: object) -> Catalogue:
    """A model with the file ``a.task`` at an address that, unlike those of a real catalogue, is not https."""
    spec = {"id": "bundle", "task": "t", "licence": "MIT", "description": "d", "files": [{"name": "a.task", **file}]}
    model = Catalogue.model_validate({"models": [{**spec, "sources": []}]}).models[0]
    source = HttpsSource.model_construct(https={"a.task": url})
    return Catalogue.model_construct(models=(model.model_copy(update={"sources": (source,)}),))


def test_a_published_file(tmp_path: Path, server: FileServer) -> None:
    server.files["/1/a.task"] = WEIGHTS
    store = make_store(tmp_path, server.url, catalogue=published(f"{server.url}/1/a.task"))
    files = store.ensure("bundle")
    assert files.path.read_bytes() == WEIGHTS
    assert server.keys == [None]
    files.path.write_bytes(WEIGHTS[:-1] + b"x")
    assert store.ensure("bundle").path.read_bytes() == WEIGHTS


def test_a_published_file_with_another_checksum(tmp_path: Path, server: FileServer) -> None:
    server.files["/1/a.task"] = WEIGHTS
    store = make_store(tmp_path, server.url, catalogue=published(f"{server.url}/1/a.task", sha256="a" * 64))
    assert "a.task has the checksum" in failure(store, "bundle").message


def test_redirects_stay_with_the_scheme_and_take_no_key_elsewhere(tmp_path: Path, server: FileServer) -> None:
    with FileServer({"/there": b"file"}) as other:
        server.redirects = {
            "/other": f"{other.url}/there",
            "/file": "file:///etc/hostname",
            "/tls": "https://x.invalid/",
        }
        headers = {"Authorization": "Bearer secret"}
        Downloader().fetch(Remote("f", f"{server.url}/other", headers=headers), tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == b"file"
        assert (server.keys, other.keys) == (["Bearer secret"], [None])
        downloader = Downloader()
        with pytest.raises(ModelError, match="redirects from http to https, which is not followed"):
            downloader.fetch(Remote("g", f"{server.url}/tls"), tmp_path / "g")
        with pytest.raises(ModelError):  # the standard library refuses this one
            downloader.fetch(Remote("g", f"{server.url}/file"), tmp_path / "g")
        assert not (tmp_path / "g").exists()


# ---------------------------------------------------------------------------------------------------- no room, no net


def test_missing_disk_space_is_told_before_anything_is_downloaded(tmp_path: Path, server: FileServer) -> None:
    store = make_store(tmp_path, server.url, downloader=Downloader(free=lambda folder: 2 << 20))
    error = failure(store)
    assert error.code == "no_space"
    assert "tiny needs 3 MiB" in error.message
    assert "has 2 MiB free" in error.message
    assert server.count[WEIGHTS_PATH] == 0


def test_half_of_it_being_here_less_space_is_needed(tmp_path: Path, server: FileServer) -> None:
    server.cuts[WEIGHTS_PATH] = [2_000_000, 0]
    failure(make_store(tmp_path, server.url))
    store = make_store(tmp_path, server.url, downloader=Downloader(free=lambda folder: 1_100_000))
    assert store.ensure("tiny").files["model.bin"].read_bytes() == WEIGHTS


def test_without_a_network_the_reason_is_one_line(tmp_path: Path) -> None:
    url = closed_port()
    error = failure(make_store(tmp_path, url, server=ModelServer(url)))
    host = url.removeprefix("http://")
    assert error.message == (
        "tiny could not be had ("
        f"the model server {host}: {host} could not be reached (connection refused); "
        f"the hub (owner/tiny): {host} could not be reached (connection refused))"
    )


def test_a_host_that_was_not_reached_is_not_tried_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def resolve(host: str, *more: object, **options: object) -> None:
        tried.append(host)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    store = make_store(tmp_path, "http://hub.invalid")
    for model_id in ("tiny", "voice"):
        assert "hub.invalid could not be reached (temporary failure in name resolution)" in (
            failure(store, model_id).message
        )
    assert tried == ["hub.invalid"]


def test_a_name_server_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def look(*asked: object, **how: object) -> None:
        answer.wait(PATIENCE)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", look)
    try:
        store = make_store(tmp_path, "http://hub.invalid", downloader=Downloader(connect_seconds=0.01))
        assert "hub.invalid could not be reached (timed out)" in failure(store).message
    finally:
        answer.set()


def test_a_server_that_stops_sending_is_given_up(tmp_path: Path, server: FileServer) -> None:
    given_up = threading.Event()
    server.cuts[WEIGHTS_PATH] = [1000]
    server.half_sent = lambda path: given_up.wait(PATIENCE)
    downloader = Downloader(stall_seconds=0.05)
    try:
        remote = Remote("model.bin", f"{server.url}{WEIGHTS_PATH}")
        server.before = lambda path: len(server.asked) > 1 and given_up.wait(PATIENCE)
        with pytest.raises(ModelError, match="timed out"):
            downloader.fetch(remote, tmp_path / "model.bin")
    finally:
        given_up.set()
