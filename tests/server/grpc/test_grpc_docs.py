"""The pages on gRPC: the client in Python runs as it stands there, and the tables are those of the code."""

from __future__ import annotations

import asyncio
import re
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.patience import PATIENCE
from tools.generate_grpc import PROTOS, REFERENCE, filled

PAGE = REFERENCE.parents[1] / "how-to" / "clients" / "grpc.md"


async def run(folder: Path, *arguments: str) -> str:
    program = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(PATIENCE):
        said, _ = await program.communicate()
    assert program.returncode == 0, said.decode()
    return said.decode()


async def test_the_client_in_python_does_what_the_page_says(spoken, tmp_path):
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    first, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert "--python_out=. --grpc_python_out=." in PAGE.read_text("utf-8")
    protos = [str(path) for path in (PROTOS / "visavis" / "v1").glob("*.proto")]
    made = ("--python_out=.", "--grpc_python_out=.")
    await run(tmp_path, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *made, *protos)
    (tmp_path / "client.py").write_text(first, "utf-8")
    stt = FakeRecognizer("Good morning.")
    server = await spoken(llm=FakeModel("I am visavis."), tts=FakeVoice(), stt=stt)
    said = await run(tmp_path, "client.py", f"127.0.0.1:{server.port}")
    assert said.startswith("I am visavis. \nfake-llm: ")
    with wave.open(str(tmp_path / "morning.wav")) as file:
        sound = np.frombuffer(file.readframes(1 << 20), "<i2")
    assert len(sound) == FakeVoice.rate // 2
    assert 'segment segment {   text: "Good morning."' in said and said.rstrip().splitlines()[-1].startswith("done ")


def test_the_tables_of_the_reference_are_those_of_the_code():
    text = REFERENCE.read_text("utf-8")
    assert filled(text) == text, "run python -m tools.generate_grpc"
