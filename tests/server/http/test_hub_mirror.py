"""A hub for other machines: repositories, files, ranges, what is not served; stock clients; one visavis and another."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from huggingface_hub import constants
from yarl import URL

from pipelines.errors import ModelError
from pipelines.models.catalogue import Catalogue
from pipelines.models.mirror import Offer
from pipelines.models.sources_http import Downloader
from pipelines.models.sources_hub import Hub, HubFile, ModelServer, Repo
from pipelines.models.store import ModelStore
from pipelines.models.store_sums import mismatch
from server.http.hub_mirror import add_hub_mirror
from tests.conftest import fake_engines
from tests.fakes.file_server import COMMIT, FileServer, blob_id
from tests.patience import PATIENCE

WEIGHTS = bytes(range(256)) * 2000
SUM = hashlib.sha256(WEIGHTS).hexdigest()
COMMON = {"task": "t", "licence": "MIT", "description": "for tests", "sources": [{"dir": "."}]}
EYE = {"id": "eye", "files": [{"name": "eye.onnx"}, {"name": "eye.json"}]}
EAR = {"id": "ear", "folder": {"files": ["config.json", "*.bin"]}}
HUB_EAR = EAR | {"sources": [{"hub": "owner/ear", "revision": "main"}]}
CATALOGUE = Catalogue.model_validate({"models": [COMMON | EYE, COMMON | EAR, COMMON | HUB_EAR | {"id": "hub-ear"}]})
KEY = "key-of-8"
REPO = {"config.json": b'{"layers": 2}', "model.bin": WEIGHTS, "extra/notes.md": b"# read me"}
WEIGHTS_PATH = f"/owner/ear/resolve/{COMMIT}/model.bin"


@pytest.fixture
def upstream() -> Iterator[FileServer]:
    """The hub of the server under test."""
    with FileServer() as fake:
        fake.put_repo("owner/ear", REPO)
        yield fake


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: FileServer) -> ModelStore:
    """The store of the server under test, with the model ``eye`` in it."""
    monkeypatch.setattr("pipelines.models.catalogue.load", lambda: CATALOGUE)
    folder = tmp_path / "folder"
    (folder / "ear").mkdir(parents=True)
    (folder / "eye.onnx").write_bytes(WEIGHTS)
    (folder / "eye.json").write_text("{}")
    (folder / "ear" / "config.json").write_text("{}")
    (folder / "ear" / "model.bin").write_bytes(WEIGHTS)
    (folder / "secret").write_text("treasure")
    hub = Hub(Downloader(), endpoint=upstream.url)
    store = ModelStore(tmp_path / "cache" / "models", folder, hub=hub)
    store.ensure("eye")
    return store


@pytest.fixture
async def url(serve, store):
    base, _ = await serve(replace(fake_engines(), store=store), api_key=KEY)
    return base


@pytest.fixture
async def closed(serve, store):
    """A server that fetches nothing."""
    base, _ = await serve(replace(fake_engines(), store=store), api_key=KEY, download=False)
    return base


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session:
        yield session


# ---------------------------------------------------------------------------------------------------- the catalogue


async def test_a_model_of_the_catalogue_is_a_repository(url, http, store):
    version = store.ensure("eye").version
    for revision in ("main", CATALOGUE.get("eye").digest):
        described = await (await http.get(f"{url}/api/models/visavis/eye/revision/{revision}")).json()
        assert described["sha"][:12] == version
        lfs = {"sha256": SUM, "size": len(WEIGHTS), "pointerSize": 130}
        assert described["siblings"][1] == {
            "rfilename": "eye.onnx",
            "size": len(WEIGHTS),
            "blobId": SUM[:40],
            "lfs": lfs,
        }
    same = await (await http.get(f"{url}/api/models/visavis/eye/revision/{described['sha']}")).json()
    assert same == described
    (_, file) = await (await http.get(f"{url}/api/models/visavis/eye/tree/main?recursive=true")).json()
    assert (file["type"], file["path"], file["size"], file["lfs"]["oid"]) == ("file", "eye.onnx", len(WEIGHTS), SUM)


async def test_a_file_is_sent_whole_or_in_parts(url, http):
    path = f"{url}/visavis/eye/resolve/main/eye.onnx"
    response = await http.get(path)
    assert (response.status, response.headers["Content-Length"]) == (200, str(len(WEIGHTS)))
    assert response.headers["ETag"] == response.headers["X-Linked-Etag"] == f'"{SUM}"'
    assert response.headers["Accept-Ranges"] == "bytes"
    assert await response.read() == WEIGHTS
    for wanted, part in [("bytes=1000-", WEIGHTS[1000:]), ("bytes=5-9", WEIGHTS[5:10]), ("bytes=-7", WEIGHTS[-7:])]:
        response = await http.get(path, headers={"Range": wanted})
        assert response.status == 206
        assert response.headers["Content-Range"].endswith(f"/{len(WEIGHTS)}")
        assert await response.read() == part
    head = await http.head(path)
    assert (head.status, head.headers["X-Linked-Size"], await head.read()) == (200, str(len(WEIGHTS)), b"")
    assert len(head.headers["X-Repo-Commit"]) == 40


async def test_tags_are_respected(url, http):
    path = f"{url}/visavis/eye/resolve/main/eye.onnx"
    assert (await http.get(path, headers={"If-None-Match": f'"{SUM}"'})).status == 304
    same = await http.get(path, headers={"Range": "bytes=9-", "If-Range": f'"{SUM}"'})
    assert (same.status, await same.read()) == (206, WEIGHTS[9:])
    other = await http.get(path, headers={"Range": "bytes=9-", "If-Range": '"other"'})
    assert (other.status, await other.read()) == (200, WEIGHTS)


@pytest.mark.parametrize("wanted", ["bytes=512000-", "bytes=9-5", "bytes=x-", "lines=1-2"])
async def test_a_range_that_is_none(url, http, wanted):
    response = await http.get(f"{url}/visavis/eye/resolve/main/eye.onnx", headers={"Range": wanted})
    assert response.status == 416
    assert response.headers["Content-Range"] == f"bytes */{len(WEIGHTS)}"
    assert (await response.json())["error"]["code"] == "range_not_satisfiable"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("visavis/nose/resolve/main/eye.onnx", "repo_unknown"),
        ("visavis/../resolve/main/eye.onnx", "repo_unknown"),
        ("visavis/%2e%2e/resolve/main/eye.onnx", "repo_unknown"),
        ("visavis/..%2f..%2fetc/resolve/main/eye.onnx", "repo_unknown"),
        ("visavis/ear/resolve/main/config.json", "revision_unknown"),
        (f"visavis/eye/resolve/{'0' * 40}/eye.onnx", "revision_unknown"),
        ("visavis/eye/resolve/0123456789abcdef/eye.onnx", "revision_unknown"),
        ("visavis/eye/resolve/%2e%2e/eye.onnx", "revision_unknown"),
        ("visavis/eye/resolve/..%2f..%2ffolder/secret", "revision_unknown"),
        ("visavis/eye/resolve/main/manifest.json", "file_unknown"),
        ("visavis/eye/resolve/main/..%2f..%2f..%2fsecret", "file_unknown"),
        ("visavis/eye/resolve/main/%2fetc%2fhostname", "file_unknown"),
        ("visavis/eye/resolve/main//etc/hostname", "file_unknown"),
        ("owner/ear/resolve/main/..%2f..%2fsecret", "file_unknown"),
        ("owner/..%2f..%2fear/resolve/main/config.json", "repo_unknown"),
        ("owner/ear/resolve/..%2f..%2fmain/config.json", "revision_unknown"),
        ("owner/nose/resolve/main/config.json", "repo_unknown"),
        ("visavis/eye/resolve/main/../../../secret", "file_unknown"),
        ("visavis/eye/../../secret", "not_found"),
    ],
)
async def test_what_is_not_served(url, path, code):
    """Sent as it is written: clients would tidy the path up."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"GET /{path} HTTP/1.0\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {KEY}\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.0 404 ")
    assert f'"code": "{code}"'.encode() in answer
    assert b"treasure" not in answer


