"""Every event of the OpenAI dialect, compared with the types of the stock client and docs/reference/protocol.md.

An event of the service has the fields of ``openai.types.realtime`` (in strict mode) and no others, but for those in the
documentation's table of additions; an event of ours is in the documentation's table of vendor events, with its fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

from tools.reference.event_words import REALTIME

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "protocol.md"
_ROW = re.compile(r"\| `([a-z_.*]+)` \| ([^|]*) \|")
_NAME = re.compile(r"`([a-z_.]+?)(\??)`")


@cache
def table(heading: str) -> dict[str, dict[str, bool]]:
    """Event → its documented fields, and whether each is always there (one that is not has a ``?``)."""
    section = DOCUMENT.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = {row[1]: {name: not mark for name, mark in _NAME.findall(row[2])} for row in _ROW.finditer(section)}
    assert rows, f"docs/reference/protocol.md has no table under {heading!r}"
    return rows


@cache
def known_types() -> dict[str, Any]:
    """Type of event → its pydantic model."""
    from openai.types.realtime import RealtimeServerEvent

    models = get_args(get_args(RealtimeServerEvent)[0])
    return {get_args(model.model_fields["type"].annotation)[0]: model for model in models}


def violations(event: dict[str, Any]) -> list[str]:
    """What is wrong with an event, in words."""
    from pydantic import ValidationError

    kind = str(event.get("type"))
    if "event_id" not in event:
        return [f"{kind}: has no event_id"]
    model = known_types().get(kind)
    if model is None:
        return _vendor(kind, event)
    if kind not in REALTIME:
        return [f"{kind}: not in docs/reference/events.md (tools/reference/event_words.py)"]
    try:
        read = model.model_validate(event, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        return [f"{kind}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems]
    additions = {**table("Additions")["*"], **table("Additions").get(kind, {})}
    return [f"{kind}: {path}: no field of the service's" for path in _extra(read, "") if path not in additions]


def _vendor(kind: str, event: dict[str, Any]) -> list[str]:
    fields = table("Vendor events").get(kind)
    if fields is None:
        return [f"{kind}: neither the service nor docs/reference/protocol.md knows it"]
    given = event.keys() - {"type", "event_id", "shortened"}
    missing = [name for name, always in fields.items() if always and name not in given]
    return [f"{kind}: {name}: not in docs/reference/protocol.md" for name in sorted(given - fields.keys())] + [
        f"{kind}: {name}: is missing" for name in missing
    ]


def _extra(value: Any, path: str) -> Iterator[str]:
    """Paths of fields that the types do not have."""
    if isinstance(value, list):
        for part in value:
            yield from _extra(part, path)
        return
    extra = getattr(value, "model_extra", None)
    for name in extra or ():
        yield f"{path}{name}"
    for name in getattr(type(value), "model_fields", ()):
        yield from _extra(getattr(value, name), f"{path}{name}.")
