"""``docs/reference/pipelines.md``: its examples are sound, its tables hold every word of the schema."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from pipelines.definitions.mapping import LOCAL, Backend
from pipelines.routing.definition import (
    TELLS_CONFIDENCE,
    Assistant,
    Definition,
    ForwardingPolicy,
    Options,
    Pipeline,
    Stage,
)
from pipelines.routing.library import Library
from tests.pipelines.routing.test_library import MAPS, USERS
from tools.doc_tables import DOCS

TEXT = (DOCS / "reference" / "pipelines.md").read_text("utf-8")
EXAMPLE, ASSISTANT, MAPPING = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def section(title: str) -> str:
    """From a heading to the next one."""
    (found,) = re.findall(rf"^#+ {title}\n(.*?)(?=^#|\Z)", TEXT, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("A file", Definition),
        ("A pipeline", Pipeline),
        ("A stage", Stage),
        ("Handing on", ForwardingPolicy),
        ("Backends", Backend),
    ],
)
def test_every_word_of_the_schema_is_documented(title: str, kind: type[BaseModel]) -> None:
    words = {
        word for row in re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE) for word in row.split("`")[1::2]
    }
    options = {f"options.{name}" for name in Options.model_fields} if kind is Pipeline else set()
    assert words == {*kind.model_fields, *options}


def test_the_types_that_tell_their_confidence_are_as_they_are_told() -> None:
    assert ", ".join(f"`{kind}`" for kind in TELLS_CONFIDENCE) in section("Handing on")


def test_the_defaults_are_as_they_are_told() -> None:
    for name, field in Options.model_fields.items():
        assert f"| `options.{name}` | `{str(field.default).lower()}` |" in TEXT


def test_the_words_of_the_assistant_are_as_they_are_told() -> None:
    assert yaml.safe_load(ASSISTANT)["assistant"].keys() == Assistant.model_fields.keys()
    Assistant.model_validate(yaml.safe_load(ASSISTANT)["assistant"])


def test_the_example_is_sound(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(EXAMPLE)
    library = Library(tmp_path)
    assert library.problems == ()
    assert library.get("careful-assistant").graph.needed == {"listen", "think", "speak"}


def test_the_mapping_maps_somebody_elses_file(tmp_path: Path) -> None:
    (tmp_path / "theirs.yaml").write_text(USERS)
    (tmp_path / "backends.yaml").write_text(MAPPING)
    library = Library(tmp_path)
    assert library.problems == ()
    assert library.backends.resolve("ollama-npu").id in LOCAL
    (tmp_path / "backends.yaml").write_text(MAPS)
    assert Library(tmp_path).backends == library.backends


def test_the_table_of_those_that_ship_is_complete() -> None:
    named = {
        word for row in re.findall(r"^\| (`.*?) \|", section("Those that ship"), re.M) for word in row.split("`")[1::2]
    }
    assert named == set(Library().pipelines)
