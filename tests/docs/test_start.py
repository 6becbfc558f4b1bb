"""What the pages of ``docs/start`` have people write does what they say."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.routing.definition import load
from server.engines.parts import Parts
from server.engines.tools import tools
from server.settings import load_settings
from tools.doc_tables import DOCS


async def test_the_tool_of_ones_own_is_called(tmp_path: Path) -> None:
    text = (DOCS / "start" / "your-own-tool.md").read_text("utf-8")
    written = dict(re.findall(r"`([\w.]+)`[^`]*:\n\n```(?:python|yaml)\n(.*?)```", text, re.DOTALL))
    written |= dict(zip(("tools.yaml",), re.findall(r"```yaml\n(.*?)```", text, re.DOTALL), strict=True))
    for name, content in written.items():
        (tmp_path / name).write_text(content, "utf-8")
    settings = load_settings({"cache": tmp_path, "tools": tmp_path / "tools.yaml"})
    box = await tools(Parts(settings, load(settings.pipeline), lambda line: None))
    assert box is not None
    try:
        (light,) = box()
        result = await light.run('{"room": "kitchen", "on": true}')
        assert (result.text, result.failed) == ("The lamp in the kitchen is on.", False)
        assert (await light.run('{"room": "cellar", "on": true}')).failed
        assert light.tool.description == "Switches the lamp in a room on or off."
    finally:
        await box.close()
