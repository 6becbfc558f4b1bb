"""A torchvision that does not fit torch is hidden from transformers; one that does is left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECK = """
import sys
from pipelines.tasks.torchvision_guard import hide_broken_torchvision
problem = hide_broken_torchvision()
from transformers.utils import is_torchvision_available
print(problem)
print(is_torchvision_available(), "torchvision.parts" in sys.modules)
"""


def told(folder: Path, source: str) -> list[str]:
    """What the guard says in a process of its own, where this is torchvision."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "parts.py").write_text('"""Nothing."""')
    (package / "__init__.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        env={"PYTHONPATH": f"{folder}:{Path(__file__).parents[3]}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_broken_one_is_hidden_and_named(tmp_path: Path) -> None:
    source = 'import torchvision.parts\nraise RuntimeError("operator torchvision::nms does not exist")'
    problem, seen = told(tmp_path, source)
    assert "operator torchvision::nms does not exist" in problem and "pip uninstall torchvision" in problem
    assert seen == "False False"


def test_without_one_nothing_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHECK.replace("import sys", "import sys; sys.modules['torchvision'] = None", 1)],
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == ["", "False False"], done.stderr
