"""Models for other instances: descriptions, files, ranges, what is not served; one visavis fetching from another."""

from __future__ import annotations

import asyncio
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from yarl import URL

from pipelines.errors import ModelError
from pipelines.models.catalogue import Catalogue
from pipelines.models.sources_server import ModelServer
from pipelines.models.store import ModelStore
from pipelines.models.store_sums import mismatch
from tests.fakes.file_server import FileServer

WEIGHTS = bytes(range(256)) * 2000
SUM = hashlib.sha256(WEIGHTS).hexdigest()
COMMON = {"task": "t", "licence": "MIT", "description": "for tests", "sources": [{"dir": "."}]}
EYE = {"id": "eye", "files": [{"name": "eye.onnx"}, {"name": "eye.json"}]}
EAR = {"id": "ear", "folder": {"files": ["config.json", "*.bin"]}}
CATALOGUE = Catalogue.model_validate({"models": [COMMON | EYE, COMMON | EAR]})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """The store of the server under test, with the model ``eye`` in it."""
    monkeypatch.setattr("pipelines.models.catalogue.load", lambda: CATALOGUE)
    folder = tmp_path / "folder"
    (folder / "ear").mkdir(parents=True)
    (folder / "eye.onnx").write_bytes(WEIGHTS)
    (folder / "eye.json").write_text("{}")
    (folder / "ear" / "config.json").write_text("{}")
    (folder / "ear" / "model.bin").write_bytes(WEIGHTS)
    (folder / "secret").write_text("treasure")
    store = ModelStore(tmp_path / "cache" / "models", folder)
    store.ensure("eye")
    return store


@pytest.fixture
async def url(serve, store, tmp_path):
    base, _ = await serve(cache=tmp_path / "cache", api_key="key-of-8")
    return f"{base}/v1/models/files"


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer key-of-8"}) as session:
        yield session


async def test_a_model_is_described(url, http, store):
    described = await (await http.get(f"{url}/eye")).json()
    assert described["object"] == "model.files"
    assert described["version"] == store.ensure("eye").version
    assert described["files"][1] == {"name": "eye.onnx", "size": len(WEIGHTS), "sha256": SUM}


async def test_a_file_is_sent_whole_or_in_parts(url, http, store):
    for version in ("current", store.ensure("eye").version):
        response = await http.get(f"{url}/eye/{version}/eye.onnx")
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(WEIGHTS)))
        assert response.headers["ETag"] == f'"{SUM}"'
        assert await response.read() == WEIGHTS
    for wanted, part in [("bytes=1000-", WEIGHTS[1000:]), ("bytes=5-9", WEIGHTS[5:10]), ("bytes=-7", WEIGHTS[-7:])]:
        response = await http.get(f"{url}/eye/current/eye.onnx", headers={"Range": wanted})
        assert response.status == 206
        assert response.headers["Content-Range"].endswith(f"/{len(WEIGHTS)}")
        assert await response.read() == part
    head = await http.head(f"{url}/eye/current/eye.onnx")
    assert (head.status, head.headers["Content-Length"], await head.read()) == (200, str(len(WEIGHTS)), b"")


async def test_tags_are_respected(url, http):
    path = f"{url}/eye/current/eye.onnx"
    assert (await http.get(path, headers={"If-None-Match": f'"{SUM}"'})).status == 304
    assert (await http.get(path, headers={"Range": "bytes=9-", "If-Range": f'"{SUM}"'})).status == 206
    other = await http.get(path, headers={"Range": "bytes=9-", "If-Range": '"other"'})
    assert (other.status, await other.read()) == (200, WEIGHTS)


