"""Signals while the server loads, downloads and serves: it ends, with its children, whatever its threads are at."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pipelines.engines.stt.pocketsphinx_recognizer import Decoder
from pipelines.runtime.child_process import Children
from server.cli.at_once import ended_at_once
from server.cli.stopping import unless_stopped
from tests.real_models import real_model

ROOT = Path(__file__).parents[3]
READY = "visavis is ready"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
TERM_AND_OTHERS = [
    signal.SIGTERM,
    *(pytest.param(number, marks=pytest.mark.long) for number in (signal.SIGINT, signal.SIGHUP)),
]


class Silent:
    """A server that never says anything; ``asked`` is set by the first request."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for writer in self._writers:
                writer.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        await reader.readline()
        self.asked.set()


class Visavis:
    """The command in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    @asynccontextmanager
    async def run(
        cls, cache: Path, *arguments: str, under: tuple[str, ...] = (), **environment: str
    ) -> AsyncIterator[Visavis]:
        settings = {"VISAVIS_CACHE": str(cache), "COLUMNS": "200"}
        if "bench" not in arguments:  # stubs ask no server
            settings["VISAVIS_LLM_URL"] = "http://127.0.0.1:9/v1"
        offline = {"PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        process = await asyncio.create_subprocess_exec(
            *(*under, sys.executable, "-m", "server", *arguments),
            cwd=ROOT,
            env={**os.environ, **settings, **offline, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            yield cls(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def until(self, text: str) -> None:
        """Read what it says up to a line with ``text``."""
        assert self.process.stdout is not None
        seen = b""
        while text.encode() not in seen:
            line = await self.process.stdout.readline()
            seen += line
            assert line, f"ended without {text!r}:\n{seen.decode()}"

    async def ended(self) -> tuple[int, str]:
        """Wait for the end: its status, and what it said besides."""
        rest, _ = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, rest.decode()

    def children(self) -> list[int]:
        """Of every of its threads."""
        found = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for path in found for child in path.read_text().split()]


class Ends:
    """Waits for the ends of processes that are not ours."""

    def __init__(self, pids: list[int]) -> None:
        self._descriptors = [os.pidfd_open(pid) for pid in pids]

    async def wait(self) -> None:
        for descriptor in self._descriptors:
            ended = asyncio.Event()
            asyncio.get_running_loop().add_reader(descriptor, ended.set)
            await ended.wait()
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)


HANGS = 200.0
"""Seconds."""
IMPORTING = """
import os, signal, sys
number, name = int(sys.argv[1]), sys.argv[2]
signal.signal(number, signal.SIG_DFL)  # whoever runs the tests in the background has it ignored

class Signalling:
    def find_spec(self, found, path=None, target=None):
        if found == name:
            os.kill(os.getpid(), number)

