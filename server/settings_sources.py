"""Where settings come from besides flags, the environment and a file, and what is said when one is wrong."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BeforeValidator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, InitSettingsSource, PydanticBaseSettingsSource
from pydantic_settings.exceptions import SettingsError as UnreadableError

from pipelines.routing.stage_types import explained
from pipelines.text import in_home, nearest, unknown

PREFIX = "VISAVIS_"
"""Of the names in the environment."""
_FOR_TESTS = "TEST_"
_OF_CLIENTS = ("URL",)
"""What the clients in ``examples`` read: where the server is."""
EMPTY_MEANS = ("api_key", "assistant_tools", "greeting", "ice_peer_ranges", "idle_prompt", "task_models")
"""Settings of which an empty variable says something, or is refused (a key: whoever sets it believes that the server is
closed). Any other that is empty counts as not set: so Compose passes on what its file of variables leaves open."""
_OF_KUBERNETES = re.compile(r"SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?")
"""What Kubernetes and Docker set for every service that is called ``visavis``."""


class SettingsError(Exception):
    """A setting is wrong; the message names it and what is legal."""


def not_empty(value: object) -> object:
    """``value``, unless it is an empty text, which would be read as the folder the server was started in. Raises
    :class:`ValueError`."""
    if value == "":
        raise ValueError("is empty: it must be a path; leave it unset to have none")
    return value


NamedPath = Annotated[Path, BeforeValidator(not_empty), AfterValidator(in_home)]
"""A file or folder that is named; no shell expands ``~`` in the environment or in a file."""


def _in_known_home(value: str) -> str:
    if value.startswith("~"):
        in_home(Path(value))
    return value


NamedModel = Annotated[str, AfterValidator(_in_known_home)]
"""A word for a model, or a file or folder with one, as it is written."""

S = TypeVar("S", bound=BaseSettings)


def reading(kind: type[S], from_file: Mapping[str, Any]) -> type[S]:
    """``kind``, whose values come from flags, the environment and ``from_file``, the strongest first."""

    class Sourced(kind):  # type: ignore[valid-type, misc]
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            variables = EnvSettingsSource(settings_cls, env_ignore_empty=True)
            empty = InitSettingsSource(settings_cls, init_kwargs=_said_by_empty(os.environ))
            return init_settings, variables, empty, InitSettingsSource(settings_cls, init_kwargs=dict(from_file))

    return Sourced


def _said_by_empty(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings among :data:`EMPTY_MEANS` whose variables are set and empty."""
    empty = {name.upper() for name, value in environment.items() if not value}
    return {name: "" for name in EMPTY_MEANS if variable(name) in empty}


def check_environment(environment: Mapping[str, str], names: Iterable[str]) -> None:
    """Raise :class:`SettingsError` for a variable that means no setting: whoever sets it expects an effect."""
    legal = [variable(name) for name in sorted(names)]
    for name, value in environment.items():
        upper = name.upper()
        rest = upper.removeprefix(PREFIX)
        if rest == upper or rest in _OF_CLIENTS or rest.startswith(_FOR_TESTS) or _OF_KUBERNETES.fullmatch(rest):
            continue
        if upper not in legal:
            guess = (
                f"did you mean {meant}?" if (meant := nearest(upper, legal)) else f"legal values are {', '.join(legal)}"
            )
            raise SettingsError(f"{name} in the environment is no setting; {guess}")
        if rest == "PORT" and "://" in value:
            raise SettingsError(
                f"{name}={value} is not a port: Kubernetes sets it so for a service called visavis; "
                "set enableServiceLinks: false, or give --port"
            )


def variable(name: str) -> str:
    """The name in the environment of the setting ``name``."""
    return f"{PREFIX}{name.upper()}"


_BOOL = "tag:yaml.org,2002:bool"


class _Loader(yaml.SafeLoader):
    """YAML in which ``true`` and ``false`` are the only booleans, as in YAML 1.2: ``off`` is a value of settings, and
    ``no`` is Norwegian. Keys are words, and none stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    message = f"the key {key.value[:80]!r} is there already"
                    raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
                seen.add(key.value)
        return {str(key): value for key, value in super().construct_mapping(node, deep).items()}


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a YAML file; an empty one has none. Raises :class:`SettingsError`."""
    try:
        data = yaml.load(path.read_text("utf-8"), Loader=_Loader)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is no text in UTF-8") from error
    except yaml.MarkedYAMLError as error:  # whose own text repeats the line, which may hold a key
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark is not None else ""
        raise SettingsError(f"{path}: {where}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: {' '.join(str(error).split())}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: must hold settings as `name: value` lines")
    return data


_ONE_OF = re.compile(r"bool|int|float|str|constrained-\w+|literal\[.*\]")
"""What pydantic puts behind a setting that takes several kinds of values, for each of them."""
_LEGAL = "Input should be "


