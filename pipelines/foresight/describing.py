"""Who says what a picture shows and what may come next: a model that looks, or what can be measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from pipelines.foresight.filming import Scene
from pipelines.foresight.words import told
from pipelines.interfaces.llm import ChatRequest, LanguageModel, Message, takes_images
from pipelines.interfaces.task import Tasks
from pipelines.runtime.worker import Worker
from pipelines.vision.images import snapshot

MOST_TOKENS = 160
QUESTION = (
    "Say in two or three short sentences what this picture shows, and what is likely to happen in the next seconds."
)
_MEASURED = "measured"
_CAPTIONS = ("image-text-to-text", "image-to-text")
"""Tasks of which one describes a picture, the preferred first."""


class Describer(Protocol):
    """Writes the text of a prediction."""

    @property
    def name(self) -> str:
        """How people call it."""
        ...

    def describe(self, scene: Scene) -> AsyncGenerator[str, None]:
        """The text in pieces. Closing it ends the work. Raises :class:`~pipelines.errors.PipelineError`."""
        ...


def asked(prompt: str) -> str:
    """The question, with what the asker says."""
    return f"{QUESTION} {prompt}".strip() if prompt else QUESTION


class ChatDescriber:
    """A language model that takes pictures."""

    def __init__(self, model: LanguageModel, worker: Worker) -> None:
        self.name = model.name
        self._model = model
        self._worker = worker

    async def describe(self, scene: Scene) -> AsyncGenerator[str, None]:
        """See :class:`Describer`."""
        image = await self._worker.run(snapshot, scene.picture)
        request = ChatRequest((Message("user", asked(scene.prompt), images=(image,)),), max_tokens=MOST_TOKENS)
        async with aclosing(self._model.stream(request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    yield piece


class TaskDescriber:
    """A task that describes pictures; its text comes whole."""

    def __init__(self, tasks: Tasks, task: str, worker: Worker) -> None:
        self.name = task
        self._tasks = tasks
        self._task = task
        self._worker = worker

    async def describe(self, scene: Scene) -> AsyncGenerator[str, None]:
        """See :class:`Describer`."""
        image = (await self._worker.run(snapshot, scene.picture)).data
        inputs: dict[str, object] = {"image": image}
        if self._task == "image-text-to-text":
            inputs = {"image": image, "text": asked(scene.prompt)}
        done = await self._tasks.runner(self._task).run(inputs, {"max_new_tokens": MOST_TOKENS})
        yield str(done.output[0]["generated_text"])


class MeasuringDescriber:
    """What can be measured, where no model looks."""

    name = _MEASURED

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def describe(self, scene: Scene) -> AsyncGenerator[str, None]:
        """See :class:`Describer`."""
        for sentence in await self._worker.run(told, scene.picture, scene.earlier, scene.earlier_seconds):
            yield sentence
            await asyncio.sleep(0)


class Describers:
    """Chooses among them as they are now: models come and go."""

    def __init__(
        self, chat: Callable[[], LanguageModel | None], tasks: Callable[[], Tasks | None], worker: Worker
    ) -> None:
        self._chat = chat
        self._tasks = tasks
        self._worker = worker

    def best(self) -> Describer:
        """Who would write now."""
        chat, tasks = self._chat(), self._tasks()
        if chat is not None and takes_images(chat):
            return ChatDescriber(chat, self._worker)
        for task in _CAPTIONS if tasks is not None else ():
            if tasks is not None and not tasks.why_not(task):
                return TaskDescriber(tasks, task, self._worker)
        return MeasuringDescriber(self._worker)
