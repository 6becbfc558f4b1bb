"""``tokenize`` and ``detokenize``: texts as a model's tokens, counted, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.routing.stage_types import Strict
from pipelines.tasks.loading import json_file

LONGEST = 400_000
"""Characters of a text."""
MOST_TOKENS = 200_000
"""Tokens in one request."""
_UNKNOWN = 1 << 30


class TokenizeInputs(Strict):
    """What is taken apart."""

    text: Annotated[str, Field(max_length=LONGEST)]


class TokenizeParameters(Strict):
    """How."""

    add_special_tokens: bool = True
    """Whether with those that mark beginning and end."""


class DetokenizeInputs(Strict):
    """What is put together."""

    tokens: Annotated[tuple[Annotated[int, Field(ge=0, strict=True)], ...], Field(max_length=MOST_TOKENS)]


class DetokenizeParameters(Strict):
    """How."""

    skip_special_tokens: bool = False
    """Whether without those that mark beginning and end."""


class Token(Strict):
    """One token of a text."""

    id: int
    text: str
    special: bool
    start: int | None
    """Where in the text it begins, in characters; ``None`` for one that is not from it."""
    stop: int | None


class Tokenized(Strict):
    """A text as tokens."""

    count: int
    tokens: list[Token]
    max_model_len: int | None
    """How many the model reads; ``None``: its files do not say."""


class Detokenized(Strict):
    """Tokens as a text."""

    text: str


class Vocabulary:
    """A tokenizer, and how many tokens its model reads."""

    def __init__(self, tokenizer: Any, most: int | None) -> None:
        self.tokenizer = tokenizer
        self.most = most
        self.size = tokenizer.get_vocab_size()


def load(folder: Path, device: str, dtype: str) -> Vocabulary:
    """Only the tokenizer: nothing that computes."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library has no base of its errors
        raise ModelError("model_broken", f"{folder.name}: its tokenizer.json cannot be read") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    config = json_file(folder / "config.json")
    bounds = [
        config.get("max_position_embeddings"),
        json_file(folder / "tokenizer_config.json").get("model_max_length"),
    ]
    known = [int(one) for one in bounds if isinstance(one, int | float) and 0 < one < _UNKNOWN]
    return Vocabulary(tokenizer, min(known, default=None))


def run_tokenize(
    model: Vocabulary, jobs: Sequence[Job[TokenizeInputs, TokenizeParameters]]
) -> Sequence[Done | PipelineError]:
    """Each text as tokens."""
    return [_tokenized(model, job) for job in jobs]


def _tokenized(model: Vocabulary, job: Job[TokenizeInputs, TokenizeParameters]) -> Done:
    text = job.inputs.text
    found = model.tokenizer.encode(text, add_special_tokens=job.parameters.add_special_tokens)
    marks = found.special_tokens_mask
    rows = []
    for n, (number, (start, stop)) in enumerate(zip(found.ids, found.offsets, strict=True)):
        special = bool(marks[n])
        given = found.tokens[n] if special or start == stop else text[start:stop]
        rows.append(
            {
                "id": number,
                "text": given,
                "special": special,
                "start": None if special else start,
                "stop": None if special else stop,
            }
        )
    return Done({"count": len(rows), "tokens": rows, "max_model_len": model.most}, len(rows))


def run_detokenize(
    model: Vocabulary, jobs: Sequence[Job[DetokenizeInputs, DetokenizeParameters]]
) -> Sequence[Done | PipelineError]:
    """Each list of tokens as a text."""
    return [_detokenized(model, job) for job in jobs]


def _detokenized(model: Vocabulary, job: Job[DetokenizeInputs, DetokenizeParameters]) -> Done | PipelineError:
    tokens = list(job.inputs.tokens)
    wrong = [n for n, token in enumerate(tokens) if token >= model.size]
    if wrong:
        what = f"{tokens[wrong[0]]} is no token of the model, which has {model.size:,}"
        return TaskError("invalid_value", f"tokens.{wrong[0]}: {what}")
    text = model.tokenizer.decode(tokens, skip_special_tokens=job.parameters.skip_special_tokens)
    return Done({"text": text}, len(tokens))


def _readable(folder: Any) -> int:
    return int("tokenizer.json" in folder.names)


TOKENIZE = TaskSpec(
    name="tokenize",
    about="A text as a model's tokens, counted",
    inputs=TokenizeInputs,
    parameters=TokenizeParameters,
    output=Tokenized,
    load=load,
    run=run_tokenize,
    packages=("tokenizers",),
    library="",
    catalogue_task="embedding",
    fits=_readable,
)
DETOKENIZE = TaskSpec(
    name="detokenize",
    about="A model's tokens as a text",
    inputs=DetokenizeInputs,
    parameters=DetokenizeParameters,
    output=Detokenized,
    load=load,
    run=run_detokenize,
    packages=("tokenizers",),
    library="",
    catalogue_task="embedding",
    fits=_readable,
)
