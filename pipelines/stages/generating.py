"""``text_generation``: what comes is asked of a language model, whose words are given as they come."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from media.frames import Picture
from pipelines.errors import LLMError, PipelineError, guarded
from pipelines.execution.inbox import input_of
from pipelines.execution.work import Work
from pipelines.interfaces.llm import ChatRequest, Image, LanguageModel, Message
from pipelines.routing.graph import INPUT
from pipelines.routing.items import Data, Flow, Text
from pipelines.routing.stage_types import Thinking
from pipelines.stages.words import in_words
from pipelines.vision.images import snapshot
from pipelines.voice.clauses import cuts

MOST_IMAGES = 4
"""That are shown at once: the newest."""
MOST_CHARACTERS = 200_000
"""That are asked at once."""
MOST_FACTS = 20
"""Results of a source that are told, the newest, where they differ."""
_MAY_END = re.compile(r"[.!?…。！？\n]")
"""A sentence without any of these goes on: looking for its end costs time with every token."""
_LOOKED_BACK = 400
"""Characters of a long sentence that are looked at for its end."""
_SLOT = re.compile(r"\{([^{}\s]+)\}")


async def generate(work: Work) -> Flow:
    """Run the stage."""
    options = work.options(Thinking)
    chat = Chat(work.engines.model(work.pipeline, work.stage), options, work)
    material = Material()
    each = answers_each(work, options)
    async for source, item in work.inbox.tagged():
        material.add(source, item, work)
        if each and isinstance(item, Text) and item.final and material.has_text:
            async with aclosing(_answered(chat, options, work, material)) as texts:
                async for text in texts:
                    yield text
            material.said.clear()
    if material.has_text if each else not material.is_empty:
        async with aclosing(_answered(chat, options, work, material)) as texts:
            async for text in texts:
                yield text


async def _answered(chat: Chat, options: Thinking, work: Work, material: Material) -> AsyncGenerator[Text]:
    images = [await work.facilities.vision.run(snapshot, picture.pixels) for picture in material.pictures]
    async with aclosing(chat.respond(_asked(options, work, material), images)) as texts:
        async for text in texts:
            yield text


def answers_each(work: Work, options: Thinking) -> bool:
    """Whether every utterance gets its own response."""
    if options.respond_to != "auto":
        return options.respond_to == "each"
    sources = list(work.inbox.sources)
    if options.template or len(sources) != 1:
        return False
    return sources[0] == input_of("text") or work.type_of(sources[0]) == "audio_to_text"


class Material:
    """What has come and is to be asked about."""

    def __init__(self) -> None:
        self.said: defaultdict[str, list[str]] = defaultdict(list)
        self.facts: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=MOST_FACTS))
        self.pictures: deque[Picture] = deque(maxlen=MOST_IMAGES)
        self._newest: dict[str, str] = {}

    @property
    def has_text(self) -> bool:
        """Whether there are words."""
        return any(text.strip() for texts in self.said.values() for text in texts)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come."""
        return not (self.has_text or self.facts or self.pictures)

    def add(self, source: str, item: object, work: Work) -> None:
        """The next item. Raises :class:`PipelineError` (``input_too_long``)."""
        match item:
            case Text():
                self.said[source].append(item.text)
                if sum(len(text) for texts in self.said.values() for text in texts) > MOST_CHARACTERS:
                    raise PipelineError(
                        "input_too_long",
                        f"stage {work.stage.id}: more than {MOST_CHARACTERS} characters would have to be asked at once",
                    )
            case Picture():
                if work.inbox.sources[source] == "video":
                    self.pictures.clear()  # the newest one stands for the video
                self.pictures.append(item)
            case Data():
                words = in_words(item.value)
                same = str(item.value.get("scene", words))  # at another time
                if self._newest.get(source) != same:
                    self._newest[source] = same
                    self.facts[source].append(words)

    def of(self, source: str) -> str:
        """What a source gave, in words."""
        return "".join(self.said.get(source, ())).strip() or "\n".join(self.facts.get(source, ()))

    def all(self) -> str:
        """What was said, and before it what is known besides."""
        facts = ["\n".join(told) for told in self.facts.values()]
        return "\n\n".join([*facts, *("".join(texts).strip() for texts in self.said.values())])


def _asked(options: Thinking, work: Work, material: Material) -> str:
    """What the model is asked."""
    if not options.template:
        return material.all()
    return _SLOT.sub(lambda slot: _filled(slot, work, material), options.template)


def _filled(slot: re.Match[str], work: Work, material: Material) -> str:
    name = slot[1]
    if name == INPUT:
        given = [material.of(source) for source in work.inbox.sources if source.startswith(f"{INPUT} ")]
        return "\n".join(text for text in given if text)
    return material.of(name) if name in work.inbox.sources or work.type_of(name) else slot[0]


class Chat:
    """The exchanges of one run with a model."""

    def __init__(self, model: LanguageModel, options: Thinking, work: Work) -> None:
        self._model = model
        self._options = options
        self._stage = work.stage.id
        self._context = work.context
        self._remembers = work.pipeline.options.preserve_context
        self._answered = False
        self._said: deque[Message] = deque(maxlen=40)

    async def respond(self, question: str, images: Sequence[Image]) -> AsyncGenerator[Text]:
        """The response, with a mark after each sentence, on a line of its own; remembered when it is complete."""
        asked = Message("user", question, images=tuple(images))
        answer: list[str] = []
        stream = guarded(lambda: self._model.stream(self._request(asked)), LLMError, "llm_failed", self._model.name)
        sentences = Sentences()
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                delta = str(piece) if isinstance(piece, str) else ""
                if not delta or (not answer and not delta.strip()):
                    continue
                answer.append(delta)
                if len(answer) == 1 and self._answered:
                    delta = "\n" + delta.lstrip()
                for text in sentences.push(delta):
                    yield text
        if not answer:
            return
        self._answered = True
        yield Text("", True)
        self._remember(replace(asked, images=()), Message("assistant", "".join(answer).strip()))

    def _request(self, asked: Message) -> ChatRequest:
        instructions = self._options.instructions
        system = (Message("system", instructions),) if instructions else ()
        before = self._context.messages(self._stage) if self._context is not None else tuple(self._said)
        options = self._options
        return ChatRequest((*system, *before, asked), max_tokens=options.max_tokens, temperature=options.temperature)

    def _remember(self, asked: Message, answered: Message) -> None:
        if self._context is not None:
            self._context.add(self._stage, asked, answered)
        elif self._remembers:
            self._said += (asked, answered)


class Sentences:
    """Deltas of a text, cut where a sentence is known to have ended, so that it is marked. Pure."""

    def __init__(self) -> None:
        self._unit = ""

    def push(self, delta: str) -> Iterator[Text]:
        """The delta in one or more parts."""
        told = len(self._unit)
        self._unit += delta
        for end, is_sentence, _ in cuts(self._unit) if _MAY_END.search(self._unit) else ():
            if is_sentence:
                yield Text(self._unit[told:end] if end > told else "", True)
                rest = self._unit[max(end, told) :]
                self._unit = ""
                if rest:
                    yield from self.push(rest)
                return
        yield Text(delta)
        if len(self._unit) > 2 * _LOOKED_BACK:
            self._unit = self._unit[-_LOOKED_BACK:]
