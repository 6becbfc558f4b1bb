"""Programs of the documentation and of ``examples/``, run as a shell would run them, but in this process.

To import aiortc, or the openai package, afresh for each would take longer than all of the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import runpy
import wave
from pathlib import Path

import numpy as np

RATE = 24_000


async def printed(program: Path) -> str:
    """What a program prints; it ends with an error where that does."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        await asyncio.to_thread(runpy.run_path, str(program), run_name="__main__")
    return out.getvalue()


def loud_question(path: Path) -> Path:
    """A sound file in which the fake ears hear something: half a second that is loud."""
    loud = (8000 * np.sin(np.arange(RATE // 2) * 0.1)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(loud.tobytes())
    return path


def fences(text: str, kind: str) -> list[str]:
    """The blocks of a kind in a page, without those that it says are not run."""
    found = re.findall(rf"(<!-- not run: [^\n]+ -->\n)?```{kind}\n(.*?)```", text, re.DOTALL)
    return [block for excuse, block in found if not excuse]


def patched(program: str, diff: str) -> str:
    """``program`` with the lines that begin with ``-`` in ``diff`` replaced by those with ``+`` that follow them.

    Each group of lines that go must stand in the program just once, one below the other.
    """
    for old, new in re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)*)", diff, re.MULTILINE):
        gone, come = (re.sub(r"^[-+]", "", lines, flags=re.MULTILINE) for lines in (old, new))
        assert program.count(gone) == 1, gone
        program = program.replace(gone, come)
    return program
