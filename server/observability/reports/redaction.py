"""What of an exception and of the settings may be written down. Everything is left out that is not known to be ours.

Messages of exceptions are never kept: a transcript, a prompt or a key may stand in any of them. Kept are names that
stand in source code: types, functions, files of ours, names of packages, and codes that our own source has as literals.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import re
import secrets
import sys
import traceback
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[3]
HOUSES = ("media", "pipelines", "server")
MOST_FRAMES = 40
"""Of one exception: the outermost and the innermost half of them."""
MOST_CAUSES = 6
"""Exceptions that one came from, or that a group holds."""
SET = "(set)"
"""In place of the value of a setting that may hold words, an address or a secret."""
_CODE = re.compile(r"""["']([a-z]+(?:_[a-z0-9]+)*)["']""")
_PACKAGES = re.compile(r"[/\\](?:site|dist)-packages[/\\]([A-Za-z_][A-Za-z0-9_]*)")
_KEY = secrets.token_bytes(32)


def pseudonym(session: str) -> str:
    """Another name for a session, the same as long as this process lives: with the id one could go on with its talk."""
    return f"session-{hmac.new(_KEY, session.encode(), hashlib.sha256).hexdigest()[:10]}"


def type_name(kind: type[BaseException]) -> str:
    """Module and name of a type that stands where it says that it stands; of one made at run time nothing."""
    found: Any = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is kind:
        return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return "(a type made at run time)"


def code_of(error: BaseException) -> str | None:
    """The code of an error of ours, if our source has it; the symbol of an error of the system."""
    code = getattr(error, "code", None)
    if type(error).__module__.partition(".")[0] in HOUSES and isinstance(code, str) and code in own_words():
        return code
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return errno.errorcode.get(error.errno)
    return None


@cache
def own_words() -> frozenset[str]:
    """Every literal of our source that could be a code: what is among them we have written ourselves."""
    found: set[str] = set()
    for house in HOUSES:
        for file in (ROOT / house).rglob("*.py"):
            found.update(_CODE.findall(file.read_text("utf-8")))
    return frozenset(word for word in found if "_" in word or word in _SINGLE_CODES)


_SINGLE_CODES = frozenset({"deadline"})
"""Codes of one word, which might be a word that somebody said."""


def frames(trace: TracebackType | None) -> list[dict[str, Any]]:
    """Ours by file, line and function; of others how many and whose. No source text, no values."""
    rows: list[dict[str, Any]] = []
    for frame, line in traceback.walk_tb(trace):
        code = frame.f_code
        path = Path(code.co_filename)
        house = path.relative_to(ROOT).parts[0] if path.is_relative_to(ROOT) else ""
        if house in HOUSES:
            rows.append({"file": path.relative_to(ROOT).as_posix(), "line": line, "function": code.co_qualname})
            continue
        package = _package(code.co_filename)
        if rows and rows[-1].get("package") == package:
            rows[-1]["frames"] += 1
        else:
            rows.append({"package": package, "frames": 1})
    if len(rows) > MOST_FRAMES:
        half = MOST_FRAMES // 2
        rows = [*rows[:half], {"left_out": len(rows) - 2 * half}, *rows[-half:]]
    return rows


def causes(error: BaseException) -> Iterator[BaseException]:
    """What it came from, and what a group holds, nearest first and each once."""
    seen, waiting = {id(error)}, [error]
    while waiting and len(seen) <= MOST_CAUSES:
        one = waiting.pop(0)
        inside = list(one.exceptions) if isinstance(one, BaseExceptionGroup) else []
        for other in (*inside, came_from(one)):
            if other is not None and id(other) not in seen and len(seen) <= MOST_CAUSES:
                seen.add(id(other))
                waiting.append(other)
                yield other


def came_from(error: BaseException) -> BaseException | None:
    """What it was raised from, or in the handling of."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def changed_settings(settings: BaseModel) -> dict[str, Any]:
    """Settings that differ from their defaults: numbers, switches and words of a choice; of all else that it is set."""
    told: dict[str, Any] = {}
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name not in settings.model_fields_set:  # a default may be written otherwise than it is kept, as ~ is
            continue
        if value == info.get_default(call_default_factory=True, validated_data={}):
            continue
        told[name] = value if isinstance(value, bool | int | float) or value in _choices(info.annotation) else SET
    return told


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The literal values that a type allows."""
    parts = get_args(annotation)
    here = tuple(part for part in parts if isinstance(part, str) and not isinstance(part, Enum))
    return here + tuple(one for part in parts if get_args(part) for one in _choices(part))


def _package(file: str) -> str:
    """Whose code it is, by the folder that it was installed in."""
    if (found := _PACKAGES.search(file)) is not None and found[1] in sys.modules:
        return found[1]
    return "python" if file.startswith((sys.base_prefix, "<frozen")) else "other"
