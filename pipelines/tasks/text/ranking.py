"""``text-ranking``: documents in the order in which they answer a query.

By a cross-encoder, which reads query and document together; where none is here by the cosine of their vectors, which is
told beside the model's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, ModelFolder, TaskError, TaskSpec
from pipelines.routing.stage_types import Strict
from pipelines.tasks.text.classification import LONGEST, sigmoid
from pipelines.tasks.text.embedding import embed, prompted, unit
from pipelines.tasks.text.encoders import (
    Classifier,
    Floats,
    Sentences,
    classifies,
    gives_vectors,
    labels_of,
    load,
    too_long,
)

Text = Annotated[str, Field(min_length=1, max_length=LONGEST)]
MOST_DOCUMENTS = 1000
"""Documents in one request."""
BI_ENCODER = "bi-encoder"


class RankingInputs(Strict):
    """What is asked, and what may answer it."""

    query: Text
    documents: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MOST_DOCUMENTS)]


class RankingParameters(Strict):
    """How."""

    top_n: int | None = Field(None, ge=1)
    """So many of the best; default: all."""
    raw_scores: bool = False
    """The model's own numbers instead of scores from 0 to 1."""
    truncate: bool = False
    """Whether documents that are too long are cut, or else refused."""


class Ranked(Strict):
    """One document."""

    index: int
    """In the order in which they were given."""
    score: float


def run(model: Any, jobs: Sequence[Job[RankingInputs, RankingParameters]]) -> Sequence[Done | PipelineError]:
    """For each item the documents, the best first; of two that score the same the one that came first."""
    results: list[Done | PipelineError] = []
    for job in jobs:
        try:
            results.append(_crossed(model, job) if isinstance(model, Classifier) else _compared(model, job))
        except TaskError as error:
            results.append(error)
    return results


def _crossed(model: Classifier, job: Job[RankingInputs, RankingParameters]) -> Done:
    if len(model.labels) != 1:
        raise ModelError("model_broken", f"the model has {len(model.labels)} labels; one that ranks has a single score")
    rows = [
        model.encode(job.inputs.query, text, truncate=job.parameters.truncate, field=f"documents.{n}")
        for n, text in enumerate(job.inputs.documents)
    ]
    order = sorted(range(len(rows)), key=lambda n: len(rows[n]["input_ids"]))  # of like length side by side
    found = model.logits([rows[n] for n in order])[:, 0]
    logits = found.copy()
    logits[order] = found
    scores = logits if job.parameters.raw_scores else sigmoid(logits)
    return Done(_best(scores, job.parameters.top_n), sum(len(row["input_ids"]) for row in rows))


def _compared(model: Sentences, job: Job[RankingInputs, RankingParameters]) -> Done:
    texts = [prompted(model, job.inputs.query, "query")]
    texts += [prompted(model, text, "document") for text in job.inputs.documents]
    tokens = model.encode(texts)
    for n, one in enumerate(tokens):
        if len(one) > model.most_tokens:
            if not job.parameters.truncate:
                raise too_long("query" if n == 0 else f"documents.{n - 1}", len(one), model.most_tokens)
            tokens[n] = [*one[: model.most_tokens - 1], one[-1]]
    vectors = unit(embed(model, tokens))
    cosines = vectors[1:] @ vectors[0]
    scores = cosines if job.parameters.raw_scores else (1 + cosines) / 2
    return Done(_best(scores, job.parameters.top_n), sum(map(len, tokens)), manner=BI_ENCODER)


def _best(scores: Floats, top: int | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"index": n, "score": float(score)} for n, score in enumerate(scores)]
    return sorted(rows, key=lambda row: -float(row["score"]))[:top]


def _fits(folder: ModelFolder) -> int:
    if classifies(folder):
        return 3 if len(labels_of(folder)) == 1 else 0
    return 2 if "model.onnx" in folder.names else int(gives_vectors(folder))


def _cost(job: Job[Any, Any]) -> int:
    return sum((len(job.inputs.query) + len(text)) // 4 + 3 for text in job.inputs.documents)


SPEC = TaskSpec(
    name="text-ranking",
    about="Documents in the order in which they answer a query",
    inputs=RankingInputs,
    parameters=RankingParameters,
    output=list[Ranked],
    load=load,
    run=run,
    cost=_cost,
    packages=("onnxruntime", "tokenizers"),
    catalogue_task="embedding",
    fits=_fits,
    cached=lambda job: True,
)
