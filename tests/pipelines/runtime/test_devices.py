"""Which device an engine gets and why, with machines that are made up; and this machine, really asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ModelError
from pipelines.runtime import hardware
from pipelines.runtime.hardware import Accelerator, Devices, Library, ask_process, choose_device, survey, threads_for
from pipelines.runtime.processor import read_processor

H = Accelerator("cuda", "GeForce", 8 << 30, 7 << 30)
GPU = Library("torch", "2.13", ("cpu", "cuda"), (H,))
CPU = Library("torch", "2.13", ("cpu",), reason="there is no NVIDIA driver")
NPU = Library("openvino", "2026.4", ("cpu", "npu"), (Accelerator("npu", "Intel NPU"),))


@pytest.mark.parametrize(
    ("wanted", "library", "device", "reason"),
    [
        ("auto", GPU, "cuda", "torch finds GeForce"),
        ("auto", CPU, "cpu", "torch finds no other device: there is no NVIDIA driver"),
        ("auto", NPU, "npu", "openvino finds Intel NPU"),
        ("cpu", GPU, "cpu", "asked for"),
        ("cuda", GPU, "cuda", "asked for"),
        ("npu", NPU, "npu", "asked for"),
    ],
)
def test_the_device_and_why(wanted, library, device, reason):
    assert choose_device(wanted, library) == (device, reason)


@pytest.mark.parametrize(
    ("wanted", "library", "code", "named"),
    [
        ("tpu", GPU, "unknown_device", "auto, cpu, cuda, igpu, npu"),
        ("cuda", CPU, "device_unavailable", "legal values are auto, cpu: there is no NVIDIA driver"),
        ("npu", GPU, "device_unavailable", "torch has no npu here, legal values are auto, cpu, cuda"),
        ("auto", Library("torch", reason="torch is not installed"), "device_unavailable", "torch is not installed"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_can(wanted, library, code, named):
    with pytest.raises(ModelError, match=named) as refused:
        choose_device(wanted, library)
    assert refused.value.code == code


@pytest.mark.parametrize("stage", ["vad", "turn", "stt", "llm", "tts", "vision"])
def test_one_thread_on_two_cores_and_never_more_than_half(stage):
    assert [threads_for(stage, cores) for cores in (1, 2)] == [1, 1]
    counts = [threads_for(stage, cores) for cores in range(1, 65)]
    assert counts == sorted(counts)
    assert all(count <= max(1, cores // 2) for cores, count in enumerate(counts, 1))


def test_llama_takes_two_threads_on_two_cores_and_then_half():
    assert [threads_for("llama.cpp", cores) for cores in (1, 2, 3, 4, 8, 64)] == [1, 2, 2, 2, 4, 8]


def test_an_unknown_stage_is_a_mistake():
    with pytest.raises(ValueError, match="stt, llm, "):
        threads_for("dream", 8)


# ------------------------------------------------------------------------------------------------- made-up machines


def machine(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


CPUINFO = (
    "processor\t: 0\nmodel name\t: Some Xeon\nflags\t\t: fpu avx2 amx_tile\n\nprocessor\t: 1\nmodel name\t: other\n"
)
MEMINFO = "MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable:    8192 kB\n"


def test_processor_and_memory(tmp_path):
    found = read_processor(machine(tmp_path, proc__cpuinfo=CPUINFO, proc__meminfo=MEMINFO))
    assert (found.model, found.flags) == ("Some Xeon", ("avx2", "amx_tile"))
    assert (found.memory_total, found.memory_free) == (16 << 20, 8 << 20)
    assert 1 <= found.cores <= found.cores_present


def write_group(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    "files",
    [
        {"cpu.max": "50000 100000\n", "memory.max": "4194304\n", "memory.current": "1048576\n"},
        {
            "cpu/cpu.cfs_quota_us": "50000\n",
            "cpu/cpu.cfs_period_us": "100000\n",
            "memory/memory.limit_in_bytes": "4194304\n",
            "memory/memory.usage_in_bytes": "1048576\n",
        },
    ],
)
def test_a_container_gets_what_its_group_grants(tmp_path, files):
    found = read_processor(write_group(machine(tmp_path, proc__meminfo=MEMINFO), files))
    assert found.cores == 1
    assert (found.memory_total, found.memory_free) == (4 << 20, 3 << 20)


@pytest.mark.parametrize(
    "files",
    [
        {"cpu.max": "max 100000\n", "memory.max": "max\n", "memory.current": "1\n"},
        {"cpu/cpu.cfs_quota_us": "-1\n", "memory/memory.limit_in_bytes": f"{(1 << 63) - 4096}\n"},
        {},
    ],
)
def test_no_limit_is_no_limit(tmp_path, files):
    found = read_processor(write_group(machine(tmp_path, proc__meminfo=MEMINFO), files))
    assert found.memory_total == 16 << 20
    assert found.cores >= 1


def test_nothing_readable_is_not_a_crash(tmp_path):
    found = read_processor(tmp_path)
    assert found.model
    assert found.memory_total is None


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions of packages; what is not in it is not installed."""
    packages = {"torch": "2.13.0", "ctranslate2": "4.8.5", "onnxruntime": "1.31.1"}

    def version(name: str) -> str:
        if name not in packages:
            raise hardware.PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(hardware, "version", version)
    return packages


