"""The JSON shapes of the OpenAI Realtime (GA) events that need no memory of the session. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from pipelines.assistant.events import SessionDegraded
from pipelines.errors import PipelineError
from pipelines.interfaces.llm import Tool, ToolChoice, Usage
from pipelines.interfaces.vision import Detection
from pipelines.voice.history import FunctionCall, FunctionResult, HistoryItem, new_id
from pipelines.voice.settings import ConversationSettings
from pipelines.voice.turn import TurnMode

Json = dict[str, Any]
OWN_EVENTS = ("vision.", "visavis.", "turn.", "engine.", "recording.", "session.moved", "session.degraded")
"""How the types of events of ours begin."""


def session_event(kind: str, session_id: str, settings: ConversationSettings, voice: str, models: Json) -> Json:
    """``session.created`` or ``session.updated`` with the settings in effect.

    ``voice`` is the engine's default; ``models`` are the names of who serves ``stt``, ``llm`` and ``tts``, and
    the ``language`` in which is listened.
    """
    format_ = {"type": "audio/pcm", "rate": 24_000}
    transcription = {"model": models["stt"], **({"language": models["language"]} if models["language"] else {})}
    return server_event(
        kind,
        session={
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": _model(models["llm"], settings),
            "instructions": settings.instructions,
            "output_modalities": ["audio"] if settings.spoken else ["text"],
            "max_output_tokens": "inf" if settings.max_tokens is None else settings.max_tokens,
            "tools": [tool_object(tool) for tool in settings.tools],
            "tool_choice": choice_object(settings.tool_choice),
            "parallel_tool_calls": settings.parallel_tool_calls,
            "tracing": None,
            "truncation": "auto",
            "audio": {
                "input": {
                    "format": format_,
                    "transcription": transcription if settings.transcripts else None,
                    "noise_reduction": None,
                    "turn_detection": _turn_detection(settings),
                },
                "output": {
                    "format": format_,
                    "voice": settings.voice.voice or voice,
                    "speed": settings.voice.speed,
                },
            },
        },
    )


def _model(name: str, settings: ConversationSettings) -> str:
    """By which the language model is asked for as it answers here: with its adapter, where it is one."""
    return f"{name}:{settings.adapters[0][0]}" if len(settings.adapters) == 1 else name


def transcription_event(event: Json) -> Json:
    """The same event for a session that writes down what it hears, and no more."""
    session = event["session"]
    listens = {"input": session["audio"]["input"]}
    kind = {"type": "transcription", "object": "realtime.transcription_session"}
    return {**event, "session": {**kind, "id": session["id"], "audio": listens}}


def _turn_detection(settings: ConversationSettings) -> Json | None:
    turn = settings.turn
    if turn.mode is TurnMode.MANUAL:
        return None
    return {
        "type": turn.mode.value,
        **({"eagerness": turn.eagerness.value} if turn.mode is TurnMode.SEMANTIC_VAD else {}),
        "threshold": settings.segmenter.start_threshold,
        "prefix_padding_ms": milliseconds(turn.prefix_padding_seconds),
        "silence_duration_ms": milliseconds(turn.silence_seconds),
        "create_response": turn.create_response,
        "interrupt_response": turn.interrupt_response,
        **({"idle_timeout_ms": milliseconds(turn.idle_seconds)} if turn.idle_seconds is not None else {}),
    }


def tool_object(tool: Tool) -> Json:
    """A function of the client's, as it gave it."""
    shown: Json = {"type": "function", "name": tool.name, "parameters": dict(tool.parameters)}
    return {**shown, "description": tool.description} if tool.description else shown


def choice_object(choice: ToolChoice | Literal["none"]) -> Json | str:
    """Whether one has to be called."""
    return {"type": "function", "name": choice.name} if isinstance(choice, Tool) else choice


