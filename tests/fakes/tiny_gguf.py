"""The tiny Llama of :mod:`tests.fakes.tiny_llama` as a GGUF file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes.tiny_llama import TEMPLATE, save_tiny_llama

_TENSORS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
"""Names of transformers → those of GGUF (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""
_NORMAL, _CONTROL = 1, 3


def save_tiny_gguf(folder: Path) -> Path:
    """Write the folder of transformers to ``folder/hf`` and the file to ``folder/tiny.gguf``; return the file."""
    from gguf import GGUFWriter
    from safetensors.numpy import load_file

    source = save_tiny_llama(folder / "hf", width=64, context=512)
    config = json.loads((source / "config.json").read_text())
    path = folder / "tiny.gguf"
    writer = GGUFWriter(path, "llama")
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(shared)
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(1)
    _add_tokens(writer, json.loads((source / "tokenizer.json").read_text()), config["vocab_size"])
    weights = load_file(source / "model.safetensors")
    weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    for name, data in weights.items():
        plain = np.asarray(data, np.float32)
        if "q_proj" in name or "k_proj" in name:
            plain = _interleaved(plain, heads if "q_proj" in name else shared)
        writer.add_tensor(_name(name), plain if plain.ndim == 1 else plain.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokens(writer: Any, tokenizer: Any, size: int) -> None:
    vocabulary = tokenizer["model"]["vocab"] | {one["content"]: one["id"] for one in tokenizer["added_tokens"]}
    special = {one["content"] for one in tokenizer["added_tokens"]}
    tokens = sorted(vocabulary, key=lambda token: int(vocabulary[token]))
    tokens += [f"<unused{n}>" for n in range(len(tokens), size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([_CONTROL if token in special else _NORMAL for token in tokens])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_chat_template(TEMPLATE)


def _interleaved(weight: Any, heads: int) -> Any:
    """Rows as llama.cpp rotates them: pairs side by side."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in _TOP:
        return f"{_TOP[stem]}.weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{_TENSORS[part]}.weight"
