"""Where the measurements come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.runtime.batching import WorkerCounts
from server.load.probe import Asked, Machine, Probe, stalled_percent
from server.load.settings import LoadSettings


class Figures:
    """A machine whose figures a test sets."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self.stalled: float | None = 12.0
        self.free: int | None = 400
        self.machine = Machine(2, lambda: self.cpu, lambda: self.stalled, lambda: self.free, 1000)


class Queue:
    name = "moonshine"

    def __init__(self) -> None:
        self.waiting = 0
        self.jobs = 0

    def counts(self) -> WorkerCounts:
        return WorkerCounts(jobs=self.jobs)


def values(probe: Probe, now: float) -> dict[str, float]:
    return {one.measure: one.value for one in probe.read(now)}


def test_it_measures_what_the_settings_limit():
    figures, queue = Figures(), Queue()
    asked = [Asked("llama", 0.2, 1)]
    settings = LoadSettings(shed_late_ms=25, shed_wait_ms=300, shed_cpu_percent=80, shed_memory_percent=70)
    probe = Probe(settings, figures.machine, lambda: [queue], lambda now: asked)
    for _ in range(8):
        probe.loop.add(0.045)
        probe.sound.add(0.003)
    assert values(probe, 10.0) == {
        "event_loop": 50.0,
        "sound": 5.0,
        "engine_wait": 0.0,
        "engine_delay": 0.0,
        "cpu_pressure": 12.0,
        "memory": 60.0,
    }
    figures.cpu, queue.jobs, queue.waiting = 1.5, 4, 2
    readings = {one.measure: one for one in probe.read(11.0)}
    assert readings["cpu"].value == pytest.approx(75.0), "1.5 of 2 seconds"
    assert readings["engine_wait"].value == pytest.approx(500.0)
    assert readings["engine_wait"].detail == "moonshine"
    limits = {name: one.limit for name, one in readings.items()}
    assert limits == {
        "event_loop": 25,
        "sound": 25,
        "engine_wait": 300,
        "engine_delay": 300,
        "cpu": 80,
        "cpu_pressure": 80,
        "memory": 70,
    }
    asked[0] = Asked("llama", 0.9, 5)
    queue.waiting = 0
    readings = {one.measure: one for one in probe.read(12.0)}
    assert readings["engine_wait"].value == 0.0
    assert readings["engine_delay"].detail == "llama"
    assert readings["engine_delay"].value == pytest.approx(700.0, abs=5.0)


def test_what_cannot_be_measured_is_left_out():
    figures = Figures()
    figures.stalled = figures.free = None
    assert set(values(Probe(LoadSettings(), figures.machine), 1.0)) == {
        "event_loop",
        "sound",
        "engine_wait",
        "engine_delay",
    }


def test_memory_is_looked_at_now_and_then():
    figures = Figures()
    probe = Probe(LoadSettings(), figures.machine)
    assert values(probe, 1.0)["memory"] == 60.0
    figures.free = 100
    assert [values(probe, 1.0 + n)["memory"] for n in range(1, 5)] == [60.0, 60.0, 60.0, 90.0]


def test_pressure_is_read_as_the_kernel_tells_it(tmp_path: Path):
    file = tmp_path / "cpu"
    assert stalled_percent(file) is None
    file.write_text("some avg10=42.94 avg60=59.72 avg300=41.12 total=8987261940\nfull avg10=0.00 avg60=0.00 total=0\n")
    assert stalled_percent(file) == 42.94
    for broken in ("", "some", "some avg10=\n", "full avg10=3.0 total=1\n"):
        file.write_text(broken)
        assert stalled_percent(file) is None


def test_this_machine_can_be_measured():
    probe = Probe(LoadSettings(), Machine(1, memory_total=1 << 40))
    probe.read(0.0)
    told = values(probe, 1.0)
    assert told["cpu"] >= 0.0
    assert 0.0 <= told.get("memory", 0.0) <= 100.0
