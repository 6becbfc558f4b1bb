"""Writes the tables of the documentation that are made of tables in the code: ``python -m tools.doc_tables``.

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pipelines.engines.registry import ENGINES
from pipelines.tasks.registry import TASKS, spec_of
from pipelines.vision.detectors import DETECTORS

DOCS = Path(__file__).parents[1] / "docs"


def engines() -> list[tuple[str, ...]]:
    """One row for each engine that users can have."""
    head = ("stage", "engine", "what it is", "packages", "asked for")
    rows = [
        (
            spec.stage,
            spec.name,
            spec.about,
            ", ".join(f"`{package}`" for package in spec.packages),
            ("by its model" if spec.reads else f"as `{spec.name}`") if spec.stage in ("stt", "llm", "tts") else "",
        )
        for spec in ENGINES
        if not spec.stub
    ]
    return [head, *rows]


def detectors() -> list[tuple[str, ...]]:
    """One row for each detector."""
    rows = [
        (f"`{row.name}`", row.about, ", else ".join(f"`{model}`" for model in row.models)) for row in DETECTORS.values()
    ]
    return [("detector", "finds", "model"), *rows]


def tasks() -> list[tuple[str, ...]]:
    """One row for each task."""
    rows = []
    for name in TASKS:
        spec = spec_of(name)
        page = DOCS / "tasks" / f"{name}.md"
        shown = f"[`{name}`]({page.name})" if page.exists() else f"`{name}`"
        takes, options = (", ".join(f"`{one}`" for one in kind.model_fields) for kind in (spec.inputs, spec.parameters))
        rows.append((shown, spec.about, takes, options, "yes" if spec.stream is not None else ""))
    return [("task", "what it does", "inputs", "parameters", "streams"), *rows]


TABLES: dict[str, Callable[[], list[tuple[str, ...]]]] = {"engines": engines, "detectors": detectors, "tasks": tasks}
_MARKED = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """``text`` with its tables as they should be."""
    return _MARKED.sub(lambda match: f"{match[1]}{_markdown(TABLES[match[2]]())}{match[3]}", text)


def _markdown(rows: list[tuple[str, ...]]) -> str:
    lines = [rows[0], ("---",) * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def main() -> None:
    """Fill in all tables."""
    for file in sorted(DOCS.rglob("*.md")):
        text = file.read_text("utf-8")
        if (new := filled(text)) != text:
            file.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
