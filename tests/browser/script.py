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