async def test_a_spoilt_file_is_not_served(url, http, store):
    path = store.ensure("eye").path
    assert await whole(http, f"{url}/visavis/eye/resolve/main/eye.onnx") == WEIGHTS
    path.write_bytes(b"x" + WEIGHTS[1:])
    response = await http.get(f"{url}/visavis/eye/resolve/main/eye.onnx")
    assert response.status == 404
    assert "eye.onnx has the checksum" in (await response.json())["error"]["message"]


async def test_what_has_been_compared_is_not_compared_again(url, http, store, monkeypatch):
    compared: list[str] = []

    def counting(path: Path, sha256: str) -> str | None:
        compared.append(path.name)
        return mismatch(path, sha256)

    monkeypatch.setattr("pipelines.models.store_layout.mismatch", counting)
    pulls = (whole(http, f"{url}/visavis/eye/resolve/main/eye.onnx") for _ in range(20))
    assert await asyncio.gather(*pulls) == [WEIGHTS] * 20
    assert compared == []
    os.utime(store.ensure("eye").path, (1, 1))
    assert await whole(http, f"{url}/visavis/eye/resolve/main/eye.onnx") == WEIGHTS
    assert compared == ["eye.onnx"]
    assert await whole(http, f"{url}/visavis/eye/resolve/main/eye.onnx") == WEIGHTS
    assert compared == ["eye.onnx"]


