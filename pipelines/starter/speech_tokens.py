"""The tokenizer of the starter Whisper: byte-level pairs over its own vocabulary, and Whisper's special tokens."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from pipelines.starter.speech_text import bare, common, sentence, special
from pipelines.starter.words import pool

TEXT_TOKENS = 3500
"""At most; the byte alphabet is in them."""
TIMESTAMPS = 1501
"""``<|0.00|>`` to ``<|30.00|>``."""
SECONDS_PER_TIMESTAMP = 0.02
SPECIAL = tuple(
    f"<|{name}|>"
    for name in (
        "endoftext startoftranscript en translate transcribe startoflm startofprev nospeech notimestamps"
    ).split()
)
_SENTENCES = 12_000
_WHOLE = 400
"""Names and the like count as often as this, so that each becomes one token."""


def save_tokenizer(folder: Path) -> None:
    """Write the files of the tokenizer into ``folder``; always the same."""
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([tokenizer.pre_tokenizer, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TEXT_TOKENS,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    counts = word_counts()
    lines = (" " + " ".join([word] * count) for word, count in sorted(counts.items()))
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    end = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), SPECIAL[0])
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"} | end))
    features = {"feature_size": 80, "sampling_rate": 16000, "hop_length": 160, "chunk_length": 30, "n_fft": 400}
    kind = {"feature_extractor_type": "WhisperFeatureExtractor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(features | kind))


def word_counts() -> Counter[str]:
    """How often each word is said, about."""
    rng = Random(0)
    counts = Counter(word for _ in range(_SENTENCES) for word in bare(sentence(rng)).split())
    counts.update(dict.fromkeys(special(), _WHOLE))
    counts.update({word: max(1, round(3000 / (n + 30))) for n, word in enumerate(common())})
    counts.update(dict.fromkeys("abcdefghijklmnopqrstuvwxyz", 3 * _WHOLE))
    counts.update(dict.fromkeys(rng.sample(pool(), 8000), 1))
    return counts


class Tokens:
    """The saved tokenizer: bare words to tokens, and the numbers of the special ones."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer = tokenizer
        ids = {name: int(tokenizer.token_to_id(name)) for name in SPECIAL}
        self.end, self.start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
        self.no_speech, self.no_timestamps = ids["<|nospeech|>"], ids["<|notimestamps|>"]
        self.size = self.no_timestamps + 1 + TIMESTAMPS
        self._known: dict[str, list[int]] = {}

    def word(self, word: str) -> list[int]:
        """The tokens of a word with the space before it."""
        if word not in self._known:
            self._known[word] = list(self._tokenizer.encode(f" {word}").ids)
        return self._known[word]

    def timestamp(self, seconds: float) -> int:
        """The token of a time."""
        return self.no_timestamps + 1 + min(TIMESTAMPS - 1, max(0, round(seconds / SECONDS_PER_TIMESTAMP)))
