"""Files in YAML → data, with the line of everything in them: what is wrong is told with file, line, field and legal
values.

The tree of nodes that PyYAML composes knows its lines; pydantic knows the place of a mistake in the data. Here the two
are brought together. A file is bounded in size, in depth and in what its aliases unfold to.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipelines.errors import DefinitionError
from pipelines.routing.stage_types import Problem, explain
from pipelines.text import mended

LARGEST = 256 << 10
"""Bytes of a file."""
DEEPEST = 40
"""Lists and mappings in each other."""
MOST_NODES = 20_000
"""Words, lists and mappings, each as often as aliases name it."""
MOST_PROBLEMS = 5
"""Told at once."""
_MERGE = "tag:yaml.org,2002:merge"
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

M = TypeVar("M", bound=BaseModel)


class Document:
    """One file: its data, and where everything in it stands."""

    def __init__(self, path: Path, data: Any, root: Node | None, problems: Sequence[tuple[int, str]] = ()) -> None:
        self.path = path
        self.data = data
        self._root = root
        self._problems = tuple(problems)
        """Line and message of what is wrong in the YAML itself, though it can be read."""

    def validated(self, kind: type[M]) -> M:
        """The data as ``kind``. Raises :class:`DefinitionError` naming up to :data:`MOST_PROBLEMS` mistakes."""
        if self.data is None:
            legal = ", ".join(sorted(kind.model_fields))
            raise DefinitionError("definition_invalid", f"{self.path}: is empty; legal are the fields {legal}")
        try:
            found = kind.model_validate(self.data)
        except ValidationError as error:
            raise self.error(explain(error)) from error
        if self._problems:
            raise self.error([])
        return found

    def error(self, problems: Sequence[Problem]) -> DefinitionError:
        """What is said of ``problems``, and of those that the YAML itself has."""
        told = [(self.line(one.where), str(one)) for one in problems]
        words = [f"line {line}: {message}" for line, message in sorted({*self._problems, *told})[:MOST_PROBLEMS]]
        return DefinitionError("definition_invalid", _plain_text(f"{self.path}: {'; '.join(words)}"))

    def line(self, where: Sequence[str | int]) -> int:
        """Where the last part of ``where`` that is in the file stands; parts that are not are passed over."""
        node, line = self._root, 1
        for part in where:
            found = next(_children(node, part), None)
            if found is not None:
                node, line = found
        return line


def read(path: Path) -> Document:
    """Read a file. Raises :class:`DefinitionError` when it cannot be read or is no YAML of bounded size."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DefinitionError("definition_unreadable", f"{path}: is no file")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise DefinitionError("definition_unreadable", f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # a zero byte in its name
        raise DefinitionError("definition_unreadable", f"{str(path)!r}: {error}") from error
    if len(data) > LARGEST:
        raise DefinitionError("definition_too_large", f"{path}: is larger than {LARGEST >> 10} KiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DefinitionError("definition_not_yaml", f"{path}: is no text in UTF-8") from error
    return parse(text, path)


def parse(text: str, path: Path) -> Document:
    """A file's text; ``path`` is what messages call it. Raises :class:`DefinitionError`."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _check_bounds(root)
        plain = _Plain()
        return Document(path, None if root is None else plain.of(root), root, plain.problems)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark is not None else ""
        problem = getattr(error, "problem", None) or getattr(error, "context", None) or error
        message = _plain_text(f"{path}:{line} {problem}")
        raise DefinitionError("definition_not_yaml", message) from error
    except (ValueError, OverflowError) as error:  # an escape beyond Unicode
        raise DefinitionError("definition_not_yaml", _plain_text(f"{path}: {error}")) from error
    except RecursionError:
        raise DefinitionError("definition_too_large", f"{path}: {_TOO_DEEP}") from None
    except _TooLargeError as error:
        raise DefinitionError("definition_too_large", f"{path}: line {error.line}: {error}") from None


_TOO_DEEP = f"lists and mappings are more than {DEEPEST} deep"


class _TooLargeError(Exception):
    def __init__(self, node: Node, message: str) -> None:
        super().__init__(message)
        self.line = node.start_mark.line + 1


def _check_bounds(root: Node | None) -> None:
    """Refuse what refers to itself, and what unfolds to more than it looks like ("billion laughs")."""
    sizes: dict[int, int] = {}
    above: set[int] = set()

    def size(node: Node, depth: int) -> int:
        key = id(node)
        if key in above:
            raise _TooLargeError(node, "refers to itself")
        if depth > DEEPEST:
            raise _TooLargeError(node, _TOO_DEEP)
        if key not in sizes:
            above.add(key)
            sizes[key] = 1 + sum(size(inner, depth + 1) for inner in _inside(node))
            above.remove(key)
        if sizes[key] > MOST_NODES:
            raise _TooLargeError(node, f"holds more than {MOST_NODES} words, each as often as aliases name it")
        return sizes[key]

    if root is not None:
        size(root, 0)


def _inside(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, SequenceNode):
        yield from node.value


def _children(node: Node | None, part: str | int) -> Iterator[tuple[Node, int]]:
    """What stands in ``node`` under ``part``, and the line where it begins."""
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        yield node.value[part], node.value[part].start_mark.line + 1
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == str(part) and key.tag != _MERGE:
                yield value, key.start_mark.line + 1
        for key, value in node.value:
            if key.tag == _MERGE:
                for merged in value.value if isinstance(value, SequenceNode) else [value]:
                    yield from _children(merged, part)


class _Plain:
    """Nodes → data. What is wrong is noted, and something sound stands in its place."""

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []
        self._constructor = SafeConstructor()

    def of(self, node: Node) -> Any:
        """The node as Python's own types."""
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if node.tag not in _COLLECTIONS:
            self._note(node, f"the tag {node.tag} is not taken")
        if isinstance(node, SequenceNode):
            return [self.of(inner) for inner in node.value]
        assert isinstance(node, MappingNode)
        return self._mapping(node)

    def _mapping(self, node: MappingNode) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for other in value.value if isinstance(value, SequenceNode) else [value]:
                    if isinstance(other, MappingNode):
                        merged = {**self._mapping(other), **merged}
                    else:
                        self._note(key, "<< takes a mapping, or a list of mappings")
                continue
            if not isinstance(key, ScalarNode):
                self._note(key, "a key must be a word")
                continue
            name = self._scalar(key)
            if name in own:
                self._note(key, f"the key {key.value[:80]!r} is there already")
            own[name] = self.of(value)
        return {**merged, **own}

    def _scalar(self, node: ScalarNode) -> Any:
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError):
            kind = node.tag.rpartition(":")[2]
            self._note(node, f"{node.value[:80]!r} is no {kind}" if kind in _KINDS else f"the tag {kind} is not taken")
            return node.value
        if isinstance(value, str):
            return mended(value)
        return value if value is None or isinstance(value, bool | int | float) else node.value

    def _note(self, node: Node, message: str) -> None:
        self.problems.append((node.start_mark.line + 1, message))


_KINDS = ("bool", "int", "float", "null", "timestamp", "binary")


def _plain_text(message: str) -> str:
    """One line that can be printed."""
    return mended(" ".join(_CONTROL.sub(" ", message).split()))
