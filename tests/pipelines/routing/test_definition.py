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


def speaking(options: str) -> str:
    """A file whose stage speaks with these."""
    braced = options if options.startswith("[") else f"{{{options}}}"
    return GOOD.replace("audio_to_text}", f"text_to_audio, options: {braced}}}")


def test_what_ships_is_valid():
    (pipeline,) = load(SHIPPED / "voice-assistant.yaml").pipelines
    assert [stage.id for stage in pipeline.stages] == ["listen", "think", "speak", "watch"]
    assert pipeline.stage("text_generation").options["instructions"].startswith("You are visavis")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD.replace("audio_to_text", "audio_to_tex"), r"stages\.0\.type.*'text_to_audio'"),
        (GOOD.replace("id: listen, ", ""), r"stages\.0\.id"),
        (
            GOOD.replace("type: audio_to_text", "type: audio_to_text, modle: x"),
            r"stages\.0\.modle: there is no field 'modle'; did you mean model\?",
        ),
        (GOOD.replace("hardware: cpu", "hardware: tpu"), r"backends\.0\.hardware.*'npu'"),
        (GOOD.replace("hardware: cpu", "kind: openai"), "base_url"),
        (GOOD.replace("audio_to_text}", "audio_to_text, forwarding_policy: {escalation_path: [moon]}}"), "moon.*cpu"),
        (GOOD.replace("      - {id", "      - {id: listen, type: embedding}\n      - {id"), "unique"),
        ("pipelines: []\n", "pipelines"),
        (
            GOOD.replace("hardware: cpu", "kind: openai, base_url: localhost"),
            "'localhost' is no address: it must be http",
        ),
        (speaking("speed: fast"), r"options.speed: must be a number, not 'fast' \(definition_invalid\)$"),
        (speaking("speed: 9"), "speed: must be less than or equal to 4, not 9"),
        (
            speaking("sped: 1"),
            "there is no field 'sped'; did you mean speed\\? Legal values are language, speed, voice",
        ),
        (speaking("[1]"), "options: must be a mapping"),
        (
            GOOD.replace("audio_to_text}", "text_generation, options: {max_tokens: 0}}"),
            "max_tokens: must be greater",
        ),
        (
            GOOD.replace("audio_to_text}", "video_analysis, options: {max_fps: x}}"),
            "max_fps: must be a number",
        ),
        (GOOD.replace("audio_to_text}", "audio_to_text, options: {a: 1}}"), "no field 'a'; legal values are language"),
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


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DefinitionError, match=r"binary\.yaml: is no text in UTF-8"):
        load(path)


def test_parameters_are_what_was_given(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(speaking("speed: 2, voice: en-gb"))
    assert load(path).pipelines[0].stages[0].options == {"speed": 2.0, "voice": "en-gb"}
