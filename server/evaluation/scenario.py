"""What a scenario may say: who speaks, over which network, what is done and what is expected. Strictly validated."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, field_validator

from pipelines.definitions.loading import Document, read
from pipelines.engines.tts.espeak import ESPEAK_VOICES
from pipelines.routing.stage_types import Problem, Problems, Strict
from pipelines.text import unknown
from server.evaluation.materials import Materials
from server.evaluation.steps import Turn

SHIPPED = Path(__file__).parent / "scenarios"
"""The folder of the scenarios that come with the product."""
WORDS_PER_MINUTE = 175.0
"""Of the usual speed."""
MOST_VARIANTS = 64
Need = Literal["voice", "vision", "tools", "model", "ear"]
"""What a scenario may need: ``model`` is a language model that is more than the smallest one, ``ear`` a recogniser on
the client's side."""
_ESPEAK = "espeak:"


class Noise(Strict):
    """What sounds behind the speaker all the time."""

    file: str = Field(min_length=1)
    """A recording, or ``white``, ``pink``, ``hum`` or ``babble``, which are made here."""
    snr_db: float = Field(15.0, ge=-10, le=60)
    """How much louder the speech is."""


def _voice(value: str) -> str:
    name = value.removeprefix(_ESPEAK)
    if name not in ESPEAK_VOICES:
        raise ValueError(unknown("voice", name, tuple(ESPEAK_VOICES)))
    return name


def _rate(value: float) -> float:
    speed = value if value < 10 else value / WORDS_PER_MINUTE
    if not 0.5 <= speed <= 2:
        raise ValueError("must be 0.5 to 2 times the usual speed, or 88 to 350 words a minute")
    return speed


class User(Strict):
    """Who speaks."""

    voice: str = "en-us"
    """One of espeak-ng's; ``espeak:`` may stand before it."""
    rate: float = 1.0
    """Times the usual speed, or words a minute."""
    gain_db: float = Field(0.0, ge=-40, le=6)
    noise: Noise | None = None
    noise_db: float = Field(-66.0, ge=-90, le=-20)
    """Level of the white noise of the microphone, relative to full scale."""

    @field_validator("voice")
    @classmethod
    def _is_known(cls, value: str) -> str:
        return _voice(value)

    @field_validator("rate")
    @classmethod
    def _can_be_spoken(cls, value: float) -> float:
        return _rate(value)


class Way(Strict):
    """What becomes of packets on the way to the server."""

    loss_percent: float = Field(0.0, ge=0, le=50)
    jitter_ms: float = Field(0.0, ge=0, le=500)
    seed: int = 1


class Score(Strict):
    """What all attempts of a scenario together must reach."""

    latency_p95_ms: float | None = Field(None, gt=0)
    false_cutoffs_max: int | None = Field(None, ge=0)
    """Turns that were ended before their last word."""
    pass_rate_min: float | None = Field(None, ge=0, le=1)
    """Without it every attempt must pass."""