sys.meta_path.insert(0, Signalling())
from server.cli.main import main
main(["serve", "--port", "0", "--no-download"])
"""


@pytest.mark.parametrize(
    ("number", "module"),
    [
        (signal.SIGINT, "server.cli.commands"),
        *(
            pytest.param(number, module, marks=pytest.mark.long)
            for number, module in (
                *((number, "server.settings") for number in SIGNALS),
                (signal.SIGINT, "server.cli.serve"),
                (signal.SIGTERM, "server.http.web_server"),
            )
        ),
    ],
)
def test_while_it_imports(number: signal.Signals, module: str) -> None:
    command = [sys.executable, "-c", IMPORTING, str(int(number)), module]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=HANGS)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


def test_afterwards_signals_are_again_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr("os._exit", left.append)
    before = [signal.getsignal(number) for number in SIGNALS]
    with ended_at_once():
        signal.raise_signal(signal.SIGTERM)
    assert left == [128 + signal.SIGTERM]
    assert [signal.getsignal(number) for number in SIGNALS] == before
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_at_once():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, "as under nohup"
    finally:
        signal.signal(signal.SIGHUP, before[-1])


@pytest.mark.parametrize("number", TERM_AND_OTHERS)
async def test_while_it_loads(tmp_path: Path, number: signal.Signals) -> None:
    async with Visavis.run(tmp_path, "serve", "--port", "0", "--no-download") as visavis:
        await visavis.until("Loading engines")
        visavis.process.send_signal(number)
        status, said = await visavis.ended()
    assert status == 0
    assert READY not in said
    assert "Traceback" not in said


@pytest.mark.long
@LINUX
@pytest.mark.parametrize("number", TERM_AND_OTHERS)
async def test_while_pip_downloads_for_it(tmp_path: Path, number: signal.Signals) -> None:
    silent = Silent()
    async with silent.listen() as url:
        index = {"PIP_INDEX_URL": f"{url}/simple", "PIP_NO_INDEX": "0", "PIP_CONFIG_FILE": os.devnull}
        voice = ("--tts-model", "piper-en_US-joe-medium")  # what is asked for by name is waited for
        async with Visavis.run(tmp_path, "serve", "--port", "0", *voice, **index) as visavis:
            await silent.asked.wait()
            pip = visavis.children()
            assert pip
            ends = Ends(pip)
            visavis.process.send_signal(number)
            status, said = await visavis.ended()
            await ends.wait()
    assert status == 0
    assert READY not in said
    assert "Traceback" not in said


@pytest.mark.long
@pytest.mark.parametrize("number", TERM_AND_OTHERS)
async def test_while_it_downloads_in_the_background(tmp_path: Path, number: signal.Signals) -> None:
    silent = Silent()
    async with silent.listen() as url:
        flags = ("--port", "0", "--profile", "auto")
        asks = {"VISAVIS_MODEL_SERVER": url, "HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0"}
        async with Visavis.run(tmp_path, "serve", *flags, VISAVIS_VISION="0", **asks) as visavis:
            await visavis.until(READY)
            await silent.asked.wait()
            visavis.process.send_signal(number)
            status, said = await visavis.ended()
    assert status == 0
    assert "could not be had" not in said  # the download was not waited for
    assert "Traceback" not in said


@pytest.mark.long
@LINUX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_while_a_model_is_pulled(tmp_path: Path, number: signal.Signals) -> None:
    silent = Silent()
    async with silent.listen() as url:
        index = {"PIP_INDEX_URL": f"{url}/simple", "PIP_NO_INDEX": "0", "PIP_CONFIG_FILE": os.devnull}
        async with Visavis.run(tmp_path, "models", "pull", "smart-turn", **index) as visavis:
            await silent.asked.wait()
            ends = Ends(visavis.children())
            visavis.process.send_signal(number)
            status, said = await visavis.ended()
            await ends.wait()
    assert status == 128 + number
    assert "Traceback" not in said


@LINUX
@pytest.mark.parametrize("number", [*TERM_AND_OTHERS, pytest.param(signal.SIGKILL, marks=pytest.mark.long)])
async def test_while_llama_thinks_for_it(tmp_path: Path, number: signal.Signals) -> None:
    model = str(real_model("smollm2-135m-instruct-gguf").path)
    flags = ("--port", "0", "--no-download", "--chat-model", model)
    async with Visavis.run(tmp_path, "serve", *flags, VISAVIS_VISION="0") as visavis:
        await visavis.until(READY)
        children = visavis.children()
        assert len(children) >= 2, "a recogniser and llama.cpp"
        ends = Ends(children)
        visavis.process.send_signal(number)
        status, said = await visavis.ended()
        await ends.wait()
    assert status == (-number if number == signal.SIGKILL else 0)
    assert "Traceback" not in said


@pytest.mark.long
async def test_a_hangup_that_is_to_be_ignored_is(tmp_path: Path) -> None:
    """As under nohup: the process inherits that SIGHUP is ignored."""
    flags, nohup = ("--port", "0", "--profile", "bench"), ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    async with Visavis.run(tmp_path, "serve", *flags, under=nohup) as visavis:
        await visavis.until("Loading engines")
        visavis.process.send_signal(signal.SIGHUP)
        await visavis.until(READY)
        visavis.process.send_signal(signal.SIGTERM)
        assert (await visavis.ended())[0] == 0


# ------------------------------------------------------------------------------------------------ the parts


async def test_what_is_loaded_in_time_is_given() -> None:
    async def work() -> str:
        return "loaded"

    assert await unless_stopped(asyncio.Event(), work()) == "loaded"


async def test_what_fails_while_it_loads_fails() -> None:
    async def work() -> str:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await unless_stopped(asyncio.Event(), work())


async def test_work_that_does_not_give_up_is_left_behind() -> None:
    stop, done = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    stop.set()
    assert await unless_stopped(stop, work()) is None
    done.set()


def test_children_that_run_are_ended_and_none_begin_afterwards() -> None:
    class Child:
        killed = 0
        pid = 1

        def kill(self) -> None:
            self.killed += 1

    children, first, gone, late = Children(), Child(), Child(), Child()
    children.add(first)
    children.add(gone)
    children.discard(gone)
    children.end()
    children.add(late)
    assert (first.killed, gone.killed, late.killed) == (1, 0, 1)


async def test_a_recogniser_that_still_loads_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads its pipe, whose end would end it, only once its model is loaded."""
    children = Children()
    monkeypatch.setattr("pipelines.engines.stt.pocketsphinx_recognizer.CHILDREN", children)
    decoder = await Decoder.spawn()
    children.end()
    await decoder.gone()
    await decoder.end()


def test_a_child_gives_its_output_and_its_status() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = Children().run([sys.executable, "-c", code], 30.0)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
