"""``image-to-text``: what a picture shows, in words."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.image.chat import GeneratedText
from pipelines.tasks.image.looking import CAPTION, Asked, Looker, fits, load
from pipelines.tasks.image.pictures import Fields, PictureBytes, each


class CaptionInput(Fields):
    """A picture, and what is asked about it beside what it shows."""

    image: PictureBytes
    prompt: str | None = Field(None, max_length=4_000)
    """A question; Florence-2 takes none."""


class CaptionParameters(Fields):
    """How it is told."""

    max_new_tokens: int = Field(128, ge=1, le=1024)


def run(model: Looker, jobs: Sequence[Job[CaptionInput, CaptionParameters]]) -> list[Done | PipelineError]:
    """The captions."""

    def told(job: Job[CaptionInput, CaptionParameters]) -> Done:
        answer = model.answer(Asked((job.inputs.image,), job.inputs.prompt or CAPTION, job.parameters.max_new_tokens))
        return answer.done([GeneratedText(generated_text=answer.text).model_dump()])

    return each(jobs, told, "image-to-text")


SPEC: TaskSpec[Looker, CaptionInput, CaptionParameters] = TaskSpec(
    "image-to-text",
    "Says what a picture shows",
    CaptionInput,
    CaptionParameters,
    list[GeneratedText],
    load,
    run,
    cost=lambda job: 500,
    fits=fits,
    batch=1,
)
