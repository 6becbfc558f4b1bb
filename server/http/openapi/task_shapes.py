"""What responses about tasks hold; see :mod:`server.http.openapi.shapes`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from server.http.openapi.shapes import EmbeddingUsage, Shape


class TaskRow(Shape):
    """A task, and who can do it here."""

    id: str
    object: Literal["task"]
    about: str
    available: bool
    why_not: str | None
    models: list[str]
    """The preferred first."""
    streams: bool


class TaskDetails(TaskRow):
    """The same with the schemas of its data."""

    inputs: dict[str, Any]
    parameters: dict[str, Any]
    model: dict[str, Any] = Field(default_factory=dict)
    """What the model that was asked for takes and gives, where it tells that."""


class TaskList(Shape):
    """All tasks."""

    object: Literal["list"]
    data: list[TaskRow]


class TaskEvent(Shape):
    """A piece of a result; the last one holds the whole."""

    index: int = 0
    token: dict[str, Any] | None = None
    top_tokens: list[dict[str, Any]] | None = None
    piece: Any = None
    generated_text: str | None = None
    details: dict[str, Any] | None = None
    output: Any = None
    compute_time: float = 0.0
    x_model: str = ""


class CompletionChoice(Shape):
    """One continuation, or the next piece of it."""

    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length"] | None


class CompletionUsage(Shape):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(Shape):
    """All continuations, or the next piece of one."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage | None = None


class Infilled(Shape):
    """What stands between two texts, or the next piece of it."""

    content: str
    stop: bool
    stop_type: Literal["limit", "eos", "word"] = "limit"
    model: str = ""
    tokens_predicted: int = 0
    tokens_evaluated: int = 0


class RankedText(Shape):
    """A text, and how well it answers."""

    index: int
    score: float
    text: str = ""


class RerankResult(Shape):
    """A document, and how well it answers."""

    index: int
    relevance_score: float
    document: dict[str, str] = Field(default_factory=dict)


class Reranked(Shape):
    """Documents, the best first."""

    id: str
    model: str
    results: list[RerankResult]
    usage: EmbeddingUsage


class RerankedSecond(Shape):
    """The same in Cohere's second version."""

    id: str
    results: list[RerankResult]
    meta: dict[str, Any]


class DrawnPicture(Shape):
    """A PNG file (a JPEG where that would be over 4 MiB) in base64."""

    b64_json: str


class DrawnPictures(Shape):
    """Pictures of what is described."""

    created: int
    output_format: str
    data: list[DrawnPicture]


class LabelScore(Shape):
    """A label, and how sure it is."""

    label: str
    score: float


class TextTokens(Shape):
    """A text as tokens."""

    count: int
    max_model_len: int | None
    tokens: list[int]
    token_strs: list[str] | None


class OneToken(Shape):
    """A token, and where it stands."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class TokensText(Shape):
    """Tokens as a text."""

    prompt: str


class DetectedLanguage(Shape):
    """A language; percent."""

    language: str
    confidence: float


class TranslatedText(Shape):
    """A text, or several, in another language."""

    translatedText: str | list[str]
    detectedLanguage: DetectedLanguage | list[DetectedLanguage] | None = None


class LanguageRow(Shape):
    """A language, and into which it can be translated."""

    code: str
    name: str
    targets: list[str]
