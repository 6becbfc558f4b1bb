"""A child and its pipes, on the event loop of the product."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from pipelines.runtime import child_process
from pipelines.runtime.child_process import ChildProcess

ECHO = "import sys\nfor line in sys.stdin: print(line.strip() * 2, flush=True)\nsys.exit(3)"


def script(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


async def test_it_answers_and_ends_with_its_input() -> None:
    child = await ChildProcess.start(script(ECHO))
    for word in (b"ha", b"x" * 30_000):
        child.stdin.write(word + b"\n")
        await child.stdin.drain()
        assert await child.stdout.readline() == word * 2 + b"\n"
    assert (child.returncode, child.stderr) == (None, None)
    child.stdin.close()
    assert await child.wait() == 3
    assert await child.stdout.read() == b""
    child.kill()  # does nothing any more


async def test_what_it_said_can_be_read_after_its_end() -> None:
    child = await ChildProcess.start(script("import sys; print('out'); sys.exit('why')"), errors=True)
    assert await child.wait() == 1
    assert child.stderr is not None
    assert (await child.stdout.read(), await child.stderr.read()) == (b"out\n", b"why\n")
    assert child.stdin.is_closing()


async def test_it_is_ended_by_force() -> None:
    child = await ChildProcess.start(script(ECHO))
    waiting = [asyncio.create_task(child.wait()) for _ in range(2)]
    child.kill()
    assert await asyncio.gather(*waiting) == [-9, -9]
    assert child.returncode == -9
    assert await child.stdout.read() == b""


async def test_a_line_without_end_is_refused() -> None:
    child = await ChildProcess.start(script("print('x' * 5000)"), longest_line=1000)
    with pytest.raises(ValueError, match="limit"):
        await child.stdout.readline()
    await child.wait()


async def test_what_is_not_there_cannot_be_started() -> None:
    with pytest.raises(OSError, match="no-such-program"):
        await ChildProcess.start(("no-such-program",))


async def test_a_start_that_is_cancelled_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[ChildProcess] = []
    connect = ChildProcess._connect

    async def noted(self: ChildProcess, longest_line: int) -> None:
        begun.append(self)
        starting.cancel()
        await connect(self, longest_line)

    monkeypatch.setattr(ChildProcess, "_connect", noted)
    starting = asyncio.create_task(ChildProcess.start(script(ECHO)))
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert [child.returncode for child in begun] == [-9]
    assert await begun[0].stdout.read() == b""


async def test_a_start_that_fails_half_way_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[ChildProcess] = []

    async def fails(self: ChildProcess, longest_line: int) -> None:
        begun.append(self)
        raise OSError("too many open files")

    monkeypatch.setattr(ChildProcess, "_connect", fails)
    with pytest.raises(OSError, match="too many open files"):
        await ChildProcess.start(script(ECHO))
    assert [child.returncode for child in begun] == [-9]
    for pipe in (begun[0]._process.stdin, begun[0]._process.stdout):
        assert pipe is not None
        pipe.close()


async def test_a_start_without_a_thread_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    popen = child_process._popen

    def noted(*given: Any) -> subprocess.Popen[bytes]:
        begun.append(popen(*given))
        return begun[-1]

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(child_process, "_popen", noted)
    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(OSError, match="can't start new thread"):
        await ChildProcess.start(script(ECHO))
    [process] = begun
    assert process.returncode == -9
    assert all(pipe is not None and pipe.closed for pipe in (process.stdin, process.stdout))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no vfork(2) to start children with")
async def test_no_fork_handler_runs_in_this_process() -> None:
    """The one of OpenBLAS would wait for ever while another thread multiplies matrices."""
    forks: list[int] = []
    os.register_at_fork(before=lambda: forks.append(1))
    child = await ChildProcess.start(script(ECHO))
    child.stdin.close()
    await child.wait()
    await child.stdout.read()
    assert not forks