def _either(before: ErrorDetails | None, problem: ErrorDetails) -> ErrorDetails:
    """What is legal by one kind of values or by another."""
    legal = problem["msg"].removeprefix(_LEGAL).partition(", unable to ")[0]
    message = f"{_LEGAL}{legal}" if before is None else f"{before['msg']}, or {legal}"
    return {**problem, "loc": problem["loc"][:1], "msg": message, "type": "one_of"}


class Explainer:
    """Pydantic's errors for people, with the place that the wrong value came from."""

    def __init__(
        self, names: Iterable[str], flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None
    ) -> None:
        self._names = sorted(names)
        self._flags = flags
        self._environment = {name.upper() for name in environment}
        self._file = file

    def problems(self, problems: Iterable[ErrorDetails]) -> str:
        """All of them, each setting once."""
        told: dict[tuple[int | str, ...], ErrorDetails] = {}
        for problem in problems:
            place = problem["loc"]
            if len(place) == 2 and _ONE_OF.fullmatch(str(place[1])):  # of several kinds of values it is none
                place = place[:1]
                problem = _either(told.get(place), problem)
            told[place] = problem
        return "; ".join(map(self._problem, told.values()))

    def _problem(self, problem: ErrorDetails) -> str:
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "extra_forbidden" and name not in self._names:
            return f"{unknown('setting', name, self._names)}{self._source(name)}"
        return f"{explained(problem)}{self._source(name)}"

    def unreadable(self, error: UnreadableError) -> str:
        """A list or an object in the environment that is no JSON."""
        found = re.search(r'field "(\w+)"', str(error))
        name = found[1] if found else ""
        return f"{name}: must be JSON{self._source(name)}"

    def _source(self, name: str) -> str:
        if not name or name in self._flags:
            return ""
        if variable(name) in self._environment:
            return f" ({variable(name)})"
        return f" ({self._file})" if self._file is not None else ""


@dataclass(frozen=True, slots=True)
class Clash:
    """The setting ``name`` has no effect, as ``switch`` is what it is; ``why`` says so."""

    name: str
    switch: str
    why: str

    def __str__(self) -> str:
        return f"{self.name}: has no effect, as {self.why}"


class Clashing(BaseSettings):
    """Settings that tell which of them have no effect."""

    @abstractmethod
    def clashes(self) -> Iterable[Clash]:
        """Those that are given and have none."""


C = TypeVar("C", bound=Clashing)


def given(settings: BaseSettings, names: Iterable[str], switch: str, why: str) -> Iterator[Clash]:
    """Clashes of those of ``names`` that are given, and not as their default."""
    for name in names:
        if name in settings.model_fields_set and getattr(settings, name) != type(settings).model_fields[name].default:
            yield Clash(name, switch, why)


class Origins:
    """Where each setting came from; the strongest source of those that have it counts."""

    def __init__(self, flags: Iterable[str], environment: Mapping[str, str], file: Iterable[str]) -> None:
        self._sources = (set(flags), {name.upper() for name, value in environment.items() if value}, set(file))

    def rank(self, name: str) -> int:
        """The place of its source, 0 being the strongest, and 3 its default."""
        words = (name, variable(name), name)
        return next((rank for rank, names in enumerate(self._sources) if words[rank] in names), len(words))

    def said(self, name: str) -> str:
        """Its source in words."""
        return ("the flags", "the environment", "the file", "the defaults")[self.rank(name)]

    def differ(self, clash: Clash) -> bool:
        """Whether both settings are given, by different sources."""
        ranks = self.rank(clash.name), self.rank(clash.switch)
        return ranks[0] != ranks[1] and max(ranks) < len(self._sources)


def settled(settings: C, origins: Origins) -> tuple[C, list[str]]:
    """``settings`` in which clashes of two sources are settled by passing over one setting, and what is to be told of
    it. Clashes within a source, or with a default, are left."""
    told: list[str] = []
    while clash := next(filter(origins.differ, settings.clashes()), None):
        lost = clash.switch if _wins(clash, settings, origins) else clash.name
        why = f"{clash.name} of {origins.said(clash.name)} is stronger" if lost == clash.switch else clash.why
        told.append(f"{lost} of {origins.said(lost)} is passed over, as {why}")
        settings = _without(settings, lost)
    return settings, told


def _wins(clash: Clash, settings: BaseSettings, origins: Origins) -> bool:
    """Whether the switch gives way: ``llm_url`` says as well as ``chat_model`` who thinks.

    What else is switched off stays so: the name of a device must not turn vision on, and a key alone asks for no
    server. A chat model with adapters stays, too: they were made for it.
    """
    if clash.switch != "chat_model" or clash.name not in ("llm_url", "llm_model"):
        return False
    return origins.rank(clash.name) < origins.rank("chat_model") and "chat_adapters" not in settings.model_fields_set


def _without(settings: C, name: str) -> C:
    """A copy that has the default of ``name``."""
    left = settings.model_copy(update={name: type(settings).model_fields[name].default})
    left.model_fields_set.discard(name)
    return left
