"""A Whisper made on the spot: real structure and file layout, random weights, hence gibberish.

Built like a published one: transformers' model and tokenizer are saved, then converted by CTranslate2 to int8, so that
``faster_whisper.WhisperModel(folder)`` loads it unchanged. The vocabulary has the real size and order: text,
``<|endoftext|>``, the other special tokens, 1,501 timestamps.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

TIMESTAMPS = 1501
ENGLISH_TEXT_TOKENS = 50256
"""Multilingual models have one more, the empty string, by which CTranslate2 knows them."""

RANDOM = "random-weights"
"""A file of this name marks a folder whose model knows no words."""


@dataclass(frozen=True, slots=True)
class Size:
    """Dimensions of a Whisper."""

    width: int
    layers: int
    heads: int
    hidden: int
    mels: int = 80


TINIEST = Size(width=32, layers=2, heads=2, hidden=64)
BASE = Size(width=512, layers=6, heads=8, hidden=2048)
"""OpenAI's ``base``."""


def build(folder: Path, size: Size = TINIEST, *, multilingual: bool = True, seed: int = 7) -> Path:
    """Write a Whisper with random weights into ``folder`` (created) and return it. The same seed, the same weights."""
    from ctranslate2.converters import TransformersConverter

    with TemporaryDirectory() as original:
        source = save_original(Path(original), size, multilingual=multilingual, seed=seed)
        converter = TransformersConverter(str(source), copy_files=["tokenizer.json", "preprocessor_config.json"])
        converter.convert(str(folder), quantization="int8", force=True)
    (folder / RANDOM).touch()
    return folder


def save_original(folder: Path, size: Size = TINIEST, *, multilingual: bool = True, seed: int = 7) -> Path:
    """The same as transformers' own folder."""
    ids = _save_tokenizer(folder, multilingual)
    _save_model(folder, size, ids, multilingual, seed)
    features = {"feature_size": size.mels, "sampling_rate": 16000, "hop_length": 160, "chunk_length": 30}
    kind = {"feature_extractor_type": "WhisperFeatureExtractor", "n_fft": 400}
    (folder / "preprocessor_config.json").write_text(json.dumps(features | kind))
    return folder


def _save_model(folder: Path, size: Size, ids: dict[str, int], multilingual: bool, seed: int) -> None:
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    end = ids["<|endoftext|>"]
    config = WhisperConfig(
        vocab_size=ids["<|notimestamps|>"] + 1 + TIMESTAMPS,
        num_mel_bins=size.mels,
        d_model=size.width,
        encoder_layers=size.layers,
        decoder_layers=size.layers,
        encoder_attention_heads=size.heads,
        decoder_attention_heads=size.heads,
        encoder_ffn_dim=size.hidden,
        decoder_ffn_dim=size.hidden,
        init_std=0.2,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config)
    languages = _languages()
    known: dict[str, Any] = {"lang_to_id": {f"<|{code}|>": ids[f"<|{code}|>"] for code in languages}}
    known["task_to_id"] = {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")}
    model.generation_config = GenerationConfig(
        **(known if multilingual else {}),
        is_multilingual=multilingual,
        no_timestamps_token_id=ids["<|notimestamps|>"],
        alignment_heads=list(itertools.product(range(size.layers // 2, size.layers), range(size.heads))),
        suppress_tokens=[],
        begin_suppress_tokens=[end],
        decoder_start_token_id=ids["<|startoftranscript|>"],
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    model.generation_config._from_model_config = False  # or from_pretrained silently discards it
    model.save_pretrained(folder)


def _save_tokenizer(folder: Path, multilingual: bool) -> dict[str, int]:
    """A byte-level tokenizer; returns the identifiers of its special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    text = [*letters, *_words(ENGLISH_TEXT_TOKENS - len(letters)), *([""] if multilingual else [])]
    tokenizer = Tokenizer(BPE({token: n for n, token in enumerate(text)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in _languages())]
    special += [f"<|{name}|>" for name in "translate transcribe startoflm startofprev nospeech notimestamps".split()]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    end = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), "<|endoftext|>")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"} | end))
    return {token: tokenizer.token_to_id(token) for token in special}


def _languages() -> list[str]:
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    return list(LANGUAGES)[:99]  # the hundredth came with large-v3


def _words(count: int) -> list[str]:
    """Made-up words, most with the space before them that a byte-level tokenizer writes as "Ġ"."""
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    combined = ("".join(parts) for n in (2, 3) for parts in itertools.product(syllables, repeat=n))
    return [word if n % 8 == 0 else f"Ġ{word}" for n, word in enumerate(itertools.islice(combined, count))]
