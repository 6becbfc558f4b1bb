"""Every limit that is a constant of a module: what is largest, longest and most, read off the source text."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NAME = re.compile(r"(LARGEST|LONGEST|MOST|LATEST|MAX)(_[A-Z_]+)?")


@dataclass(frozen=True, slots=True)
class Limit:
    """A constant, and what stands below it."""

    module: str
    name: str
    value: object
    words: str


def found(house: str) -> Iterator[Limit]:
    """The limits of a folder of the repository, in the order of its files."""
    for file in sorted((ROOT / house).rglob("*.py")):
        known: dict[str, object] = {}
        text = file.read_text("utf-8")
        if not re.search(rf"^({_NAME.pattern})\b", text, re.MULTILINE):
            continue
        tree = ast.parse(text)
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for node, below in zip(tree.body, [*tree.body[1:], None], strict=True):
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if not isinstance(target, ast.Name) or not re.fullmatch(r"[A-Z_]+", target.id) or node.value is None:
                continue
            known[target.id] = value = _value(node.value, known)
            if _NAME.fullmatch(target.id):
                value = getattr(importlib.import_module(module), target.id) if value is None else value
                yield Limit(module, target.id, value, " ".join(_text(below).split()))


def _value(node: ast.expr, known: dict[str, object]) -> object:
    """What an expression of numbers and of constants before it comes to; ``None`` for any other."""
    try:
        return eval(compile(ast.Expression(node), "limit", "eval"), {"__builtins__": {}}, known)
    except (NameError, TypeError, AttributeError):
        return None


def _text(node: ast.stmt | None) -> str:
    """The docstring below a constant."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


def of_server() -> list[tuple[str, ...]]:
    """Limits of what clients send and of what is kept for them."""
    return _rows("server")


def of_pipelines() -> list[tuple[str, ...]]:
    """Limits of engines, tasks and pipelines."""
    return _rows("pipelines")


def of_media() -> list[tuple[str, ...]]:
    """Limits of sound and video."""
    return _rows("media")


def _rows(house: str) -> list[tuple[str, ...]]:
    rows = [
        (f"`{limit.module.removeprefix(f'{house}.')}`", f"`{limit.name}`", shown(limit.value), _words(limit.words))
        for limit in found(house)
    ]
    return [(f"where in `{house}`", "limit", "value", "of what"), *rows]


def shown(value: object) -> str:
    """A number as people read it: powers of two as KiB and MiB, others with commas."""
    if isinstance(value, int) and value >= 1 << 20 and value % (1 << 20) == 0:
        return f"{value >> 20:,} Mi"
    if isinstance(value, int) and value >= 1 << 13 and value % (1 << 10) == 0:
        return f"{value >> 10:,} Ki"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.10g}" if isinstance(value, float) else f"{value:,}"
    return f"`{value}`"


def _words(text: str) -> str:
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text).replace("``", "`")
    return text.replace("|", "\\|").replace("<", "&lt;")