async def test_the_executor_of_the_codecs_is_left_alone(url, http):
    """Neither hashing, fetching nor sending a model, nor the page, takes a thread from asyncio's default executor."""
    taken: list[object] = []

    class Watched(ThreadPoolExecutor):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            taken.append(function)
            return super().submit(function, *args, **kwargs)

    asyncio.get_running_loop().set_default_executor(Watched(1))
    for path in (
        "api/models/visavis/eye/revision/main",
        "visavis/eye/resolve/main/eye.onnx",
        "owner/ear/resolve/main/model.bin",
        "",
        "static/js/app.js",
    ):
        response = await http.get(f"{url}/{path}")
        assert response.status == 200
        await response.read()
    assert taken == []


async def test_a_link_that_leads_out_of_the_store_is_not_followed(url, http, store, tmp_path):
    path = store.ensure("eye").path
    path.unlink()
    path.symlink_to(tmp_path / "folder" / "eye.onnx")  # even the same bytes
    response = await http.get(f"{url}/visavis/eye/resolve/main/eye.onnx")
    assert response.status == 404
    assert "lies outside the store" in (await response.json())["error"]["message"]


async def test_the_key_is_needed(url, upstream):
    async with aiohttp.ClientSession() as session:
        for path in ("api/models/visavis/eye/revision/main", "owner/ear/resolve/main/model.bin"):
            assert (await session.get(URL(f"{url}/{path}"))).status == 401
            assert (await session.head(URL(f"{url}/{path}"))).status == 401
    assert upstream.asked == []


# ---------------------------------------------------------------------------------------------------- fetched through


async def test_what_is_not_here_is_fetched_once_for_all_who_ask(url, http, upstream):
    asked = asyncio.Event()
    go_on = threading.Event()
    loop = asyncio.get_running_loop()

    def hold(path: str) -> None:
        if path == WEIGHTS_PATH:
            loop.call_soon_threadsafe(asked.set)
            go_on.wait(PATIENCE)

    upstream.before = hold
    pulls = [asyncio.create_task(whole(http, f"{url}/owner/ear/resolve/main/model.bin")) for _ in range(8)]
    await asked.wait()
    go_on.set()
    assert await asyncio.gather(*pulls) == [WEIGHTS] * 8
    assert upstream.count[WEIGHTS_PATH] == 1
    assert await whole(http, f"{url}/owner/ear/resolve/{COMMIT}/model.bin") == WEIGHTS
    assert upstream.count[WEIGHTS_PATH] == 1


class Slow:
    """A mirror whose hub sends nothing, or does not answer, until ``gate`` opens."""

    def __init__(self, *, silent: bool) -> None:
        self.gate, self.silent = threading.Event(), silent
        self.busy = threading.Semaphore(0)

    def remembered(self, name: str, revision: str) -> None:
        return None

    def offer(self, name: str, revision: str) -> Offer:
        if self.silent and name != "visavis/eye":
            self._wait()
        files = {f"{n}.bin": HubFile(path=f"{n}.bin", size=10, sha256="a" * 64) for n in range(4)}
        return Offer(Repo(name=name, commit=COMMIT, files=files))

    def held(self, offer: Offer, file: HubFile) -> None:
        return None

    def arrived(self, offer: Offer, file: HubFile, start: int, end: int) -> bytes:
        return b""

    def path(self, offer: Offer, file: HubFile) -> Path:
        self._wait()
        raise ModelError("download_failed", "nothing came")

    def _wait(self) -> None:
        self.busy.release()
        self.gate.wait()


@pytest.mark.parametrize("silent", [False, True])
async def test_neither_slow_files_nor_a_silent_hub_keep_others_waiting(silent: bool) -> None:
    mirror, app = Slow(silent=silent), web.Application()
    add_hub_mirror(app, mirror)  # type: ignore[arg-type]
    async with TestClient(TestServer(app)) as client:
        asked = [f"/owner/m{n}/resolve/main/{n}.bin" for n in range(4)]
        waiting = [asyncio.ensure_future(client.get(path)) for path in asked]
        try:
            for _ in asked:
                await asyncio.to_thread(mirror.busy.acquire, timeout=PATIENCE)
            for name in ("visavis/eye", *(() if silent else ("owner/another",))):
                async with asyncio.timeout(PATIENCE), client.get(f"/api/models/{name}") as answer:
                    assert answer.status == 200
            assert not any(one.done() for one in waiting)
        finally:
            mirror.gate.set()
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [502] * 4


