"""Models that read text and write none: sentences as vectors, and texts or pairs of these as scores of labels.

One ``load`` for all tasks on them, so that a model is in memory once whatever it is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.embedding.sentences import MOST_TOKENS, SentenceModel, load_sentence_model
from pipelines.errors import ModelError
from pipelines.interfaces.task import ModelFolder, TaskError
from pipelines.tasks.loading import json_file, load_pretrained, load_tokenizer

Floats = NDArray[np.float32]
ROWS = 32
"""Texts that are computed together, at most."""
_HUGE = 1 << 30
"""Tokenizers that know no bound tell a larger number."""


class Sentences(Protocol):
    """A model that turns texts into vectors. One thread at a time."""

    most_tokens: int
    vocabulary: int
    prompts: dict[str, str]
    """Name → what is put before a text, such as ``query`` → ``query: ``."""
    dimensions: Sequence[int] | None
    """Lengths to which its vectors may be cut; ``None``: any."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text."""
        ...

    def pooled(self, batch: Sequence[Sequence[int]]) -> Floats:
        """The vectors of texts given as tokens, shape ``(n, size)``, of any length."""
        ...


class OnnxSentences:
    """:class:`Sentences` on onnxruntime."""

    def __init__(self, model: SentenceModel) -> None:
        self.most_tokens = MOST_TOKENS
        self.vocabulary = model.vocabulary
        self.prompts: dict[str, str] = {}
        self.dimensions: Sequence[int] | None = ()
        self._model = model

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return self._model.encode(texts)

    def pooled(self, batch: Sequence[Sequence[int]]) -> Floats:
        return self._model.pooled(batch)


class Scored:
    """A tokenizer and a model of transformers, and how many tokens it reads."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.lock = threading.Lock()
        """Of the tokenizer, which may be used by one thread at a time."""
        places = getattr(model.config, "max_position_embeddings", None)
        offset = 2 if model.config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
        bounds = [tokenizer.model_max_length, (places - offset) if places else _HUGE]
        self.most_tokens = min(int(bound) for bound in bounds if bound)
        self.reads_types = "token_type_ids" in _arguments(model)

    def read(self, rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Any]:
        """Rows of tokens as tensors of one length."""
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        filled = {"input_ids": self.tokenizer.pad_token_id or 0, "attention_mask": 0, "token_type_ids": 0}
        names = ["input_ids", "attention_mask", *(["token_type_ids"] if self.reads_types else [])]
        tensors = {}
        for name in names:
            usual = 1 if name == "attention_mask" else 0
            values = [list(row.get(name) or [usual] * len(row["input_ids"])) for row in rows]
            padded = [one + [filled[name]] * (longest - len(one)) for one in values]
            tensors[name] = torch.tensor(padded, device=self.model.device)
        return tensors


class TorchSentences(Scored):
    """:class:`Sentences` on transformers, from a folder as sentence-transformers keeps them or a bare encoder."""

    def __init__(self, model: Any, tokenizer: Any, folder: Path) -> None:
        super().__init__(model, tokenizer)
        own = json_file(folder / "sentence_bert_config.json").get("max_seq_length")
        self.most_tokens = min(self.most_tokens, int(own)) if own else self.most_tokens
        self.vocabulary = len(tokenizer)
        self.prompts = _prompts(folder)
        config = json_file(folder / "config.json")
        cuts = config.get("matryoshka_dimensions")
        self.dimensions: Sequence[int] | None = cuts or (None if config.get("is_matryoshka") else ())
        self._pooling = _pooling(folder)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        with self.lock:
            return [list(self.tokenizer(text)["input_ids"]) for text in texts]

    def pooled(self, batch: Sequence[Sequence[int]]) -> Floats:
        import torch

        with torch.inference_mode():
            given = self.read([{"input_ids": tokens} for tokens in batch])
            hidden = self.model(**given).last_hidden_state.float()
            mask = given["attention_mask"][:, :, None].float()
            if self._pooling == "cls":
                vectors = hidden[:, 0]
            elif self._pooling == "lasttoken":
                vectors = hidden[torch.arange(len(batch)), given["attention_mask"].sum(1) - 1]
            elif self._pooling == "max":
                vectors = hidden.masked_fill(mask == 0, -1e9).max(1).values
            else:
                vectors = (hidden * mask).sum(1) / mask.sum(1)
            return np.asarray(vectors.cpu().numpy(), np.float32)


class Classifier(Scored):
    """Texts, or pairs of texts, as a number for each label."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer)
        names = model.config.id2label
        self.labels = [str(names[n]) for n in range(model.config.num_labels)]

    def encode(self, text: str, second: str | None = None, *, truncate: bool, field: str) -> dict[str, list[int]]:
        """The tokens of a text or a pair, of which the longer one is cut with ``truncate``.

        Raises :class:`TaskError` (``input_too_long``).
        """
        with self.lock:
            row = dict(self.tokenizer(text, second))
            if (count := len(row["input_ids"])) <= self.most_tokens:
                return row
            if not truncate:
                raise too_long(field, count, self.most_tokens)
            return dict(self.tokenizer(text, second, truncation="longest_first", max_length=self.most_tokens))

    def logits(self, rows: Sequence[Mapping[str, Sequence[int]]]) -> Floats:
        """Shape ``(rows, labels)``."""
        import torch

        batches = [rows[begin : begin + ROWS] for begin in range(0, len(rows), ROWS)]
        with torch.inference_mode():
            return np.concatenate([self.model(**self.read(batch)).logits.float().cpu().numpy() for batch in batches])


