"""What SmolLM2 itself answers to :mod:`training.smollm2.questions`, kept where it is sensible.

``python -m training.smollm2.replay FILE``: a line of JSON for each, question and answer. Greedy.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from random import Random
from typing import Any

from pipelines.models.store import ModelStore
from server.settings import load_settings
from training.smollm2.questions import questions

GGUF = "smollm2-135m-instruct-gguf"
PROMPT = "You are a helpful assistant. Answer in one short sentence."
_WORDS = range(3, 29)
"""Of a sensible answer."""
_BATCH = 62
_TOKENS = 32
_NO_ANSWER = r"[*#:;()\[\]]|language model|as an ai|i'm sorry|i cannot"


def load() -> tuple[Any, Any]:
    """The model of the GGUF file that the server serves, dequantised, and its tokenizer; fetched if need be."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    file = ModelStore(load_settings({}, serves=False).model_cache).ensure(GGUF).path
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    dense = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.bfloat16, quantization_config=dense
    )
    return model, tokenizer


def asked(question: str, rng: Random) -> str:
    """As a recogniser writes it: bare words, or a sentence with its sign."""
    return question if rng.random() < 0.3 else f"{question[0].upper()}{question[1:]}?"


def prompt(question: str) -> str:
    """What the model reads before it answers."""
    said = asked(question, Random(question))
    return f"<|im_start|>system\n{PROMPT}<|im_end|>\n<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"


def sensible(answer: str) -> str:
    """The first sentence of ``answer``; empty if it is no whole sentence of a speakable length."""
    first = re.match(r"[^\n]*?[.!?](?=\s|$)(?<!\d\.)", answer.strip())
    text = first[0] if first else ""
    words = text.lower().split()
    loops = len(words) - len(set(zip(words, words[1:], words[2:], strict=False))) > 4
    return "" if loops or len(words) not in _WORDS or re.search(_NO_ANSWER, text, re.IGNORECASE) else text


def main(file: Path) -> None:
    """Ask all and write the sensible ones."""
    import torch

    torch.set_num_threads(1)
    model, tokenizer = load()
    tokenizer.padding_side = "left"
    wanted = sorted(questions(), key=len)
    with file.open("w", encoding="utf-8") as lines, torch.inference_mode():
        for start in range(0, len(wanted), _BATCH):
            part = wanted[start : start + _BATCH]
            ids = tokenizer(
                [prompt(each) for each in part], return_tensors="pt", padding=True, add_special_tokens=False
            )
            made = model.generate(**ids, max_new_tokens=_TOKENS, do_sample=False, pad_token_id=tokenizer.pad_token_id)
            texts = tokenizer.batch_decode(made[:, ids["input_ids"].shape[1] :], skip_special_tokens=True)
            for question, text in zip(part, texts, strict=True):
                if answer := sensible(text):
                    lines.write(json.dumps([question, answer], ensure_ascii=False) + "\n")
            lines.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