class Matrix(Strict):
    """Values to be tried in all combinations."""

    voice: tuple[str, ...] = ()
    rate: tuple[float, ...] = ()
    gain_db: tuple[float, ...] = ()
    noise: tuple[Noise | None, ...] = ()
    loss_percent: tuple[float, ...] = ()
    jitter_ms: tuple[float, ...] = ()

    @field_validator("voice")
    @classmethod
    def _are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_voice(one) for one in value)

    @field_validator("rate")
    @classmethod
    def _can_be_spoken(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(_rate(one) for one in value)


class Tool(Strict):
    """A function that the model may call, and what the client answers."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str = Field(min_length=1)
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})
    result: Any = ""


class Scenario(Strict):
    """One file, or one variant of it."""

    version: int = Field(ge=1, le=1)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    description: str = Field("", max_length=500)
    needs: tuple[Need, ...] = ()
    """It is skipped, with the reason, where something of this is lacking."""
    user: User = User()
    network: Way = Way()
    session: dict[str, Any] = Field(default_factory=dict)
    """Sent as ``session.update`` before the first turn; ``turn_detection`` may be the word alone."""
    tools: tuple[Tool, ...] = Field((), max_length=16)
    turns: tuple[Turn, ...] = Field(min_length=1, max_length=50)
    score: Score = Score()
    matrix: Matrix = Matrix()
    variant: str = ""
    """Which of the matrix this is; not written in files."""

    @field_validator("variant")
    @classmethod
    def _is_ours(cls, value: str) -> str:
        raise ValueError("is not written in files")

    @field_validator("turns")
    @classmethod
    def _can_be_timed(cls, value: tuple[Turn, ...]) -> tuple[Turn, ...]:
        if value[0].moment is not None:
            raise Problems([Problem((0, "during" if value[0].during else "when"), "has no turn before it")])
        return value

    @property
    def settings(self) -> dict[str, Any]:
        """``session`` and the tools as the protocol has them; empty when nothing is to be set."""
        session = {name: value for name, value in self.session.items() if name != "turn_detection"}
        if "turn_detection" in self.session:
            wanted = self.session["turn_detection"]
            detection = {"type": wanted} if isinstance(wanted, str) else wanted
            audio = session.get("audio", {})
            session["audio"] = {**audio, "input": {**audio.get("input", {}), "turn_detection": detection}}
        if self.tools:
            session["tools"] = [
                {"type": "function", **one.model_dump(include={"name", "description", "parameters"})}
                for one in self.tools
            ]
        return session

    def variants(self) -> Iterator[Scenario]:
        """Itself, or each combination of its matrix."""
        wanted = {name: values for name in Matrix.model_fields if (values := getattr(self.matrix, name))}
        for values in itertools.product(*wanted.values()):
            chosen = dict(zip(wanted, values, strict=True))
            user = self.user.model_copy(update={k: v for k, v in chosen.items() if k in User.model_fields})
            way = self.network.model_copy(update={k: v for k, v in chosen.items() if k in Way.model_fields})
            told = ", ".join(f"{name} {_told(value)}" for name, value in chosen.items())
            yield self.model_copy(update={"user": user, "network": way, "variant": told})


def _told(value: Any) -> str:
    if isinstance(value, Noise):
        return f"{Path(value.file).stem} {value.snr_db:g} dB"
    return "none" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scenario, where it stands, and what it is played with."""

    path: Path
    scenario: Scenario
    materials: Materials


def load(paths: list[Path], assets: Path | None = None) -> list[Loaded]:
    """The scenarios of files, and of all ``*.yaml`` in folders; sounds and pictures they name are looked for beside
    them and in ``assets``. Raises :class:`~pipelines.errors.DefinitionError`."""
    files = [file for path in paths for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]
    return [_loaded(file, read(file), assets) for file in files]


def _loaded(file: Path, document: Document, assets: Path | None) -> Loaded:
    scenario = document.validated(Scenario)
    materials = Materials((file.parent, *(() if assets is None else (assets,))))
    named: list[tuple[tuple[str | int, ...], str, str | None]] = [
        (("turns", number), use, getattr(turn, use))
        for number, turn in enumerate(scenario.turns)
        for use in ("play", "audio", "video")
    ]
    if scenario.user.noise is not None:
        named.append((("user", "noise", "file"), "noise", scenario.user.noise.file))
    problems = [
        Problem(where if use == "noise" else (*where, use), message)
        for where, use, value in named
        if value is not None and (message := materials.lacks(value, use))
    ]
    number = sum(1 for _ in itertools.islice(scenario.variants(), MOST_VARIANTS + 1))
    if number > MOST_VARIANTS:
        problems.append(Problem(("matrix",), f"has more than {MOST_VARIANTS} combinations"))
    if problems:
        raise document.error(problems)
    return Loaded(file, scenario, materials)


NEEDS: tuple[str, ...] = get_args(Need)
