"""Models that read one text and write another: Marian, M2M100, T5, BART. What several tasks on them share.

A T5 has one set of weights for many tasks, told apart by how the text begins: one ``load`` and one ``run``, so that the
items of all tasks share the model and its batches.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskError
from pipelines.routing.stage_types import Strict
from pipelines.tasks.batching import deserted
from pipelines.tasks.loading import load_pretrained, load_tokenizer
from pipelines.tasks.text.encoders import too_long

LONGEST = 400_000
"""Characters of a text, before the model has counted its tokens."""
_HUGE = 1 << 30


class Seq2SeqInputs(Strict):
    """What is read."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST)]


class Beams(Strict):
    """How the text is found."""

    max_new_tokens: int = Field(256, ge=1, le=4096)
    num_beams: int = Field(1, ge=1, le=8)
    """Texts that are followed side by side, of which the best is taken: better, and as many times as slow."""


class Seq2SeqParameters(Strict):
    """How."""

    ANSWER: ClassVar[str] = "generated_text"
    """The field of the output."""

    max_new_tokens: int = Field(256, ge=1, le=4096)
    num_beams: int = Field(1, ge=1, le=8)
    generate_parameters: Beams | None = None
    """The same two, where clients of the Hugging Face API put them."""
    truncate: bool = False
    """Whether a text that is too long is cut, or else refused."""

    @model_validator(mode="after")
    def _said_once(self) -> Seq2SeqParameters:
        both = self.model_fields_set & {"max_new_tokens", "num_beams"}
        if self.generate_parameters is not None and both & self.generate_parameters.model_fields_set:
            raise ValueError(f"{', '.join(sorted(both))} is given twice, here and in generate_parameters")
        return self

    @property
    def beams(self) -> Beams:
        """Wherever they were given."""
        return self.generate_parameters or Beams(max_new_tokens=self.max_new_tokens, num_beams=self.num_beams)

    def prompt(self, model: Seq2SeqModel, text: str) -> tuple[str, str | None, int | None]:
        """What the model reads, the language that its tokenizer is told, and the token that its text begins with.

        Raises :class:`TaskError`.
        """
        return text, None, None

    def together(self) -> tuple[object, ...]:
        """Items of one batch agree in it."""
        return (self.beams.max_new_tokens, self.beams.num_beams)


class Seq2SeqModel:
    """A loaded model."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.kind = str(model.config.model_type)
        self.lock = threading.Lock()
        places = None if self.kind in ("t5", "mt5") else getattr(model.config, "max_position_embeddings", None)
        self.most_written = int(places) - 1 if places else _HUGE
        self.most_tokens = min(int(one) for one in (tokenizer.model_max_length, places, _HUGE) if one)

    def encode(self, text: str, language: str | None) -> list[int]:
        """The tokens of a text in a language, if the tokenizer is to know that."""
        with self.lock:
            if language is not None:
                self.tokenizer.src_lang = language
            return list(self.tokenizer(text)["input_ids"])


def load(folder: Path, device: str, dtype: str) -> Seq2SeqModel:
    """The model in ``folder``. Raises :class:`~pipelines.errors.ModelError`."""
    tokenizer = load_tokenizer(folder)
    return Seq2SeqModel(load_pretrained("AutoModelForSeq2SeqLM", folder, device, dtype), tokenizer)


def run(model: Seq2SeqModel, jobs: Sequence[Job[Any, Any]]) -> Sequence[Done | PipelineError]:
    """The text of each item. They agree in :meth:`Seq2SeqParameters.together`."""
    read: list[tuple[list[int], int | None] | PipelineError] = []
    for job in jobs:
        try:
            read.append(_read(model, job))
        except TaskError as error:
            read.append(error)
    good = [one for one in read if isinstance(one, tuple)]
    written = iter(_generated(model, good, jobs[0].parameters.beams) if good else ())
    results: list[Done | PipelineError] = []
    for one, job in zip(read, jobs, strict=True):
        if isinstance(one, PipelineError):
            results.append(one)
            continue
        text, count = next(written)
        results.append(Done({job.parameters.ANSWER: text}, len(one[0]), count))
    return results


def _read(model: Seq2SeqModel, job: Job[Seq2SeqInputs, Seq2SeqParameters]) -> tuple[list[int], int | None]:
    text, language, first = job.parameters.prompt(model, job.inputs.text)
    tokens = model.encode(text, language)
    if len(tokens) > model.most_tokens:
        if not job.parameters.truncate:
            raise too_long("text", len(tokens), model.most_tokens)
        tokens = [*tokens[: model.most_tokens - 1], tokens[-1]]
    return tokens, first


def _generated(
    model: Seq2SeqModel, rows: Sequence[tuple[list[int], int | None]], beams: Beams
) -> list[tuple[str, int]]:
    """Texts and how many tokens each has."""
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    is_deserted = deserted.get()

    class Deserted(StoppingCriteria):
        """Ends the work that nobody waits for."""

        def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Any:
            return torch.full((input_ids.shape[0],), is_deserted(), device=input_ids.device)

    longest = max(len(tokens) for tokens, _ in rows)
    pad = model.tokenizer.pad_token_id or 0
    device = model.model.device
    options: dict[str, Any] = {}
    if (first := rows[0][1]) is not None:
        options["forced_bos_token_id"] = first
    with torch.inference_mode():
        found = model.model.generate(
            input_ids=torch.tensor([one + [pad] * (longest - len(one)) for one, _ in rows], device=device),
            attention_mask=torch.tensor(
                [[1] * len(one) + [0] * (longest - len(one)) for one, _ in rows], device=device
            ),
            max_new_tokens=min(beams.max_new_tokens, model.most_written),
            max_length=None,
            num_beams=beams.num_beams,
            do_sample=False,
            stopping_criteria=StoppingCriteriaList([Deserted()]),
            **options,
        )
    with model.lock:
        texts = model.tokenizer.batch_decode(found, skip_special_tokens=True)
    return [(text.strip(), int((row != pad).sum())) for text, row in zip(texts, found, strict=True)]


def cost(job: Job[Any, Any]) -> int:
    """Tokens, roughly: as many are written as are read."""
    return len(job.inputs.text) // 2 + 4


def group(job: Job[Any, Any]) -> tuple[object, ...]:
    """Only items that are generated in the same way share a batch."""
    parameters: Seq2SeqParameters = job.parameters
    return parameters.together()
