"""What responses hold, as pydantic models: for the document alone, and for the tests that compare responses with it.

A field that may be left out has a default; nothing but the fields may be there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from server.http.rest.engine_names import Stage
from server.http.rest.transcriptions import TranscriptionForm, TranslationForm


class Shape(BaseModel):
    """Has its fields and no others."""

    model_config = ConfigDict(extra="forbid")


# ---------------------------------------------------------------------------------------------------- errors, probes


class ModelProgress(Shape):
    """How far a model has come that the server waits for; ``percent`` is null where that is not known."""

    engine: str
    name: str
    percent: int | None


class ErrorDetail(Shape):
    """What went wrong, and where in the request; the other fields come with ``server_full`` and ``warming_up``."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    code: str
    param: str | None
    retry_after: int | None = None
    """Seconds."""
    places: int | None = None
    """How many sessions there may be."""
    progress: list[ModelProgress] | None = None


class Error(Shape):
    """The one shape of every error."""

    error: ErrorDetail


class Alive(Shape):
    """The process runs."""

    status: Literal["ok"]


class Ready(Shape):
    """Whether another session would be accepted."""

    status: Literal["ready", "full", "starting"]


class FetchedModel(Shape):
    """A model that is being brought, or could not be; sizes in bytes, 0 where unknown."""

    model: str
    state: Literal["waiting", "fetching", "arrived", "failed"]
    done: int
    total: int
    error: str


class DetectorLabel(Shape):
    """Something that the camera's pictures can be searched for."""

    name: str
    label: str


class EngineRow(Shape):
    """What serves one stage, where it runs, and why."""

    stage: str
    engine: str
    device: str
    reason: str
    ok: bool
    wanted: str
    fetching: list[FetchedModel]
    languages: list[str] | None = None
    detectors: list[DetectorLabel] | None = None


class EngineList(Shape):
    """What runs where, and why."""

    object: Literal["list"]
    data: list[EngineRow]


# ---------------------------------------------------------------------------------------------------- models


class ModelRow(Shape):
    """An engine, under its own name or one that clients have built in."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    stage: Stage
    aliases: list[str]
    voices: list[str] | None = None
    parent: str | None = None
    """Of an adapter: the model that it changes."""


class ModelList(Shape):
    """The engines that serve."""

    object: Literal["list"]
    data: list[ModelRow]


# ---------------------------------------------------------------------------------------------------- chat


class CalledFunction(Shape):
    """A function, and a JSON object of arguments as text."""

    name: str
    arguments: str


class CalledTool(Shape):
    """A call that the model asks for."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class CachedTokens(Shape):
    """Of the prompt's tokens, those that were known from before."""

    cached_tokens: int


class ChatUsage(Shape):
    """What an answer cost, in tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class ChatCompletionMessage(Shape):
    """What the model says, or what it asks for."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[CalledTool] | None = None


Finish = Literal["stop", "length", "tool_calls"]


class ChatChoice(Shape):
    """The one answer."""

    index: Literal[0]
    message: ChatCompletionMessage
    logprobs: None
    finish_reason: Finish


class ChatCompletion(Shape):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage


class CalledToolPart(CalledTool):
    """A call as it is streamed: whole, with its place."""

    index: int


class ChatDelta(Shape):
    """What is new."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: None = None
    tool_calls: list[CalledToolPart] | None = None


class ChatChunkChoice(Shape):
    """The next part of the one answer."""

    index: Literal[0]
    delta: ChatDelta
    logprobs: None
    finish_reason: Finish | None


class ChatChunk(Shape):
    """An event of a streamed answer; the last one may tell the cost and has no choice."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: ChatUsage | None = None


# ---------------------------------------------------------------------------------------------------- sound


SoundFile = Annotated[str, WithJsonSchema({"type": "string", "contentMediaType": "application/octet-stream"})]


class TranslationUpload(TranslationForm):
    """A sound file, and what is asked of it."""

    file: SoundFile


class TranscriptionUpload(TranscriptionForm):
    """A sound file, and what is asked of it; lists may also be written with `[]` behind their names."""

    file: SoundFile


class DurationUsage(Shape):
    """What a transcript cost."""

    type: Literal["duration"]
    seconds: int


class PlainTranscript(Shape):
    """``response_format`` ``json``."""

    text: str
    usage: DurationUsage


class TranscriptSegment(Shape):
    """What was said between two pauses; times in seconds."""

    id: int
    seek: Literal[0]
    start: float
    end: float
    text: str
    tokens: list[int] = Field(max_length=0)
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class TranscriptWord(Shape):
    """When a word was said, in seconds."""

    word: str
    start: float
    end: float


class VerboseTranscript(Shape):
    """``response_format`` ``verbose_json``."""

    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    segments: list[TranscriptSegment] | None = None
    words: list[TranscriptWord] | None = None
    usage: DurationUsage


class TranscriptDelta(Shape):
    """What was said next."""

    type: Literal["transcript.text.delta"]
    delta: str


class TranscriptDone(Shape):
    """All that was said."""

    type: Literal["transcript.text.done"]
    text: str
    usage: DurationUsage


class TextUsage(Shape):
    """Tokens; those of sound are not counted."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class SpeechDelta(Shape):
    """The next bytes of the file, in base64."""

    type: Literal["speech.audio.delta"]
    audio: str


class SpeechDone(Shape):
    """The file is complete."""

    type: Literal["speech.audio.done"]
    usage: TextUsage


# ---------------------------------------------------------------------------------------------------- embeddings


class Embedding(Shape):
    """The vector of one text: numbers, or little-endian float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Shape):
    """Tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Shape):
    """The vectors, in the order of the texts."""

    object: Literal["list"]
    model: str
    usage: EmbeddingUsage
    data: list[Embedding]


# ---------------------------------------------------------------------------------------------------- the hub


class HubModel(BaseModel):
    """A repository as ``huggingface_hub`` reads it."""

    id: str
    sha: str
    siblings: list[dict[str, Any]]


class HubEntry(BaseModel):
    """A file or a folder of a repository."""

    type: Literal["file", "directory"]
    path: str
    oid: str
    size: int | None
