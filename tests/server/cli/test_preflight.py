"""What is refused before anything is loaded; and that the command does so before it imports an engine."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import DefinitionError
from server.cli.preflight import bind_error, check
from server.settings import SettingsError, load_settings


@pytest.fixture
def taken() -> object:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def refused(**flags: object) -> str:
    with pytest.raises(SettingsError) as caught:
        check(load_settings({"port": 0, **flags}))
    return str(caught.value)


def test_a_port_that_is_taken_is_refused(taken: int) -> None:
    assert (
        refused(port=taken)
        == f"port: {taken} is taken on 127.0.0.1 (by another visavis, perhaps); --port 0 takes a free one"
    )
    with pytest.raises(SettingsError, match="is taken on localhost"):
        check(load_settings({"port": taken, "host": "localhost"}))


def test_a_host_that_is_not_here_is_refused() -> None:
    said = refused(host="192.0.2.1", api_key="a-key-for-tests")
    assert said == "host: 192.0.2.1 is no address of this machine; 0.0.0.0 and :: are all of them"
    assert refused(host="no such name", api_key="a-key-for-tests").startswith("host: no such name cannot be found (")


def test_a_name_that_nobody_answers_for_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.cli.preflight.RESOLVE_SECONDS", 0.0)
    import threading

    asked, release = threading.Event(), threading.Event()

    def look(*wanted: object, **more: object) -> list[object]:
        asked.set()
        release.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look)
    error = bind_error("slow.example", 0, socket.SOCK_STREAM)
    release.set()
    assert asked.wait(10)
    assert isinstance(error, TimeoutError)


def test_folders_are_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert refused(models=tmp_path / "none").startswith(
        f"models: {tmp_path / 'none'}: No such file or directory; it must be"
    )
    assert refused(models=file).startswith(f"models: {file}: Not a directory")
    assert refused(cache=file / "cache").startswith(f"cache: {file / 'cache'}: {file} is no folder; it must be")
    assert refused(recordings=file / "kept").startswith(f"recordings: {file / 'kept'}: {file} is no folder; it must be")
    check(load_settings({"port": 0, "models": tmp_path, "cache": tmp_path / "not" / "yet"}))
    check(load_settings({"port": 0, "recordings": tmp_path / "not" / "yet"}))


def test_the_certificate_is_looked_at(tmp_path: Path) -> None:
    none = tmp_path / "none.pem"
    assert refused(tls_cert=none, tls_key=none) == f"tls_cert: {none}: No such file or directory"
    file = tmp_path / "file"
    file.touch()
    assert "tls_self_signed: nothing can be kept in " in refused(tls_self_signed=True, cache=file)
    check(load_settings({"port": 0, "tls_self_signed": True, "cache": tmp_path}))
    assert (tmp_path / "tls" / "self-signed.crt").exists()


def test_names_are_looked_at(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="stt_model: there is no model 'nobody'"):
        check(load_settings({"port": 0, "cache": tmp_path, "stt_model": "nobody"}))


def test_the_check_loads_no_engine() -> None:
    """A second's worth of imports is for those who may begin."""
    code = (
        "import sys, server.cli.commands, server.cli.preflight\n"
        "heavy = 'cv2 onnxruntime aiortc av ctranslate2 torch mediapipe aiohttp server.engines.build'.split()\n"
        "sys.exit([name for name in heavy if name in sys.modules] or 0)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
