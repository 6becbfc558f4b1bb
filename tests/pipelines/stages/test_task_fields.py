"""What stages ask tasks with is what these tasks take."""

from __future__ import annotations

import pytest

from pipelines.routing.stage_types import STAGE_TYPES

TASKS = {
    "audio_enhance": ("pipelines.tasks.audio.audio_to_audio", {"inputs": b"RIFF"}, ()),
    "embedding": ("pipelines.tasks.text.embedding", {"text": "a"}, ()),
    "text_to_image": ("pipelines.tasks.image.drawing", {"inputs": "a"}, ()),
    "text_to_video": ("pipelines.tasks.image.filming", {"inputs": "a"}, ()),
    "image_edit": ("pipelines.tasks.image.edit", None, ()),
    "image_enhance": ("pipelines.tasks.image.enhance", None, ()),
    "image_to_text": ("pipelines.tasks.image.captions", None, ("mode", "max_fps", "prompt")),
}
"""Stage type → module of its task, inputs that are legal where that can be told without a file, and options that are
the stage's own."""


@pytest.mark.parametrize("kind", TASKS)
def test_options_of_a_stage_are_parameters_of_its_task(kind: str) -> None:
    module, inputs, own = TASKS[kind]
    spec = pytest.importorskip(module, reason="the task has not come yet", exc_type=ModuleNotFoundError).SPEC
    options = STAGE_TYPES[kind].options.model_fields
    unknown = [name for name in options if name not in (*own, *spec.parameters.model_fields)]
    assert not unknown
    defaults = {name: field.default for name, field in options.items() if name not in own and field.default is not None}
    spec.parameters.model_validate(defaults)
    if inputs is not None:
        spec.inputs.model_validate(inputs)
    else:
        assert "image" in spec.inputs.model_fields
