"""The YAML pipelines: what ships loads, what is wrong is named."""

from __future__ import annotations

import pytest

from pipelines.errors import DefinitionError
from pipelines.routing.definition import SHIPPED, load

GOOD = """\
pipelines:
  - id: p
    stages:
      - {id: listen, type: audio_to_text}
backends:
  - {id: cpu, hardware: cpu}
"""


def test_what_ships_is_valid():
    (pipeline,) = load(SHIPPED / "voice-assistant.yaml").pipelines
    assert [stage.id for stage in pipeline.stages] == ["listen", "think", "speak", "watch"]
    assert pipeline.stage("text_generation").parameters["instructions"].startswith("You are visavis")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD.replace("audio_to_text", "audio_to_tex"), r"stages\.0\.type.*'text_to_audio'"),
        (GOOD.replace("id: listen, ", ""), r"stages\.0\.id"),
        (GOOD.replace("type: audio_to_text", "type: audio_to_text, modle: x"), r"stages\.0\.modle"),
        (GOOD.replace("hardware: cpu", "hardware: tpu"), r"backends\.0\.hardware.*'npu'"),
        (GOOD.replace("hardware: cpu", "kind: openai"), "base_url"),
        (GOOD.replace("audio_to_text}", "audio_to_text, forwarding_policy: {escalation_path: [moon]}}"), "moon.*cpu"),
        (GOOD.replace("      - {id", "      - {id: listen, type: embedding}\n      - {id"), "unique"),
        ("pipelines: []\n", "pipelines"),
        ("pipelines: [\n", "line 2"),
    ],
)
def test_what_is_wrong_is_named_with_the_legal_values(tmp_path, text, named):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DefinitionError, match=rf"(?s)mine\.yaml.*{named}"):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DefinitionError, match=r"gone\.yaml"):
        load(tmp_path / "gone.yaml")
