"""Reading what memory there is, and which errors mean that there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import STTError
from pipelines.models.memory import (
    MIB,
    MachineMemory,
    is_out_of_memory,
    mebibytes,
)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),
        Exception("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bfc_arena: Failed to allocate memory for requested"),
        RuntimeError("std::bad_alloc"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_says_that_memory_ran_out(error):
    assert is_out_of_memory(error)
    wrapped = STTError("failed", "the recogniser failed")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped)


def test_other_errors_are_not_taken_for_it():
    assert not is_out_of_memory(ValueError("no memory of that"))
    handled = ValueError("unrelated")
    handled.__context__, handled.__suppress_context__ = MemoryError(), True
    assert not is_out_of_memory(handled)


def test_an_error_that_caused_itself_ends():
    error = ValueError("circle")
    error.__cause__ = error
    assert not is_out_of_memory(error)


@pytest.fixture
def machine(tmp_path: Path) -> tuple[MachineMemory, Path, Path]:
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {800 * 1024} kB\n")
    return MachineMemory(proc, groups), proc, groups


def limit(folder: Path, names: tuple[str, str, str], limit: str, usage: int, inactive: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(limit + "\n")
    (folder / names[1]).write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {inactive}\n")


V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def test_free_is_what_the_machine_has(machine):
    memory, *_ = machine
    assert memory.free("cpu") == 800 * MIB


def test_free_is_what_the_tightest_control_group_leaves(machine):
    memory, proc, groups = machine
    (proc / "self/cgroup").write_text("0::/outer/inner\n")
    limit(groups / "outer/inner", V2, "max", 300 * MIB, 0)
    limit(groups / "outer", V2, str(500 * MIB), 300 * MIB, 50 * MIB)
    assert memory.free("cpu") == 250 * MIB  # files that were read and not used since can be pushed out


def test_in_a_container_the_path_of_the_group_is_that_of_the_host(machine):
    memory, proc, groups = machine
    (proc / "self/cgroup").write_text("5:cpuset:/pod/abc\n4:memory:/pod/abc\n0::/\n")
    limit(groups / "memory", V1, str(400 * MIB), 500 * MIB, 0)
    assert memory.free("cpu") == 0


def test_what_cannot_be_read_is_unknown(tmp_path):
    memory = MachineMemory(tmp_path, tmp_path)
    assert memory.free("cpu") is None
    assert memory.used("cpu") is None


def test_a_gpu_is_not_asked_for_while_torch_is_not_in_use(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert MachineMemory().free("cuda") is None
    assert MachineMemory().used("cuda") is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_process_sees_what_it_takes_and_gives_back():
    memory = MachineMemory()
    before = memory.used("cpu")
    block = bytearray(b"x") * (256 * MIB)  # so much that what else the process gives back does not matter
    taken = memory.used("cpu")
    assert taken - before > 180 * MIB
    del block
    memory.trim()
    assert memory.used("cpu") < taken - 180 * MIB


def test_sizes_for_people_are_rounded_up():
    assert mebibytes(MIB + 1) == "2 MiB"


HEAPS = """
import ctypes, sys, threading
from pipelines.models.memory import few_heaps
few_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
barrier = threading.Barrier(12)
def take():
    barrier.wait()
    libc.malloc(100_000)
    barrier.wait()
threads = [threading.Thread(target=take) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def heaps(path: Path, **environment: str) -> int:
    """How many a process has whose twelve threads each take a little memory at the same time."""
    given = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
    subprocess.run([sys.executable, "-c", HEAPS, str(path)], check=True, timeout=60, env={**given, **environment})
    return path.read_text("ascii").count("<heap nr=")


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(os, "sched_getaffinity"), reason="glibc's heaps")
def test_threads_share_a_few_heaps_unless_the_environment_says_otherwise(tmp_path):
    assert heaps(tmp_path / "few") <= max(2, len(os.sched_getaffinity(0)))
    assert heaps(tmp_path / "one", MALLOC_ARENA_MAX="1") == 1
    assert heaps(tmp_path / "tunables", GLIBC_TUNABLES="glibc.malloc.arena_max=1") == 1
