"""LoRA adapters small enough for tests, as PEFT writes them, with what they come to as plain numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def save_tiny_lora(
    folder: Path, base: Any, *, rank: int = 4, alpha: float = 8.0, targets: tuple[str, ...] = ("q_proj", "v_proj"),
    seed: int = 1, config: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """Write an adapter for ``base``, a model of transformers, with random weights on its layers ``targets``."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    random = torch.Generator().manual_seed(seed)
    weights = {}
    for path, module in base.named_modules():
        if path.rpartition(".")[2] in targets:
            wide, high = module.weight.shape
            for side, shape in (("A", (rank, high)), ("B", (wide, rank))):
                key = f"base_model.model.{path}.lora_{side}.weight"
                weights[key] = torch.randn(shape, generator=random) * 0.3
    save_file(weights, folder / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": list(targets)}
    told |= {"task_type": "CAUSAL_LM", "base_model_name_or_path": "tiny", "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps({**told, **(config or {})}), "utf-8")
    return folder


def added(model: Any, folder: Path, share: float = 1.0) -> Any:
    """``model`` with the adapter added to its weights by hand."""
    import torch
    from safetensors.torch import load_file

    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    weights = load_file(folder / "adapter_model.safetensors")
    with torch.no_grad():
        for path, module in model.named_modules():
            down = weights.get(f"base_model.model.{path}.lora_A.weight")
            if down is not None:
                up = weights[f"base_model.model.{path}.lora_B.weight"]
                module.weight += share * config["lora_alpha"] / config["r"] * up @ down
    return model


def save_gguf_lora(path: Path, *, width: int = 576, layers: int = 30, rank: int = 2, seed: int = 1) -> Path:
    """Write an adapter in GGUF for a Llama of ``width`` (SmolLM2-135M) with random weights on what layers put out."""
    import gguf
    import numpy as np

    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0 * rank)
    for layer in range(layers):
        for side, shape in (("a", (rank, width)), ("b", (width, rank))):
            weights = (random.standard_normal(shape) * 0.2).astype(np.float16)
            writer.add_tensor(f"blk.{layer}.attn_output.weight.lora_{side}", weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
