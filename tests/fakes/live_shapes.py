"""Events of OpenAI's Live, compared with the types of the stock client: strictly, and field by field."""

from __future__ import annotations

from typing import Any

from openai.types.live import ClientEvent, ServerEvent
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.fakes.service_events import _extra

SERVER: TypeAdapter[Any] = TypeAdapter(ServerEvent)
CLIENT: TypeAdapter[Any] = TypeAdapter(ClientEvent)
RESPONSES: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def check(event: dict[str, Any]) -> None:
    """Raise ``AssertionError`` or ``ValidationError`` unless a stock client knows the event and all of its fields."""
    assert event["event_id"]
    extra = list(_extra(SERVER.validate_python(event, strict=True), ""))
    if event["type"] == "response.event":
        extra += _extra(RESPONSES.validate_python(event["event"], strict=True), "event.")
    assert not extra, (event["type"], extra)
