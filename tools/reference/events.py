"""Every event of the three dialects.

What clients send is read off the models that it is validated with; what the server sends is
:mod:`tools.reference.event_words`, which :func:`sent` holds to the source text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel

from server.dialects.live import client_events as live_client_events
from server.dialects.live import models as live_models
from server.dialects.openai.fields import SessionPatch
from server.dialects.openai.models import SERVED, ClientEvent, ResponseOptions
from server.dialects.rtvi import models as rtvi_models
from tools.reference.event_words import FIELDS, LIVE, LIVE_CLIENT, REALTIME, RTVI, RTVI_CLIENT
from tools.reference.fields import flattened

ROOT = Path(__file__).parents[2]
Rows = list[tuple[str, ...]]
_EVENT = re.compile(r"[a-z_]+(\.[a-z_]+)+")


def client_events() -> Rows:
    """One row for each event that a client of OpenAI Realtime may send."""
    kinds: tuple[type[BaseModel], ...] = ClientEvent.__args__
    rows = []
    for name, kind in zip(SERVED, kinds, strict=True):
        words = (kind.__doc__ or "").partition(": ")[2].rstrip(".")
        fields = [one for one in kind.model_fields if one not in ("type", "event_id")]
        rows.append((f"`{name}`", ", ".join(f"`{one}`" for one in fields), _tidy(words)))
    return [("event", "fields", "what"), *rows]


def session_fields() -> Rows:
    """One row for each field of a session, and of a single response."""
    rows = [*_flat(SessionPatch, "session"), *_flat(ResponseOptions, "response")]
    return [("field", "legal", "what"), *rows]


def _flat(kind: type[BaseModel], path: str) -> Iterator[tuple[str, ...]]:
    found: dict[str, tuple[str, str]] = {}
    for place, values, words in flattened(kind, path):
        known = found.get(place, ("", ""))
        parts = dict.fromkeys(filter(None, [known[0], values]))
        found[place] = (", ".join(parts), known[1] or words)
    for place, (values, words) in found.items():
        legal, told = next((row for end, row in FIELDS.items() if f".{place}".endswith(f".{end}")), ("", ""))
        yield f"`{place}`", (legal or values).replace("|", "\\|"), _tidy(words or told)


def server_events() -> Rows:
    """One row for each event that a client of OpenAI Realtime is told."""
    return [("event", "when"), *_worded(REALTIME)]


def rtvi_client() -> Rows:
    """One row for each message that an RTVI client may send."""
    rows = []
    for name, (kind, words) in RTVI_CLIENT.items():
        fields = getattr(rtvi_models, kind).model_fields if kind else ()
        rows.append((f"`{name}`", ", ".join(f"`{one}`" for one in fields), words))
    return [("message", "fields of `data`", "what"), *rows]


def rtvi_server() -> Rows:
    """One row for each message that an RTVI client is sent."""
    return [("message", "when"), *_worded(RTVI)]


def live_client() -> Rows:
    """One row for each event that a client of Live may send, and for those that are refused."""
    rows = [(f"`{name}`", words) for name, words in LIVE_CLIENT.items()]
    refused = [(f"`{name}`", f"refused: {words}") for name, words in live_models.UNSERVED.items()]
    return [("event", "what"), *rows, *refused]


def live_server() -> Rows:
    """One row for each event that a client of Live is told."""
    return [("event", "when"), *_worded(LIVE)]


def _worded(words: dict[str, str]) -> Rows:
    return [(f"`{name}`", told) for name, told in words.items()]


def _tidy(text: str) -> str:
    return re.sub(r"``", "`", text).replace("|", "\\|")


# ---------------------------------------------------------------------------------------------------- the source text


def sent(folder: str, known: Iterable[str], *, whole: bool = False) -> set[str]:
    """Which of the ``known`` types of events the source text in a folder names, in full or (unless ``whole``) as a
    pattern that another text of the same file fills in (``f"conversation.item.{kind}"`` and ``"done"``)."""
    found: set[str] = set()
    for file in sorted((ROOT / folder).rglob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        patterns = {_pattern(node) for node in nodes if isinstance(node, ast.JoinedStr) and not whole}
        found |= {one for one in known if one in texts or any(_fills(pattern, one, texts) for pattern in patterns)}
    return found


def _pattern(node: ast.JoinedStr) -> str:
    """A regular expression for what an f-string may become."""
    return "".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else r"([a-z_.]+)" for p in node.values)


def _fills(pattern: str, event: str, texts: set[str]) -> bool:
    match = re.fullmatch(pattern, event)
    return match is not None and texts.issuperset(match.groups())


def handled_by_live() -> set[str]:
    """The types that a client of Live is served, as its dispatch table has them in the source text."""
    text = Path(str(live_client_events.__file__)).read_text("utf-8")
    tables = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Dict)]
    keys = [key.value for table in tables for key in table.keys if isinstance(key, ast.Constant)]
    return {key for key in keys if _EVENT.fullmatch(str(key))}


def handled_by_rtvi() -> set[str]:
    """The kinds of messages that an RTVI client is served, likewise, with those that are let go or refused."""
    text = (ROOT / "server/dialects/rtvi/client_messages.py").read_text("utf-8")
    tables = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Dict)]
    keys = [str(key.value) for table in tables for key in table.keys if isinstance(key, ast.Constant)]
    let_go = re.search(r"_IGNORED = \(([^)]*)\)", text)
    assert let_go is not None
    return {key for key in keys if "-" in key or key == "dtmf"} | set(re.findall(r'"([\w-]+)"', let_go[1]))
