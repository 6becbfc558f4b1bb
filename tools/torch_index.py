"""Which build of PyTorch `make setup` takes. Says so, with size and time, and prints pip's options for it.

On Linux the build of the usual package index brings gigabytes of CUDA libraries. Where there is no NVIDIA driver, the
CPU build is taken from PyTorch's own index, if that can be reached and pip is not told to use another: whoever has set
an index, a proxy of it or a folder of wheels is not gone around.

Runs before anything is installed: the standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_SECONDS = 4.0
OWN = ("index-url", "extra-index-url", "no-index", "find-links")
"""Of pip's settings: those that say where packages come from."""
CPU_SIZE, CUDA_SIZE = (0.6, 2.3), (3.5, 8.0)
"""Gigabytes to fetch, and on the disk."""


def choose(*, linux: bool, nvidia: bool, own: bool, reachable: Callable[[], bool]) -> tuple[list[str], str, bool]:
    """Options for pip, why, and whether CUDA libraries may come. ``reachable`` is only asked when it matters."""
    if nvidia:
        return [], "PyTorch with CUDA, for there is an NVIDIA driver", linux
    if not linux:
        return [], "PyTorch for this system", False
    if own:
        return [], "PyTorch as your package index or folder has it: a CPU build, or one with 2.7 GB of CUDA", True
    if not reachable():
        return [], "PyTorch with 2.7 GB of CUDA: its index of CPU builds cannot be reached", True
    # Its dependencies come with all others, from the usual index and in the versions that are known to work together.
    return ["--index-url", CPU_INDEX, "--no-deps"], "PyTorch's CPU build, for there is no NVIDIA driver", False


def has_nvidia(root: Path = Path("/")) -> bool:
    """Whether the driver of an NVIDIA card is loaded (on WSL, that of the host)."""
    return (root / "dev/nvidiactl").exists() or (root / "dev/dxg").exists()


def has_own_index(environment: Mapping[str, str], configured: str) -> bool:
    """Whether pip is told where packages come from; ``configured`` is what ``pip config list`` prints."""
    if any(environment.get(f"PIP_{name.upper().replace('-', '_')}") for name in OWN):
        return True
    names = [line.partition("=")[0].rpartition(".")[2] for line in configured.splitlines()]
    return any(name in OWN for name in names)


def is_reachable() -> bool:
    """Whether PyTorch's index of CPU builds answers, within seconds."""
    try:
        with urllib.request.urlopen(f"{CPU_INDEX}/torch/", timeout=PROBE_SECONDS) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def main() -> None:
    """Print the options on stdout and the words on stderr."""
    pip = [sys.executable, "-m", "pip", "config", "list"]
    configured = subprocess.run(pip, capture_output=True, text=True, check=False).stdout
    options, why, cuda = choose(
        linux=sys.platform == "linux",
        nvidia=has_nvidia(),
        own=has_own_index(os.environ, configured),
        reachable=is_reachable,
    )
    fetched, stored = CUDA_SIZE if cuda else CPU_SIZE
    most = "up to" if cuda else "about"
    free = shutil.disk_usage(".").free / 1e9
    words = [
        f"Installing into {sys.prefix}: {most} {fetched:g} GB to fetch and {stored:g} GB on the disk, "
        "some minutes on a usual line.",
        f"{why}.",
    ]
    if free < stored:
        words.append(f"Only {free:.1f} GB are free here.")
    sys.stderr.write("\n".join(words) + "\n")
    sys.stdout.write(" ".join(options) + "\n")


if __name__ == "__main__":
    main()
