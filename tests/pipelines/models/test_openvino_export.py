"""How a conversion to OpenVINO is asked for; the conversion itself where its environment has been made."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.errors import ModelError
from pipelines.models.weights import openvino_export
from pipelines.models.weights.openvino_export import PACKAGES, export, task_of
from server.settings import load_settings


class Commands:
    """Stands for the processes: remembers their commands, does what the tool would leave behind."""

    def __init__(self, fails: str = "") -> None:
        self.ran: list[list[str]] = []
        self._fails = fails

    def __call__(self, command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
        self.ran.append(list(command))
        if self._fails and self._fails in command:
            return subprocess.CompletedProcess(command, 3, "", "Traceback\nValueError: no such thing\n")
        if "venv" in command:
            (Path(command[-1]) / "bin").mkdir(parents=True)
            (Path(command[-1]) / "bin" / "optimum-cli").touch()
        if "export" in command:
            Path(command[-1]).mkdir()
            (Path(command[-1]) / "openvino_model.xml").touch()
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    return folder


def test_a_model_is_converted_in_an_environment_that_is_made_once(tmp_path: Path, source: Path) -> None:
    commands, told = Commands(), []
    export(source, tmp_path / "one", tmp_path, "int4", told.append, commands)
    assert [command[1:3] for command in commands.ran] == [
        ["-m", "venv"], ["-m", "pip"], ["-m", "pip"], ["export", "openvino"],
    ]  # fmt: skip
    assert commands.ran[1][-len(PACKAGES) :] == list(PACKAGES)
    assert commands.ran[2][-1] == "torchvision"
    words = commands.ran[3]
    assert words[words.index("--task") + 1] == "text-generation-with-past"
    assert words[words.index("--weight-format") + 1] == "int4"
    assert [entry.name for entry in (tmp_path / "one").iterdir()] == ["openvino_model.xml"]
    assert "minutes, once" in told[0]
    export(source, tmp_path / "two", tmp_path, "int8", told.append, commands)
    assert len(commands.ran) == 5


@pytest.mark.parametrize(("fails", "what"), [("venv", "making the environment"), ("export", "converting model")])
def test_what_fails_is_told_and_leaves_nothing(tmp_path: Path, source: Path, fails: str, what: str) -> None:
    with pytest.raises(ModelError, match=f"{what} failed with status 3: ValueError: no such thing"):
        export(source, tmp_path / "out", tmp_path / "cache", run=Commands(fails))
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_no_folder_is_overwritten(tmp_path: Path, source: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(ModelError, match="out exists already: give a folder that is not there yet"):
        export(source, tmp_path / "out", tmp_path, run=Commands())


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"architectures": ["BertModel"]}', "is a BertModel; what can be converted is a Whisper or"),
        ('{"architectures": ["T5ForConditionalGeneration"]}', "is a T5ForConditionalGeneration; what can be converted"),
        ("{}", "no config.json that names its architecture"),
        ("not json", "no config.json that names its architecture"),
    ],
)
def test_other_models_are_refused_by_name(tmp_path: Path, config: str, said: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelError, match=said):
        task_of(tmp_path)


def test_a_tiny_whisper_is_converted_and_heard(tmp_path: Path) -> None:
    """The real thing; its environment takes minutes to be made, and each conversion half a minute."""
    if not os.environ.get("VISAVIS_TEST_CONVERSION"):
        pytest.skip("VISAVIS_TEST_CONVERSION is not set")
    cache = load_settings({}).model_cache
    pytest.importorskip("openvino_genai")
    import numpy as np

    from pipelines.engines.stt.openvino_whisper import load_openvino_whisper
    from pipelines.engines.stt.whisper_decode import Request
    from tests.fakes.tiny_openvino import transformers_whisper

    export(transformers_whisper(tmp_path / "hf"), tmp_path / "ir", cache, "fp16")
    whisper = load_openvino_whisper(tmp_path / "ir", "cpu", 1)
    noise = (np.random.default_rng(1).normal(size=16_000) * 3000).astype(np.int16)
    assert whisper.hear(Request(noise, 300, "en", final=True), "transcribe", lambda: True).said.text
    assert openvino_export.WEIGHTS == ("fp16", "int8", "int4")
