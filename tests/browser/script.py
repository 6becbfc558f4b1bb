"""What the scripted server says: the events of a conversation, made short."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page

from tests.browser.fake_server import FakeServer
from tests.browser.waiting import until


async def start(page: Page, server: FakeServer, status: str = "listening") -> None:
    await page.get_by_role("button", name="Start").click()
    await server.connected()
    await until(page, f"state => state.status === '{status}'")


def spoken(item: str, transcript: str) -> list[dict[str, Any]]:
    """The events of a spoken turn, from the first sound to the transcript."""
    return [
        {"type": "input_audio_buffer.speech_started", "item_id": item, "audio_start_ms": 0},
        {"type": "input_audio_buffer.speech_stopped", "item_id": item, "audio_end_ms": 900},
        {"type": "input_audio_buffer.committed", "item_id": item},
        {
            "type": "conversation.item.added",
            "item": {
                "id": item,
                "type": "message",
                "role": "user",
                "content": [{"type": "input_audio", "transcript": None}],
            },
        },
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": item,
            "content_index": 0,
            "transcript": transcript,
        },
    ]


def reply_begins(response: str, item: str, *words: str) -> list[dict[str, Any]]:
    """The events of a reply up to the first words heard."""
    return [
        {"type": "response.created", "response": {"id": response, "status": "in_progress", "output": []}},
        {
            "type": "response.output_item.added",
            "response_id": response,
            "item": {"id": item, "type": "message", "role": "assistant", "content": []},
        },
        *(
            {
                "type": "response.output_audio_transcript.delta",
                "response_id": response,
                "item_id": item,
                "delta": word,
            }
            for word in words
        ),
        {"type": "output_audio_buffer.started", "response_id": response},
    ]


def reply_ends(response: str, status: str = "completed", **details: str) -> dict[str, Any]:
    return {
        "type": "response.done",
        "response": {"id": response, "status": status, "status_details": details, "output": []},
    }


def history(session: str) -> list[dict[str, Any]]:
    """Series as ``GET /v1/history`` tells them: a server at work, this session and another one."""

    def series(name: str, *values: float | None, **labels: str) -> dict[str, Any]:
        return {"name": name, "labels": labels, "kind": "gauge", "values": list(values), "peaks": list(values)}

    wave = [0.4 + 0.3 * (n % 7) / 7 for n in range(120)]
    return [
        series("process_cpu_seconds_total", *wave),
        series("process_resident_memory_bytes", *[6e8 + 1e6 * n for n in range(120)]),
        series("visavis_machine_cpu_share", *wave),
        series("visavis_sessions", *[float(n > 40) for n in range(120)]),
        series("visavis_event_loop_delay_seconds", *[0.004] * 120),
        series("pipeline_total_latency_ms", *[300.0 + n if n % 9 == 0 else None for n in range(120)]),
        series("pipeline_stage_duration_ms", *[200.0 if n % 9 == 0 else None for n in range(120)], stage="endpoint"),
        series("pipeline_stage_duration_ms", *[90.0] * 120, stage="transcript", worker="2"),
        series("visavis_turns_total", *[0.0] * 119, 0.5, outcome="failed"),
        series("visavis_turns_total", *[0.2] * 120, outcome="completed"),
        series("visavis_engine_errors_total", *[0.0] * 119, 0.1, engine="piper"),
        series("visavis_engine_cpu_seconds_total", *wave, engine="llama.cpp"),
        series("visavis_engine_cpu_seconds_total", *[0.02] * 120, engine="<b>vision</b>"),
        series("visavis_engine_resident_bytes", *[3e8] * 120, engine="llama.cpp"),
        series("visavis_session_cpu_seconds_total", *[0.12] * 120, session=session),
        series("visavis_session_latency_ms", *[None] * 60, 310.0, *[None] * 59, session=session),
        series("visavis_session_errors_total", *[0.0] * 120, session="sess_other"),
    ]
