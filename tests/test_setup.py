"""`make setup`: which PyTorch it takes, and what it says before."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("torch_index", ROOT / "tools" / "torch_index.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def never() -> bool:
    raise AssertionError("nobody has to be asked")


def test_without_a_driver_the_cpu_build_is_taken(tool: ModuleType) -> None:
    options, why, cuda = tool.choose(linux=True, nvidia=False, own=False, reachable=lambda: True)
    assert options == ["--index-url", "https://download.pytorch.org/whl/cpu", "--no-deps"]
    assert "CPU build" in why
    assert not cuda


@pytest.mark.parametrize(
    ("machine", "said", "cuda"),
    [
        ({"linux": True, "nvidia": True, "own": False}, "with CUDA, for there is an NVIDIA driver", True),
        ({"linux": False, "nvidia": False, "own": False}, "for this system", False),
        ({"linux": True, "nvidia": False, "own": True}, "as your package index or folder has it", True),
    ],
)
def test_otherwise_the_usual_index_is_asked(tool: ModuleType, machine: dict, said: str, cuda: bool) -> None:
    options, why, may_bring_cuda = tool.choose(**machine, reachable=never)
    assert (options, may_bring_cuda) == ([], cuda)
    assert said in why


def test_an_index_that_cannot_be_reached_is_told(tool: ModuleType) -> None:
    options, why, cuda = tool.choose(linux=True, nvidia=False, own=False, reachable=lambda: False)
    assert (options, cuda) == ([], True)
    assert "2.7 GB of CUDA" in why


@pytest.mark.parametrize(
    ("environment", "configured", "own"),
    [
        ({}, "", False),
        ({"PIP_DEFAULT_TIMEOUT": "5", "PIP_INDEX_URL": ""}, "global.timeout='5'\nglobal.cert='/a'\n", False),
        ({"PIP_INDEX_URL": "https://pypi.example/simple"}, "", True),
        ({"PIP_EXTRA_INDEX_URL": "https://pypi.example/simple"}, "", True),
        ({"PIP_FIND_LINKS": "/wheels"}, "", True),
        ({}, "global.index-url='https://pypi.example/simple'\n", True),
        ({}, "install.find-links='/wheels'\n", True),
    ],
)
def test_who_has_an_index_is_not_gone_around(tool: ModuleType, environment, configured: str, own: bool) -> None:
    assert tool.has_own_index(environment, configured) is own


def test_the_driver_is_looked_for(tool: ModuleType, tmp_path: Path) -> None:
    assert not tool.has_nvidia(tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert tool.has_nvidia(tmp_path)


def test_a_closed_network_is_given_up(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "CPU_INDEX", "http://127.0.0.1:9/whl/cpu")
    assert not tool.is_reachable()


def test_size_and_time_are_said_before(tool: ModuleType) -> None:
    environment = {**os.environ, "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    command = [sys.executable, str(ROOT / "tools" / "torch_index.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert "GB to fetch" in done.stderr
    assert "GB on the disk" in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
def test_the_makefile_takes_the_version_of_the_constraints() -> None:
    makefile, constraints = (ROOT / "Makefile").read_text(), (ROOT / "constraints.txt").read_text()
    (torch,) = [line for line in constraints.splitlines() if line.startswith("torch==")]
    shown = subprocess.run(
        ["make", "-n", "VENV=nowhere", "setup"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"install --constraint constraints.txt $options {torch}" in shown.stdout
    assert "--quiet" not in makefile


def test_an_environment_without_pip_is_made_anew(tmp_path: Path) -> None:
    """As Debian leaves it behind where python3-venv is missing."""
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    broken, system = tmp_path / ".venv" / "bin" / "python", tmp_path / "python"
    broken.parent.mkdir(parents=True)
    broken.write_text("#!/bin/sh\nexit 1\n")
    system.write_text('#!/bin/sh\necho "$@" > asked\nexit 1\n')
    for script in (broken, system):
        script.chmod(0o755)
    command = ["make", "-s", "setup", f"PYTHON={system}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "install the venv module (Debian: python3-venv)" in done.stdout
    assert (tmp_path / "asked").read_text() == "-m venv --clear .venv\n"
