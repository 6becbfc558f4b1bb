"""Backends as files name them, and what does their work on this machine. Pure.

Whoever writes a pipeline names backends of their own (``ollama-npu``). On another machine ``backend_map`` says in a
line each what stands for them: a backend that is there, none, or an address. ``model_map`` does the same for models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from pipelines.errors import listed
from pipelines.routing.stage_types import Problem, Problems, StageType, Strict, explain
from pipelines.text import base_url, unknown

Hardware = Literal["cpu", "cuda", "igpu", "npu", "remote"]
"""What a backend runs on."""
Kind = Literal["local", "openai", "visavis", "ray"]

LOCAL = ("cpu", "cuda", "igpu", "npu")
"""Ids of the backends that are found on this machine, where it has them."""
GPU = "gpu"
"""In paths and maps: whichever of ``cuda`` and ``igpu`` is there."""
ABSENT = "absent"
"""In ``backend_map``: this backend is not here."""
_RESERVED = (ABSENT, GPU, "auto", "cache", "remote")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class Place(Strict):
    """What a backend is and where."""

    hardware: Hardware | None = None
    """``None``: as found out, ``remote`` for one with an address."""
    kind: Kind = "local"
    """``openai``: a server that speaks OpenAI's REST API; ``visavis``: another visavis; ``ray``: the Ray cluster of the
    settings."""
    base_url: str | None = None
    api_key_env: str | None = None
    """Name of the environment variable that holds its key."""
    capabilities: dict[StageType, bool] = Field(default_factory=dict)
    """Stages it can serve; empty: as found out."""
    models: tuple[str, ...] = Field((), max_length=1000)
    """What it can be asked for; empty: as found out."""
    priority: int = Field(0, ge=-1000, le=1000)
    """Among backends that are equal otherwise the higher one is asked first."""
    energy: float | None = Field(None, gt=0, le=10_000)
    """Watts that it draws while it works, for the efficiency modes; ``None``: what is usual for its hardware."""

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        return value if value is None else base_url(value)

    @field_validator("api_key_env")
    @classmethod
    def _is_variable(cls, value: str | None) -> str | None:
        if value is not None and not _VARIABLE.fullmatch(value):
            raise ValueError("must be the name of an environment variable (not the key itself)")
        return value

    @model_validator(mode="after")
    def _has_address(self) -> Place:
        problems = []
        if self.kind in ("openai", "visavis") and not self.base_url:
            problems.append(Problem(("kind",), f"base_url is required for a backend of kind {self.kind}"))
        if self.kind in ("local", "ray"):
            for name, value in (("base_url", self.base_url), ("api_key_env", self.api_key_env)):
                if value is not None:
                    problems.append(Problem((name,), "is for kind openai or visavis; name one of them"))
            if self.hardware == "remote" and self.kind == "local":
                problems.append(Problem(("hardware",), "remote is for kind openai or visavis, with a base_url"))
        if problems:
            raise Problems(problems)
        return self


class Backend(Place):
    """Where stages can run."""

    id: str

    @field_validator("id")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if value in _RESERVED:
            raise ValueError(f"{value} has a meaning of its own; call the backend something else")
        if not _NAME.fullmatch(value):
            raise ValueError(
                f"must be up to 64 letters, digits and . _ -, the first a letter or digit, not {value[:80]!r}"
            )
        return value

    @model_validator(mode="after")
    def _is_what_it_is_called(self) -> Backend:
        if self.id in LOCAL:
            if self.kind != "local":
                raise Problems([Problem(("kind",), f"{self.id} is this machine's own; call the server something else")])
            if self.hardware not in (None, self.id):
                raise Problems([Problem(("hardware",), f"{self.id} is the backend on {self.id}, not {self.hardware}")])
        return self

    @property
    def told(self) -> bool:
        """Whether it says what or where it is, or is this machine's own."""
        return self.id in LOCAL or self.kind != "local" or self.hardware is not None


OLLAMA = Backend(
    id="ollama",
    kind="openai",
    base_url="http://127.0.0.1:11434/v1",
    capabilities={"text_generation": True, "video_summary": True},
)
"""Looked for on its usual port; a file that declares another ``ollama`` takes its place."""

BackendMap = dict[str, str | Place]
"""Backend id → another's id, :data:`ABSENT`, or what it is and where."""


def checked_map(value: object) -> object:
    """A ``backend_map`` as it is read. Raises :class:`Problems`."""
    if not isinstance(value, dict):
        return value
    found: dict[Any, str | Place] = {}
    problems: list[Problem] = []
    for name, target in value.items():
        if name in (*LOCAL, *_RESERVED):
            problems.append(Problem((str(name),), "is no name that can be mapped: it means what it says"))
        elif isinstance(target, dict):
            try:
                found[name] = Place.model_validate(target)
            except ValidationError as error:
                problems += [Problem((str(name), *one.where), one.message) for one in explain(error)]
        elif isinstance(target, str | Place):
            found[name] = target
        else:
            problems.append(
                Problem(
                    (str(name),),
                    f"must be the id of a backend, {ABSENT}, or what it is, such as "
                    "{kind: openai, base_url: http://HOST/v1}",
                )
            )
    if problems:
        raise Problems(problems)
    return found


