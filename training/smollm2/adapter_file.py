"""A peft adapter of a Llama as llama.cpp loads it: a GGUF file (docs of llama.cpp, ``convert_lora_to_gguf.py``)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_NAMES = {
    "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
    "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
}  # fmt: skip


def write(model: Any, path: Path) -> None:
    """Write the adapter of the peft ``model``, in 16 bits."""
    import gguf
    import numpy

    config, library = model.peft_config["default"], model.base_model.model.config
    heads = {"q_proj": library.num_attention_heads, "k_proj": library.num_key_value_heads}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(config.lora_alpha))
    for name, value in model.named_parameters():
        found = re.search(r"layers\.(\d+)\.\w+\.(\w+)\.lora_([AB])\.", name)
        if found is None:
            continue
        layer, kind, half = found.groups()
        array = value.detach().float().numpy()
        if half == "B" and kind in heads:
            array = permuted(array, heads[kind])
        writer.add_tensor(f"blk.{layer}.{_NAMES[kind]}.weight.lora_{half.lower()}", array.astype(numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def permuted(rows: Any, heads: int) -> Any:
    """``rows`` of a query or key in the order of llama.cpp's rotation: pairs side by side, not halves."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)
