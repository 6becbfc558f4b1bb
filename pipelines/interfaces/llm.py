"""Language models: messages, tools and pictures in, text and tool calls out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pipelines.errors import LLMError

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Tool:
    """Something the language model may ask to have done."""

    name: str
    description: str
    """What it does and when to use it, for the model to read."""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON schema of the arguments, an object."""


ToolChoice = Literal["auto", "required"] | Tool
"""Call a tool or answer, as the model sees fit; call any; or call this one. "None" is a request without tools."""


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """The answer is one JSON value and nothing else (OpenAI's ``response_format``)."""

    schema: Mapping[str, Any] | None = None
    """JSON schema that it keeps to; ``None``: any object."""
    name: str = "answer"
    """What the schema is called, which some servers tell their model."""
    description: str = ""
    strict: bool = False
    """Passed on: hosted servers take only some schemas then. Those of this machine always keep to the schema."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool."""

    id: str
    """Names this call in the message that brings its result."""
    name: str
    """As the model wrote it: there may be no such tool."""
    arguments: str
    """A JSON object, as text."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A picture for a language model that takes them."""

    data: bytes
    """JPEG or PNG."""
    kind: Literal["image/jpeg", "image/png"] = "image/jpeg"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation as the language model gets it."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """What an assistant asked for in this message."""
    tool_call_id: str = ""
    """Of a ``tool`` message: the call whose result ``content`` is."""
    images: tuple[Image, ...] = ()
    """What a user shows with these words. Models that take none are told that there was something."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer cost, in tokens."""

    prompt: int
    cached: int
    """How many of the prompt's tokens were known from before and not read again."""
    answer: int


Scaled = tuple[tuple[str, float], ...]
"""Names of LoRA adapters, each with how strongly it is applied; empty: the model as it is."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a language model is asked."""

    messages: tuple[Message, ...]
    """System message first, then the turns; what was interrupted is cut to the words that were heard."""
    scene: str = ""
    """What the camera shows, in words; empty without a camera. Engines place it where their prompt cache survives."""
    max_tokens: int = 256
    tools: tuple[Tool, ...] = ()
    """What the model may call. Without tools an answer is text alone."""
    tool_choice: ToolChoice = "auto"
    """Whether it has to call one."""
    parallel_tool_calls: bool = True
    """Whether one answer may call several."""
    response_format: JsonFormat | None = None
    """What a text has to be; ``None``: any text."""
    time: str = ""
    """Time and date in words (:func:`~pipelines.engines.llm.messages.time_words`); empty where nobody tells."""
    temperature: float | None = None
    """Randomness, 0 for none; ``None``: what the engine finds best, as for the next two."""
    top_p: float | None = None
    """Only the likeliest tokens that make up this share are drawn from."""
    seed: int | None = None
    """For answers that can be repeated, where the engine can."""
    on_usage: Callable[[Usage], None] | None = field(default=None, compare=False, repr=False)
    """Is told before the end what the answer cost, where the engine knows."""
    top_logprobs: int | None = None
    """How many alternatives are told of each token, with its logarithmic probability; ``None``: nothing is told."""
    on_logprobs: Callable[[list[dict[str, Any]]], None] | None = field(default=None, compare=False, repr=False)
    """Is told of the next tokens, in the form of OpenAI's ``logprobs.content``, before their text comes."""
    on_lost: Callable[[str], str] | None = field(default=None, compare=False, repr=False)
    """Where a model that fails in the midst of its answer may be replaced: is given what it has streamed, takes back
    what nobody has made use of, and returns what stays. Another model then goes on behind that, or begins anew where
    nothing stays. ``None``: what has been streamed cannot be taken back, and the failure is raised."""
    adapters: Scaled = ()
    """What changes the model for this answer: such as it has (:func:`adapters_of`)."""
    adapters_needed: bool = True
    """Whether only a model that has them may answer; else one without does it as it is."""

    @property
    def must_call(self) -> bool:
        """Whether words alone are no answer."""
        return bool(self.tools) and self.tool_choice != "auto"

    @property
    def callable(self) -> tuple[Tool, ...]:
        """The tools of which one may be called, or has to be."""
        return (self.tool_choice,) if self.tools and isinstance(self.tool_choice, Tool) else self.tools


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of an answer that stops because it has ``max_tokens``, and not because all was said.

    As text it is nothing.
    """

    def __str__(self) -> str:
        return ""


Piece = str | ToolCall | Cut
"""What a language model streams: words, a call once it is complete, and that the answer was cut, which comes last."""


class LanguageModel(Protocol):
    """A language model that streams text."""

    @property
    def name(self) -> str:
        """How people call it."""
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield pieces of the answer, and each tool call once it is complete (only when ``request`` has tools).

        An answer that reached the limit of tokens ends with :class:`Cut`, where the engine can tell.

        Closing the generator stops generation. Raises :class:`~pipelines.errors.LLMError` when the engine failed.
        """
        ...

    async def close(self) -> None:
        """Close connections and workers."""
        ...


