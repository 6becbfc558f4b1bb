"""``code-completion``: what stands between a beginning and an end, by a model that has learned to fill in."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pipelines.interfaces.task import Job, TaskError, TaskSpec
from pipelines.routing.stage_types import Strict
from pipelines.tasks.text.causal import CausalModel, load
from pipelines.tasks.text.generation import LONGEST, Generated, GenerationParameters, run, stream

MARKS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder, CodeGemma, Granite
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Refact
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # CodeLlama
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder
)
"""Tokens before the beginning, before the end and before what is wanted, by family of models."""
ENDS = ("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|endoftext|>", "<fim_pad>", "<file_sep>", "▁<EOT>")
"""Tokens after which something else would begin."""
_FILE = ("<|repo_name|>", "<|file_sep|>")
"""Tokens that stand before the name of a repository and of a file (Qwen2.5-Coder)."""


class OtherFile(Strict):
    """A file that is given for context."""

    filename: str = Field(max_length=1000)
    text: str = Field(max_length=LONGEST)


class CodeInputs(Strict):
    """What is completed."""

    prefix: str = Field(max_length=LONGEST)
    """What stands before."""
    suffix: str = Field("", max_length=LONGEST)
    """What stands after; empty: the beginning is simply continued, which every language model can."""
    begun: str = Field("", max_length=LONGEST)
    """What the text between begins with."""
    extra: Annotated[tuple[OtherFile, ...], Field(max_length=50)] = ()
    """Other files, in the order in which the model reads them: the most important one last."""

    @property
    def field(self) -> str:
        """See :class:`~pipelines.tasks.text.generation.Prompt`, as the others."""
        return "prefix"

    @property
    def before(self) -> str:
        return self.prefix

    def ids(self, model: CausalModel) -> list[int]:
        files = self._files(model)
        if not self.suffix:
            return [*files, *model.encode(self.prefix + self.begun, special=not files)]
        marks = marks_of(model)
        if marks is None:
            raise TaskError(
                "model_cannot_infill",
                "suffix: the model has no tokens for filling in; leave the suffix out, or take a model such as "
                "Qwen2.5-Coder or StarCoder",
            )
        first, second, third = marks
        start = model.tokenizer.bos_token_id
        begin = [start] if start is not None and model.encode("")[:1] == [start] and not files else []
        before, after, begun = (model.encode(text, special=False) for text in (self.prefix, self.suffix, self.begun))
        return [*begin, *files, first, *before, second, *after, third, *begun]

    def stops(self, model: CausalModel) -> frozenset[int]:
        found = [model.token(word) for word in (*ENDS, *(word for marks in MARKS for word in marks))]
        return frozenset(token for token in found if token is not None)

    def _files(self, model: CausalModel) -> list[int]:
        if not self.extra:
            return []
        marks = [model.token(word) for word in _FILE]
        ids: list[int] = []
        for file in self.extra:
            if marks[1] is not None:
                ids += [marks[1], *model.encode(f"{file.filename}\n{file.text}\n", special=False)]
            else:  # as a comment it is at least text that such a model has seen
                ids += model.encode(f"# {file.filename}\n{file.text}\n\n", special=False)
        return [*ids, *([marks[1]] if marks[1] is not None else [])]


def marks_of(model: CausalModel) -> tuple[int, int, int] | None:
    """The tokens for filling in that the model has; ``None``: it has not learned that."""
    for words in MARKS:
        first, second, third = (model.token(word) for word in words)
        if first is not None and second is not None and third is not None:
            return first, second, third
    return None


def _cost(job: Job[Any, Any]) -> int:
    return (len(job.inputs.prefix) + len(job.inputs.suffix)) // 4 + 4 + int(job.parameters.max_new_tokens)


SPEC = TaskSpec(
    name="code-completion",
    about="Code between a beginning and an end, or after a beginning",
    inputs=CodeInputs,
    parameters=GenerationParameters,
    output=Generated,
    load=load,
    run=run,
    stream=stream,
    cost=_cost,
    batch=8,
)
