"""What the camera offers to a conversation, and how a language model that takes pictures looks.

It looks at once with every question, or when it asks for it by a tool.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal, get_args

from media.clock import Clock
from pipelines.errors import listed
from pipelines.interfaces.llm import (
    ChatRequest,
    Cut,
    Image,
    LanguageModel,
    Message,
    ModelAround,
    Piece,
    Tool,
    ToolCall,
    takes_images,
    takes_tools,
)

Source = Literal["camera", "screen"]
SOURCES: tuple[Source, ...] = get_args(Source)
HOLD_SECONDS = 8.0
"""How long a reply waits for a face that is turned away to turn back."""

_LOOK_SECONDS = 0.1
"""How often is looked whether it has."""


def _unknown() -> bool | None:
    return None


async def _no_picture(source: Source) -> Image | None:
    return None


@dataclass(frozen=True, slots=True)
class Sight:
    """Asked whenever it matters; each function answers at once. Without a camera, nothing is known."""

    lips: Callable[[], bool | None] = _unknown
    """Whether the lips of a face that is seen move. ``None`` when unknown, or when that shall not matter."""
    attentive: Callable[[], bool | None] = _unknown
    """Whether somebody faces the camera. ``None`` when unknown, or when that shall not matter."""
    sources: Callable[[], tuple[Source, ...]] = tuple
    """What can be looked at now by a model that takes images."""
    always: Callable[[], bool] = bool
    """Whether the newest camera picture goes with everything the user says."""
    picture: Callable[[Source], Awaitable[Image | None]] = _no_picture
    """What the camera or the screen shows now."""
    whole: Callable[[Source], Awaitable[Image | None]] = _no_picture
    """The same at its full size, for those who read small print."""
    foresee: Callable[[str], AsyncGenerator[str, None]] | None = None
    """Says what comes next before the camera, given what the user said, and shows it in the picture that goes back;
    ``None`` where that cannot be."""


async def look_back(sight: Sight, clock: Clock, given_up: Callable[[], bool]) -> bool:
    """Wait until the face that is turned away turns back, or the camera knows nothing of it any more.

    ``False`` when it has not within 8 s, or when ``given_up`` says so.
    """
    until = clock.now() + HOLD_SECONDS
    while not given_up() and clock.now() < until:
        await clock.sleep(_LOOK_SECONDS)
        if sight.attentive() is not False:
            return True
    return False


LOOK = "look"
MOST_LOOKS = 2
"""Rounds of looking within one answer; then the model must make do with what it has seen."""
_NAMES: dict[Source, str] = {"camera": "camera", "screen": "shared screen"}
_ASKS_TO_LOOK = re.compile(
    r"\b(look|see|show|watch|camera|screen|picture|image|wear|wearing|hold|holding|read this|what(?:'s| is) this)\b",
    re.IGNORECASE,
)


def look_tool(sources: tuple[Source, ...]) -> Tool:
    """The tool, as it is offered when there is something to look at."""
    return Tool(
        LOOK,
        "See what the user's camera or shared screen shows right now. Use it whenever the answer depends on what is "
        "to be seen and the words about the camera do not tell.",
        {
            "type": "object",
            "properties": {"source": {"type": "string", "enum": list(sources), "description": "What to look at."}},
            "required": ["source"],
        },
    )


class LookingModel(ModelAround):
    """``model`` with eyes: a language model that carries out its calls of ``look`` itself.

    A model that takes no pictures is asked as it is. One that takes pictures and no tools gets the newest picture when
    the user's words ask to look.
    """

    def __init__(self, model: LanguageModel, sight: Sight) -> None:
        super().__init__(model)
        self._sight = sight

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield pieces of the answer and calls of other tools. Raises what the model raises."""
        sources = self._sight.sources() if takes_images(self._model) else ()
        if sources:
            request = await self._with_picture(request, sources[0])
        looks = MOST_LOOKS if sources and takes_tools(self._model) else 0
        while True:
            offered = replace(request, tools=(*request.tools, look_tool(sources))) if looks else request
            said, calls, cut = "", list[ToolCall](), list[Cut]()
            async with aclosing(self._model.stream(offered)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, ToolCall) and piece.name == LOOK:
                        calls.append(piece)
                    elif isinstance(piece, Cut):
                        cut.append(piece)
                    else:
                        said += piece if isinstance(piece, str) else ""
                        yield piece
            if not calls or not looks:
                for end in cut:  # of the last round: the others are followed by another
                    yield end
                return
            looks -= 1
            request = await self._looked(request, said, calls)

    async def _with_picture(self, request: ChatRequest, source: Source) -> ChatRequest:
        """With the newest picture in the user's last message, if it shall be there."""
        last = max((n for n, message in enumerate(request.messages) if message.role == "user"), default=None)
        if last is None:
            return request
        message = request.messages[last]
        wanted = self._sight.always() or (not takes_tools(self._model) and _ASKS_TO_LOOK.search(message.content))
        image = await self._sight.picture(source) if wanted and not message.images else None
        if image is None:
            return request
        messages = list(request.messages)
        messages[last] = replace(message, images=(image,))
        return replace(request, messages=tuple(messages))

    async def _looked(self, request: ChatRequest, said: str, calls: list[ToolCall]) -> ChatRequest:
        """The request with the calls, their results, and what was seen in a message of its own: servers take pictures
        from users only."""
        messages: list[Message] = [*request.messages, Message("assistant", said, tuple(calls))]
        seen: list[tuple[Source, Image]] = []
        for call in calls:
            source = _source_of(call)
            image = await self._sight.picture(source) if source is not None else None
            if source is None:
                result = f"source must be {listed(SOURCES)}"
            elif image is None:
                result = f"the {_NAMES[source]} shows nothing at present"
            else:
                result = "the picture follows"
                seen.append((source, image))
            messages.append(Message("tool", result, tool_call_id=call.id))
        if seen:
            words = "This is what the {} shows now.".format(" and the ".join(_NAMES[source] for source, _ in seen))
            messages.append(Message("user", words, images=tuple(image for _, image in seen)))
        return replace(request, messages=tuple(messages), tool_choice="auto")  # a call that had to be made was made


def _source_of(call: ToolCall) -> Source | None:
    """What a call wants to look at; the camera where it does not say."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        return None
    source = arguments.get("source", "camera") if isinstance(arguments, dict) else None
    return next((one for one in SOURCES if one == source), None)
