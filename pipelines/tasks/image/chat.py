"""``image-text-to-text``: the answer to a question about one or several pictures."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.image.looking import Asked, Looker, fits_chat, load
from pipelines.tasks.image.pictures import Fields, PictureBytes, each

MOST_PICTURES = 8
"""Pictures in one request."""
LONGEST_TEXT = 8_000
"""Characters of a message."""


class ChatInput(Fields):
    """Pictures and what is asked about them."""

    image: PictureBytes | None = None
    images: tuple[PictureBytes, ...] = Field((), max_length=MOST_PICTURES)
    """Or several, in the order in which the question speaks of them."""
    text: str = Field(min_length=1, max_length=LONGEST_TEXT)

    @model_validator(mode="after")
    def _has_pictures(self) -> ChatInput:
        if (self.image is None) == (not self.images):
            raise ValueError("image: give either image, or images with one or more")
        return self

    @property
    def pictures(self) -> tuple[bytes, ...]:
        """All of them."""
        return self.images if self.image is None else (self.image,)


class ChatParameters(Fields):
    """How it is answered."""

    max_new_tokens: int = Field(256, ge=1, le=2048)
    temperature: float = Field(0.0, ge=0.0, le=2.0)
    """0: always the likeliest word."""


class GeneratedText(Fields):
    """What a model wrote."""

    generated_text: str


def run(model: Looker, jobs: Sequence[Job[ChatInput, ChatParameters]]) -> list[Done | PipelineError]:
    """The answers."""

    def answered(job: Job[ChatInput, ChatParameters]) -> Done:
        wishes = job.parameters
        answer = model.answer(Asked(job.inputs.pictures, job.inputs.text, wishes.max_new_tokens, wishes.temperature))
        return answer.done([GeneratedText(generated_text=answer.text).model_dump()])

    return each(jobs, answered, "image-text-to-text")


SPEC: TaskSpec[Looker, ChatInput, ChatParameters] = TaskSpec(
    "image-text-to-text",
    "Answers a question about one or several pictures",
    ChatInput,
    ChatParameters,
    list[GeneratedText],
    load,
    run,
    cost=lambda job: len(job.inputs.text) // 4 + 500 * len(job.inputs.pictures),
    fits=fits_chat,
    batch=1,
)
