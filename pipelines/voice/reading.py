"""Being asked what something says: which questions mean that, and what is answered when the model cannot look itself.

Small language models call no tools. What is printed before the camera is therefore read for them whenever the user asks
to have it read: a model that takes tools or pictures is told the text and answers as it likes, for any other the text
itself is the answer. Recognising the question is pure: a table of examples is its test.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from pipelines.errors import PipelineError
from pipelines.interfaces.llm import ChatRequest, LanguageModel, ModelAround, Piece, calls_unasked, takes_images
from pipelines.voice.visual_context import Sight, Source

log = logging.getLogger(__name__)

LONGEST_READ = 1_200
"""Characters that are read aloud in one answer, a minute and a half; then it is said that there is more."""
LONGEST_QUESTION = 400
"""Characters of what the user said that are looked at, from its end."""
LONGEST_TOLD = 4_000
"""Characters of the read text that a model is told."""
_LONG_ROW = 0.8
"""Of the longest row: a shorter one ends where its sentence or its entry does."""

NOTHING = "I can't see any text right now. Try to hold it closer to the camera, and still."
FAILED = "I'm sorry, I could not read it just now."
MORE = "There is more, but that is the beginning."
READS = "It says: "

Reader = Callable[[bytes], Awaitable[str]]
"""A JPEG or PNG → the text in it, rows in lines of their own; empty without any.

