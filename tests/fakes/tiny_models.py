"""Tiny models of transformers with weights drawn by seed, saved as folders like those of the hub.

They know nothing; what is tested on them is that real files load, run and give output of the right shape.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORDS = (
    "the a cat dog sat on mat good bad is not this example about sports politics hello world red green blue "
    "def return add sum x y : ( ) + , . ? translate English to German summarize question context"
).split()
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
FIM = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>"]


def bert_tokenizer(folder: Path, most: int = 64) -> int:
    """A tokenizer of whole words with the marks of BERT; returns how many tokens there are."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: n for n, word in enumerate([*MARKS, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=most,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(folder)
    return len(vocabulary)


def byte_tokenizer(folder: Path, extra: Sequence[str] = (), most: int = 128, template: str | None = None) -> int:
    """A tokenizer of bytes, as those of language models, with ``extra`` marks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: n for n, word in enumerate(["<eos>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=most, eos_token="<eos>", pad_token="<eos>"
    )
    if extra:
        made.add_special_tokens({"extra_special_tokens": list(extra)})
    made.chat_template = template
    made.save_pretrained(folder)
    return len(made)


TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
"""How the model that converses writes a conversation."""


def _bert(size: int, **more: Any) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        **more,
    )


def _saved(kind: str, config: Any, folder: Path, seed: int = 0) -> Path:
    import torch
    import transformers

    torch.manual_seed(seed)
    model = getattr(transformers, kind)(config).eval()
    model.save_pretrained(folder)
    return folder


def classifier(folder: Path, labels: Sequence[str], **more: Any) -> Path:
    """A BERT with these labels."""
    size = bert_tokenizer(folder)
    named = dict(enumerate(labels))
    config = _bert(size, id2label=named, label2id={label: n for n, label in named.items()}, **more)
    return _saved("BertForSequenceClassification", config, folder)


def sentences(folder: Path, prompts: dict[str, str] | None = None, mode: str = "mean") -> Path:
    """A BERT as sentence-transformers keeps it."""
    config = _bert(bert_tokenizer(folder))
    config.matryoshka_dimensions = [8, 16]
    _saved("BertModel", config, folder)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    key = {"cls": "cls_token", "lasttoken": "lasttoken"}.get(mode, f"{mode}_tokens")
    pooling = {"word_embedding_dimension": 16, f"pooling_mode_{key}": True}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    if prompts is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    return folder


def language_model(folder: Path, extra: Sequence[str] = (), template: str | None = None) -> Path:
    """A Llama that speaks in bytes."""
    from transformers import LlamaConfig

    size = byte_tokenizer(folder, extra, template=template)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    return _saved("LlamaForCausalLM", config, folder)


def t5(folder: Path) -> Path:
    """A T5 that speaks in bytes."""
    from transformers import T5Config

    size = byte_tokenizer(folder)
    config = T5Config(
        vocab_size=size,
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        eos_token_id=0,
    )
    config.pad_token_id = 0
    return _saved("T5ForConditionalGeneration", config, folder)


def marian(folder: Path) -> Path:
    """A Marian of one pair; its tokenizer is a fast one, for the usual one needs sentencepiece."""
    from transformers import MarianConfig

    size = byte_tokenizer(folder)
    config = MarianConfig(
        vocab_size=size,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=0,
        forced_eos_token_id=0,
    )
    return _saved("MarianMTModel", config, folder)


def all_of(root: Path) -> Path:
    """One model of each kind, each in its folder under ``root``."""
    classifier(root / "mood", ["bad", "fine", "good"])
    classifier(root / "entailing", ["contradiction", "neutral", "entailment"])
    classifier(root / "ranker", ["LABEL_0"])
    sentences(root / "owner/vectors", {"query": "question : ", "document": "context : "})
    language_model(root / "writer")
    language_model(root / "coder", FIM)
    language_model(root / "talker", template=TEMPLATE)
    t5(root / "t5")
    marian(root / "en-de")
    return root
