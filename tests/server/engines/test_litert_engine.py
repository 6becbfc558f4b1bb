"""Where ``.tflite`` models run is told with the engines, by ``doctor``, and asked of LiteRT itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.engines.litert.modules import LiteRtOptions
from pipelines.models.residency import Residency
from pipelines.runtime.hardware import Accelerator, Devices, Library, ask_process
from pipelines.runtime.processor import Processor
from server.cli.doctor.diagnosis import diagnose
from server.cli.doctor.facts import PACKAGES, Facts
from server.engines.parts import Parts
from server.engines.tasks import litert_options, note_litert, task_service
from server.settings import Settings
from server.stores import conversation, model_store

GPU = Library("litert", "2.3", ("cpu", "cuda"), (Accelerator("cuda", "GPU through WebGPU"),))
CPU = Library("litert", "2.3", ("cpu",), reason="there is no GPU and no NPU")


class Machine(Parts):
    """Parts on a machine with that LiteRT."""

    found = CPU

    def library(self, name: str) -> Library:
        return self.found


def noted(folder: Path, library: Library, wanted: str) -> tuple[str, str, bool, str]:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed: pip install ai-edge-litert")
    settings = Settings(cache=folder, litert_device=wanted)  # type: ignore[arg-type]
    parts = Machine(settings, conversation(settings), print)
    parts.found = library
    note_litert(parts)
    (row,) = [row for row in parts.choices.status() if row.stage == "tflite"]
    return row.engine, row.device, row.ok, row.reason


def test_the_engines_tell_where_tflite_models_run(tmp_path: Path) -> None:
    assert noted(tmp_path, CPU, "auto")[:3] == ("litert", "cpu", True)
    assert noted(tmp_path, GPU, "auto") == (
        "litert",
        "cuda",
        True,
        "runs .tflite models: litert finds GPU through WebGPU",
    )
    engine, _, ok, reason = noted(tmp_path, CPU, "npu")
    assert (engine, ok) == ("none", False)
    assert reason.startswith("litert_device: litert has no npu here, legal values are auto, cpu")


@pytest.mark.parametrize(
    ("library", "wanted", "status", "said"),
    [
        (CPU, "auto", "ok", "litert 2.3 on cpu"),
        (GPU, "auto", "ok", "litert 2.3 on cuda: litert finds GPU through WebGPU"),
        (CPU, "npu", "missing", "litert_device: litert has no npu here, legal values are auto, cpu"),
        (Library("litert", reason="litert is not installed"), "auto", "ok", "pip install ai-edge-litert"),
    ],
)
def test_the_doctor_tells_it_too(tmp_path: Path, library: Library, wanted: str, status: str, said: str) -> None:
    devices = Devices(Processor("cpu", 2, 2), False, False, {"litert": library})
    facts = Facts((3, 11, 9), "Linux", dict.fromkeys(PACKAGES, "1.0"), devices)
    checks = diagnose(facts, Settings(cache=tmp_path, litert_device=wanted))  # type: ignore[arg-type]
    (told,) = [check for check in checks if (check.area, check.name) == ("engines", "tflite")]
    assert told.status == status
    assert said in told.detail


def test_the_settings_reach_those_who_load(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path, litert_threads=2, litert_modules=3, litert_weight_cache=True)
    options = litert_options(settings)
    assert options == LiteRtOptions(2, 3, tmp_path / "litert")
    assert litert_options(Settings(cache=tmp_path)) == LiteRtOptions(0, 1, None)
    tasks = task_service(settings, model_store(settings), Residency())
    assert tasks.spec("tflite").load.__self__.options == options  # type: ignore[attr-defined]
    tasks.close()


def test_litert_itself_is_asked_what_it_can_run_on() -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed: pip install ai-edge-litert")
    answer = ask_process("litert")
    assert answer["devices"][0] == "cpu"
    assert answer["accelerators"] or answer["reason"].startswith("LiteRT can start no GPU")
