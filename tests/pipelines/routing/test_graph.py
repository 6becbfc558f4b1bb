"""The graph of a pipeline's stages: order, sources, what goes in and out, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.routing.definition import SHIPPED, Pipeline, load
from pipelines.routing.graph import Graph
from pipelines.routing.stage_types import STAGE_TYPES, Problems


def pipeline(*stages: tuple[str, str, list[str]]) -> Pipeline:
    """Of stages written as (id, type, inputs)."""
    return Pipeline.model_validate(
        {"id": "p", "stages": [{"id": name, "type": kind, "inputs": inputs} for name, kind, inputs in stages]}
    )


def graph(*stages: tuple[str, str, list[str]]) -> Graph[Any]:
    return pipeline(*stages).graph


def test_a_stage_takes_what_the_one_before_gives_and_the_first_the_input() -> None:
    found = pipeline(("listen", "audio_to_text", []), ("think", "text_generation", []), ("speak", "text_to_audio", []))
    assert [stage.id for stage in found.order] == ["listen", "think", "speak"]
    assert [found.sources(stage) for stage in found.stages] == [("input",), ("listen",), ("think",)]
    assert (found.takes, found.gives) == (("audio", "video"), ("audio",))
    assert [stage.id for stage in found.graph.sinks] == ["speak"]


def test_stages_may_be_written_in_any_order() -> None:
    found = graph(
        ("sum", "text_generation", ["see", "hear"]),
        ("see", "video_to_text", ["input"]),
        ("hear", "audio_to_text", ["input"]),
    )
    assert [stage.id for stage in found.order] == ["see", "hear", "sum"]
    assert [stage.id for stage in found.consumers("input")] == ["see", "hear"]
    assert [stage.id for stage in found.consumers("hear")] == ["sum"]
    assert (found.takes, found.gives) == (("audio", "video"), ("text",))


def test_the_shipped_conversation_goes_on_without_a_camera() -> None:
    found = load(SHIPPED / "voice-assistant.yaml").pipelines[0].graph
    assert found.needed == {"listen", "think", "speak"}
    assert found.fed(["audio"]) == {"listen", "think", "speak"}
    assert found.fed(["video"]) == {"listen", "think", "speak", "watch"}
    assert found.lacking(["audio"]) == found.lacking(["video"]) == ""
    assert found.lacking(["image"]) == "stage listen: audio_to_text takes audio or video; the input holds image"
    assert found.lacking([]).endswith("; the input is empty")


def test_several_sinks_give_several_media() -> None:
    found = graph(("hear", "audio_to_text", []), ("say", "text_to_audio", []), ("clean", "audio_enhance", ["input"]))
    assert [stage.id for stage in found.sinks] == ["say", "clean"]
    assert found.needed == {"hear", "say", "clean"}
    assert found.lacking(["video"]) == "stage clean: audio_enhance takes audio; the input holds video"


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (
            [("watch", "video_analysis", []), ("speak", "text_to_audio", [])],
            "stages.1: stage speak: text_to_audio takes text; stage watch gives data (without inputs a stage takes "
            "the output of the one before; [input] is what the pipeline is given)",
        ),
        (
            [("watch", "video_analysis", []), ("speak", "text_to_audio", ["watch"])],
            "stages.1.inputs: stage speak: text_to_audio takes text; stage watch gives data",
        ),
        (
            [("watch", "video_analysis", []), ("think", "text_generation", ["watch"])],
            "stages.1.inputs: stage think: text_generation takes text; data of stage watch can only be given besides",
        ),
        (
            [("a", "audio_to_text", ["b"])],
            "stages.0.inputs.0: there is no stage 'b'; legal values are input",
        ),
        (
            [("listen", "audio_to_text", []), ("think", "text_generation", ["lisen"])],
            "stages.1.inputs.0: there is no stage 'lisen'; did you mean listen? Legal values are input, listen",
        ),
        ([("a", "audio_enhance", ["a"])], "stages.0.inputs.0: stage a cannot take its own output"),
        ([("a", "audio_enhance", ["input", "input"])], "stages.0.inputs.1: input is named twice"),
        (
            [("a", "audio_enhance", ["c"]), ("b", "audio_enhance", []), ("c", "audio_enhance", [])],
            "stages.0.inputs: stages wait for each other: b → c → a → b",
        ),
        (
            [("a", "audio_enhance", []), ("a", "audio_enhance", [])],
            "stages.1.id: stage ids must be unique; a is there already",
        ),
    ],
)
def test_what_is_no_graph_is_refused(stages: list[tuple[str, str, list[str]]], said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        pipeline(*stages)
    (error,) = raised.value.errors()
    assert str(error["ctx"]["error"]) == said
    assert isinstance(error["ctx"]["error"], Problems)


@settings(max_examples=60)
@given(st.data())
def test_any_inputs_give_an_order_or_are_refused(data: st.DataObject) -> None:
    names = "abcd"
    one = st.tuples(st.sampled_from(sorted(STAGE_TYPES)), st.lists(st.sampled_from(["input", *names]), max_size=2))
    kinds = data.draw(st.lists(one, min_size=1, max_size=4))
    stages = [(names[place], kind, inputs) for place, (kind, inputs) in enumerate(kinds)]
    try:
        found = graph(*stages)
    except ValidationError as error:
        assert "stages" in str(error)
        return
    seen = {"input"}
    for stage in found.order:
        assert seen.issuperset(found.sources[stage.id])
        seen.add(stage.id)
    assert len(found.order) == len(stages)
    assert found.sinks
    everything = found.fed(["audio", "text", "image", "video", "data"])
    assert everything == seen - {"input"}
    assert found.lacking(found.takes) == ""
