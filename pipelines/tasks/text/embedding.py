"""``feature-extraction``: a text as a vector (https://www.sbert.net)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.routing.stage_types import Strict
from pipelines.tasks.text.encoders import ROWS, Classifier, Floats, Sentences, gives_vectors, load, too_long

Token = Annotated[int, Field(ge=0, strict=True)]
LONGEST = 400_000
"""Characters of a text, before the model has counted its tokens."""


class EmbeddingInputs(Strict):
    """What is embedded."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST)] | Annotated[tuple[Token, ...], Field(min_length=1)]
    """A text, or the model's own tokens."""


class EmbeddingParameters(Strict):
    """How."""

    normalize: bool = True
    """Whether the vector has length 1."""
    prompt_name: str | None = None
    """One of the model's prompts; ``query`` and ``document`` may be named also where it has none."""
    dimensions: int | None = Field(None, ge=1)
    """Numbers of the vector, for a model whose vectors may be cut."""
    precision: Literal["float32", "int8", "uint8", "binary", "ubinary"] = "float32"
    """``int8`` and ``uint8``: of a vector of length 1, times 127; ``binary`` and ``ubinary``: the signs, eight in a
    number, as sentence-transformers packs them."""
    truncate: bool = False
    """Whether a text that is too long is cut, or else refused."""
    truncation_direction: Literal["left", "right"] = "right"
    """Where it is cut."""


ANYWAY = ("query", "document", "passage")
"""Prompts that mean none where a model has no such."""


def prompted(model: Sentences, text: str, name: str | None) -> str:
    """``text`` behind the prompt. Raises :class:`TaskError`."""
    if name is None or (name not in model.prompts and name in ANYWAY):
        return text
    if name not in model.prompts:
        legal = ", ".join((*model.prompts, *(one for one in ANYWAY if one not in model.prompts)))
        raise TaskError("invalid_value", f"parameters.prompt_name: must be one of {legal}, not {name[:80]!r}")
    return model.prompts[name] + text


def tokens_of(model: Sentences, job: Job[EmbeddingInputs, EmbeddingParameters]) -> list[int]:
    """The item as tokens. Raises :class:`TaskError`."""
    text, parameters = job.inputs.text, job.parameters
    if isinstance(text, str):
        tokens = model.encode([prompted(model, text, parameters.prompt_name)])[0]
    else:
        tokens = list(text)
        if max(tokens) >= model.vocabulary:
            what = f"{max(tokens)} is no token of the model, which has its own {model.vocabulary:,}: send the text"
            raise TaskError("invalid_value", f"text: {what}")
    if len(tokens) <= (most := model.most_tokens):
        return tokens
    if not parameters.truncate:
        raise too_long("text", len(tokens), most)
    if parameters.truncation_direction == "right":
        return [*tokens[: most - 1], tokens[-1]]  # the last one marks the end
    return [tokens[0], *tokens[len(tokens) - most + 1 :]]


def embed(model: Sentences, texts: Sequence[Sequence[int]]) -> Floats:
    """The vectors of texts given as tokens, in their order, computed in batches of like length."""
    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    found: dict[int, Any] = {}
    for begin in range(0, len(order), ROWS):
        some = order[begin : begin + ROWS]
        found |= zip(some, model.pooled([texts[n] for n in some]), strict=True)
    return np.stack([found[n] for n in range(len(texts))])


def unit(vectors: Floats) -> Floats:
    """Vectors of length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def run(
    model: Sentences | Classifier, jobs: Sequence[Job[EmbeddingInputs, EmbeddingParameters]]
) -> Sequence[Done | PipelineError]:
    """The vector of each item."""
    sentences = vectors_only(model)
    read: list[list[int] | PipelineError] = []
    for job in jobs:
        try:
            read.append(tokens_of(sentences, job))
        except TaskError as error:
            read.append(error)
    good = [one for one in read if isinstance(one, list)]
    vectors = iter(embed(sentences, good) if good else ())
    return [
        one if isinstance(one, PipelineError) else _written(sentences, next(vectors), job.parameters, len(one))
        for one, job in zip(read, jobs, strict=True)
    ]


def vectors_only(model: Sentences | Classifier) -> Sentences:
    """Raises :class:`ModelError` for a model that gives none."""
    if isinstance(model, Classifier):
        raise ModelError("model_broken", "the model classifies texts and gives no vectors of them")
    return model


def _written(model: Sentences, vector: Floats, parameters: EmbeddingParameters, tokens: int) -> Done | PipelineError:
    asked, size, legal = parameters.dimensions, len(vector), model.dimensions
    if asked is not None and asked != size:
        if asked > size or (legal is not None and asked not in legal):
            told = f"{size}, no more and no fewer" if not legal else f"{size}, or {', '.join(map(str, legal))}"
            return TaskError("unsupported_value", f"parameters.dimensions: the vectors of the model have {told}")
        vector = vector[:asked]
    if parameters.normalize or parameters.precision in ("int8", "uint8"):
        vector = unit(vector)
    return Done(_numbers(vector, parameters.precision), tokens)


def _numbers(vector: Floats, precision: str) -> list[float] | list[int]:
    if precision == "float32":
        return [float(one) for one in vector]
    if precision in ("int8", "uint8"):
        scaled = np.clip(np.rint(vector * 127), -127, 127).astype(np.int16)
        return [int(one) for one in (scaled + 128 if precision == "uint8" else scaled)]
    packed = np.packbits(vector > 0).astype(np.int16)
    return [int(one) for one in (packed - 128 if precision == "binary" else packed)]


def cost(job: Job[Any, Any]) -> int:
    """Tokens, roughly: a text has one for every four characters."""
    text = job.inputs.text
    return len(text) // 4 + 2 if isinstance(text, str) else len(text)


SPEC = TaskSpec(
    name="feature-extraction",
    about="A text as a vector: the nearer two are, the more alike what they say",
    inputs=EmbeddingInputs,
    parameters=EmbeddingParameters,
    output=list[float] | list[int],
    load=load,
    run=run,
    cost=cost,
    packages=("onnxruntime", "tokenizers"),
    catalogue_task="embedding",
    fits=lambda folder: 2 if "model.onnx" in folder.names else int(gives_vectors(folder)),
    cached=lambda job: True,
    batch=ROWS,
)
