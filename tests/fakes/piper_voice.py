"""Piper-shaped voices made on the spot: the inputs and outputs of a real one, and a tone for each phoneme.

The ONNX file is written as protobuf by hand (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto): a few messages of
numbers and strings need no package.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

RATE = 16_000
HOP = 256
PAD_FRAMES, PHONEME_FRAMES = 2, 4
SILENT_IDS = 13
"""Ids up to here are marks and make no sound."""
LEVEL = 0.2
_INT, _FLOAT = 7, 1


def hertz(phoneme_id: int, speaker: int = 0) -> float:
    """The tone of a phoneme."""
    return 200.0 + 20.0 * phoneme_id + 1000.0 * speaker


def write_voice(
    folder: Path, name: str = "tone", *, alignments: bool = True, speakers: tuple[str, ...] = (), level: float = LEVEL
) -> tuple[Path, Path]:
    """Write ``NAME.onnx`` and ``NAME.onnx.json`` into ``folder``; returns both."""
    from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

    model, config = folder / f"{name}.onnx", folder / f"{name}.onnx.json"
    model.write_bytes(_model(alignments, bool(speakers), level))
    facts = {
        "audio": {"sample_rate": RATE, "quality": "test"},
        "espeak": {"voice": "en-us"},
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "num_symbols": 256,
        "num_speakers": max(1, len(speakers)),
        "speaker_id_map": {speaker: n for n, speaker in enumerate(speakers)},
        "hop_length": HOP,
    }
    config.write_text(json.dumps(facts), "utf-8")
    return model, config


def _model(alignments: bool, speakers: bool, level: float) -> bytes:
    """ids → frames per id → the id that each sample belongs to → the sine of its frequency."""
    constants = {
        "flat": [-1], "one": 1.0, "zero": 0, "axis0": [0], "axis1": [1], "step": 1, "scale_index": 1,
        "extra": float(PHONEME_FRAMES - PAD_FRAMES), "pad": float(PAD_FRAMES), "hop": float(HOP),
        "silent": float(SILENT_IDS), "base": 200.0, "per_id": 20.0, "per_speaker": 1000.0,
        "turn": 2 * np.pi / RATE, "level": level, "shape": [1, 1, -1],
    }  # fmt: skip
    nodes = [
        _node("Reshape", ["input", "flat"], "ids"),
        _node("Cast", ["ids"], "id", to=_FLOAT),
        _node("Gather", ["scales", "scale_index"], "length"),
        _node("Min", ["id", "one"], "is_phoneme"),
        _node("Mul", ["is_phoneme", "extra"], "more"),
        _node("Add", ["more", "pad"], "normal_frames"),
        _node("Mul", ["normal_frames", "length"], "stretched"),
        _node("Ceil", ["stretched"], "frames"),
        _node("Mul", ["frames", "hop"], "samples"),
        _node("CumSum", ["samples", "zero"], "ends"),
        _node("ReduceMax", ["ends"], "total", keepdims=0),
        _node("Cast", ["total"], "count", to=_INT),
        _node("Range", ["zero", "count", "step"], "t_int"),
        _node("Cast", ["t_int"], "t", to=_FLOAT),
        _node("Unsqueeze", ["ends", "axis1"], "ends_column"),
        _node("LessOrEqual", ["ends_column", "t"], "is_past"),
        _node("Cast", ["is_past"], "past", to=_INT),
        _node("ReduceSum", ["past", "axis0"], "index", keepdims=0),
        _node("Gather", ["id", "index"], "id_at"),
        _node("Mul", ["id_at", "per_id"], "above"),
        _node("Add", ["above", "base"], "plain_hertz"),
        *_speaker_nodes(speakers),
        _node("Mul", ["hertz", "t"], "cycles"),
        _node("Mul", ["cycles", "turn"], "angle"),
        _node("Sin", ["angle"], "sine"),
        _node("Greater", ["id_at", "silent"], "is_loud"),
        _node("Cast", ["is_loud"], "loud", to=_FLOAT),
        _node("Mul", ["sine", "loud"], "gated"),
        _node("Mul", ["gated", "level"], "wave"),
        _node("Reshape", ["wave", "shape"], "output"),
        _node("Reshape", ["frames", "shape"], "durations"),
    ]
    inputs = [_value("input", _INT, 2), _value("input_lengths", _INT, 1), _value("scales", _FLOAT, 1)]
    outputs = [_value("output", _FLOAT, 3), *([_value("durations", _FLOAT, 3)] if alignments else [])]
    graph = b"".join(
        [
            *(_bytes(1, node) for node in nodes),
            _bytes(2, b"tones"),
            *(_bytes(5, _tensor(name, value)) for name, value in constants.items()),
            *(_bytes(11, value) for value in inputs + ([_value("sid", _INT, 1)] if speakers else [])),
            *(_bytes(12, value) for value in outputs),
        ]
    )
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _number(2, 17))


def _speaker_nodes(speakers: bool) -> list[bytes]:
    if not speakers:
        return [_node("Identity", ["plain_hertz"], "hertz")]
    return [
        _node("Cast", ["sid"], "speaker", to=_FLOAT),
        _node("Mul", ["speaker", "per_speaker"], "higher"),
        _node("Add", ["plain_hertz", "higher"], "hertz"),
    ]


# ------------------------------------------------------------------------------------------------- protobuf


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _node(kind: str, inputs: list[str], output: str, **attributes: int) -> bytes:
    parts = [_bytes(1, name.encode()) for name in inputs]
    parts += [_bytes(2, output.encode()), _bytes(4, kind.encode())]
    for name, value in attributes.items():
        parts.append(_bytes(5, _bytes(1, name.encode()) + _number(3, value) + _number(20, 2)))
    return b"".join(parts)


def _tensor(name: str, value: int | float | list[int]) -> bytes:
    numbers = value if isinstance(value, list) else [value]
    kind = _FLOAT if isinstance(numbers[0], float) else _INT
    raw = struct.pack(f"<{len(numbers)}{'f' if kind == _FLOAT else 'q'}", *numbers)
    dims = _number(1, len(numbers)) if isinstance(value, list) else b""
    return dims + _number(2, kind) + _bytes(8, name.encode()) + _bytes(9, raw)


def _value(name: str, kind: int, rank: int) -> bytes:
    dims = b"".join(_bytes(1, _bytes(2, f"{name}_{n}".encode())) for n in range(rank))
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, dims)))
