"""A model that answers by what it is asked: a turn that is thought over twice gets the same answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from pipelines.interfaces.llm import ChatRequest
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
