"""Tools as they are written in YAML: what is wrong is told with the file, the field and what is legal."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import DefinitionError
from pipelines.routing.definition import load, load_tools
from pipelines.tools.definition import HttpSpec, McpSpec
from pipelines.tools.toolbox import Named, build_toolbox

HTTP = "kind: http, name: weather, description: The weather., url: 'https://example.org/{city}'"
CITY = "parameters: {type: object, properties: {city: {type: string}}}"
LIGHT = "{kind: function, function: 'tests.pipelines.tools.house:light'}"


def written(tmp_path: Path, *tools: str) -> Path:
    file = tmp_path / "tools.yaml"
    file.write_text("tools:\n" + "".join(f"  - {tool}\n" for tool in tools))
    return file


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        ("{kind: function}", "tools.0.function.function: is missing"),
        ("{kind: magic}", "tools.0: Input tag 'magic'"),
        ("{kind: function, function: nonsense}", "tools.0.function.function: String should match"),
        ("{kind: function, functoin: 'a:b'}", "there is no field 'functoin'; did you mean function?"),
        ("{kind: function, function: 'a:b', timeout: 0}", "timeout: must be greater than 0, not 0"),
        (f"{{{HTTP}}}", "url: there is no parameter 'city'"),
        (f"{{{HTTP.replace('/{city}', '')}, method: BREW}}", "method: must be 'GET', 'POST'"),
        (f"{{{HTTP.replace('example.org', '{city}')}, {CITY}}}", "url: is no address"),
        (f"{{{HTTP.replace('example.org', 'me:hush@example.org')}, {CITY}}}", "holds a user or a password"),
        (f"{{{HTTP}, {CITY}, headers: {{'a b': c}}}}", "'a b' is no name of a header"),
        (f"{{{HTTP}, {CITY}, name: 'two words'}}", "name: String should match"),
        ("{kind: mcp, name: files}", "give either command"),
        ("{kind: mcp, name: files, command: [x], url: 'http://a/'}", "give either command"),
        ("{kind: mcp, name: files, command: [x], headers: {A: b}}", "headers go with url, env goes with command"),
        ("{kind: mcp, name: files, url: 'http://a/{b}'}", "takes no placeholders"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(tmp_path: Path, tool: str, told: str) -> None:
    file = written(tmp_path, tool)
    with pytest.raises(DefinitionError) as refused:
        load_tools(file)
    assert str(file) in refused.value.message
    assert told in refused.value.message
    assert "hush" not in refused.value.message


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        (("{kind: function, function: 'no.where:f'}",), "tools.0: no.where:f cannot be loaded"),
        ((LIGHT, LIGHT), "tools: two are called light"),
        ((f"{{{HTTP}, {CITY}, headers: {{X: '${{KEY}}'}}}}",), "there is no secret 'KEY'; did you mean KEYS?"),
        ((f"{{{HTTP}, parameters: {{type: 5, properties: {{city: {{}}}}}}}}",), "tools.0: is no JSON schema"),
    ],
)
async def test_what_cannot_be_used_is_told_by_its_place(tmp_path: Path, tools: tuple[str, ...], told: str) -> None:
    file = written(tmp_path, *tools)
    named = [Named(spec, file, f"tools.{n}") for n, spec in enumerate(load_tools(file))]
    with pytest.raises(DefinitionError) as refused:
        build_toolbox(named, {"KEYS": "hidden"})
    assert str(file) in refused.value.message
    assert told in refused.value.message
    assert "hidden" not in refused.value.message


def test_a_definition_may_have_tools_of_its_own(tmp_path: Path) -> None:
    stages = "".join(
        f"{{id: {kind}, type: {kind}}}, " for kind in ("audio_to_text", "text_generation", "text_to_audio")
    )
    file = tmp_path / "mine.yaml"
    file.write_text(f"pipelines: [{{id: a, stages: [{stages}]}}]\ntools: [{{{HTTP}, {CITY}, method: GET}}]\n")
    (tool,) = load(file).tools
    assert isinstance(tool, HttpSpec)
    assert (tool.title, tool.what, tool.timeout, tool.max_characters) == ("weather", "GET example.org", 10.0, 4000)


def test_what_is_told_of_a_tool_holds_no_secrets() -> None:
    spec = McpSpec(kind="mcp", name="files", command=("npx", "--token", "secret"))
    assert (spec.title, spec.what) == ("files", "mcp npx")
