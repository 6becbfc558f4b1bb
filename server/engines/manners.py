"""What the settings and a pipeline say of how the assistant behaves by itself → what a session is given. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.assistant.manners import Manners
from pipelines.errors import PipelineError
from pipelines.routing.definition import Pipeline
from server.settings import Settings


@dataclass(frozen=True, slots=True)
class MannersSet:
    """What the settings say; ``None``: as the pipeline has it."""

    instructions: str | None = None
    greeting: str | None = None
    idle_prompt_seconds: float | None = None
    idle_prompt: str | None = None
    idle_end_minutes: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> MannersSet:
        """What they say."""
        return cls(
            settings.instructions,
            settings.greeting,
            settings.idle_prompt_seconds,
            settings.idle_prompt,
            settings.idle_end_minutes,
        )


def manners_of(pipeline: Pipeline, given: MannersSet) -> Manners:
    """As the settings say, or else the pipeline's definition.

    Raises :class:`PipelineError` (``idle_prompt_never``) for words that would never be spoken.
    """
    told = pipeline.assistant
    made = Manners(
        told.greeting if given.greeting is None else given.greeting,
        told.idle_prompt_seconds if given.idle_prompt_seconds is None else given.idle_prompt_seconds,
        told.idle_prompt if given.idle_prompt is None else given.idle_prompt,
        told.idle_end_minutes if given.idle_end_minutes is None else given.idle_end_minutes,
    )
    if given.idle_prompt and not made.idle_prompt_seconds:
        raise PipelineError("idle_prompt_never", "idle_prompt: needs idle_prompt_seconds above 0, such as 20")
    return made


def persona_of(pipeline: Pipeline, given: MannersSet) -> str:
    """Who the assistant is, for the language model."""
    think = pipeline.stage("text_generation")
    usual = str(think.options.get("instructions", "")) if think is not None else ""
    own = pipeline.assistant.instructions if given.instructions is None else given.instructions
    return usual if own is None else own
