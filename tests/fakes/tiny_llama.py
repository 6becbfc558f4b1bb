"""A language model small enough for tests: a Llama with random weights, a tokenizer of bytes and words, a template.

What it says is nonsense, and always the same nonsense.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.engines.llm.template import import_transformers

TEMPLATE = """\
{%- if tools %}<|im_start|>system
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] %}
<tool_call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""As Qwen and SmolLM write a conversation."""
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEXT = (
    "you are a friendly assistant who answers in one short sentence",
    "what is the weather in Paris today and what should I wear",
    "the weather is fine, take a light coat with you",
)


def tiny_tokenizer(vocabulary: int = 400, template: str | None = TEMPLATE) -> Any:
    """A byte-level BPE tokenizer trained on three sentences."""
    import_transformers()
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=SPECIAL[0], bos_token=SPECIAL[0])
    fast.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    fast.chat_template = template
    return fast


def save_tiny_llama(
    folder: Path, *, layers: int = 2, width: int = 64, seed: int = 7, context: int = 512, vocabulary: int = 400
) -> Path:
    """Write a model with its tokenizer to ``folder``; a second's work. Weights are wide enough to be decided."""
    import_transformers()
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer(vocabulary)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=width * 8 // 3 // 8 * 8,
            num_hidden_layers=layers,
            num_attention_heads=max(2, width // 64),
            num_key_value_heads=max(1, width // 192),
            max_position_embeddings=context,
            initializer_range=0.2,
            bos_token_id=0,
            eos_token_id=0,
            tie_word_embeddings=True,
        )
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class CountedModel:
    """Counts what a transformers model reads: the tokens of each call of it."""

    def __init__(self, model: Any) -> None:
        self.calls: list[int] = []
        """Tokens read by each call; a batch counts all its rows."""
        self.broken = 0
        """So many of the next calls fail."""
        inner = model.base_model  # all calls pass through it, whether or not the next token is asked for
        forward = inner.forward

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(int(kwargs["input_ids"].numel()))
            if self.broken:
                self.broken -= 1
                raise RuntimeError("a part is missing")
            return forward(*args, **kwargs)

        inner.forward = counted

    def take(self) -> Sequence[int]:
        """The calls since the last time."""
        calls, self.calls = self.calls, []
        return calls
