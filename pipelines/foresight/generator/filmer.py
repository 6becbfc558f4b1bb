"""The generator as a way of making videos: one at a time, on its own thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

from media.frames import Pixels
from pipelines.foresight.events import Method
from pipelines.foresight.filming import Filmed, Guessed, Scene
from pipelines.foresight.quality import Grain, Plan
from pipelines.models.residency import Resident
from pipelines.runtime.telling import Tell, told
from pipelines.runtime.worker import Worker

if TYPE_CHECKING:
    from pipelines.foresight.generator.ltx import LtxVideo

GRAIN = Grain(32, 8)
"""LTX: sides are multiples of 32, frames eight and one more."""
STATES_SECONDS = 10.0
"""For so long what the describer sees is waited for."""
PROMPT = "The scene goes on naturally from this picture."


class LtxFilmer:
    """Films with the model that ``resident`` keeps; ``needs_states``: its adapter looks at what the describer sees."""

    method: Method = "generated"
    grain = GRAIN

    def __init__(self, resident: Resident[LtxVideo], worker: Worker, *, needs_states: bool = False) -> None:
        self.model = resident.name
        self._resident = resident
        self._worker = worker
        self._needs_states = needs_states

    async def film(self, scene: Scene, first: Pixels, plan: Plan) -> AsyncGenerator[Filmed | Guessed, None]:
        """See :class:`~pipelines.foresight.filming.Filmer`."""
        states = None
        if self._needs_states and scene.states is not None:
            await asyncio.wait([scene.states], timeout=STATES_SECONDS)
            states = scene.states.result() if scene.states.done() and not scene.states.cancelled() else None

        def work(tell: Tell[Filmed | Guessed], stopped: Callable[[], bool]) -> None:
            from pipelines.foresight.generator.ltx import Wish

            with self._resident.lease() as model:
                frames = model.film(Wish(first, plan, scene.prompt or PROMPT, states), tell, stopped)
            for pixels in frames[1:]:
                tell(Filmed(pixels, None))

        async with aclosing(told(self._worker, work)) as pieces:
            async for piece in pieces:
                yield piece
