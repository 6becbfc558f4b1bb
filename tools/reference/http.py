"""Every route and every schema, read off the OpenAPI document that the server answers with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from server.http.auth import PARTLY_OPEN
from server.http.openapi.document import document
from tools.reference.fields import legal

Json = Mapping[str, Any]
_EVERYWHERE = {"400", "401", "403", "406", "408", "413", "417", "421", "426", "429", "431", "500", "503"}


@cache
def openapi() -> dict[str, Any]:
    """The document of a server with a key."""
    return document(keyed=True)


def routes() -> str:
    """A section with a table for each family of routes."""
    families: dict[str, list[str]] = {}
    for path, methods in openapi()["paths"].items():
        for method, operation in methods.items():
            if method == "head":
                continue
            row = _line((f"`{method.upper()} {path}`", *_row(path, operation)))
            families.setdefault(operation["tags"][0], []).append(row)
    told = {tag["name"]: tag.get("description", "") for tag in openapi()["tags"]}
    head = ["| route | what | parameters | body | answers | key |", "| --- | --- | --- | --- | --- | --- |"]
    parts = ["\n".join([f"## {tag}", "", told.get(tag, ""), "", *head, *rows]) for tag, rows in families.items()]
    return "\n\n".join(parts) + "\n"


def _line(cells: tuple[str, ...]) -> str:
    return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|"


def _row(path: str, operation: Json) -> tuple[str, ...]:
    given = [one for one in operation.get("parameters", ()) if one["in"] != "path"]
    parameters = ", ".join(f"`{one['name']}`" + (" (header)" if one["in"] == "header" else "") for one in given)
    content = operation.get("requestBody", {}).get("content", {})
    answers = "; ".join(
        f"{status}{_contents(answer)}"
        for status, answer in operation["responses"].items()
        if status.startswith(("1", "2", "3"))
    )
    refusals = [
        status for status in operation["responses"] if status.startswith(("4", "5")) and status not in _EVERYWHERE
    ]
    refused = f"; refuses {', '.join(refusals)}" if refusals else ""
    body = "; ".join(f"`{kind}` {_schema(one['schema'])}".strip() for kind, one in content.items())
    return operation["summary"], parameters, body, answers + refused, _key(path, operation)


def _key(path: str, operation: Json) -> str:
    if path in PARTLY_OPEN:
        return "for all of it"
    return "yes" if operation["security"] else ""


def _contents(answer: Json) -> str:
    kinds = answer.get("content", {})
    shown = [f"`{kind}` {_schema(one['schema'])}".strip() for kind, one in kinds.items()]
    return f" {', '.join(shown)}" if shown else ""


def _schema(schema: Json) -> str:
    """The names of the schemas that are referred to."""
    if "$ref" in schema:
        return _short(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(dict.fromkeys(filter(None, map(_schema, schema.get("anyOf") or schema["oneOf"]))))
    if schema.get("items"):
        inner = _schema(schema["items"])
        return f"list of {inner}" if inner else ""
    return ""


def _short(name: str) -> str:
    """A schema whose name two modules have is called by both."""
    return name.rpartition("__")[2].lstrip("_")


def schemas() -> str:
    """A table with a row for each schema of requests and answers."""
    found = openapi()["components"]["schemas"]
    told: dict[str, dict[str, None]] = {}
    for name in found:
        told.setdefault(_short(name), {})[_fields(found[name], found)] = None
    rows = [("schema", "fields"), ("---", "---")]
    rows += [(f"`{name}`", fields) for name in sorted(told) for fields in told[name]]
    return "".join(f"{_line(row)}\n" for row in rows)


def _fields(schema: Json, others: Json) -> str:
    if "properties" not in schema:
        return _schema(schema) or legal(schema, others) or "anything"
    required = schema.get("required", ())
    told = []
    for name, field in schema["properties"].items():
        values = _schema(field) or legal(field, others)
        told.append(f"`{name}`{'' if name in required else '?'}{f' {values}' if values else ''}")
    return "; ".join(told).replace("|", "\\|")