Raises :class:`~pipelines.errors.PipelineError`.
"""

_POINTED = r"(?:it|this|that|these|those|this one|that one|these words|those words)"
_PRINTED = (
    r"(?:paper|page|sheet|note|letter|letters|postcard|card|sign|signs|label|sticker|poster|text|texts|word|words"
    r"|writing|handwriting|print|small print|line|lines|sentence|paragraph|headline|title|caption|message|menu"
    r"|receipt|bill|ticket|invoice|document|form|contract|envelope|parcel|package|packet|packaging|box|bottle|can|jar|tin|cup"
    r"|mug|book|cover|magazine|newspaper|leaflet|flyer|brochure|instructions|recipe|list|display|screen|monitor|board|whiteboard"
    r"|blackboard|banner|badge|name tag|tag|plate|number plate|t-shirt|shirt|warning|prescription|medicine|ingredients)"
)
_OF = r"(?:the|this|that|these|those|my|your|our|her|his|their)"
_NAMED = rf"(?:{_OF} (?:[\w'-]+ ){{0,2}}?{_PRINTED})"
_IT = rf"(?:{_POINTED}|{_NAMED})(?: (?:here|there|in my hand|i(?:'m| am) (?:holding|showing you)|on {_NAMED}))?"
_PLACE = rf"(?: (?:here|there|on {_IT}|in {_IT}|down|up there|down there|in (?:the|my) (?:picture|camera|hand)))"
_SEE = r"(?:tell me|tell us|know|see|make out|understand|read|me|out|find out)"
_TEXT_IS = r"(?:do you see|can you see|can you read|is (?:this|that|it|here|there|written))"
_END = r"(?: (?:please|now|then|exactly|to me|for me|here|there|in (?:the|my) (?:picture|camera|hand)|to the camera))*$"
_KINDLY = (
    r"(?:(?:please|ok|okay|hey|so|and|now|then|just|well|hi|hello|assistant|quickly|can you|could you|would you"
    r"|will you|can you please|could you please|would you please|are you able to|try to|i want you to"
    r"|i would like you to|i'd like you to|i need you to|help me|do you want to) )*"
)
_ALOUD = (
    r"(?: (?:to|for) (?:me|us)| out(?: loud)?| aloud| loud| please| again| here| now| for a second| what is on it)*$"
)
_ASKING = re.compile(
    "|".join(
        (
            rf"\bwhat (?:does|do|is|did you say) {_IT} (?:actually |really )?(?:say|says|saying|read)(?: on it)?{_END}",
            rf"\bwhat's {_IT} (?:say|saying){_END}",
            rf"\bwhat(?:'s| is| was| are)? (?:the )?(?:\w+ )?(?:written|printed){_PLACE}?{_END}",
            rf"\b{_SEE} what {_IT} (?:say|says|reads){_END}",
            rf"\b(?:see|make out|read|me|out|tell me) what(?:'s| is) (?:written |printed )?on {_IT}{_END}",
            rf"\bwhat(?: \w+)? text {_TEXT_IS}{_PLACE}?{_END}",
            rf"\b(?:is there|do you see|can you see) (?:any|some) (?:text|writing|words){_PLACE}?{_END}",
            rf"^{_KINDLY}read (?:out |aloud |me |us |it )?(?:out |aloud )?(?:loud )?{_IT}{_ALOUD}",
            rf"^{_KINDLY}(?:have a look and )?read what(?:'s| is| you see)(?: (?:written|printed))?{_PLACE}?{_ALOUD}",
        )
    )
)
_NOT = re.compile(
    r"\b(?:(?:don't|do not|never|stop|without) (?:\w+ )?(?:read|reading)|did i|back to me)\b"
    r"|\bi (?:said|read|already|just)\b|\bread (?:me |us )?(?:that|it|this) back\b"
)
_SCREEN = re.compile(r"\b(?:screen|monitor|display|desktop|window|slide)\b")


def asks_to_read(text: str) -> bool:
    """Whether ``text``, which the user said, asks what something before the camera says. English."""
    said = plain(text[-LONGEST_QUESTION:])
    return bool(_ASKING.search(said)) and not _NOT.search(said)


def plain(text: str) -> str:
    """In small letters, with no signs but apostrophes and hyphens within words."""
    text = text.lower().replace("’", "'")
    return " ".join(re.sub(r"[^\w'\s-]|(?<!\w)['-]|['-](?!\w)", " ", text).split())


def source_of(text: str, sources: tuple[Source, ...]) -> Source | None:
    """Where to look for what ``text`` asks to have read; ``None`` when nothing is shown."""
    if "screen" in sources and _SCREEN.search(plain(text)):
        return "screen"
    return sources[0] if sources else None


def spoken_rows(text: str) -> str:
    """``text`` with the ends of its rows as a reader hears them: wrapped rows go on, entries of their own are apart."""
    rows = [" ".join(row.split()) for row in text.splitlines() if row.strip()]
    longest = max(map(len, rows), default=0)
    entries = not any(row[0].islower() for row in rows) and not text.isupper()
    said = ""
    for row in rows:
        if said and (entries or _stands_alone(said.splitlines()[-1], row, longest)):
            said += "." if said[-1] not in ".!?:;,…" else ""
        said += ("\n" if said else "") + row
    return " ".join(said.split())


def _stands_alone(before: str, row: str, longest: int) -> bool:
    """Whether ``row`` does not go on with what was in the row before it."""
    return (len(before) < _LONG_ROW * longest and not row[0].islower()) or before.isupper() != row.isupper()


def answer_with(text: str) -> str:
    """What is said when the text itself is the answer."""
    said = spoken_rows(text)
    if not said:
        return NOTHING
    if len(said) <= LONGEST_READ:
        return READS + said
    return f"{READS}{said[:LONGEST_READ].rsplit(' ', 1)[0]}… {MORE}"


def as_scene(scene: str, text: str) -> str:
    """What the camera shows, with what is to be read there."""
    words = " ".join(text.split())[:LONGEST_TOLD]
    told = f'Text that can be read: "{words}"' if words else "No text can be read."
    return f"{scene} {told}".strip()


@dataclass(frozen=True, slots=True)
class Eyes:
    """How text before the camera is read."""

    sight: Sight
    reader: Callable[[], Reader | None]
    """Asked anew each time: models come and go. ``None``: nothing can be read here."""


class ReadingModel(ModelAround):
    """``model`` that knows what stands before the camera when the user asks what it says.

    Without a camera, or where nothing can read, it is asked as it is. Reading has no effects: it may be done for an
    answer that is only prepared.
    """

    def __init__(self, model: LanguageModel, eyes: Eyes) -> None:
        super().__init__(model)
        self._eyes = eyes

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield pieces of the answer. Raises what the model raises."""
        read = await self._read(request) if not request.must_call else None
        if read is None:
            answer = self._model.stream(request)
        elif read and (calls_unasked(self._model) or takes_images(self._model)):
            answer = self._model.stream(replace(request, scene=as_scene(request.scene, read)))
        else:
            yield answer_with(read) if read != FAILED else FAILED
            return
        async with aclosing(answer) as pieces:
            async for piece in pieces:
                yield piece

    async def _read(self, request: ChatRequest) -> str | None:
        """The text, empty without any, :data:`FAILED` when it could not be read; ``None`` when it is not asked for."""
        last = next((message for message in reversed(request.messages) if message.role != "system"), None)
        if last is None or last.role != "user" or last.images or not asks_to_read(last.content):
            return None
        reader, source = self._eyes.reader(), source_of(last.content, self._eyes.sight.sources())
        picture = await self._eyes.sight.whole(source) if reader is not None and source is not None else None
        if reader is None or picture is None:
            return None
        try:
            return await reader(picture.data)
        except PipelineError as error:
            log.warning("what the %s shows cannot be read: %s", source, error)
            return FAILED