def takes_images(model: LanguageModel) -> bool:
    """Whether ``model`` looks at the pictures of a message: its attribute of that name."""
    return bool(getattr(model, "takes_images", False))


def takes_tools(model: LanguageModel) -> bool:
    """Whether ``model`` can be offered tools, unless its attribute of that name is false."""
    return bool(getattr(model, "takes_tools", True))


def takes_choice(model: LanguageModel) -> bool:
    """Whether ``model`` can be made to call a tool: its attribute of that name."""
    return bool(getattr(model, "takes_choice", False))


def calls_unasked(model: LanguageModel) -> bool:
    """Whether ``model`` calls tools by itself where that is sensible: its attribute of that name. Small ones call only
    what they are made to."""
    return bool(getattr(model, "calls_unasked", takes_choice(model)))


def takes_format(model: LanguageModel) -> bool:
    """Whether the answers of ``model`` can be held to JSON: its attribute of that name."""
    return bool(getattr(model, "takes_format", False))


def takes_logprobs(model: LanguageModel) -> bool:
    """Whether ``model`` tells how likely its tokens were: its attribute of that name."""
    return bool(getattr(model, "takes_logprobs", False))


def adapters_of(model: LanguageModel) -> tuple[str, ...]:
    """The adapters that answers of ``model`` can be asked for with: its attribute ``adapters``."""
    return tuple(getattr(model, "adapters", ()))


def adapter_asked(model: LanguageModel, name: str | None) -> str:
    """The adapter of ``model`` that ``name`` means, by itself as vLLM has it or as ``MODEL:ADAPTER``; else empty."""
    own = (name or "").removeprefix(f"{model.name}:")
    return own if own in adapters_of(model) else ""


def adapters_asked(model: LanguageModel, request: ChatRequest) -> Scaled:
    """Those of ``request`` that ``model`` has."""
    there = adapters_of(model) if request.adapters else ()
    return tuple((name, scale) for name, scale in request.adapters if name in there)


class ModelAround:
    """A language model that does something of its own around another one, and can do what that one can."""

    def __init__(self, model: LanguageModel) -> None:
        self.name = model.name
        self._model = model

    @property
    def takes_images(self) -> bool:
        """As the model."""
        return takes_images(self._model)

    @property
    def takes_tools(self) -> bool:
        """As the model; one behind a failover may change."""
        return takes_tools(self._model)

    @property
    def takes_choice(self) -> bool:
        """As the model."""
        return takes_choice(self._model)

    @property
    def calls_unasked(self) -> bool:
        """As the model."""
        return calls_unasked(self._model)

    @property
    def takes_format(self) -> bool:
        """As the model."""
        return takes_format(self._model)

    @property
    def takes_logprobs(self) -> bool:
        """As the model."""
        return takes_logprobs(self._model)

    @property
    def adapters(self) -> tuple[str, ...]:
        """As the model."""
        return adapters_of(self._model)

    async def close(self) -> None:
        """The model is its owner's to close."""


def lacking(model: LanguageModel, request: ChatRequest) -> str:
    """The field of ``request`` that ``model`` cannot keep to, one of :data:`UNABLE`; else empty."""
    if request.must_call and not takes_choice(model):
        return "tool_choice"
    if request.top_logprobs is not None and not takes_logprobs(model):
        return "logprobs"
    if request.adapters_needed and not {name for name, _ in request.adapters} <= set(adapters_of(model)):
        return "adapters"
    return "response_format" if request.response_format is not None and not takes_format(model) else ""


def insist(model: LanguageModel, request: ChatRequest) -> None:
    """Raise :class:`LLMError` (``tool_choice_unsupported``, ``response_format_unsupported``, ``logprobs_unsupported``,
    ``adapters_unsupported``) where it cannot."""
    if field_name := lacking(model, request):
        raise LLMError(f"{field_name}_unsupported", f"{field_name}: {model.name} {UNABLE[field_name]}")


UNABLE = {
    "tool_choice": "cannot be made to call a tool; legal values are auto and none",
    "response_format": "cannot be held to JSON; legal is text",
    "logprobs": "does not tell how likely its tokens were; legal is false",
    "adapters": "does not have that adapter (GET /v1/models lists those there are)",
}
"""Fields that not every model keeps to → what is said of one that does not."""
