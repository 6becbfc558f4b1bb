"""Client events that are wrong in every way a client, a fuzzer or an enemy finds. The same seed makes the same ones."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

GOOD: tuple[dict[str, Any], ...] = (
    {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "instructions": "Be kind.",
            "output_modalities": ["audio"],
            "max_output_tokens": 100,
            "tools": [],
            "tool_choice": "auto",
            "tracing": "auto",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": {"model": "whisper-1"},
                    "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 500},
                },
                "output": {"voice": "square", "speed": 1.0},
            },
            "vision": {"enabled": True, "detectors": ["faces"], "max_fps": 5, "overlay": {"boxes": True}},
        },
    },
    {"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}},
    {"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}},
    {
        "type": "conversation.item.create",
        "previous_item_id": "root",
        "item": {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "hello"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
            ],
        },
    },
    {
        "type": "conversation.item.create",
        "item": {"id": "x", "type": "message", "role": "system", "content": [{"type": "input_text", "text": "Sing."}]},
    },
    {"type": "conversation.item.retrieve", "item_id": "x"},
    {"type": "conversation.item.delete", "item_id": "x"},
    {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 100},
    {
        "type": "response.create",
        "response": {
            "instructions": "One word.",
            "output_modalities": ["text"],
            "max_output_tokens": "inf",
            "audio": {"output": {"voice": "other"}},
            "metadata": {"a": "b"},
        },
    },
    {"type": "response.create"},
    {"type": "response.cancel", "response_id": "resp_1"},
    {"type": "output_audio_buffer.clear"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "input_audio_buffer.append", "audio": "AAAA"},
)
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**64, -(10**300), 0.5, -0.0, 1e308, float("nan"), float("inf"), float("-inf"),
    "", " ", "null", "\ud83d", "\ude00\ud83d", "😀" * 100, "\0", "x" * 40_000, "é" * 40_000, "__proto__", "none",
    "data:image/jpeg;base64,/9j/" + "/" * 4_000, "data:image/png;base64,iVBORw0KGgo=", "{" * 50,
    [], [[]], [None], ["audio", "text"], [{}] * 300, list(range(500)), {}, {"": None}, {"id": 5}, {"type": None},
    {str(n): n for n in range(300)},
)  # fmt: skip
TEXTS: tuple[str | bytes, ...] = (
    "", " ", "null", "[]", "{}", "5", '"x"', "{", '{"type"', "NaN", "\ufeff{}", "\0", "[" * 6_000,
    "[" * 990 + "]" * 990, '{"type": ' * 3_000, '{"type": "response.create"}' * 2, b"", b"\xff\xfe\x00", b"\x80" * 100,
    b'{"type": "response.cancel"}', "x" * 260_000, '{"a":' + "1" * 5_000 + "}", '{"type": "\\ud800"}',
    '{"type": "session.update", "session": ' + "[" * 150 + "]" * 150 + "}",
)  # fmt: skip


def hostile_messages(seed: int, count: int, good: Sequence[dict[str, Any]] = GOOD) -> Iterator[str | bytes]:
    """``count`` messages; one in ten is one of the ``good`` as it is."""
    dice = random.Random(seed)
    for _ in range(count):
        kind = dice.random()
        if kind < 0.15:
            yield dice.choice(TEXTS)
        elif kind < 0.2:
            yield dice.randbytes(dice.randrange(200))
        else:
            event = copy.deepcopy(dice.choice(good))
            if kind > 0.3:
                for _ in range(dice.choice((1, 1, 2, 5))):
                    _damage(event, dice)
            if dice.random() < 0.3:
                event["event_id"] = dice.choice(("mine", *ODD))
            yield json.dumps(event)[:262_144]  # no more fits into a message


def _damage(event: dict[str, Any], dice: random.Random) -> None:
    """Replace, add, take away or repeat something somewhere."""
    places: list[tuple[Any, Any]] = []
    waiting: list[Any] = [event]
    while waiting and len(places) < 200:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            places.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    if not places:
        return
    holder, key = dice.choice(places)
    how = dice.random()
    if how < 0.6:
        holder[key] = copy.deepcopy(dice.choice(ODD))
    elif how < 0.75:
        del holder[key]
    elif how < 0.9 and isinstance(holder, dict):
        holder[dice.choice(("x", "type", "id", "text", "audio", "é", "y" * 300))] = copy.deepcopy(dice.choice(ODD))
    elif isinstance(holder, list):
        holder.extend(copy.deepcopy(holder[:50]))
