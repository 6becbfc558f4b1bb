"""``visual-question-answering``: a short answer to a question about a picture."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.image.looking import Asked, Looker, fits_chat, load
from pipelines.tasks.image.pictures import Fields, PictureBytes, each

SHORTLY = "Answer shortly."


class QuestionInput(Fields):
    """A picture and what is asked about it."""

    image: PictureBytes
    question: str = Field(min_length=1, max_length=2_000)


class QuestionParameters(Fields):
    """How it is answered."""

    max_new_tokens: int = Field(32, ge=1, le=256)


class Answer(Fields):
    """What a model says."""

    answer: str
    score: float
    """How sure the model was of its words, 0–1: the geometric mean of their probabilities."""


def run(model: Looker, jobs: Sequence[Job[QuestionInput, QuestionParameters]]) -> list[Done | PipelineError]:
    """The answers."""

    def answered(job: Job[QuestionInput, QuestionParameters]) -> Done:
        text = f"{job.inputs.question} {SHORTLY}"
        answer = model.answer(Asked((job.inputs.image,), text, job.parameters.max_new_tokens))
        return answer.done([Answer(answer=answer.text, score=answer.score).model_dump()])

    return each(jobs, answered, "visual-question-answering")


SPEC: TaskSpec[Looker, QuestionInput, QuestionParameters] = TaskSpec(
    "visual-question-answering",
    "Answers a question about a picture in a few words",
    QuestionInput,
    QuestionParameters,
    list[Answer],
    load,
    run,
    cost=lambda job: len(job.inputs.question) // 4 + 500,
    fits=fits_chat,
    batch=1,
)
