# ruff: noqa: T201 - a program that tells how far it is
"""Fine-tune SmolLM2-135M-Instruct on the starter's conversations: LoRA of its upper layers, on a CPU.

``python -m training.smollm2.lora ANSWERS.jsonl OUT.gguf [--minutes N] [--layers N] …`` (needs ``peft`` and ``gguf``)

The weights are those of the GGUF file that the server serves, as they are after quantisation; the lower layers are
computed without gradients. The system message is read once for several conversations: each sees it and itself. The same
seed gives the same conversations in the same order; how far it comes depends on the time, and sums on the processor.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.smollm2 import talks
from training.smollm2.adapter_file import write
from training.smollm2.replay import load

LAYERS = 30


def adapted(model: Any, layers: int, rank: int) -> Any:
    """``model`` with an adapter on each matrix of its last ``layers`` layers."""
    from peft import LoraConfig, get_peft_model

    model.set_attn_implementation("eager")  # backward through flash attention takes twice as long on a CPU
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        layers_to_transform=list(range(LAYERS - layers, LAYERS)),
    )
    made = get_peft_model(model, config)
    module: Any
    for module in made.modules():
        module.cast_input_dtype_enabled = False  # autocast does it, and to fewer bits
    return made


def batch(rows: list[list[talks.Encoded]], first: list[int], pad: int) -> tuple[Any, Any, Any, Any]:
    """Token ids, which are learned and positions, ``(rows, tokens)`` each, and the mask of attention."""
    import torch

    width = len(first) + max(sum(len(ids) for ids, _ in row) for row in rows)
    ids = torch.full((len(rows), width), pad)
    learned = torch.zeros(ids.shape, dtype=torch.bool)
    positions = torch.zeros(ids.shape, dtype=torch.long)
    owner = torch.full(ids.shape, -1)
    for row, packed in enumerate(rows):
        at = len(first)
        ids[row, :at], positions[row, :at], owner[row, :at] = torch.tensor(first), torch.arange(at), 0
        for n, (tokens, marks) in enumerate(packed, 1):
            to = at + len(tokens)
            ids[row, at:to], learned[row, at:to] = torch.tensor(tokens), torch.tensor(marks)
            positions[row, at:to], owner[row, at:to] = torch.arange(len(tokens)) + len(first), n
            at = to
    sees = (owner[:, :, None] == owner[:, None, :]) | (owner[:, None, :] == 0)
    sees &= torch.ones(width, width, dtype=torch.bool).tril()
    mask = torch.zeros(sees.shape, dtype=torch.bfloat16).masked_fill(~sees, torch.finfo(torch.bfloat16).min)
    return ids, learned, positions, mask[:, None]


def loss_of(model: Any, ids: Any, learned: Any, positions: Any, mask: Any) -> Any:
    """Mean over the learned tokens, in nats."""
    import torch
    from torch.nn.functional import cross_entropy

    inner = model.base_model.model
    with torch.autocast("cpu", torch.bfloat16):
        seen = inner.model(ids, attention_mask=mask, position_ids=positions, use_cache=False).last_hidden_state
        logits = inner.lm_head(seen[:, :-1][learned[:, 1:]])
    return cross_entropy(logits.float(), ids[:, 1:][learned[:, 1:]])


def train(args: argparse.Namespace, rows: Iterator[list[talks.Encoded]], model: Any, tokenizer: Any) -> None:
    """Learn until ``args.steps`` are done or ``args.minutes`` over; the rate falls by whichever is nearer."""
    import torch

    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.0)
    first = talks.beginning(tokenizer)
    print(f"{sum(p.numel() for p in weights):,} weights", flush=True)
    began, losses, read, used = time.monotonic(), list[float](), 0, time.process_time()
    for step in range(args.steps):
        gone = max(step / args.steps, (time.monotonic() - began) / (60 * args.minutes))
        if gone >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min((step + 1) / args.warmup, 0.02 + 0.49 * (1 + math.cos(math.pi * gone)))
        made = batch([next(rows) for _ in range(args.rows)], first, tokenizer.pad_token_id)
        loss = loss_of(model, *made)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        read += made[0].numel()
        if (step + 1) % args.tell == 0:
            cpu = time.process_time() - used
            said = f"step {step + 1}, {time.monotonic() - began:.0f} s ({100 * gone:.0f} %)"
            mean = sum(losses) / len(losses)
            print(f"{said}, loss {mean:.3f}, {read / cpu:.0f} tokens per second of CPU", flush=True)
            losses, read, used = [], 0, time.process_time()
        if (step + 1) % args.save == 0:
            write(model, args.out.with_suffix(f".{step + 1}.gguf"))
    write(model, args.out)


def main() -> None:
    """Train and write the adapter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("answers", type=Path, help="what training.smollm2.replay wrote")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--minutes", type=float, default=120.0, help="end by then, whatever the steps")
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--layers", type=int, default=15)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--rows", type=int, default=8, help="of a step")
    parser.add_argument("--room", type=int, default=144, help="tokens of a row without the system message")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tell", type=int, default=5)
    parser.add_argument("--save", type=int, default=50)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    known = [(str(q), str(a)) for q, a in map(json.loads, args.answers.read_text("utf-8").splitlines())]
    model, tokenizer = load()
    train(args, talks.rows(args.seed, known, tokenizer, args.room), adapted(model, args.layers, args.rank), tokenizer)


if __name__ == "__main__":
    main()
