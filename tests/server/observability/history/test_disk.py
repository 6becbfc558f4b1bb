"""The history on disk: it survives a process that is killed, keeps to its size, and a full disk ends nothing."""

from __future__ import annotations

import logging
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.runtime.usage import Ledger
from server.observability.history.book import Question
from server.observability.history.disk import FILE, STEP, Disk
from server.observability.history.history import History
from server.observability.history.resources import Resources
from server.observability.history.series import key
from tests.fakes.clock import FakeClock

CPU = key("process_cpu_seconds_total")
ROOT = Path(__file__).parents[4]
WRITER = """
import sys
from pathlib import Path
from server.observability.history.disk import Disk
disk = Disk(Path(sys.argv[1]), 1 << 22)
n = 0
while True:
    disk.write(10.0 * n, [(("process_cpu_seconds_total", ()), float(n), float(n))])
    n += 1
    if n == 200:
        print("written", flush=True)
"""


def all_of(disk: Disk, step: float = STEP) -> list[float]:
    return [point.mean for _, _, point in disk.read(Question((), 0.0, 1e9, step))]


def test_what_was_written_is_there_again_but_nothing_of_sessions(tmp_path):
    disk = Disk(tmp_path / "new" / "folder", 1 << 22)
    session = key("visavis_session_latency_ms", session="sess_a")
    engine = key("visavis_engine_errors_total", engine="piper")
    assert disk.write(20.0, [(CPU, 0.5, 0.75), (session, 300.0, 300.0), (engine, 1.0, 1.0)])
    disk.close()
    again = Disk(tmp_path / "new" / "folder", 1 << 22)
    rows = again.read(Question((), 0.0, 100.0, 10.0))
    assert {(name, point.time, point.mean, point.peak) for _, name, point in rows} == {
        (CPU, 20.0, 0.5, 0.75),
        (engine, 20.0, 1.0, 1.0),
    }
    assert (tmp_path / "new" / "folder" / FILE).stat().st_mode & 0o077 == 0
    again.close()


def test_each_process_reads_its_own_and_one_may_read_all(tmp_path):
    disks = [Disk(tmp_path, 1 << 22, worker) for worker in (1, 2)]
    for worker, disk in enumerate(disks, 1):
        disk.write(10.0, [(CPU, float(worker), 0.0)])
    assert [all_of(disk) for disk in disks] == [[1.0], [2.0]]
    assert sorted(worker for worker, _, _ in disks[0].read(Question((), 0.0, 99.0, 10.0), -1)) == [1, 2]
    for disk in disks:
        disk.close()


