"""Writes ``server/grpc/generated`` from ``server/grpc/protos``, and the tables of docs/reference/grpc.md: run as
``python -m tools.generate_grpc``.

Needs grpcio-tools (extra ``test``). A test compares what is there with what this would write.
"""

from __future__ import annotations

import re
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from tools.error_codes import codes

ROOT = Path(__file__).parents[1] / "server" / "grpc"
REFERENCE = Path(__file__).parents[1] / "docs" / "reference" / "grpc.md"
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


def tables() -> dict[str, str]:
    """The tables of the reference: the name of each → its lines."""
    from server.grpc.listener import SERVICES
    from server.grpc.status import meanings

    calls = ["| call | takes | gives |", "|---|---|---|"]
    for name, service in SERVICES.items():
        for method in service.methods:
            takes, gives = (
                f"{'a stream of ' if streams else ''}`{kind.name}`"
                for streams, kind in (
                    (method.client_streaming, method.input_type),
                    (method.server_streaming, method.output_type),
                )
            )
            calls.append(f"| `{name}/{method.name}` | {takes} | {gives} |")
    statuses = ["| status | for example |", "|---|---|"]
    for status, found in meanings(codes()).items():
        statuses.append(f"| `{status.name}` | {', '.join(f'`{code}`' for code in found[:8])} |")
    return {"calls": "\n".join(calls), "statuses": "\n".join(statuses)}


def filled(text: str) -> str:
    """The reference with its tables."""
    for name, table in tables().items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)"
        text = re.sub(pattern, lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text, flags=re.DOTALL)
    return text


def main() -> None:
    """Write them, and remove what comes from no definition any more."""
    REFERENCE.write_text(filled(REFERENCE.read_text("utf-8")), "utf-8")
    wanted = generated()
    for path in GENERATED.glob("*_pb2.py*"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (GENERATED / name).write_text(text, "utf-8")
    sys.stdout.write(f"{len(wanted)} files in {GENERATED}\n")


if __name__ == "__main__":
    main()
