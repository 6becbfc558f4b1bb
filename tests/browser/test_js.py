"""The page's pure modules, by Node's own test runner: the files of ``tests/browser/js``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent / "js"
LIMIT_SECONDS = 120
ENOUGH = 20
"""The first version of Node with its own test runner that takes the page's files as modules."""


def node() -> str:
    """Node of a version that will do; the test is skipped, with the reason, where there is none."""
    path = os.environ.get("VISAVIS_TEST_NODE") or shutil.which("node")
    if path is None:
        pytest.skip("no Node on this machine (VISAVIS_TEST_NODE names one): the page's pure modules are not tested")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    if int(version.lstrip("v").split(".")[0]) < ENOUGH:
        pytest.skip(f"Node {version.strip()} is too old for its test runner: {ENOUGH} or newer is needed")
    return path


def test_the_pure_modules_of_the_page() -> None:
    files = sorted(str(file) for file in TESTS.glob("*.test.mjs"))
    done = subprocess.run(
        [node(), "--experimental-default-type=module", "--test", *files],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