def test_a_process_that_is_killed_in_the_middle_of_writing_leaves_a_sound_file(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    disk = Disk(tmp_path, 1 << 22)
    found = all_of(disk)
    assert found[:200] == [float(n) for n in range(200)]
    assert found == sorted(found)
    assert disk.write(1e6, [(CPU, 1.0, 1.0)])
    disk.close()


def test_the_file_keeps_to_its_limit_by_forgetting_the_oldest(tmp_path):
    disk = Disk(tmp_path, 1 << 18)
    keys = [key("visavis_engine_errors_total", engine=f"engine {n}") for n in range(100)]
    for slot in range(300):
        disk.write(slot * STEP, [(one, 1.0, 1.0) for one in keys])
    disk.close()
    assert (tmp_path / FILE).stat().st_size < 3 << 18
    times = [point.time for _, _, point in Disk(tmp_path, 1 << 18).read(Question((), 0.0, 1e9, STEP))]
    assert max(times) == 299 * STEP
    assert min(times) > 20 * STEP


def test_a_disk_that_refuses_is_told_once_and_asked_again_later(tmp_path, caplog, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("server.observability.history.disk.time.monotonic", lambda: now[0])
    disk = Disk(tmp_path, 1 << 22)
    assert disk.write(0.0, [(CPU, 1.0, 1.0)])

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(Disk, "_id", full)
        for _ in range(3):
            assert not disk.write(10.0, [(CPU, 1.0, 1.0)])
            now[0] += 61
    assert len(caplog.records) == 1
    assert "goes on in memory" in caplog.text
    assert disk.write(20.0, [(CPU, 1.0, 1.0)])
    disk.close()


def test_a_folder_that_cannot_be_made_ends_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    disk = Disk(tmp_path / "file" / "folder", 1 << 22)
    assert not disk.write(0.0, [(CPU, 1.0, 1.0)])
    assert disk.read(Question((), 0.0, 1.0, 1.0)) == []


@pytest.fixture
def history_with(tmp_path):
    def make(clock: FakeClock, disk: Disk | None = None) -> History:
        (tmp_path / "empty").mkdir(exist_ok=True)
        resources = Resources(tmp_path / "empty", 7)
        return History(clock, disk, ledger=Ledger(clock), resources=resources, wall=lambda: 10_000.0 + clock.now())

    return make


async def test_what_memory_has_lost_with_its_process_is_told_by_the_disk(tmp_path, history_with):
    clock = FakeClock()
    history = history_with(clock, Disk(tmp_path, 1 << 22))
    for _ in range(30):
        clock.advance(1.0)
        await history.sample()
    await history.close()
    clock.advance(100.0)
    again = history_with(clock, Disk(tmp_path, 1 << 22))
    clock.advance(1.0)
    await again.sample()
    points = (await again.ask(Question(["visavis_sessions"], 10_000.0, 10_140.0, 10.0)))[key("visavis_sessions")]
    assert [point.time for point in points] == [10_000.0, 10_010.0, 10_020.0, 10_030.0, 10_130.0], (
        "one of which was not full"
    )
    await again.close()


async def test_what_grew_and_rests_is_a_zero_and_totals_never_go_back(history_with):
    clock = FakeClock()
    history = history_with(clock)
    history._ledger.failed("piper", "sess_a")
    for _ in range(3):
        clock.advance(1.0)
        await history.sample()
    errors = key("visavis_engine_errors_total", engine="piper")
    points = (await history.ask(Question((), 10_000.0, 10_010.0, 1.0)))[errors]
    assert [point.mean for point in points] == [1.0, 0.0, 0.0]
    assert history.totals[errors] == 1.0
    assert history.latest[errors] == 0.0
    await history.close()


async def test_nobody_waits_for_a_worker_without_a_job(history_with):
    clock = FakeClock()
    history = history_with(clock)
    waits = key("visavis_worker_wait_seconds", worker_name="stt")
    history._ledger.begins("first", "stt", ("sess_a",), 0.9)
    for _ in range(2):
        clock.advance(1.0)
        await history.sample()
    assert history.latest[waits] == 0.9, "it is still at it, and others may wait as long"
    history._ledger.ends("first")
    for _ in range(2):
        clock.advance(1.0)
        await history.sample()
    assert history.latest[waits] == 0.0
    await history.close()


async def test_processes_that_have_ended_have_no_memory(history_with, monkeypatch):
    clock = FakeClock()
    history = history_with(clock)
    memory = key("visavis_engine_resident_bytes", engine="llama.cpp")
    read = history._resources.read
    for children in ({"llama.cpp": 7}, {}):
        used = replace(read({}), children_memory=children)
        monkeypatch.setattr(history._resources, "read", lambda *given, used=used, **how: used)
        clock.advance(1.0)
        await history.sample()
        assert history.latest[memory] == children.get("llama.cpp", 0)
    await history.close()


def test_a_long_time_is_told_in_few_points_and_of_what_is_asked_for_alone(tmp_path):
    disk = Disk(tmp_path, 1 << 22)
    other = key("visavis_sessions")
    for n in range(95):
        assert disk.write(n * STEP, [(CPU, float(n), 2.0 * n), (other, 1.0, 1.0)])
    rows = disk.read(Question((CPU[0],), 0.0, 1e9, 100.0))
    assert {name for _, name, _ in rows} == {CPU}
    assert [(point.time, point.mean, point.peak) for _, _, point in rows] == [
        (100.0 * n, sum(slots) / len(slots), 2.0 * slots[-1])
        for n, slots in ((n, range(10 * n, min(95, 10 * n + 10))) for n in range(10))
    ]
    asked: list[str] = []
    disk._open().set_trace_callback(asked.append)
    assert disk.read(Question(("visavis_gpu_busy_share",), 0.0, 1e9, 100.0)) == []
    assert not any("FROM points" in text for text in asked), "nothing is read of what there is not"
