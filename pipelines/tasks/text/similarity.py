"""``sentence-similarity``: how alike a sentence is to others, as the cosine of their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.routing.stage_types import Strict
from pipelines.tasks.text.embedding import LONGEST, embed, prompted, unit, vectors_only
from pipelines.tasks.text.encoders import Classifier, Sentences, gives_vectors, load, too_long

Sentence = Annotated[str, Field(min_length=1, max_length=LONGEST)]
MOST_SENTENCES = 1000
"""Sentences in one request."""


class SimilarityInputs(Strict):
    """What is compared."""

    source_sentence: Sentence
    sentences: Annotated[tuple[Sentence, ...], Field(min_length=1, max_length=MOST_SENTENCES)]


class SimilarityParameters(Strict):
    """How."""

    prompt_name: str | None = None
    """As of ``feature-extraction``, for all sentences."""


def _one(model: Sentences, job: Job[SimilarityInputs, SimilarityParameters]) -> Done:
    texts = (job.inputs.source_sentence, *job.inputs.sentences)
    tokens = model.encode([prompted(model, text, job.parameters.prompt_name) for text in texts])
    for n, one in enumerate(tokens):
        if len(one) > model.most_tokens:
            raise too_long("source_sentence" if n == 0 else f"sentences.{n - 1}", len(one), model.most_tokens)
    vectors = unit(embed(model, tokens))
    return Done([float(one) for one in vectors[1:] @ vectors[0]], sum(map(len, tokens)))


def run(
    model: Sentences | Classifier, jobs: Sequence[Job[SimilarityInputs, SimilarityParameters]]
) -> Sequence[Done | PipelineError]:
    """For each item, a number from -1 to 1 for each sentence."""
    sentences = vectors_only(model)
    results: list[Done | PipelineError] = []
    for job in jobs:
        try:
            results.append(_one(sentences, job))
        except TaskError as error:
            results.append(error)
    return results


def _cost(job: Job[Any, Any]) -> int:
    return sum(len(text) // 4 + 2 for text in (job.inputs.source_sentence, *job.inputs.sentences))


SPEC = TaskSpec(
    name="sentence-similarity",
    about="How alike a sentence is to each of several others",
    inputs=SimilarityInputs,
    parameters=SimilarityParameters,
    output=list[float],
    load=load,
    run=run,
    cost=_cost,
    packages=("onnxruntime", "tokenizers"),
    catalogue_task="embedding",
    fits=lambda folder: 2 if "model.onnx" in folder.names else int(gives_vectors(folder)),
    cached=lambda job: True,
)
