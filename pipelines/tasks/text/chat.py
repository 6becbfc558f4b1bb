"""``chat``: the next message of a conversation, by a language model with a chat template."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipelines.errors import LLMError, ModelError
from pipelines.interfaces.llm import ChatRequest, Message
from pipelines.interfaces.task import ModelFolder, TaskError, TaskSpec
from pipelines.routing.stage_types import Strict
from pipelines.tasks.text.causal import CausalModel, load
from pipelines.tasks.text.generation import Generated, GenerationParameters, cost, run, stream

LONGEST = 400_000
"""Characters of a message."""
MOST_MESSAGES = 1_000
"""Messages in one request."""


class ChatMessage(Strict):
    """What somebody said."""

    role: Literal["system", "user", "assistant"]
    content: str = Field(max_length=LONGEST)


class ChatInputs(Strict):
    """A conversation."""

    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1, max_length=MOST_MESSAGES)]
    """The oldest first; the answer to the last is wanted."""

    def ids(self, model: CausalModel) -> list[int]:
        """What the model reads: the messages as its template writes them. Raises :class:`TaskError`."""
        messages = tuple(Message(one.role, one.content) for one in self.messages)
        try:
            template = model.chat
            with model.lock:
                return template.encode(ChatRequest(messages, max_tokens=1), model.context).ids
        except ModelError as error:
            raise TaskError("unsupported_value", f"model: {error.message}") from error
        except LLMError as error:
            code = "input_too_long" if error.code == "llm_context_full" else "invalid_value"
            raise TaskError(code, f"messages: {error.message}") from error

    def stops(self, model: CausalModel) -> frozenset[int]:
        """What the template puts behind an answer."""
        return frozenset(model.chat.stops())

    @property
    def field(self) -> str:
        """The one that errors name."""
        return "messages"

    @property
    def before(self) -> str:
        """Nothing: an answer is a message of its own."""
        return ""


def _fits(folder: ModelFolder) -> int:
    """Language models that say how a conversation is written."""
    if not folder.architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return 0
    try:
        inside = '"chat_template"' in (folder.path / "tokenizer_config.json").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        inside = False
    return int(inside or "chat_template.jinja" in folder.names)


SPEC = TaskSpec(
    name="chat",
    about="The answer to a conversation",
    inputs=ChatInputs,
    parameters=GenerationParameters,
    output=Generated,
    load=load,
    run=run,
    stream=stream,
    cost=lambda job: cost(job) + sum(len(one.content) for one in job.inputs.messages) // 4,
    batch=8,
    fits=_fits,
)
