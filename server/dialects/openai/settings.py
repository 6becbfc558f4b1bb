"""The settings of a session as clients word them: read, merged into what is in effect, and refused. Pure.

A refusal names the field and what is legal, and nothing of the event it stands in is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from pydantic import ValidationError

from pipelines.errors import listed
from pipelines.interfaces.llm import Tool, ToolChoice
from pipelines.routing.run import Priority
from pipelines.voice.settings import ConversationSettings
from pipelines.voice.tts import VoiceSettings
from pipelines.voice.turn import Eagerness, TurnMode, TurnSettings, eager
from pipelines.voice.vad import SegmenterSettings
from server.dialects.openai.fields import (
    Audio,
    AudioOutput,
    FunctionTool,
    NamedChoice,
    SessionPatch,
    Transcription,
    TurnDetection,
)
from server.dialects.openai.models import SERVED, ResponseOptions, SessionUpdate

VAD_SILENCE_SECONDS = 0.5
"""Silence that ends a turn with ``server_vad``, unless the client says otherwise: the service's default."""
LONGEST_REASON = 1_000
"""Characters of a reason: it may quote what was sent."""
LONGEST_SHOWN = 100
"""Characters of what a client sent that are told back to it in an error."""


class RefusedError(Exception):
    """``param`` is the path of the field, the text says what is legal."""

    def __init__(self, param: str, message: str, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class RecordingDesk(Protocol):
    """Takes wishes for a recording of one session."""

    @property
    def wanted(self) -> tuple[bool, bool]:
        """Whether it is recorded, or is about to be, and whether with the video."""
        ...

    def want(self, enabled: bool, video: bool) -> None:
        """The client wants this from now on."""
        ...


def check_recording(patch: SessionPatch, desk: RecordingDesk | None) -> None:
    """Raise :class:`RefusedError` for a recording that cannot be."""
    if patch.recording is not None and patch.recording.enabled and desk is None:
        message = "nothing is recorded here: the server keeps no recordings (its setting recordings), or not of this"
        raise RefusedError("session.recording.enabled", message, "recording_not_allowed")


def check_priority(patch: SessionPatch, priority: Priority) -> None:
    """Raise :class:`RefusedError` for another priority than that which the session began with."""
    if patch.priority not in (None, priority):
        message = f'session.priority: is chosen when the session begins; legal value is "{priority}"'
        raise RefusedError("session.priority", message)


@dataclass(frozen=True, slots=True)
class Served:
    """What this server and this peer can do."""

    voices: Callable[[], tuple[str, ...]]
    """Of the engine that speaks, the default first."""
    languages: Callable[[], tuple[str, ...]] = lambda: ("en",)
    """Codes of those in which the engine that listens can be spoken to."""
    sounds: bool = True
    """Whether the peer has a way to hear us."""
    status: Callable[[], list[dict[str, Any]]] = list
    """What runs where, and why, as JSON rows."""
    language: str | None = None
    """In which is listened unless the client says otherwise; ``None``: it is detected."""
    plays: bool = True
    """Whether the voice is played by us, as on a peer connection; else the client is sent it and plays it itself."""
    own_events: bool = True
    """Whether the client is told events that the service has not, too."""
    recording: RecordingDesk | None = None
    """Where the client asks for a recording of the session; ``None``: there can be none."""
    tools: Callable[[], tuple[Tool, ...]] = tuple
    """Those that the server runs itself, beside the session's own; of one name the session's counts."""
    priority: Priority = "normal"
    """That the session began with."""
    adapter: Callable[[str | None], str] = lambda name: ""
    """What changes the language model where it is asked for by this name (:func:`adapter_asked`); empty: nothing."""
    usual: ConversationSettings | None = None
    """What null means: the settings that the session began with, without those of an earlier conversation that it goes
    on with. ``None``: those that it has when its client joins."""


def offered_session(session: object) -> SessionPatch:
    """The settings that a call begins with, as a form brings them beside its offer; all usual where it brings none.

    Raises :class:`RefusedError`.
    """
    if session is None:
        return SessionPatch()
    data: dict[str, Any] = {"type": "session.update", "session": session}
    try:
        return SessionUpdate.model_validate(data).session
    except ValidationError as error:
        raise refusal(error, data, tagged=False) from error


def merge(
    settings: ConversationSettings, defaults: ConversationSettings, patch: SessionPatch, served: Served
) -> ConversationSettings:
    """Settings with the given fields changed and all others kept; null means as at first, where it is no value of its
    own. Raises :class:`RefusedError`."""
    defaults = served.usual or defaults
    audio = patch.audio or Audio()
    if patch.type is not None:
        settings = replace(settings, listens_only=patch.type == "transcription")
    if settings.listens_only:
        _check_transcription(patch)
        settings = replace(settings, turn=replace(settings.turn, idle_seconds=None))
    settings = _answering(settings, defaults, patch, served)
    settings = replace(settings, voice=_voice(settings.voice, defaults.voice, audio.output, served))
    if "model" in patch.model_fields_set:  # of a name that is not known, such as the service's own, the usual one
        adapter = served.adapter(patch.model)
        settings = replace(settings, adapters=((adapter, 1.0),) if adapter else defaults.adapters)
    heard = audio.input
    if heard is None:
        return settings
    if "transcription" in heard.model_fields_set:
        language = _language(settings, defaults, heard.transcription, served)
        settings = replace(settings, transcripts=heard.transcription is not None, language=language)
    if "turn_detection" in heard.model_fields_set:
        turn, segmenter = _turn(settings, defaults, heard.turn_detection)
        settings = replace(settings, turn=turn, segmenter=segmenter)
    return settings


_TRANSCRIBING = frozenset({"type", "audio", "include", "vision", "priority"})
"""Fields of a session that answers nothing."""


def _check_transcription(patch: SessionPatch) -> None:
    """Refuse what is given beside how the session listens."""
    other = sorted(name for name in patch.model_fields_set - _TRANSCRIBING if getattr(patch, name) is not None)
    audio = patch.audio or Audio()
    if audio.output is not None:
        other.append("audio.output")
    if audio.input is not None and (audio.input.turn_detection or TurnDetection()).idle_timeout_ms is not None:
        other.append("audio.input.turn_detection.idle_timeout_ms")
    if other:
        message = (
            f"session.{other[0]}: a transcription session answers nothing; it has audio.input alone, without a timeout"
        )
        raise RefusedError(f"session.{other[0]}", message)


def merge_response(
    settings: ConversationSettings, defaults: ConversationSettings, options: ResponseOptions, served: Served
) -> ConversationSettings:
    """The same for one answer: null means as in the session."""
    given = ResponseOptions.model_construct(
        {name for name in options.model_fields_set if getattr(options, name) is not None}, **dict(options)
    )
    try:
        settings = _answering(settings, defaults, given, served)
        output = options.audio.output if options.audio else None
        return replace(settings, voice=_voice(settings.voice, settings.voice, output, served))
    except RefusedError as error:
        raise RefusedError(error.param.replace("session.", "response.", 1), str(error)) from error


def _answering(
    settings: ConversationSettings,
    defaults: ConversationSettings,
    given: SessionPatch | ResponseOptions,
    served: Served,
) -> ConversationSettings:
    changes: dict[str, Any] = {}
    if "instructions" in given.model_fields_set:
        changes["instructions"] = defaults.instructions if given.instructions is None else given.instructions
    if "output_modalities" in given.model_fields_set:
        changes["spoken"] = defaults.spoken if given.output_modalities is None else given.output_modalities == ["audio"]
        if changes["spoken"] and not served.sounds:
            message = 'the offer has no audio that could carry a voice; legal here is ["text"]'
            raise RefusedError("session.output_modalities", message)
    if "max_output_tokens" in given.model_fields_set:
        tokens = given.max_output_tokens
        changes["max_tokens"] = defaults.max_tokens if tokens is None else None if tokens == "inf" else tokens
    if "tools" in given.model_fields_set:
        changes["tools"] = defaults.tools if given.tools is None else tuple(map(_tool, given.tools))
    if "parallel_tool_calls" in given.model_fields_set:
        several = given.parallel_tool_calls
        changes["parallel_tool_calls"] = defaults.parallel_tool_calls if several is None else several
    settings = replace(settings, **changes)
    if "tool_choice" in given.model_fields_set:
        return replace(settings, tool_choice=_choice(given.tool_choice, _callable(settings, served)))
    if isinstance(settings.tool_choice, Tool) and settings.tool_choice not in _callable(settings, served):
        return replace(settings, tool_choice="auto")  # the one that was to be called is gone
    return settings


def _tool(tool: FunctionTool) -> Tool:
    if tool.parameters is None:
        return Tool(tool.name, tool.description or "")
    return Tool(tool.name, tool.description or "", tool.parameters)


def _callable(settings: ConversationSettings, served: Served) -> tuple[Tool, ...]:
    """What the model may call: the session's tools, and those of the server that have no name of theirs."""
    names = {tool.name for tool in settings.tools}
    return (*settings.tools, *(tool for tool in served.tools() if tool.name not in names))


def _choice(
    choice: Literal["auto", "none", "required"] | NamedChoice | None, tools: tuple[Tool, ...]
) -> ToolChoice | Literal["none"]:
    if choice is None:
        return "auto"
    if not isinstance(choice, NamedChoice):
        if choice == "required" and not tools:
            raise RefusedError("session.tool_choice", "there are no tools of which one could be required")
        return choice
    tool = next((tool for tool in tools if tool.name == choice.name), None)
    if tool is None:
        names = listed([tool.name for tool in tools]) if tools else "none"
        message = f"there is no tool {choice.name[:LONGEST_SHOWN]!r}; the tools are: {names}"
        raise RefusedError("session.tool_choice.name", message)
    return tool


def _voice(
    settings: VoiceSettings, defaults: VoiceSettings, output: AudioOutput | None, served: Served
) -> VoiceSettings:
    if output is None:
        return settings
    if "voice" in output.model_fields_set:  # of a name that is not known, such as the service's own, the usual one
        wanted = output.voice
        settings = replace(settings, voice=wanted if wanted in served.voices() else defaults.voice)
    if "speed" in output.model_fields_set:
        settings = replace(settings, speed=defaults.speed if output.speed is None else output.speed)
    return settings


def _language(
    settings: ConversationSettings, defaults: ConversationSettings, wish: Transcription | None, served: Served
) -> str | None:
    """In which the user wants to speak. A region is let go: recognisers know languages (``pt-BR`` is ``pt``)."""
    if wish is None or "language" not in wish.model_fields_set:
        return settings.language
    if wish.language is None:
        return defaults.language
    language = wish.language.lower().partition("-")[0]
    legal = served.languages()
    if language not in legal:
        message = (
            f"who listens does not know {wish.language[:LONGEST_SHOWN]!r}; legal values are null and {listed(legal)}"
        )
        raise RefusedError("session.audio.input.transcription.language", message)
    return language


def _turn(
    settings: ConversationSettings, defaults: ConversationSettings, patch: TurnDetection | None
) -> tuple[TurnSettings, SegmenterSettings]:
    """Given fields change what is in effect. Another type begins with its own defaults, but for who answers."""
    turn, segmenter, mode = settings.turn, settings.segmenter, settings.turn.mode
    if patch is None:
        return replace(turn, mode=TurnMode.MANUAL), segmenter
    if patch.type is not None:
        mode = TurnMode(patch.type)
    elif mode is TurnMode.MANUAL:
        mode = TurnMode.SERVER_VAD
    if patch.eagerness is not None and mode is not TurnMode.SEMANTIC_VAD:
        message = 'only "semantic_vad" has an eagerness; "server_vad" has silence_duration_ms'
        raise RefusedError("session.audio.input.turn_detection.eagerness", message)
    usual = _usual(mode, turn, defaults)
    if mode is not turn.mode:
        turn, segmenter = usual, defaults.segmenter
    if patch.idle_timeout_ms is not None and mode is not TurnMode.SERVER_VAD:
        message = 'only "server_vad" has an idle timeout; legal here is null'
        raise RefusedError("session.audio.input.turn_detection.idle_timeout_ms", message)
    given = patch.model_fields_set
    if "eagerness" in given:
        turn = eager(turn, Eagerness(patch.eagerness or "auto"))
    if "threshold" in given:
        segmenter = _with_threshold(segmenter, defaults.segmenter, patch.threshold)
    return _with_times(turn, usual, patch), segmenter


_SECONDS = {
    "prefix_padding_ms": "prefix_padding_seconds",
    "silence_duration_ms": "silence_seconds",
    "idle_timeout_ms": "idle_seconds",
}


def _with_times(turn: TurnSettings, usual: TurnSettings, patch: TurnDetection) -> TurnSettings:
    """The given fields that are ours by another name, or by the same."""
    changes: dict[str, Any] = {}
    for name in patch.model_fields_set & {*_SECONDS, "create_response", "interrupt_response"}:
        value, ours = getattr(patch, name), _SECONDS.get(name, name)
        if value is None:
            changes[ours] = getattr(usual, ours)
        else:
            changes[ours] = value / 1000 if name in _SECONDS else value
    return replace(turn, **changes)


def _usual(mode: TurnMode, turn: TurnSettings, defaults: ConversationSettings) -> TurnSettings:
    """How a turn ends in this mode unless the client says more; who answers stays as it is."""
    usual = replace(defaults.turn, mode=mode)
    if mode is TurnMode.SERVER_VAD:
        usual = replace(usual, silence_seconds=VAD_SILENCE_SECONDS)
    return replace(usual, create_response=turn.create_response, interrupt_response=turn.interrupt_response)


def _with_threshold(
    segmenter: SegmenterSettings, usual: SegmenterSettings, threshold: float | None
) -> SegmenterSettings:
    if threshold is None:
        return replace(segmenter, start_threshold=usual.start_threshold, stop_threshold=usual.stop_threshold)
    return replace(segmenter, start_threshold=threshold, stop_threshold=max(0.01, threshold - 0.15))


# ---------------------------------------------------------------------------------------------------- refusals


def refusal(error: ValidationError, data: dict[str, Any], *, tagged: bool = True) -> RefusedError:
    """What is wrong with an event, in words for its sender. ``tagged``: it was read as one of several kinds."""
    problem = error.errors(include_url=False, include_input=False)[0]
    context = problem.get("ctx", {})
    place = list(problem["loc"])
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found") and not place:
        given = context.get("tag")
        what = f"unknown event type {str(given)[:LONGEST_SHOWN]!r}" if given else "an event needs a type"
        return RefusedError("type", f"{what}; served are {listed(SERVED)}", "unknown_event")
    path = _path(data, place[1:] if tagged else place)
    code = "invalid_value"
    if "name" in context:  # ours: a model tells of one of its fields
        path = [*path, str(context["name"])[:LONGEST_SHOWN]]
        code = "unknown_parameter" if problem["type"] == "unknown_field" else code
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        path = [*path, "type"]
    param = ".".join(path)
    message = "must be an object" if problem["type"] in ("model_type", "dict_type") else problem["msg"]
    return RefusedError(param, f"{param}: {message.removeprefix('Value error, ')[:LONGEST_REASON]}", code)


def _path(data: Any, place: list[int | str]) -> list[str]:
    """Where in the event: without what pydantic puts in to tell types, or keys and values, apart."""
    path = []
    for part in place:
        if isinstance(data, dict):
            if part not in data and (data.get("type") == part or part == "[key]"):
                continue
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            data = data[part]
        elif part == "[key]":
            continue
        path.append(str(part)[:LONGEST_SHOWN])
    return path
