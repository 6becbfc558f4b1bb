"""The process: starts, says where it is, and ends politely with nothing left running."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.cli import serve
from server.http.tls.certificates import fingerprint
from server.observability.loop_monitor import LoopWatch
from server.settings import load_settings
from tests.conftest import fake_engines
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[3]
SERVE = (sys.executable, "-m", "server", "serve", "--port", "0")


async def start(*flags: str) -> asyncio.subprocess.Process:
    environment = {**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    return await asyncio.create_subprocess_exec(
        *SERVE, *flags, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def read_until(process: asyncio.subprocess.Process, text: str) -> str:
    seen = ""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        while text not in seen:
            line = await process.stdout.readline()
            assert line, f"ended without {text!r}:\n{seen}"
            seen += line.decode()
    return seen


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
async def test_sigterm_ends_it_and_its_children():
    process = await start("--profile", "embedded")
    try:
        seen = await read_until(process, "visavis is ready: http://127.0.0.1:")
        assert "pocketsphinx" in seen
        offspring = children(process.pid)
        assert offspring
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            rest, _ = await process.communicate()
        assert process.returncode == 0, rest.decode()
        assert "Traceback" not in rest.decode()
        assert not [pid for pid in offspring if is_alive(pid)]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_https_is_served_with_a_certificate_made_here(tmp_path):
    config = tmp_path / "visavis.yaml"
    config.write_text(f"cache: {tmp_path}\n")
    process = await start("--profile", "bench", "--tls", "self-signed", "--config", str(config))
    try:
        seen = await read_until(process, "SSL_CERT_FILE=")
        found = re.search(r"ready: (https://127\.0\.0\.1:\d+)", seen)
        assert found is not None, seen
        public = tmp_path / "tls" / "self-signed.crt"
        assert fingerprint(public) in seen
        context = ssl.create_default_context(cafile=public)
        async with aiohttp.ClientSession() as http, http.get(f"{found[1]}/healthz", ssl=context) as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            rest, _ = await process.communicate()
        assert (process.returncode, b"Traceback" in rest) == (0, False), rest.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
async def test_it_goes_on_without_a_reader_and_ends_politely_without_a_terminal():
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *SERVE, "--profile", "bench", cwd=ROOT, stdout=writing, stderr=asyncio.subprocess.PIPE
    )
    os.close(writing)
    seen = b""
    while (found := re.search(rb"ready: (http://[^ ]+)", seen)) is None:
        block = await asyncio.to_thread(os.read, reading, 4096)
        assert block, seen.decode()
        seen += block
    os.close(reading)
    url = found[1].decode()
    async with aiohttp.ClientSession() as http:
        for _ in range(3):  # each is told in the log
            refused = await http.get(f"{url}/v1/engines", headers={"Host": "evil.test"})
            assert refused.status == 403
    process.send_signal(signal.SIGHUP)
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert errors == b""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_a_crash_tells_where_it_was():
    process = await start("--profile", "bench")
    await read_until(process, "visavis is ready")
    process.send_signal(signal.SIGSEGV)
    output, _ = await process.communicate()
    assert "Fatal Python error: Segmentation fault" in output.decode()
    assert "server/cli/" in output.decode()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--voice", "nobody"), "voice: there is no voice 'nobody'"),
        (("--host", "0.0.0.0"), "API key"),
        *(
            pytest.param(flags, said, marks=pytest.mark.long)
            for flags, said in (
                (("--language", "xx"), "language: there is no language 'xx'"),
                (("--stt-model", "whisper-small.en", "--no-download"), "visavis models pull whisper-small.en"),
                (("--llm-url", "localhost"), "llm_url: 'localhost' is no address"),
                (("--host", "0.0.0.0", "--api-key", ""), "api_key: is empty"),
                (("--config", "nowhere.yaml"), "nowhere.yaml"),
                (("--pipeline", "nowhere.yaml"), "nowhere.yaml"),
            )
        ),
        (("--profile", "fast"), "--profile: there is no 'fast'; legal values are auto, embedded, bench"),
    ],
)
async def test_bad_flags_end_with_one_line(flags, said):
    process = await start(*flags)
    output, _ = await process.communicate()
    assert process.returncode == 2
    assert said in output.decode()
    assert "Traceback" not in output.decode()
    assert "Loading engines" not in output.decode()


async def test_the_loop_is_warned_of_from_the_moment_that_it_says_it_is_ready(monkeypatch, loopback):
    watched, told = list[asyncio.Event](), list[tuple[str, bool]]()

    class Watch(LoopWatch):
        def __init__(self, clock: Any, observe: Any, ready: asyncio.Event) -> None:
            super().__init__(clock, observe, ready)
            watched.append(ready)

    class Heard(serve.ServerConsole):
        def print(self, *what: Any, **how: Any) -> None:
            told.extend((str(words), bool(watched) and watched[0].is_set()) for words in what)

    @contextmanager
    def signals() -> Iterator[asyncio.Event]:
        stop = asyncio.Event()
        stop.set()
        yield stop

    async def loaded(stop: asyncio.Event, work: Any) -> Any:
        work.close()
        return fake_engines()

    monkeypatch.setattr("server.http.app.LoopWatch", Watch)
    monkeypatch.setattr("server.cli.serve.stop_signals", signals)
    monkeypatch.setattr("server.cli.serve.unless_stopped", loaded)
    monkeypatch.setattr("gc.freeze", lambda: None)
    await serve._serve(load_settings({"port": 0, "ice_address": ("127.0.0.1",)}), Heard())
    assert [ready for words, ready in told if "visavis is ready" in words] == [False]
    assert told[-1] == ("Stopping …", True)


def test_a_phone_is_told_the_addresses_in_the_network():
    addresses = ["127.0.0.1", "192.0.2.7", "2001:db8::7"]
    there = ["https://192.0.2.7:8443", "https://[2001:db8::7]:8443"]
    assert serve.reachable("https://0.0.0.0:8443", addresses) == there
    assert serve.reachable("https://[::]:8443", addresses) == there
    assert serve.reachable("https://192.0.2.9:8443", addresses) == ["https://192.0.2.9:8443"]
