"""Writes ``server/grpc/generated`` from ``server/grpc/protos``: run as ``python -m tools.generate_grpc``.

Needs grpcio-tools (extra ``test``). A test compares what is there with what this would write.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[1] / "server" / "grpc"
PROTOS, GENERATED = ROOT / "protos", ROOT / "generated"


def generated() -> dict[str, str]:
    """Name of each file → what should be in it."""
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    common = str(files("grpc_tools") / "_proto")
    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"-I{PROTOS}", f"-I{common}", f"--python_out={folder}", f"--pyi_out={folder}", *sources]
        if protoc.main(["protoc", *arguments]):
            raise RuntimeError("protoc failed")
        written = [*Path(folder).rglob("*.py"), *Path(folder).rglob("*.pyi")]
        return {path.name: path.read_text("utf-8") for path in written}


def main() -> None:
    """Write them, and remove what comes from no definition any more."""
    wanted = generated()
    for path in GENERATED.glob("*_pb2.py*"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (GENERATED / name).write_text(text, "utf-8")
    sys.stdout.write(f"{len(wanted)} files in {GENERATED}\n")


if __name__ == "__main__":
    main()
