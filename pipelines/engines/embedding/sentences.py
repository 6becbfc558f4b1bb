"""Sentences as vectors: MiniLM and its like (https://www.sbert.net) as an ONNX file on onnxruntime, with tokenizers.

The vector of a text is the mean of those of its tokens, of length 1: the scalar product of two is how alike they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.onnx_session import open_session
from pipelines.errors import ModelError
from pipelines.models.plans import Loadable
from pipelines.models.residency import Resident
from pipelines.models.store import ModelFiles
from pipelines.runtime.worker import Worker

Vectors = NDArray[np.float32]
MOST_TOKENS = 512
"""Of a text, with those that mark its ends: so many places BERT knows."""
_BATCH = 8
"""Texts computed together; between batches others get their turn."""


class SentenceModel:
    """A loaded model. Blocking."""

    def __init__(self, session: Any, tokenizer: Any) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._inputs = {one.name for one in session.get_inputs()}
        self.vocabulary: int = tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, with those that mark its ends."""
        return [list(one.ids) for one in self._tokenizer.encode_batch(list(texts))]

    def embed(self, batch: Sequence[Sequence[int]]) -> Vectors:
        """The vectors of texts given as tokens, shape ``(n, dimensions)``, each of length 1."""
        means = self.pooled(batch)
        vectors: Vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
        return vectors

    def pooled(self, batch: Sequence[Sequence[int]]) -> Vectors:
        """The same of any length."""
        longest = max(map(len, batch))
        ids = np.zeros((len(batch), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(None, {name: value for name, value in given.items() if name in self._inputs})[0]
        weights = mask[:, :, None].astype(np.float32)
        means: Vectors = ((hidden * weights).sum(1) / weights.sum(1)).astype(np.float32)
        return means


class SentenceEmbedder:
    """Texts → vectors on a thread of its own; the model is in memory while it is used."""

    def __init__(self, model: Resident[SentenceModel]) -> None:
        self.name = model.name
        self._model = model
        self._worker = Worker("embedding", inbox=64)

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text. Raises :class:`~pipelines.errors.PipelineError`."""
        return await self._worker.run(self._encode, texts)

    async def vocabulary(self) -> int:
        """How many tokens there are; a token is a number below it."""
        return await self._worker.run(self._vocabulary)

    async def embed(self, texts: Sequence[Sequence[int]]) -> list[Vectors]:
        """The vector of each text, given as at most :data:`MOST_TOKENS` tokens. Raises as :meth:`encode`."""
        vectors: list[Vectors] = []
        for begin in range(0, len(texts), _BATCH):
            vectors += await self._worker.run(self._embed, texts[begin : begin + _BATCH])
        return vectors

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._worker.close()

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        with self._model.lease() as model:
            return model.encode(texts)

    def _vocabulary(self) -> int:
        with self._model.lease() as model:
            return model.vocabulary

    def _embed(self, batch: Sequence[Sequence[int]]) -> list[Vectors]:
        with self._model.lease() as model:
            return list(model.embed(batch))


def sentence_plan(files: ModelFiles) -> Loadable[SentenceModel]:
    """How the model in ``files`` comes into memory."""
    load = partial(load_sentence_model, files.files["model.onnx"], files.files["tokenizer.json"])
    return Loadable(files.id, load, precision="int8", estimate=2 * files.files["model.onnx"].stat().st_size)


def load_sentence_model(network: Path, tokenizer: Path) -> SentenceModel:
    """Load both files. Blocking. Raises :class:`~pipelines.errors.ModelError` (``model_broken``)."""
    from tokenizers import Tokenizer

    try:
        session = open_session(network)
        words = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # neither library has a base of its errors
        raise ModelError("model_broken", f"{network.parent.name} cannot be loaded: {error}") from error
    words.no_padding()
    words.no_truncation()
    return SentenceModel(session, words)
