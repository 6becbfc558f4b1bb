"""``Accept`` and what a pipeline gives → the shape of the answer (RFC 9110, 12.5.1). Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from media.files import CONTENT_TYPES
from pipelines.routing.stage_types import Medium
from server.http.errors import HttpError

EVENTS, JSON = "text/event-stream", "application/json"
PCM, WAV, TEXT, PNG, JPEG, LINES = (
    "audio/pcm",
    "audio/wav",
    "text/plain",
    "image/png",
    "image/jpeg",
    "application/x-ndjson",
)
_OF_MEDIUM: dict[Medium, tuple[str, ...]] = {
    "audio": (WAV, *(kind for kind in CONTENT_TYPES.values() if kind != WAV)),
    "text": (TEXT,),
    "image": (PNG, JPEG),
    "video": ("video/mp4", "video/webm"),
    "data": (LINES,),
}
"""What carries a medium, the usual one first."""
_ALIASES = {
    "audio/x-wav": WAV,
    "audio/wave": WAV,
    "audio/vnd.wave": WAV,
    "audio/l16": PCM,
    "audio/mp3": "audio/mpeg",
    "audio/opus": "audio/ogg",
    "audio/x-flac": "audio/flac",
    "application/ndjson": LINES,
    "application/jsonl": LINES,
}
ANSWERS = (*dict.fromkeys(kind for kinds in _OF_MEDIUM.values() for kind in kinds), EVENTS, JSON)
"""All content types that an answer can have."""
_LONGEST = 2_000
"""Characters of the header that are read."""
_PART = re.compile(r"\s*([\w!#$&.+^*-]+/[\w!#$&.+^*-]+)\s*(?:;([^,]*))?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shape:
    """The answer."""

    content_type: str
    medium: Medium | None
    """Whose bytes it is; ``None`` for events and JSON, which carry everything."""


def shape_of(accept: str, gives: Collection[Medium], sent: str = "", also: Collection[Medium] = ()) -> Shape:
    """What to answer; ``sent`` is the content type of the request, which is liked best where all are equal, ``also``
    are media that the pipeline gives if they are asked for.

    Raises :class:`HttpError` (406), naming what the pipeline gives.
    """
    offered = _offered(gives, sent) + [kind for medium in also for kind in _OF_MEDIUM[medium]]
    best: tuple[float, int, int] | None = None
    chosen = ""
    wanted = _ranges(accept)
    for place, kind in enumerate(offered):
        quality, exact = _quality(kind, wanted)
        rank = (quality, exact, -place)
        if quality > 0 and (best is None or rank > best):
            best, chosen = rank, kind
    if not chosen:
        media = ", ".join(sorted(gives))
        message = f"Accept: this pipeline gives {media}; it can be answered as {', '.join(offered)}"
        raise HttpError(406, "not_acceptable", message, "Accept")
    return Shape(chosen, next((medium for medium, kinds in _OF_MEDIUM.items() if chosen in kinds), None))


def _offered(gives: Collection[Medium], sent: str) -> list[str]:
    """What the pipeline can be answered as, the best first: with several media everything, which is JSON."""
    kinds = [kind for medium, all_of_it in _OF_MEDIUM.items() if medium in gives for kind in all_of_it]
    if len(gives) != 1 or sent.lower() == JSON:
        return [JSON, *kinds, EVENTS]
    liked = _ALIASES.get(sent.lower(), sent.lower())
    return [*(kind for kind in kinds if kind == liked), *(kind for kind in kinds if kind != liked), JSON, EVENTS]


def _ranges(accept: str) -> Sequence[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for part in accept[:_LONGEST].split(","):
        if (match := _PART.fullmatch(part)) is not None:
            kind = match[1].lower()
            found.append((_ALIASES.get(kind, kind), _weight(match[2] or "")))
    return found or [("*/*", 1.0)]


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 1.0
            return min(1.0, max(0.0, weight)) if math.isfinite(weight) else 1.0
    return 1.0


def _quality(kind: str, wanted: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """How much a type is wanted, and how precisely it was named: the most precise range counts."""
    best = (-1, 0.0)
    for pattern, weight in wanted:
        exact = (
            2 if pattern == kind else 1 if pattern == f"{kind.partition('/')[0]}/*" else 0 if pattern == "*/*" else -1
        )
        if exact > best[0]:
            best = (exact, weight)
    return (best[1], best[0]) if best[0] >= 0 else (0.0, 0)
