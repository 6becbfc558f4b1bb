"""``summarization`` and ``text2text-generation``: further views of a T5 or BART."""

from __future__ import annotations

from typing import ClassVar

from pipelines.interfaces.task import TaskSpec
from pipelines.routing.stage_types import Strict
from pipelines.tasks.text.seq2seq import Seq2SeqInputs, Seq2SeqModel, Seq2SeqParameters, cost, group, load, run


class SummaryParameters(Seq2SeqParameters):
    """How."""

    ANSWER: ClassVar[str] = "summary_text"

    def prompt(self, model: Seq2SeqModel, text: str) -> tuple[str, str | None, int | None]:
        return (f"summarize: {text}" if model.kind in ("t5", "mt5") else text), None, None


class Summary(Strict):
    """The text."""

    summary_text: str


class Generated(Strict):
    """The text."""

    generated_text: str


SUMMARIZATION = TaskSpec(
    name="summarization",
    about="A text, shorter",
    inputs=Seq2SeqInputs,
    parameters=SummaryParameters,
    output=Summary,
    load=load,
    run=run,
    cost=cost,
    group=group,
    cached=lambda job: True,
)
TEXT_TO_TEXT = TaskSpec(
    name="text2text-generation",
    about="Whatever the model makes of the text, such as the answer to `question: … context: …` of a T5",
    inputs=Seq2SeqInputs,
    parameters=Seq2SeqParameters,
    output=Generated,
    load=load,
    run=run,
    cost=cost,
    group=group,
    cached=lambda job: True,
)
