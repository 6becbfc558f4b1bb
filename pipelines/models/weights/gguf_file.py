"""GGUF files written anew with other numbers (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).

Imports gguf: import this inside functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

from pipelines.errors import ModelError

_WRITER_OWN = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture")
"""Fields that the writer writes itself."""
_FILE_TYPES = {"f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "bf16": 32}
"""llama.cpp's ``llama_ftype``."""


def requantize(source: Path, target: Path, numbers: str) -> None:
    """Write the tensors of ``source`` as ``numbers``, those of one dimension as they are.

    Raises :class:`ModelError` (``conversion_failed``).
    """
    kind = gguf.GGMLQuantizationType[numbers.upper()]
    reader = gguf.GGUFReader(source)
    named = reader.fields.get("general.architecture")
    if named is None:
        raise ModelError("conversion_failed", f"{source.name} names no architecture")
    writer = gguf.GGUFWriter(target, str(named.contents()))
    try:
        _copy_fields(reader, writer, numbers)
        for tensor in reader.tensors:
            data = tensor.data
            if len(tensor.shape) < 2:
                writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
                continue
            plain = gguf.quants.dequantize(data, tensor.tensor_type).astype(np.float32)
            wanted = kind if _divides(kind, plain) else gguf.GGMLQuantizationType.F16
            writer.add_tensor(tensor.name, gguf.quants.quantize(plain, wanted), raw_dtype=wanted)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _copy_fields(reader: Any, writer: Any, numbers: str) -> None:
    for name, one in reader.fields.items():
        if name in _WRITER_OWN or name == "general.file_type":
            continue
        kind = one.types[0]
        inner = one.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, one.contents(), kind, sub_type=inner)
    writer.add_uint32("general.file_type", _FILE_TYPES[numbers])


def _divides(kind: Any, plain: Any) -> bool:
    """Whether rows are made of whole blocks."""
    return bool(plain.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] == 0)
