"""What the user of a scenario does in a turn, and when. Strictly validated."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.routing.stage_types import Problem, Problems, Strict
from server.evaluation.expectations import Expectation, expectations

ACTIONS = ("say", "inside", "type", "play", "audio", "wait_ms")
"""Of which a turn has exactly one, unless it only shows a picture."""
MOMENTS = ("reply_started_ms", "said_ms")
"""What ``when`` may name: so long after the first sound that came back to the turn before, or after the end of that
turn itself, whatever sounds then."""
DURING_MS = 500.0
"""``during: reply`` is so long after the first sound."""
PAUSE_MARK = "..."


class Turn(Strict):
    """One thing that the user does."""

    say: str | None = Field(None, min_length=1, max_length=2000)
    """Spoken; ``...`` marks a pause of ``pause_ms``."""
    inside: str | None = Field(None, min_length=1, max_length=2000)
    """The same, where the pause is what matters."""
    type: str | None = Field(None, min_length=1, max_length=2000)
    """Written on the data channel."""
    play: str | None = Field(None, min_length=1)
    """A sound that is no speech: a file, or one that is made here (``cough``, ``knock`` …)."""
    audio: str | None = Field(None, min_length=1)
    """A recording of speech: a file. The words are in the file of that name with ``.txt``."""
    wait_ms: float | None = Field(None, gt=0, le=60_000)
    """Nothing is done for so long."""
    video: str | None = Field(None, min_length=1)
    """From this turn on the camera shows this clip or picture: a file, or one that is made here (``grey``)."""
    pause_ms: int = Field(0, ge=0, le=10_000)
    when: Any = None
    """A moment of :data:`MOMENTS`, in milliseconds; ``None``: once all is quiet."""
    during: Literal["reply"] | None = None
    """In the middle of the answer to the turn before."""
    expect: Any = ()

    @field_validator("expect")
    @classmethod
    def _are_legal(cls, value: object) -> tuple[Expectation, ...]:
        return expectations(value) if value != () else ()

    @field_validator("when")
    @classmethod
    def _is_a_moment(cls, value: Any) -> tuple[str, float] | None:
        match value:
            case None:
                return None
            case dict() if len(value) == 1:
                [(name, moment)] = value.items()
                number = isinstance(moment, int | float) and not isinstance(moment, bool)
                if name in MOMENTS and number and 0 < moment <= 60_000:
                    return str(name), float(moment)
        legal = " or ".join(f"{{{name}: a number above 0, up to 60000}}" for name in MOMENTS)
        raise ValueError(f"must be {legal}, not {value!r}")

    @model_validator(mode="after")
    def _does_one_thing(self) -> Turn:
        done = [name for name in ACTIONS if getattr(self, name) is not None]
        if len(done) > 1 or not (done or self.video):
            raise ValueError(f"must have exactly one of {', '.join(ACTIONS)}, or video")
        if self.when is not None and self.during is not None:
            raise Problems([Problem(("during",), "has no effect beside when")])
        if bool(self.pause_ms) != (PAUSE_MARK in (self.words or "")) and (self.pause_ms or self.inside):
            what = "has no effect without ... in say or inside" if self.pause_ms else "must be said: inside has a pause"
            raise Problems([Problem(("pause_ms",), what)])
        return self

    @property
    def words(self) -> str | None:
        """What is spoken by a synthetic voice."""
        return self.say or self.inside

    @property
    def moment(self) -> tuple[str, float] | None:
        """When it is done; ``None``: once all is quiet."""
        if self.during is not None:
            return MOMENTS[0], DURING_MS
        moment: tuple[str, float] | None = self.when
        return moment

    @property
    def spoken(self) -> bool:
        """Whether it is speech."""
        return self.words is not None or self.audio is not None

    @property
    def is_answered(self) -> bool:
        """Whether something is expected to be said to it."""
        if not (self.spoken or self.type):
            return False
        return not any(
            word in ("no_turn", "silence") or (word, given) == ("not", "reply") for word, given in self.expect
        )

    def wants(self, word: str) -> bool:
        """Whether something of that word is expected."""
        return any(word == one for one, _ in self.expect)
