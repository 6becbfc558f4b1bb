"""``text-generation``: a text continued, whole or token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from pipelines.engines.llm.model import Sampling
from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.routing.stage_types import Strict
from pipelines.tasks.batching import deserted
from pipelines.tasks.text.causal import CausalModel, Generation, Piece, Row, continued, load, new_row

LONGEST = 400_000
"""Characters of a prompt."""
TokenId = Annotated[int, Field(ge=0, strict=True)]


class GenerationInputs(Strict):
    """What is continued."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST)] | Annotated[tuple[TokenId, ...], Field(min_length=1)]
    """A text, or the model's own tokens."""

    def ids(self, model: CausalModel) -> list[int]:
        """What the model reads."""
        return model.encode(self.text) if isinstance(self.text, str) else list(self.text)

    def stops(self, model: CausalModel) -> frozenset[int]:
        """Tokens that end it, beside those of the model."""
        return frozenset()

    @property
    def field(self) -> str:
        """The one that errors name."""
        return "text"

    @property
    def before(self) -> str:
        """What stands before the continuation."""
        return self.text if isinstance(self.text, str) else ""


class GenerationParameters(Strict):
    """How: the words of text-generation-inference, those that have an effect here."""

    max_new_tokens: int = Field(64, ge=1, le=32_768)
    do_sample: bool = False
    """Whether tokens are drawn; or else the likeliest is taken, whatever the temperature."""
    temperature: float | None = Field(None, gt=0, le=10)
    """Default: 1. Naming it means that tokens are drawn, as with the next three."""
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=1)
    seed: int | None = Field(None, ge=0, lt=1 << 63)
    repetition_penalty: float = Field(1.0, ge=0.1, le=10)
    stop: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=8)] = ()
    """Texts at which it ends; they are left out."""
    return_full_text: bool = False
    """Whether the prompt stands before the continuation."""
    details: bool = False
    """Whether to tell why it ended, and each token."""
    adapter_id: str = Field("", max_length=64)
    """A LoRA adapter of the model: the name of a folder in ``adapters`` of its own."""
    top_n_tokens: int = Field(0, ge=0, le=20)
    """So many of the likeliest tokens are told with each; needs ``details``."""

    def generation(self, stops: frozenset[int]) -> Generation:
        """What the model is told."""
        draws = self.do_sample or self.temperature or self.top_p or self.top_k
        sampling = Sampling()
        if draws:
            sampling = Sampling(self.temperature or 1.0, self.top_p or 1.0, self.top_k or 0, self.seed)
        return Generation(sampling, self.max_new_tokens, self.stop, self.repetition_penalty, stops, self.top_n_tokens)


class GeneratedToken(Strict):
    """One token."""

    id: int
    text: str
    """What became certain with it; of a character of several tokens all comes with the last."""
    logprob: float
    special: bool


class Details(Strict):
    """How it went."""

    finish_reason: Literal["length", "eos_token", "stop_sequence"]
    generated_tokens: int
    prefill: list[GeneratedToken]
    tokens: list[GeneratedToken]
    top_tokens: list[list[GeneratedToken]] | None = None
    seed: int | None = None


class Generated(Strict):
    """The continuation."""

    generated_text: str
    details: Details | None = None


class Prompt(Protocol):
    """What an item's inputs are to the model."""

    @property
    def field(self) -> str:
        """The one that errors name."""
        ...

    @property
    def before(self) -> str:
        """What stands before the continuation."""
        ...

    def ids(self, model: CausalModel) -> list[int]:
        """What the model reads. Raises :class:`TaskError`."""
        ...

    def stops(self, model: CausalModel) -> frozenset[int]:
        """Tokens that end it, beside those of the model."""
        ...


def begun(model: CausalModel, job: Job[Any, GenerationParameters]) -> Row:
    """The item before its first token. Raises :class:`TaskError`."""
    prompt: Prompt = job.inputs
    ids = prompt.ids(model)
    model.check(ids, job.parameters.max_new_tokens, prompt.field)
    row = new_row(ids, job.parameters.generation(prompt.stops(model)))
    row.adapter = model.put_on(job.parameters.adapter_id)
    return row


def run(model: CausalModel, jobs: Sequence[Job[Any, GenerationParameters]]) -> Sequence[Done | PipelineError]:
    """The continuation of each item; they are computed side by side."""
    rows: list[Row | PipelineError] = []
    for job in jobs:
        try:
            rows.append(begun(model, job))
        except TaskError as error:
            rows.append(error)
    pieces: dict[int, list[Piece]] = {id(row): [] for row in rows}
    if good := [row for row in rows if isinstance(row, Row)]:
        is_deserted = deserted.get()
        for step in continued(model, good):
            for row, piece in step:
                pieces[id(row)].append(piece)
            if is_deserted():
                break
    return [
        _done(model, row, job, pieces[id(row)]) if isinstance(row, Row) else row
        for row, job in zip(rows, jobs, strict=True)
    ]


def stream(
    model: CausalModel, job: Job[Any, GenerationParameters], stopped: Callable[[], bool]
) -> Iterator[dict[str, Any] | Done]:
    """One token after the other, as ``{"token": …}``."""
    row = begun(model, job)
    pieces: list[Piece] = []
    for step in continued(model, [row]):
        if stopped():
            return
        for _, piece in step:
            pieces.append(piece)
            told: dict[str, Any] = {"token": _token(piece)}
            if job.parameters.top_n_tokens:
                told["top_tokens"] = _top(model, piece)
            yield told
    yield _done(model, row, job, pieces)


def _done(model: CausalModel, row: Row, job: Job[Any, GenerationParameters], pieces: Sequence[Piece]) -> Done:
    parameters = job.parameters
    text = job.inputs.before + row.text if parameters.return_full_text else row.text
    output: dict[str, Any] = {"generated_text": text}
    if parameters.details:
        output["details"] = {
            "finish_reason": row.finish or "length",
            "generated_tokens": len(row.tokens),
            "prefill": [],
            "tokens": [_token(piece) for piece in pieces],
            "seed": parameters.seed,
        }
        if parameters.top_n_tokens:
            output["details"]["top_tokens"] = [_top(model, piece) for piece in pieces]
    return Done(output, len(row.prompt), len(row.tokens))


def _token(piece: Piece) -> dict[str, Any]:
    return {"id": piece.id, "text": piece.text, "logprob": piece.logprob, "special": piece.special}


def _top(model: CausalModel, piece: Piece) -> list[dict[str, Any]]:
    return [
        {"id": token, "text": model.decode([token]), "logprob": chance, "special": token in model.special}
        for token, chance in piece.top
    ]


def cost(job: Job[Any, Any]) -> int:
    """Tokens, roughly."""
    text = job.inputs.before
    return len(text) // 4 + 2 + int(job.parameters.max_new_tokens)


SPEC = TaskSpec(
    name="text-generation",
    about="A text continued by a language model",
    inputs=GenerationInputs,
    parameters=GenerationParameters,
    output=Generated,
    load=load,
    run=run,
    stream=stream,
    cost=cost,
    batch=8,
)
