"""A vision-language model of this machine that streams its words, and leaves what it sees for the video generator.

Its hidden states are those of the same pass that reads the picture and the question before the first word: the text
waits for nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from pipelines.foresight.describing import MOST_TOKENS, asked
from pipelines.foresight.filming import Scene
from pipelines.models.residency import Resident
from pipelines.runtime.telling import Tell, told
from pipelines.runtime.worker import Worker
from pipelines.tasks.image.looking import Asked, ChatLooker
from pipelines.vision.images import snapshot


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """``(1, tokens, width)``, a tensor."""

    tensor: Any


class Narrator:
    """Describes with the model that ``resident`` keeps."""

    def __init__(self, resident: Resident[ChatLooker], worker: Worker) -> None:
        self.name = resident.name
        self._resident = resident
        self._worker = worker

    async def describe(self, scene: Scene) -> AsyncGenerator[str, None]:
        """See :class:`~pipelines.foresight.describing.Describer`."""

        def work(tell: Tell[str | States], stopped: Callable[[], bool]) -> None:
            question = Asked((snapshot(scene.picture).data,), asked(scene.prompt), MOST_TOKENS)
            with self._resident.lease() as looker:
                looker.tell(question, tell, stopped, lambda states: tell(States(states)))

        async with aclosing(told(self._worker, work)) as pieces:
            async for piece in pieces:
                if isinstance(piece, States):
                    if scene.states is not None and not scene.states.done():
                        scene.states.set_result(piece.tensor)
                else:
                    yield piece