@pytest.mark.parametrize("wanted", ["bytes=512000-", "bytes=9-5", "bytes=x-", "lines=1-2"])
async def test_a_range_that_is_none(url, http, wanted):
    response = await http.get(f"{url}/eye/current/eye.onnx", headers={"Range": wanted})
    assert response.status == 416
    assert response.headers["Content-Range"] == f"bytes */{len(WEIGHTS)}"
    assert (await response.json())["error"]["code"] == "range_not_satisfiable"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("nose", "model_unknown"),
        ("..", "model_unknown"),
        ("%2e%2e", "model_unknown"),
        ("..%2f..%2fetc", "model_unknown"),
        ("ear", "model_not_here"),
        ("ear/current/config.json", "model_not_here"),
        ("eye/000000000000/eye.onnx", "version_unknown"),
        ("eye/../eye.onnx", "version_unknown"),
        ("eye/%2e%2e/eye.onnx", "version_unknown"),
        ("eye/..%2f..%2ffolder/secret", "version_unknown"),
        ("eye/current/manifest.json", "file_unknown"),
        ("eye/current/..%2f..%2f..%2fsecret", "file_unknown"),
        ("eye/current/%2fetc%2fhostname", "file_unknown"),
        ("eye/current/../../../secret", "model_not_found"),
    ],
)
async def test_what_is_not_served(url, path, code):
    """Sent as it is written: clients would tidy the path up."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"GET {parts.path}/{path} HTTP/1.0\r\nHost: {parts.netloc}\r\nAuthorization: Bearer key-of-8\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.0 404 ")
    assert f'"code": "{code}"'.encode() in answer
    assert b"treasure" not in answer


async def test_a_spoilt_file_is_not_served(url, http, store):
    path = store.ensure("eye").path
    assert (await http.get(f"{url}/eye/current/eye.onnx")).status == 200
    path.write_bytes(b"x" + WEIGHTS[1:])
    response = await http.get(f"{url}/eye/current/eye.onnx")
    assert response.status == 404
    assert "eye.onnx has the checksum" in (await response.json())["error"]["message"]


async def test_what_has_been_compared_is_not_compared_again(url, http, store, monkeypatch):
    compared: list[str] = []

    def counting(path: Path, sha256: str) -> str | None:
        compared.append(path.name)
        return mismatch(path, sha256)

    monkeypatch.setattr("pipelines.models.store_layout.mismatch", counting)
    answers = await asyncio.gather(*(http.get(f"{url}/eye/current/eye.onnx") for _ in range(20)))
    assert [answer.status for answer in answers] == [200] * 20
    assert sorted(compared) == ["eye.json", "eye.onnx"]
    store.ensure("eye").path.write_bytes(b"x" + WEIGHTS[1:])
    compared.clear()
    answers = await asyncio.gather(*(http.get(f"{url}/eye/current/eye.onnx") for _ in range(20)))
    assert [answer.status for answer in answers] == [404] * 20
    assert compared.count("eye.onnx") == 1


async def test_the_executor_of_the_codecs_is_left_alone(url, http):
    """Neither hashing nor sending a model, nor the page, takes a thread from asyncio's default executor."""
    taken: list[object] = []

    class Watched(ThreadPoolExecutor):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            taken.append(function)
            return super().submit(function, *args, **kwargs)

    asyncio.get_running_loop().set_default_executor(Watched(1))
    base = url.partition("/v1")[0]
    for path in (f"{url}/eye", f"{url}/eye/current/eye.onnx", f"{base}/", f"{base}/static/js/main.js"):
        response = await http.get(path)
        assert response.status == 200
        await response.read()
    assert taken == []


async def test_a_link_that_leads_out_of_the_store_is_not_followed(url, http, store, tmp_path):
    path = store.ensure("eye").path
    path.unlink()
    path.symlink_to(tmp_path / "folder" / "eye.onnx")  # even the same bytes
    response = await http.get(f"{url}/eye/current/eye.onnx")
    assert response.status == 404
    assert "lies outside the store" in (await response.json())["error"]["message"]


async def test_the_key_is_needed(url):
    async with aiohttp.ClientSession() as session:
        assert (await session.get(URL(f"{url}/eye"))).status == 401


async def test_one_instance_fetches_from_another(url, store, tmp_path):
    store.ensure("ear")
    server = ModelServer(url.partition("/v1")[0], "key-of-8")
    other = ModelStore(tmp_path / "other", server=server)
    for model_id in ("eye", "ear"):
        files = await asyncio.to_thread(other.ensure, model_id)
        assert {name: path.read_bytes() for name, path in files.files.items()} == {
            name: path.read_bytes() for name, path in store.ensure(model_id).files.items()
        }
        assert files.version == store.ensure(model_id).version
        assert files.origin == str(server)
    assert "key" not in repr(server)


async def test_with_the_wrong_key_the_reason_says_so(url, tmp_path):
    other = ModelStore(tmp_path / "other", server=ModelServer(url.partition("/v1")[0], "wrong"))
    with pytest.raises(ModelError, match=r"answered 401 \(a key is needed, or the one given is wrong\)"):
        await asyncio.to_thread(other.ensure, "eye")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"digest": "other"}, "it has another version of the model"),
        ({"files": [{"name": "../eye.onnx", "size": 1, "sha256": SUM}]}, r"'\.\./eye\.onnx' leads out of its folder"),
        ({"files": [{"name": "eye.json", "size": 2, "sha256": SUM}]}, r"it offers no eye\.onnx"),
        ({"version": "../x"}, "its answer makes no sense"),
    ],
)
def test_a_server_that_is_not_to_be_trusted(store, tmp_path, change, reason):
    digest = CATALOGUE.get("eye").digest
    files = [{"name": name, "size": 1, "sha256": SUM} for name in ("eye.onnx", "eye.json")]
    answer = {"id": "eye", "version": "0" * 12, "digest": digest, "files": files, **change}
    with FileServer({"/v1/models/files/eye": json.dumps(answer).encode()}) as fake:
        other = ModelStore(tmp_path / "other", server=ModelServer(fake.url))
        with pytest.raises(ModelError, match=reason):
            other.ensure("eye")
        assert len(fake.asked) == 1


@pytest.mark.parametrize("address", ["10.0.0.5:8080", "ftp://host/", "http://", ""])
def test_an_address_that_is_none(address):
    with pytest.raises(ModelError, match=r"is not an address; legal is http\(s\)://HOST:PORT"):
        ModelServer(address)