@dataclass(frozen=True, slots=True)
class Resolved:
    """Who does the work of a backend that a file names."""

    id: str
    """Its id, or that of the backend that stands for it; of :data:`GPU` that id itself."""
    backend: Backend | None = None
    """As the files declare it; ``None``: found on this machine, or absent."""
    absent: str = ""
    """Why nobody does, for people."""


@dataclass(frozen=True, slots=True)
class Backends:
    """What the files say of backends and models, together."""

    declared: dict[str, Backend] = field(default_factory=lambda: {OLLAMA.id: OLLAMA})
    """Id → the backend; :data:`OLLAMA` among them."""
    backend_map: dict[str, str | Place] = field(default_factory=dict)
    model_map: dict[str, str] = field(default_factory=dict)

    @property
    def known(self) -> frozenset[str]:
        """Ids that an ``escalation_path`` may name."""
        return frozenset((*LOCAL, GPU, *self.declared, *self.backend_map))

    def resolve(self, name: str) -> Resolved:
        """Who does the work of the backend ``name``."""
        seen = [name]
        while isinstance(target := self.backend_map.get(seen[-1]), str):
            if target == ABSENT:
                return Resolved(seen[-1], absent=f"backend_map says that {seen[-1]} is absent")
            if target in seen:
                return Resolved(name, absent=f"backend_map leads from {name} back to itself")
            seen.append(target)
        final = seen[-1]
        backend = self.declared.get(final)
        if target is not None:
            backend = _described(final, target, backend)
        if final in (*LOCAL, GPU) or (backend is not None and backend.told):
            return Resolved(final, backend)
        if backend is None:
            return Resolved(final, absent=f"no file declares a backend {final}")
        why = "no address and nothing of that name here (backend_map can say what stands for it)"
        return Resolved(final, backend, why)

    def resolved(self) -> Mapping[str, Resolved]:
        """Every name that a file declares or maps."""
        return {name: self.resolve(name) for name in (*self.declared, *self.backend_map)}

    def model(self, name: str, backend: Backend | None) -> str:
        """What the model that a stage calls ``name`` is called on ``backend``.

        Servers are asked for it as it is written, unless they are known to list what takes its place and not itself.
        """
        mapped = self.model_map.get(name, name)
        if backend is None or backend.kind == "local":
            return mapped
        return mapped if mapped in backend.models and name not in backend.models else name

    def may_have(self, name: str, backend: Backend) -> bool:
        """Whether ``backend`` may have the model that a stage calls ``name``, as far as files tell."""
        return not backend.models or self.model(name, backend) in backend.models

    def problems(self, names: Iterable[str]) -> Iterator[Problem]:
        """Which of these names of ``backend_map`` lead nowhere."""
        for name in names:
            target = self.backend_map[name]
            if not isinstance(target, str) or target == ABSENT:
                continue
            if target not in self.known:
                legal = sorted({*self.known, ABSENT} - {name})
                yield Problem(("backend_map", name), unknown("backend", target, legal))
            elif "back to itself" in self.resolve(name).absent:
                yield Problem(("backend_map", name), f"leads from {name} back to itself")

    def misfit(self, name: str, kind: StageType) -> str:
        """Why a stage of type ``kind`` cannot be served by the backend ``name``, as far as files tell; else empty."""
        if name not in self.known:
            return unknown("backend", name, sorted(self.known))
        backend = self.resolve(name).backend
        if backend is None or not backend.capabilities or backend.capabilities.get(kind):
            return ""
        able = [word for word, can in backend.capabilities.items() if can]
        called = name if backend.id == name else f"{name}, for which {backend.id} stands,"
        return f"{called} cannot do {kind}: its capabilities are {listed(able) or 'none'}"

    def lacking(self, name: str, path: Sequence[str]) -> str:
        """Why no backend of ``path`` can have the model ``name``, where all of them list what they have; else empty."""
        told = []
        for one in path:
            backend = self.resolve(one).backend
            if backend is None or self.may_have(name, backend):
                return ""
            told.append(f"{backend.id} has {listed(backend.models, 10)}")
        return f"no backend of the escalation_path has the model {name!r}: {'; '.join(told)}" if told else ""


def _described(name: str, place: Place, declared: Backend | None) -> Backend:
    """What the map says of a backend; what it does not say is as declared."""
    words = {} if declared is None else {word: getattr(declared, word) for word in declared.model_fields_set}
    words |= {word: getattr(place, word) for word in place.model_fields_set}
    return Backend.model_validate(words | {"id": name})