async def whole(http: aiohttp.ClientSession, url: str) -> bytes:
    response = await http.get(url)
    assert response.status == 200
    return await response.read()


async def test_it_is_sent_on_while_it_arrives(url, http, upstream):
    """The client of a large file over a slow line must not give up before it is here."""
    go_on = threading.Event()
    upstream.cuts[WEIGHTS_PATH] = [300_000]
    upstream.half_sent = lambda path: go_on.wait(PATIENCE)
    try:
        response = await http.get(f"{url}/owner/ear/resolve/main/model.bin")
        assert await response.content.readexactly(200_000) == WEIGHTS[:200_000]
    finally:
        go_on.set()
    assert await response.read() == WEIGHTS[200_000:]
    assert upstream.asked[-1] == (WEIGHTS_PATH, "bytes=300000-")


async def test_a_client_that_was_cut_off_goes_on(url, http):
    path = f"{url}/owner/ear/resolve/main/model.bin"
    cut = await http.get(path)
    begun = await cut.content.readexactly(100_000)
    cut.close()
    rest = await http.get(path, headers={"Range": "bytes=100000-", "If-Range": cut.headers["ETag"]})
    assert rest.status == 206
    assert begun + await rest.read() == WEIGHTS


async def test_what_is_not_as_the_hub_says_is_not_passed_on(url, http, upstream):
    """Of what is sent on while it arrives, the last byte is kept back."""
    config = f"/owner/ear/resolve/{COMMIT}/config.json"
    upstream.files[config] = bytes(len(REPO["config.json"]))
    response = await http.get(f"{url}/owner/ear/resolve/main/config.json")
    assert (response.status, (await response.json())["error"]["code"]) == (502, "checksum")
    go_on = threading.Event()
    upstream.files[WEIGHTS_PATH], upstream.cuts[WEIGHTS_PATH] = bytes(len(WEIGHTS)), [300_000]
    upstream.half_sent = lambda path: go_on.wait(PATIENCE)
    try:
        response = await http.get(f"{url}/owner/ear/resolve/main/model.bin")
        assert await response.content.readexactly(200_000) == bytes(200_000)
    finally:
        go_on.set()
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()


async def test_folders_and_what_they_lack(url, http):
    tree = f"{url}/api/models/owner/ear/tree/main"
    assert [entry["path"] for entry in await (await http.get(tree)).json()] == ["extra", "config.json", "model.bin"]
    assert [entry["path"] for entry in await (await http.get(f"{tree}/extra")).json()] == ["extra/notes.md"]
    missing = await http.get(f"{tree}/chat_templates")
    assert (missing.status, missing.headers["X-Error-Code"]) == (404, "EntryNotFound")
    small = await http.head(f"{url}/owner/ear/resolve/main/config.json")
    assert small.headers["ETag"] == f'"{blob_id(REPO["config.json"])}"'


async def test_what_was_fetched_is_served_without_the_hub(url, closed, http, upstream, store):
    store.ensure("hub-ear")
    upstream.files.clear()
    assert await whole(http, f"{closed}/owner/ear/resolve/main/model.bin") == WEIGHTS
    assert await whole(http, f"{url}/owner/ear/resolve/main/config.json") == REPO["config.json"]
    described = await (await http.get(f"{closed}/api/models/owner/ear")).json()
    assert [file["rfilename"] for file in described["siblings"]] == ["config.json", "model.bin"]
    lacking = await http.get(f"{closed}/owner/ear/resolve/main/extra/notes.md")
    assert (lacking.status, lacking.headers["X-Error-Code"]) == (404, "EntryNotFound")


async def test_with_downloads_off_nothing_is_fetched(closed, http, upstream):
    response = await http.get(f"{closed}/owner/ear/resolve/main/model.bin")
    assert (response.status, response.headers["X-Error-Code"]) == (404, "RepoNotFound")
    assert "downloads are off" in response.headers["X-Error-Message"]
    assert upstream.asked == []


async def test_hugging_face_is_asked_when_the_mirror_fails(url, http, upstream, store, monkeypatch):
    """And does not get the key of the mirror."""
    with FileServer() as mirror:
        address = f"{mirror.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "ENDPOINT", mirror.url)
        monkeypatch.setattr("pipelines.models.sources_hub.HUGGING_FACE", upstream.url)
        monkeypatch.setenv("HF_TOKEN", "of-the-mirror")
        store.hub = Hub(Downloader())
        assert await whole(http, f"{url}/owner/ear/resolve/main/model.bin") == WEIGHTS
        assert set(mirror.keys) == {"Bearer of-the-mirror"}
    assert set(upstream.keys) == {None}