@dataclass(frozen=True, slots=True)
class Entailment:
    """Where a model that knows whether one text follows from another tells so."""

    entails: int
    contradicts: int

    @staticmethod
    def among(labels: Sequence[str]) -> Entailment | None:
        """``None``: the model knows no such thing."""
        found = [n for n, label in enumerate(labels) if label.lower().startswith("entail")]
        return Entailment(found[0], -1 if found[0] == 0 else 0) if found else None


def load(folder: Path, device: str, dtype: str) -> Sentences | Classifier:
    """The model in ``folder``. Raises :class:`ModelError`."""
    if (folder / "model.onnx").is_file() and (folder / "tokenizer.json").is_file():
        return OnnxSentences(load_sentence_model(folder / "model.onnx", folder / "tokenizer.json"))
    tokenizer = load_tokenizer(folder)
    named = json_file(folder / "config.json").get("architectures") or [""]
    if str(named[0]).endswith("ForSequenceClassification"):
        return Classifier(load_pretrained("AutoModelForSequenceClassification", folder, device, dtype), tokenizer)
    return TorchSentences(load_pretrained("AutoModel", folder, device, dtype), tokenizer, folder)


def gives_vectors(folder: ModelFolder) -> bool:
    """Whether the model turns sentences into vectors: sentence-transformers has made it, or it has no head at all."""
    if {"model.onnx", "tokenizer.json"} <= folder.names or "modules.json" in folder.names:
        return True
    headless = folder.architecture.endswith("Model") and not folder.architecture.endswith(("LMHeadModel", "MTModel"))
    return headless and "tokenizer.json" in folder.names and "preprocessor_config.json" not in folder.names


def classifies(folder: ModelFolder) -> bool:
    """Whether the model gives texts scores for labels."""
    return folder.architecture.endswith("ForSequenceClassification")


def labels_of(folder: ModelFolder) -> list[str]:
    """Its labels, as far as its configuration tells."""
    named = folder.config.get("id2label")
    return [str(one) for one in named.values()] if isinstance(named, dict) else ["LABEL_0", "LABEL_1"]


def too_long(field: str, count: int, most: int) -> TaskError:
    """The error of a text that the model cannot read whole."""
    return TaskError(
        "input_too_long", f"{field}: has {count} tokens; the model reads {most}: shorten it, or set parameters.truncate"
    )


def _arguments(model: Any) -> frozenset[str]:
    import inspect

    return frozenset(inspect.signature(model.forward).parameters)


def _prompts(folder: Path) -> dict[str, str]:
    named = json_file(folder / "config_sentence_transformers.json").get("prompts")
    return {str(name): str(text) for name, text in named.items() if text} if isinstance(named, dict) else {}


_KNOWN = {"Transformer", "Pooling", "Normalize"}
_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}


def _pooling(folder: Path) -> str:
    """How the vectors of tokens become that of the text. Raises :class:`ModelError` for what is not known here."""
    import json

    file = folder / "modules.json"
    if not file.is_file():
        return "mean"
    modules = json.loads(file.read_text("utf-8"))
    kinds = {str(one["type"]).rpartition(".")[2]: str(one["path"]) for one in modules}
    if unknown := kinds.keys() - _KNOWN:
        raise ModelError("model_broken", f"{folder.name}: its part {', '.join(sorted(unknown))} is not known here")
    path = (folder / kinds.get("Pooling", "")).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ModelError("model_broken", f"{folder.name}: modules.json leads out of the folder")
    config = json_file(path / "config.json")
    if isinstance(mode := config.get("pooling_mode"), str):
        chosen = [mode]
    else:
        chosen = [name for key, name in _POOLING.items() if config.get(key)]
    if len(chosen) != 1 or chosen[0] not in _POOLING.values():
        told = " and ".join(chosen) or "none"
        raise ModelError("model_broken", f"{folder.name}: its pooling ({told}) is not known here")
    return chosen[0]
