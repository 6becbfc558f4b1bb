"""Models that answer by what they are asked: a turn that is thought over twice gets the same answer."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

from pipelines.interfaces.llm import ChatRequest, Piece, ToolCall
from tests.fakes.engines import FakeModel


class Knowing(FakeModel):
    """``answers`` by the last message of the user."""

    def __init__(self, **answers: str) -> None:
        super().__init__()
        self.known = {question.replace("_", " "): answer for question, answer in answers.items()}

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        asked = next(message.content for message in reversed(request.messages) if message.role == "user")
        self.answers = [self.known[asked]]
        async for word in super().stream(request):
            yield word


class Calling(FakeModel):
    """Asks for the weather of Paris, and says what it was told."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        self.requests.append(request)
        last = request.messages[-1]
        if last.role == "tool":
            yield f"I hear: {json.loads(last.content)['sky']}."
        else:
            yield ToolCall("call_1", "weather", '{"city": "Paris"}')