def error_event(
    code: str,
    message: str,
    *,
    param: str | None = None,
    event_id: str | None = None,
    kind: str = "invalid_request_error",
) -> Json:
    """An ``error`` event; ``event_id`` is the client's event that it answers."""
    error: Json = {"type": kind, "code": code, "message": message}
    if param is not None:
        error["param"] = param
    if event_id is not None:
        error["event_id"] = event_id
    return server_event("error", error=error)


def ended_event(reason: str) -> Json:
    """The last event of a session that ends from our side, as the service words one that has become too old."""
    return error_event("session_ended", f"the session has ended: {reason}", kind="server_error")


def status_event(rows: list[Json]) -> Json:
    """``engine.status``: what runs where, and why."""
    return server_event("engine.status", data=rows)


def is_own(event: Json) -> bool:
    """Whether the service has no such event: some of its clients take one for an error."""
    return str(event["type"]).startswith(OWN_EVENTS)


def server_event(kind: str, **fields: object) -> Json:
    """An event with an id of its own."""
    return {"type": kind, "event_id": new_id("event"), **fields}


def item_object(item: HistoryItem) -> Json:
    """An item as it is remembered: of an answer that was cut off, what was heard. Pictures are told back without their
    bytes: events are small."""
    if isinstance(item, FunctionCall):
        return function_call(item)
    if isinstance(item, FunctionResult):
        return function_result(item)
    parts: list[Json] = [{"type": "input_image"} for _ in item.images]
    if item.spoken:
        parts.append({"type": "output_audio" if item.role == "assistant" else "input_audio", "transcript": item.text})
    elif item.text or not parts:
        parts.insert(0, {"type": "output_text" if item.role == "assistant" else "input_text", "text": item.text})
    return message_object(item.id, item.role, parts, "incomplete" if item.interrupted else "completed")


def message_object(item_id: str, role: str, content: list[Json], status: str = "completed") -> Json:
    """What somebody has said."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": role,
        "content": content,
    }


def function_call(item: FunctionCall, *, begun: bool = False) -> Json:
    """A call; ``begun``: its arguments are still to be told."""
    return {
        "id": item.id,
        "object": "realtime.item",
        "type": "function_call",
        "status": "in_progress" if begun else "completed",
        "call_id": item.call.id,
        "name": item.call.name,
        "arguments": "" if begun else item.call.arguments,
    }


def function_result(item: FunctionResult) -> Json:
    """What a call has brought."""
    return {
        "id": item.id,
        "object": "realtime.item",
        "type": "function_call_output",
        "status": "completed",
        "call_id": item.call_id,
        "output": item.output,
    }


def usage_object(usage: Usage) -> Json:
    """What a response has cost, in tokens of the language model; speech is not counted in tokens."""
    return {
        "total_tokens": usage.prompt + usage.answer,
        "input_tokens": usage.prompt,
        "output_tokens": usage.answer,
        "input_token_details": {"text_tokens": usage.prompt, "audio_tokens": 0, "cached_tokens": usage.cached},
        "output_token_details": {"text_tokens": usage.answer, "audio_tokens": 0},
    }


def error_object(error: PipelineError) -> Json:
    """A failure of ours inside another event."""
    return {"type": "server_error", "code": error.code, "message": error.message}


def seen_object(detection: Detection) -> Json:
    """Something the camera shows, in ``vision.changed``."""
    shown: Json = {
        "kind": detection.kind,
        "id": detection.id,
        "box": [round(value, 4) for value in detection.box],
        "score": round(detection.score, 3),
    }
    if detection.label:
        shown["label"] = detection.label
    if detection.gesture:
        shown["gesture"] = detection.gesture
    if detection.expression is not None:
        shown["expression"] = {name: round(value, 2) for name, value in asdict(detection.expression).items()}
    return shown


def milliseconds(seconds: float) -> int:
    """Whole milliseconds."""
    return round(seconds * 1000)


def degraded_event(event: SessionDegraded) -> Json:
    """What the session gives up, and why; ``shed`` is empty, and ``reason`` null, when everything is as usual again."""
    reason = asdict(event.cause) if event.cause is not None else None
    return server_event("session.degraded", shed=list(event.parts), reason=reason)
