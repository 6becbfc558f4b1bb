"""Workers that are forked from a process which has loaded their code."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.workers.processes.nursery import Forking, Nursery, Spawning, _Zygote
from server.workers.processes.zygote import is_possible
from tests.fakes.crew import FakeNursery
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(not is_possible(), reason="processes are forked on Linux only")
ROOT = Path(__file__).parents[3]
ZYGOTE = (sys.executable, "-m", "tests.fakes.zygote")


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as told:
        return int(told.read().rsplit(")", 1)[1].split()[1])


async def test_a_forked_worker_is_a_process_as_any_other(monkeypatch):
    for limit in ("FORK_SECONDS", "STATUS_SECONDS"):
        monkeypatch.setattr(f"server.workers.processes.nursery.{limit}", PATIENCE)
    nursery: Nursery = Forking(ZYGOTE, FakeNursery())
    try:
        one, other = await nursery.start(), await nursery.start()
        assert parent_of(one.pid) == parent_of(other.pid) != os.getpid()
        for child in (one, other):
            child.stdin.write(b"hello\n")
            assert await child.stdout.readline() == f"{child.pid} hello\n".encode()
        one.kill()
        assert await one.wait() == -signal.SIGKILL
        assert await one.stdout.read() == b""
        one.kill()  # it is gone, and nobody else is meant
        other.stdin.write(b"3\n")
        assert await other.wait() == 3
        assert await other.stdout.read() == b""
    finally:
        await nursery.close()


async def test_workers_outlive_the_process_that_they_were_forked_from_and_it_comes_again(monkeypatch):
    monkeypatch.setattr("server.workers.processes.nursery.FORK_SECONDS", PATIENCE)
    nursery = Forking(ZYGOTE, FakeNursery())
    try:
        one = await nursery.start()
        zygote = parent_of(one.pid)
        os.kill(zygote, signal.SIGKILL)
        one.stdin.write(b"still\n")
        assert b"still" in await one.stdout.readline()
        while parent_of(one.pid) == zygote:  # noqa: ASYNC110 - the system does it
            await asyncio.sleep(0.01)
        other = await nursery.start()
        assert parent_of(other.pid) not in (zygote, os.getpid())
        one.kill()
        other.kill()
        await asyncio.gather(one.wait(), other.wait(), one.stdout.read(), other.stdout.read())
    finally:
        await nursery.close()


@pytest.mark.parametrize("command", [(*ZYGOTE, "threads"), (sys.executable, "-c", "pass"), ("/nowhere/python",)])
async def test_where_nothing_can_be_forked_each_is_started_by_itself(command, caplog):
    others = FakeNursery()
    nursery = Forking(command, others)
    try:
        assert await nursery.start() is others.children[0]
        assert "cannot be forked" in caplog.text
    finally:
        await nursery.close()


async def test_one_by_itself():
    child = await Spawning((sys.executable, "-c", "print(input(), flush=True)")).start()
    child.stdin.write(b"hello\n")
    assert await child.stdout.readline() == b"hello\n"
    assert await child.wait() == 0
    assert await child.stdout.read() == b""
    child.signal(signal.SIGTERM)


STANDING_BACK = """
import os, threading
from server.workers.processes.gently import standing_back

try:  # who is in another class stays in it, and the tests may be
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
except PermissionError:
    raise SystemExit(NOT_ALLOWED)

def seen():
    tasks = [int(task) for task in os.listdir("/proc/self/task")]
    return {task: (os.sched_getscheduler(task), os.getpriority(os.PRIO_PROCESS, task)) for task in tasks}

def wait(niceness):
    if niceness:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
    begun.release()
    done.wait()

begun, done = threading.Semaphore(0), threading.Event()
threads = [threading.Thread(target=wait, args=(niceness,), daemon=True) for niceness in (0, 15, 0, 12)]
for thread in threads[:2]:
    thread.start()
    begun.acquire()
before = seen()
with standing_back():
    assert {policy for policy, _ in seen().values()} == {os.SCHED_BATCH}, seen()
    assert seen()[threads[1].native_id][1] == 15, seen()
    for thread in threads[2:]:
        thread.start()
        begun.acquire()
after = seen()
assert {task: after[task] for task in before} == before, (before, after)
assert after[threads[2].native_id] == (os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0)), after
assert after[threads[3].native_id] == (os.SCHED_OTHER, 12), after
done.set()
"""
NOT_ALLOWED = 77
"""The exit status where no process may leave the class that the tests run in."""


def test_who_loads_stands_back_and_comes_forward_again():
    script = STANDING_BACK.replace("NOT_ALLOWED", str(NOT_ALLOWED))
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    if ran.returncode == NOT_ALLOWED:
        pytest.skip("the tests run in the idle scheduling class, and nothing may leave it")
    assert ran.returncode == 0, ran.stderr


async def test_where_there_is_no_second_pipe_the_first_one_is_given_back(monkeypatch):
    made: list[int] = []
    pipe = os.pipe

    def once() -> tuple[int, int]:
        if made:
            raise OSError(errno.EMFILE, "Too many open files")
        made.extend(pipe())
        return made[0], made[1]

    monkeypatch.setattr(os, "pipe", once)
    nobody: Any = None
    with pytest.raises(OSError, match="Too many open files"):
        await _Zygote.fork(nobody)
    for descriptor in made:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
