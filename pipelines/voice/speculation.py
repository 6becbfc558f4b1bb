"""What is prepared in a pause, before it is known whether the turn is over.

Recognition, the model and the first clause of speech run behind a gate: the end of the turn opens it, resumed speech
closes it for good, and nothing of a closed one is ever heard, told or remembered.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from pipelines.errors import PipelineError
from pipelines.ports import Transcript
from pipelines.voice.replies import Prepared
from pipelines.voice.reply import TurnTimes
from pipelines.voice.stt import Utterance


@dataclass(slots=True)
class Pause:
    """One pause of a turn, and what is prepared in it."""

    time: float
    """Media time at which the voice ended."""
    work: asyncio.Task[None] | None = None
    """Finds out what was said and prepares the reply."""
    judging: asyncio.Task[None] | None = None
    """Asks the turn detector."""
    judged_again: bool = False
    transcript: Transcript | PipelineError | None = None
    prepared: Prepared | None = None

    def discard(self) -> None:
        """Nothing of this comes to light."""
        for task in (self.work, self.judging):
            if task is not None:
                task.cancel()
        if self.prepared is not None:
            self.prepared.discard()


@dataclass(slots=True)
class SpokenTurn:
    """A turn of the user from its first voice to its transcript."""

    item_id: str
    utterance: Utterance
    began: float
    """Media time at which its audio begins."""
    times: TurnTimes = field(default_factory=TurnTimes)
    pause: Pause | None = None

    def discard_pause(self) -> None:
        """Void what was prepared."""
        if self.pause is not None:
            self.pause.discard()
            self.pause = None
            self.times = TurnTimes()