# ---------------------------------------------------------------------------------------------------- stock clients

STOCK = """
import sys
from pathlib import Path
from huggingface_hub import snapshot_download
folder = Path(snapshot_download("owner/words"))
print(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()), folder.name)
print(Path(snapshot_download("visavis/eye"), "eye.onnx").stat().st_size)
from transformers import AutoTokenizer
print(AutoTokenizer.from_pretrained("owner/words")("hello world")["input_ids"])
print(AutoTokenizer.from_pretrained("owner/other")("world hello")["input_ids"])
"""


def words() -> dict[str, bytes]:
    """A repository with a tokenizer that knows three words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "hello": 1, "world": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}
    return {
        "tokenizer.json": tokenizer.to_str().encode(),
        "tokenizer_config.json": json.dumps(config).encode(),
        "deep/model.safetensors": WEIGHTS,
    }


async def test_stock_clients_of_hugging_face_are_served(url, upstream, tmp_path):
    for repo in ("owner/words", "owner/other"):
        upstream.put_repo(repo, words())
    home = {"HF_HOME": str(tmp_path / "home"), "HF_TOKEN": KEY, "HF_ENDPOINT": url, "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS"))}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", STOCK],
        env={**environment, **home},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"['deep/model.safetensors', 'tokenizer.json', 'tokenizer_config.json'] {COMMIT}",
        str(len(WEIGHTS)),
        "[1, 2]",
        "[2, 1]",
    ]
    files = [path for path in upstream.count if "/resolve/" in path]
    assert len(files) == 5, "the weights of the other repository were not asked for"
    assert {upstream.count[path] for path in files} == {1}


# ---------------------------------------------------------------------------------------------------- another visavis


async def test_one_instance_fetches_from_another(url, store, tmp_path, upstream):
    store.ensure("ear")
    server = ModelServer(url, KEY)
    other = ModelStore(tmp_path / "other", server=server)
    for model_id in ("eye", "ear"):
        files = await asyncio.to_thread(other.ensure, model_id)
        assert {name: path.read_bytes() for name, path in files.files.items()} == {
            name: path.read_bytes() for name, path in store.ensure(model_id).files.items()
        }
        assert files.version == store.ensure(model_id).version
        assert files.origin == str(server)
        assert other.verify(model_id) is None
    assert "key" not in repr(server)
    assert upstream.asked == []


async def test_one_instance_fetches_through_another(url, store, tmp_path, upstream):
    server = ModelServer(url, KEY)
    files = await asyncio.to_thread(ModelStore(tmp_path / "other", server=server).ensure, "hub-ear")
    assert files.files["model.bin"].read_bytes() == WEIGHTS
    assert (files.origin, files.version) == (str(server), COMMIT[:12])
    assert set(upstream.keys) == {None}


async def test_with_the_wrong_key_the_reason_says_so(url, tmp_path):
    other = ModelStore(tmp_path / "other", server=ModelServer(url, "wrong"))
    with pytest.raises(ModelError, match=r"answered 401 \(a key is needed, or the one given is wrong\)"):
        await asyncio.to_thread(other.ensure, "eye")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"siblings": [{"rfilename": "../eye.onnx", "size": 1}]}, r"'\.\./eye\.onnx' leads out of its folder"),
        ({"siblings": [{"rfilename": "eye.json", "size": 2}]}, r"holds no eye\.onnx"),
        ({"sha": "../x"}, "answer makes no sense"),
    ],
)
def test_a_server_that_is_not_to_be_trusted(store, tmp_path, change, reason):
    siblings = [{"rfilename": name, "size": 1, "blobId": "0" * 40} for name in ("eye.onnx", "eye.json")]
    answer = {"id": "visavis/eye", "sha": COMMIT, "siblings": siblings, **change}
    with FileServer(
        {f"/api/models/visavis/eye/revision/{CATALOGUE.get('eye').digest}": json.dumps(answer).encode()}
    ) as fake:
        other = ModelStore(tmp_path / "other", server=ModelServer(fake.url))
        with pytest.raises(ModelError, match=reason):
            other.ensure("eye")
        assert len(fake.asked) == 1


@pytest.mark.parametrize("address", ["10.0.0.5:8080", "ftp://host/", "http://", ""])
def test_an_address_that_is_none(address):
    with pytest.raises(ModelError, match=r"is not an address; legal is http\(s\)://HOST:PORT"):
        ModelServer(address)
