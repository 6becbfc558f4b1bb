"""Every metric of ``GET /metrics``, as the source declares it: name, kind, labels, help.

That these are those of the registry is a test's business; building engines for a table would take long.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import ProcessCollector

SERVER = Path(__file__).parents[2] / "server"
_IMPORT = "from prometheus_client"
_KINDS = {
    "Counter": "counter",
    "counter": "counter",
    "CounterMetricFamily": "counter",
    "Gauge": "gauge",
    "GaugeMetricFamily": "gauge",
    "Histogram": "histogram",
    "histogram": "histogram",
    "SummaryMetricFamily": "summary",
    "_summary": "summary",
    "Metric": "untyped",
}
"""What a metric is made with → its kind."""


@dataclass(frozen=True, slots=True)
class Meter:
    """A metric, by the name of its series (without ``_bucket``, ``_sum`` and ``_count``)."""

    name: str
    kind: str
    labels: tuple[str, ...]
    words: str


def found() -> Iterator[Meter]:
    """All of them, in the order of the source."""
    texts = [file.read_text("utf-8") for file in sorted(SERVER.rglob("*.py"), reverse=True)]
    for text in texts:
        for function in ast.walk(ast.parse(text)) if _IMPORT in text else ():
            if isinstance(function, ast.FunctionDef):
                yield from _of_function(function)
    for family in ProcessCollector(registry=None).collect():
        yield Meter(_series(family.name, family.type), family.type, (), family.documentation.rstrip("."))


def _series(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name


def _of_function(function: ast.FunctionDef) -> Iterator[Meter]:
    names = {
        node.targets[0].id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        kind = _KINDS.get(node.func.id if isinstance(node.func, ast.Name) else "")
        given = [_resolved(part, names) for part in node.args[:2]]
        if kind is None or len(given) < 2 or not all(isinstance(one, ast.Constant) for one in given):
            continue
        name, words = (str(one.value) for one in given if isinstance(one, ast.Constant))
        labels = _labels(node, names) if kind != "untyped" else _sample_labels(function)
        yield Meter(_series(name, kind), kind, labels, words)


def _resolved(node: ast.expr, names: Mapping[str, ast.expr]) -> ast.expr:
    return names.get(node.id, node) if isinstance(node, ast.Name) else node


def _labels(call: ast.Call, names: Mapping[str, ast.expr]) -> tuple[str, ...]:
    given = [word.value for word in call.keywords if word.arg == "labels"] or call.args[2:3]
    return tuple(_texts(given[0], names)) if given else ()


def _texts(node: ast.expr, names: Mapping[str, ast.expr]) -> Iterator[str]:
    """The texts of a list, and of the lists that are unpacked into it."""
    node = _resolved(node, names)
    for part in node.elts if isinstance(node, ast.List) else ():
        if isinstance(part, ast.Starred):
            yield from _texts(part.value, names)
        elif isinstance(part, ast.Constant):
            yield str(part.value)


def _sample_labels(function: ast.FunctionDef) -> tuple[str, ...]:
    """The labels of the samples that a function adds by hand."""
    given = [node.args[1] for node in ast.walk(function) if isinstance(node, ast.Call) and _adds(node)]
    return tuple(str(key.value) for one in given if isinstance(one, ast.Dict) for key in one.keys if _is_text(key))


def _adds(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "add_sample"


def _is_text(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant)


def meters() -> list[tuple[str, ...]]:
    """One row for each metric."""
    rows = [
        (f"`{meter.name}`", meter.kind, ", ".join(f"`{label}`" for label in meter.labels), meter.words)
        for meter in found()
    ]
    return [("metric", "kind", "labels", "what"), *rows]
