"""Writes the tables of the documentation that are made of tables in the code: ``python -m tools.doc_tables``.

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from pipelines.engines.registry import ENGINES
from pipelines.models.catalogue import load
from pipelines.routing.stage_types import STAGE_TYPES
from pipelines.tasks.registry import TASKS, spec_of
from pipelines.vision.detectors import DETECTORS
from server.http.doc_pages import anchor
from tools.error_codes import codes, section_of
from tools.reference import cli, events, http, limits, meters
from tools.reference.fields import docstrings, legal

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


def stage_types() -> list[tuple[str, ...]]:
    """One row for each type of stages."""
    rows = [
        (f"`{name}`", " or ".join(shape.takes), ", ".join(shape.also), shape.gives, ", ".join(_options(shape.options)))
        for name, shape in STAGE_TYPES.items()
    ]
    return [("type", "takes", "besides", "gives", "options"), *rows]


def stage_options() -> list[tuple[str, ...]]:
    """One row for each option of stages; types whose option is the same share it."""
    found: dict[tuple[str, ...], list[str]] = {}
    for kind, shape in STAGE_TYPES.items():
        told = docstrings(shape.options)
        schema = shape.options.model_json_schema()
        for name, info in shape.options.model_fields.items():
            default = "" if info.default in (None, "", ()) else f"`{str(info.default).lower()}`"
            values = legal(schema["properties"][name], schema.get("$defs", {}))
            found.setdefault((f"`{name}`", values, default, told.get(name, "")), []).append(f"`{kind}`")
    rows = [
        (name, ", ".join(kinds), legal, default, about.replace("``", "`"))
        for (name, legal, default, about), kinds in found.items()
    ]
    return [("option", "of", "legal", "default", "what"), *rows]


def _options(kind: type[BaseModel]) -> list[str]:
    return [f"`{name}`" for name in kind.model_fields]


def tasks() -> list[tuple[str, ...]]:
    """One row for each task."""
    rows = []
    for name in TASKS:
        spec = spec_of(name)
        page = DOCS / "reference" / "tasks" / f"{name}.md"
        shown = f"[`{name}`]({page.name})" if page.exists() else f"`{name}`"
        takes, options = (", ".join(f"`{one}`" for one in kind.model_fields) for kind in (spec.inputs, spec.parameters))
        rows.append((shown, spec.about, takes, options, "yes" if spec.stream is not None else ""))
    return [("task", "what it does", "inputs", "parameters", "streams"), *rows]


def catalogue() -> list[tuple[str, ...]]:
    """One row for each model of the catalogue."""
    rows = [
        (
            f"`{model.id}`",
            model.task,
            model.requires or "",
            f"{model.download:,}" if model.download else "",
            model.licence,
        )
        for model in load().models
    ]
    return [("model", "task", "needs", "MB to fetch", "licence"), *rows]


def models() -> list[tuple[str, ...]]:
    """One row for each model that listens, thinks or speaks."""
    rows = [
        (
            f"`{model.id}`",
            model.task,
            ", ".join(f"{size:,} ({kind})" for kind, size in model.memory.items()),
            f"{model.download:,}" if model.download else "",
            model.licence,
        )
        for model in load().models
        if model.task in ("speech-to-text", "chat", "text-to-speech")
    ]
    return [("model", "task", "MB in memory (weights)", "MB to fetch", "licence"), *rows]


def errors() -> list[tuple[str, ...]]:
    """One row for each code of an error."""
    rows = []
    for code in codes():
        heading = section_of(code) or ""
        rows.append((f"`{code}`", f"[{heading}](../troubleshooting.md#{anchor(heading)})"))
    return [("code", "what to do"), *rows]


TABLES: dict[str, Callable[[], list[tuple[str, ...]] | str]] = {
    "engines": engines,
    "detectors": detectors,
    "stage_types": stage_types,
    "stage_options": stage_options,
    "tasks": tasks,
    "models": models,
    "errors": errors,
    "catalogue": catalogue,
    "cli": cli.commands,
    "cli_engines": cli.engine_commands,
    "routes": http.routes,
    "schemas": http.schemas,
    "client_events": events.client_events,
    "session_fields": events.session_fields,
    "server_events": events.server_events,
    "rtvi_client": events.rtvi_client,
    "rtvi_server": events.rtvi_server,
    "live_client": events.live_client,
    "live_server": events.live_server,
    "metrics": meters.meters,
    "limits_server": limits.of_server,
    "limits_pipelines": limits.of_pipelines,
    "limits_media": limits.of_media,
}
"""What stands between the marks: rows, the first of which is the head, or Markdown as it is."""
_MARKED = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """``text`` with its tables as they should be."""
    return _MARKED.sub(lambda match: f"{match[1]}{_markdown(TABLES[match[2]]())}{match[3]}", text)


def _markdown(rows: list[tuple[str, ...]] | str) -> str:
    if isinstance(rows, str):
        return rows
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
