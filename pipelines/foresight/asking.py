"""Being asked what happens next before the camera: which questions mean that, and who answers them.

The answer is words, and a short film in the picture that goes back. Showing has an effect, so it begins only when the
answer is given, not while it is prepared.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from pipelines.interfaces.llm import ChatRequest, LanguageModel, ModelAround, Piece
from pipelines.voice.reading import LONGEST_QUESTION, plain
from pipelines.voice.visual_context import Sight

_NEXT = r"(?:next|in a moment|in the next (?:few )?(?:seconds?|moments?)|now on)"
_HAPPENS = r"(?:happens|will happen|is going to happen|might happen|could happen|comes|will come|is coming)"
_SHOW = r"(?:show|tell|predict|imagine|foresee|guess|film)"
_ASKING = re.compile(
    "|".join(
        (
            rf"\b{_SHOW}(?: (?:me|us))?(?: please)? what (?:{_HAPPENS}) {_NEXT}$",
            rf"\bwhat (?:{_HAPPENS}) {_NEXT}(?: (?:here|in the (?:picture|video)|before the camera))?$",
            rf"\bwhat (?:do you think|do you expect) (?:{_HAPPENS}) {_NEXT}$",
            r"\b(?:predict|foresee) (?:the next (?:few )?seconds|the future|what comes)$",
            r"\bshow (?:me|us) the (?:next (?:few )?seconds|near future)$",
        )
    )
)
_ELSEWHERE = re.compile(r"\b(?:story|book|film|movie|game|week|year|chapter|episode|meeting|agenda|plot)\b")
_TRAILING = re.compile(r"(?: (?:please|then|now|exactly|to me|for me|here|there|on camera|in the (?:picture|video)))+$")


def asks_to_foresee(text: str) -> bool:
    """Whether ``text``, which the user said, asks what happens next before the camera. English."""
    said = _TRAILING.sub("", plain(text[-LONGEST_QUESTION:]))
    return bool(_ASKING.search(said)) and not _ELSEWHERE.search(said)


class ForeseeingModel(ModelAround):
    """``model`` that has the camera's future shown when the user asks for it.

    Without a camera it is asked as it is. ``allowed`` returns once the answer is given.
    """

    def __init__(self, model: LanguageModel, sight: Sight, allowed: Callable[[], Awaitable[None]]) -> None:
        super().__init__(model)
        self._sight = sight
        self._allowed = allowed

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield pieces of the answer. Raises what the model raises."""
        foresee = self._sight.foresee
        last = next((message for message in reversed(request.messages) if message.role != "system"), None)
        asks = last is not None and last.role == "user" and not last.images and asks_to_foresee(last.content)
        if foresee is None or last is None or not asks or request.must_call or "camera" not in self._sight.sources():
            async with aclosing(self._model.stream(request)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        await self._allowed()
        async with aclosing(foresee(last.content)) as words:
            async for text in words:
                yield text