def never(library: str) -> dict[str, Any]:
    raise AssertionError(f"{library} was started for nothing")


def test_without_an_accelerator_no_library_is_started(installed, tmp_path):
    found = survey(root=tmp_path, ask=never)
    assert choose_device("auto", found.library("torch")) == (
        "cpu",
        "torch finds no other device: there is no NVIDIA driver",
    )
    assert found.library("openvino").reason == "openvino is not installed"
    assert found.library("nonsense").devices == ()


def answers(library: str) -> dict[str, Any]:
    if library == "torch":
        raise OSError("ended with status -11: Segmentation fault")
    gpus = [{"device": "cuda", "name": "GeForce", "memory_total": 8, "memory_free": 7}]
    return {"devices": ["cpu", "cuda"], "accelerators": gpus, "facts": ["x"], "reason": ""}


def test_a_library_that_crashes_is_a_reason_and_the_others_go_on(installed, tmp_path):
    found = survey(root=machine(tmp_path, dev__nvidiactl=""), ask=answers)
    assert choose_device("auto", found.library("torch"))[0] == "cpu"
    assert "Segmentation fault" in found.library("torch").reason
    assert found.library("ctranslate2").accelerators == (Accelerator("cuda", "GeForce", 8, 7),)
    assert choose_device("auto", found.library("onnxruntime"))[0] == "cuda"


def test_an_npu_concerns_only_those_who_may_use_it(installed, tmp_path):
    installed["openvino"] = "2026.4.1"
    asked: list[str] = []

    def ask(library: str) -> dict[str, Any]:
        asked.append(library)
        return {"devices": ["cpu", "npu"], "accelerators": [{"device": "npu", "name": "Intel NPU"}]}

    found = survey(root=machine(tmp_path, dev__accel__accel0=""), ask=ask)
    assert sorted(asked) == ["onnxruntime", "openvino"]
    assert choose_device("auto", found.library("openvino")) == ("npu", "openvino finds Intel NPU")


def test_the_package_with_a_gpu_is_named_first(installed):
    assert hardware.package_of("onnxruntime") == ("onnxruntime", "1.31.1")
    installed["onnxruntime-gpu"] = "1.31.0"
    assert hardware.package_of("onnxruntime") == ("onnxruntime-gpu", "1.31.0")


# ------------------------------------------------------------------------------------------------- this machine


@pytest.mark.parametrize("library", ["ctranslate2", "onnxruntime"])
def test_a_library_is_really_asked_and_not_imported_here(library):
    before = set(sys.modules)
    answer = ask_process(library)
    assert "cpu" in answer["devices"]
    assert answer["facts"]
    assert library not in set(sys.modules) - before


@pytest.mark.parametrize("library", ["torch", "ctranslate2", "onnxruntime"])
def test_a_gpu_is_found_by_each_library(library):
    found = survey()
    if not found.nvidia_driver:
        pytest.skip("this machine has no NVIDIA driver")
    assert choose_device("cuda", found.library(library))[0] == "cuda"


def test_an_npu_is_found_by_openvino():
    found = survey()
    if not found.npu:
        pytest.skip("this machine has no NPU")
    assert choose_device("npu", found.library("openvino"))[0] == "npu"


def test_a_library_that_is_not_there_says_so():
    with pytest.raises(OSError, match="KeyError: 'nonsense'"):
        ask_process("nonsense")


def test_one_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(hardware, "PROBE_SECONDS", 0.01)
    with pytest.raises(OSError, match="did not start within"):
        ask_process("onnxruntime")


def test_this_machine():
    found = survey()
    assert isinstance(found, Devices)
    assert found.processor.cores >= 1
    assert "cpu" in found.library("onnxruntime").devices
