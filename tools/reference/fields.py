"""What pydantic models and JSON schemas say of fields, in words."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel


def legal(schema: Mapping[str, Any], others: Mapping[str, Any]) -> str:
    """The legal values of a field, from its JSON schema."""
    if "$ref" in schema:
        return legal(others[schema["$ref"].rpartition("/")[2]], others)
    if "anyOf" in schema:
        kinds = [legal(one, others) for one in schema["anyOf"] if one.get("type") != "null"]
        return ", ".join(dict.fromkeys(kinds))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{str(value).lower()}`" for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "")
    if kind == "array":
        items = schema.get("items") or {}
        return f"list of {legal(items, others) or 'values'}"
    if kind in ("integer", "number"):
        least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
        most, below = schema.get("maximum"), schema.get("exclusiveMaximum")
        low = f"above {above:.10g}" if above is not None else f"from {least:.10g}" if least is not None else ""
        high = f"below {below:.10g}" if below is not None else f"to {most:.10g}" if most is not None else ""
        return " ".join(part for part in ("whole number" if kind == "integer" else "number", low, high) if part)
    if kind == "object" and "properties" in schema:
        return f"mapping of {', '.join(f'`{name}`' for name in schema['properties'])}"
    if kind == "boolean":
        return "`true`, `false`"
    return f"text like `{schema['pattern']}`" if "pattern" in schema else {"string": "text"}.get(kind, kind)


def docstrings(kind: type[Any]) -> Mapping[str, str]:
    """What stands below the fields of a model, and of those that it is made from."""
    told: dict[str, str] = {}
    for one in reversed([base for base in kind.__mro__ if issubclass(base, BaseModel) and base is not BaseModel]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                told[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return told


def flattened(kind: type[BaseModel], path: str, deep: int = 8) -> Iterator[tuple[str, str, str]]:
    """``PATH.FIELD``, legal values and words of each field of a model, and of the models in it."""
    told, schema = docstrings(kind), kind.model_json_schema()
    for name, info in kind.model_fields.items():
        place = f"{path}.{name}"
        inner = list(_models(info.annotation))
        if not inner or not deep:
            yield place, legal(schema["properties"][name], schema.get("$defs", {})), told.get(name, "")
        for one in inner if deep else ():
            yield from flattened(one, place + ("[]" if _is_list(info.annotation) else ""), deep - 1)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(map(_is_list, get_args(annotation)))
