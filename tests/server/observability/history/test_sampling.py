"""From the system, the ledger and the sessions' events to values: who cost what."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from pipelines.errors import LLMError
from pipelines.runtime.crew import at_work
from pipelines.runtime.usage import LEDGER, MOST_KEYS, Ledger, Usage
from pipelines.runtime.worker import Worker, session
from pipelines.voice.events import PartialTranscript, ResponseFailed, TurnLatency
from server.observability.history.gpu import Gpus
from server.observability.history.notes import MOST_NAMES, Noted, Notes
from server.observability.history.resources import LOOP, Resources, Used
from server.observability.history.sampler import Look, sample_of, shared
from server.observability.history.series import key
from tests.fakes.clock import FakeClock

STAT = "{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 {user} {system} 0 0 20 0 1 0 5 1000000 {pages} 0 0"


def write(root, pid, name, user, system=0, pages=0, task=None):
    folder = root / "proc" / str(pid) / (f"task/{task}" if task is not None else "")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stat").write_text(STAT.format(pid=task or pid, name=name, user=user, system=system, pages=pages))


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="no /proc on this system")
def test_what_processes_threads_and_children_cost_since_the_reading_before(tmp_path):
    def system(ticks, idle):
        (tmp_path / "proc" / "stat").write_text(f"cpu  {ticks} 0 0 {idle} 0 0 0 0 0 0\n")

    write(tmp_path, 7, "visavis", 100, 50, pages=10)
    write(tmp_path, 7, "visavis", 100, task=7)
    write(tmp_path, 7, "piper (x)", 10, task=8)
    write(tmp_path, 7, "visavis", 5, task=9)
    write(tmp_path, 20, "python3", 1000, pages=3)
    system(100, 100)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    resources = Resources(tmp_path, 7)
    first = resources.read({20: "llama.cpp"})
    assert (first.cpu, first.threads[LOOP], first.machine) == (0.0, 0.0, None)
    write(tmp_path, 7, "visavis", 160, 50, pages=10)
    write(tmp_path, 7, "visavis", 110, task=7)
    write(tmp_path, 7, "piper (x)", 40, task=8)
    write(tmp_path, 7, "piper (x)", 20, task=10)
    write(tmp_path, 20, "python3", 1300, pages=3)
    system(175, 125)
    used = resources.read({20: "llama.cpp", 21: "gone"}, threads=False)
    assert used.cpu == pytest.approx(0.6)
    assert used.machine == pytest.approx(0.75)
    assert used.available == 2 << 20
    assert used.children_memory == {"llama.cpp": 3 * os.sysconf("SC_PAGE_SIZE")}
    assert used.threads == used.children == {}, "those are read less often"
    used = resources.read({20: "llama.cpp"})
    assert used.threads == pytest.approx({LOOP: 0.1, "piper (x)": 0.5, "other": 0.0}), "a new thread began at nothing"
    assert used.children == pytest.approx({"llama.cpp": 3.0})


def test_without_proc_the_process_knows_its_own_time(tmp_path):
    used = Resources(tmp_path, 7).read({1: "gone"})
    assert used.cpu is not None
    assert (used.memory, used.machine, used.available, used.threads) == (None, None, None, {})


def test_an_engines_time_goes_to_sessions_by_what_they_used_of_it():
    used = Used(threads={LOOP: 1.0, "a-worker-with-a": 3.0, "stage": 5.0}, children={"llama.cpp": 8.0})
    usage = Usage(
        busy={("a-worker-with-a-long-name", "one"): 2.0, ("a-worker-with-a-long-name", "two"): 1.0, ("stage", ""): 9.0},
        engine_seconds={("llama.cpp smol", "two"): 3.0, ("llama.cpp smol", ""): 1.0, ("piper", "one"): 7.0},
    )
    assert shared(used, usage, ["one", "two"]) == pytest.approx({"one": 2.5, "two": 0.5 + 1.0 + 6.0})
    assert shared(used, usage, []) == {}


def test_rates_are_per_second_and_gauges_are_means():
    noted = Noted()
    noted.latency.add(200.0)
    noted.latency.add(400.0)
    noted.failures["one"] = 2
    usage = Usage(errors={("piper", "one"): 3}, engine_seconds={("piper", "one"): 1.0, ("piper", "two"): 2.0})
    look = Look(2.0, Used(cpu=1.0, threads={LOOP: 9.0}), usage, noted, 0.02, ["one"])
    values = sample_of(look).values
    assert values[key("process_cpu_seconds_total")] == 0.5
    assert values[key("visavis_engine_errors_total", engine="piper")] == 1.5
    assert values[key("visavis_engine_seconds_total", engine="piper")] == 1.5
    assert values[key("visavis_session_errors_total", session="one")] == 1.0
    assert values[key("pipeline_total_latency_ms")] == 300.0
    assert not [one for one in values if one[0].endswith("cpu_seconds_total") and one[1]], "threads were not read"


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="no /proc on this system")
async def test_an_engine_has_its_whole_name_and_not_that_of_its_threads():
    names = []
    for name in ("a-recogniser-of-english", "two-that-begin-alike-one", "two-that-begin-alike-two"):
        worker = Worker(name)
        names.append(await worker.run(lambda: Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text()))
        worker.close()
    threads = {"a-recogniser-of": 1.0, "two-that-begin-": 2.0, "drishti": 3.0, "piper": 4.0}
    assert {name.strip() for name in names} <= set(threads)
    values = sample_of(Look(1.0, Used(threads=threads), Usage(), Noted(), cpu_seconds=1.0)).values
    costs = {key[1]: value for key, value in values.items() if key[0] == "visavis_engine_cpu_seconds_total"}
    assert {dict(labels)["engine"]: value for labels, value in costs.items()} == {
        "a-recogniser-of-english": 1.0,
        "two-that-begin-": 2.0,
        "mediapipe": 3.0,
        "piper": 4.0,
    }


async def test_notes_keep_the_kind_of_an_event_and_nothing_of_its_words():
    notes = Notes()
    observe = notes.observer("sess_a")
    for _ in range(2 * MOST_NAMES):
        observe(PartialTranscript("item", "my secret"))
    observe(ResponseFailed("r", LLMError("llm_failed", "my secret"), "my secret"))
    observe(TurnLatency("r", 0.3, {"endpoint": 0.2}))
    noted, _ = notes.take()
    assert noted.failures == {"sess_a": 1}
    assert (noted.latency.mean, noted.stages["endpoint"].mean) == (300.0, 200.0)
    assert notes.latest("sess_a") == ("PartialTranscript",) * (MOST_NAMES - 2) + ("ResponseFailed", "TurnLatency")
    assert notes.take()[0] == Noted()


def test_the_ledger_shares_a_job_among_its_sessions_and_counts_what_still_runs():
    clock = FakeClock()
    ledger = Ledger(clock)
    ledger.begins("job", "stt", ["one", "two"], 0.5)
    clock.advance(4.0)
    usage = ledger.take()
    assert usage.busy == {("stt", "one"): 2.0, ("stt", "two"): 2.0}
    assert (usage.waits["stt"].mean, usage.waits["stt"].largest) == (0.5, 0.5)
    clock.advance(2.0)
    ledger.ends("job")
    ledger.ends("job")
    assert ledger.take().busy == {("stt", "one"): 1.0, ("stt", "two"): 1.0}
    for n in range(3 * MOST_KEYS):
        ledger.used("piper", f"sess_{n}", 1.0)
    seconds = ledger.take().engine_seconds
    assert len(seconds) <= MOST_KEYS + 1
    assert sum(seconds.values()) == 3 * MOST_KEYS


async def test_a_worker_writes_down_for_whom_it_works():
    worker = Worker("books")
    inside, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work():
        loop.call_soon_threadsafe(inside.set)
        go_on.wait()
        comm = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
        return at_work(), comm.read_text() if comm.exists() else "books\n"

    LEDGER.take()
    session.set("sess_b")
    task = asyncio.create_task(worker.run(work))
    await inside.wait()
    assert ("books", "sess_b") in LEDGER.take().busy, "while it runs"
    go_on.set()
    (name, sessions), thread = await task
    assert (name, tuple(sessions), thread) == ("books", ("sess_b",), "books\n")
    assert at_work() is None
    worker.close()


def test_a_gpu_that_is_not_there_is_told_in_words():
    gpus = Gpus(found=lambda name: None)
    assert gpus.read() == ()
    assert "nvidia-ml-py" in gpus.reason

    class Nvml:
        @staticmethod
        def nvmlInit():
            raise OSError("libnvidia-ml.so.1")

    gpus = Gpus(lambda name: Nvml, lambda name: name)
    assert gpus.read() == ()
    assert "no driver" in gpus.reason


def test_nvidias_library_tells_load_and_memory():
    class Told:
        gpu, used = 25, 512

    class Nvml:
        nvmlInit = staticmethod(lambda: None)
        nvmlDeviceGetCount = staticmethod(lambda: 1)
        nvmlDeviceGetHandleByIndex = staticmethod(lambda n: n)
        nvmlDeviceGetUtilizationRates = staticmethod(lambda handle: Told)
        nvmlDeviceGetMemoryInfo = staticmethod(lambda handle: Told)

    (load,) = Gpus(lambda name: Nvml, lambda name: name).read()
    assert (load.name, load.busy, load.memory) == ("0", 0.25, 512)
    Nvml.nvmlDeviceGetMemoryInfo = staticmethod(lambda handle: 1 / 0)
    gpus = Gpus(lambda name: Nvml, lambda name: name)
    assert gpus.read() == ()
    assert "ZeroDivisionError" in gpus.reason
