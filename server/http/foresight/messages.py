"""Events of a prediction → the messages that its clients get. Pure."""

from __future__ import annotations

import base64
from typing import Any

from pipelines.foresight.events import (
    Completed,
    Event,
    Frame,
    Preview,
    Started,
    TextChunk,
    TextDone,
    VideoDone,
    VideoFailed,
    VideoStartedOver,
)
from pipelines.foresight.quality import Plan
from server.http.errors import error_body

Message = dict[str, Any]


def video_url(session_id: str) -> str:
    """Where the video is fetched."""
    return f"/api/videos/{session_id}.mp4"


def message_of(event: Event, session_id: str, jpeg: bytes = b"") -> Message | None:
    """The message; ``None`` for what clients are not told. ``jpeg``: the picture of the event, where it has one."""
    match event:
        case Started(plan, by):
            return {
                "type": "thinking_start",
                "session_id": session_id,
                "method": by.method,
                "model": by.model,
                "described_by": by.describer,
                **_sizes(plan),
            }
        case TextChunk(text):
            return {"type": "text_chunk", "text": text}
        case TextDone(code, message):
            return _failed("text_failed", code, message) if code else None
        case Frame(index, total, pts, _, confidence):
            sure = None if confidence is None else round(confidence, 3)
            return {"type": "video_frame", **_place(index, total, pts), "confidence": sure, "data": _base64(jpeg)}
        case Preview(index, total, pts, _, step, steps):
            return {
                "type": "video_frame",
                **_place(index, total, pts),
                "preview": {"step": step, "steps": steps},
                "data": _base64(jpeg),
            }
        case VideoStartedOver(plan, reason):
            return {"type": "video_restarted", "reason": reason, **_sizes(plan)}
        case VideoDone(frames, horizon):
            return {
                "type": "video_complete",
                "video_url": video_url(session_id),
                "total_frames": frames,
                "horizon_s": round(horizon, 3),
            }
        case VideoFailed(code, message):
            return _failed("video_failed", code, message)
        case Completed(text):
            return {"type": "thinking_complete", "session_id": session_id, "text": text}


def _sizes(plan: Plan) -> Message:
    width, height, frames = plan.asked
    return {
        "quality": plan.quality,
        "width": plan.width,
        "height": plan.height,
        "total_frames": plan.frames,
        "fps": plan.fps,
        "asked": {"width": width, "height": height, "total_frames": frames},
    }


def _place(index: int, total: int, pts: float) -> Message:
    return {"frame_index": index, "total_frames": total, "pts": round(pts, 4)}


def _base64(jpeg: bytes) -> str:
    return base64.b64encode(jpeg).decode("ascii")


def _failed(kind: str, code: str, message: str) -> Message:
    return {"type": kind, **error_body(500, code, message)}
