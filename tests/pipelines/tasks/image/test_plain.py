"""Pictures changed without a model: edited, enhanced, with another background."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.errors import ModelError
from pipelines.interfaces.task import TaskError
from pipelines.tasks.batching import deserted
from pipelines.tasks.image import background, edit, enhance
from pipelines.tasks.image.generation.drawing import DiffusionDrawer, DrawingParameters
from pipelines.vision.images import still
from tests.fakes.printed import Pixels, page, photographed, png
from tests.pipelines.tasks.image.bad_pictures import BROKEN, REFUSED
from tests.pipelines.tasks.image.results import outcome, output
from tests.real_models import real_folder

RED, GREEN, BLUE, GREY = (230, 20, 20), (20, 230, 20), (20, 20, 230), (120, 120, 120)


def quarters() -> Pixels:
    """Four colours, 80 × 60: red, green above blue, grey."""
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[:30, :40], picture[:30, 40:], picture[30:, :40], picture[30:, 40:] = RED, GREEN, BLUE, GREY
    return picture


def edited(picture: Pixels, mask: Pixels | None = None, **parameters: Any) -> Pixels:
    inputs = {"image": png(picture)} | ({"mask": png(mask)} if mask is not None else {})
    return still(output(edit.SPEC, None, inputs, **parameters), "result")


def enhanced(picture: Pixels, **parameters: Any) -> Pixels:
    return still(output(enhance.SPEC, None, {"image": png(picture)}, **parameters), "result")


def alike(one: Any, other: Any) -> bool:
    return bool(np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 3)


def test_a_part_is_cut_out():
    part = edited(quarters(), crop={"left": 40, "top": 0, "width": 20, "height": 10})
    assert part.shape == (10, 20, 3)
    assert alike(part, np.full((10, 20, 3), GREEN))


@pytest.mark.parametrize(
    ("parameters", "shape", "corner"),
    [
        ({"flip": "horizontal"}, (60, 80), GREEN),
        ({"flip": "vertical"}, (60, 80), BLUE),
        ({"rotate": 90}, (80, 60), BLUE),
        ({"rotate": -90}, (80, 60), GREEN),
        ({"rotate": 180}, (60, 80), GREY),
        ({"rotate": 360}, (60, 80), RED),
        ({"width": 40}, (30, 40), RED),
        ({"height": 120}, (120, 160), RED),
        ({"width": 10, "height": 90}, (90, 10), RED),
        ({"flip": "horizontal", "crop": {"left": 40, "top": 30, "width": 40, "height": 30}}, (30, 40), GREY),
        ({}, (60, 80), RED),
    ],
    ids=str,
)
def test_pictures_are_turned_mirrored_and_resized(parameters, shape, corner):
    result = edited(quarters(), **parameters)
    assert result.shape[:2] == shape
    assert alike(result[1, 1], corner)


def test_what_is_turned_a_little_grows_and_keeps_its_middle():
    result = edited(np.full((60, 80, 3), BLUE, np.uint8), rotate=30)
    assert result.shape[0] > 80
    assert alike(result[result.shape[0] // 2, result.shape[1] // 2], BLUE)
    assert alike(result[0, 0], (0, 0, 0))


def test_a_radius_that_takes_too_long_for_the_mask_is_refused_with_one_that_does_not():
    picture = np.full((200, 200, 3), 90, np.uint8)
    mask = np.full_like(picture, 255)
    mask[0] = 0
    inputs = {"image": png(picture), "mask": png(mask)}
    with pytest.raises(TaskError, match=r"parameters.inpaint_radius: is 50, .* at most 35 is taken") as told:
        edit.edited(edit.EditInput(**inputs), edit.EditParameters(inpaint_radius=50))
    assert told.value.code == "invalid_value"


def test_what_a_mask_marks_is_filled_in_from_around_it():
    picture = np.full((60, 80, 3), GREEN, np.uint8)
    picture[20:30, 30:45] = RED
    mask = np.zeros_like(picture)
    mask[18:32, 28:47] = 255
    result = edited(picture, mask)
    assert alike(result, np.full_like(picture, GREEN))
    assert alike(edited(picture, np.zeros_like(mask)), picture)


@pytest.mark.parametrize(
    ("mask", "parameters", "said"),
    [
        (None, {"crop": {"left": 70, "top": 0, "width": 20, "height": 10}}, "parameters.crop: reaches beyond"),
        (np.zeros((10, 10, 3), np.uint8), {}, "mask: has 10x10 pixels, and the image 80x60"),
        (np.full((60, 80, 3), 255, np.uint8), {}, "mask: marks all of the image"),
        (None, {"width": 4096, "crop": {"left": 0, "top": 0, "width": 1, "height": 60}}, "larger than 4096"),
    ],
)
def test_what_does_not_fit_the_picture_is_told(mask, parameters, said):
    inputs = {"image": png(quarters())} | ({"mask": png(mask)} if mask is not None else {})
    error = outcome(edit.SPEC, None, inputs, **parameters)
    assert isinstance(error, TaskError)
    assert error.code == "invalid_value"
    assert said in error.message


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"prompt": "make it winter"}, "needs a diffusion model"),
        ({"flip": "diagonal"}, "horizontal"),
        ({"rotate": 1000}, "360"),
        ({"width": 0}, "width"),
        ({"crop": {"left": -1, "top": 0, "width": 1, "height": 1}}, "crop.left"),
        ({"crop": {"left": 0}}, "crop.top"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wishes_to_edit_that_are_not_legal(parameters, said):
    with pytest.raises(ValidationError, match=said):
        edit.EditParameters.model_validate(parameters)


# ------------------------------------------------------------------------------------------------ enhancing


def test_noise_is_taken_out():
    clean = page(["Less noise"], 40)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 15, clean.shape), 0, 255).astype(np.uint8)
    before, after = (np.abs(one.astype(int) - clean).mean() for one in (noisy, enhanced(noisy, denoise=1)))
    assert after < 0.6 * before


def test_contrast_is_given_and_colours_stay():
    rough = np.random.default_rng(1).normal(0, 6, (240, 320)).astype(np.float32)
    faint = np.clip(np.array([115, 85, 85]) + rough[..., None], 0, 255).astype(np.uint8)
    result = enhanced(faint, contrast=1)
    assert result[..., 0].astype(int).std() > 1.5 * faint[..., 0].astype(int).std()
    assert result[..., 0].mean() > result[..., 1].mean() + 15


def test_edges_become_sharper():
    soft = photographed(page(["Sharper"], 40), noise=0, blur=2)

    def edges(picture: Pixels) -> float:
        return float(cv2.Laplacian(picture, cv2.CV_32F).var())

    assert edges(enhanced(soft, sharpen=1)) > 2 * edges(soft)


def test_pictures_become_larger_and_nothing_else():
    result = enhanced(quarters(), upscale=3)
    assert result.shape == (180, 240, 3)
    assert alike(result[20, 20], RED)


def test_without_wishes_a_little_of_each_is_done():
    assert not alike(enhanced(photographed(page(["A"]))), photographed(page(["A"])))
    assert alike(enhanced(quarters(), denoise=0), quarters())


def test_what_would_become_too_large_is_told():
    error = outcome(enhance.SPEC, None, {"image": png(np.zeros((30, 2000, 3), np.uint8))}, upscale=4)
    assert "parameters.upscale: the result would be larger than 4096" in error.message


@pytest.mark.parametrize("parameters", [{"upscale": 8}, {"denoise": -1}, {"sharpen": "much"}, {"model": "x"}])
def test_wishes_to_enhance_that_are_not_legal(parameters):
    with pytest.raises(ValidationError):
        enhance.EnhanceParameters.model_validate(parameters)


def test_noise_is_taken_out_of_strips_as_of_the_whole() -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (300, 40, 3), np.uint8)
    wishes = enhance.EnhanceParameters(denoise=0.5)
    whole = cv2.fastNlMeansDenoisingColored(noisy, None, 6.0, 6.0, 5, 15)
    assert np.array_equal(enhance.enhanced(noisy, wishes), whole)


def test_nothing_more_is_done_for_nobody() -> None:
    token = deserted.set(lambda: True)
    try:
        with pytest.raises(TaskError, match="nobody waits"):
            enhance.enhanced(quarters(), enhance.EnhanceParameters(denoise=0.5))
        with pytest.raises(TaskError, match="nobody waits"):
            DiffusionDrawer(Steps()).draw("a cat", DrawingParameters(num_inference_steps=5))
    finally:
        deserted.reset(token)


class Steps:
    """A pipeline of diffusers."""

    def __call__(
        self, prompt: str, generator: Any, output_type: str, num_inference_steps: int, callback_on_step_end: Any
    ) -> Any:
        for step in range(num_inference_steps):
            callback_on_step_end(self, step, 0, {})
        raise AssertionError("all steps were made")


# ------------------------------------------------------------------------------------------------ background


def test_a_single_row_has_a_background_too(segmenter: background.Segmenter) -> None:
    for shape in ((1, 1, 3), (1, 40, 3), (40, 1, 3)):
        picture = png(np.zeros(shape, np.uint8))
        result = still(output(background.SPEC, segmenter, {"image": picture}, kind="colour", colour=RED), "result")
        assert result.shape == shape


@pytest.fixture(scope="module")
def segmenter() -> Iterator[background.Segmenter]:
    segmenter = background.load(real_folder("mediapipe-selfie-segmenter"), "cpu", "float32")
    yield segmenter
    segmenter.close()


def test_where_nobody_is_all_is_background(segmenter):
    result = still(output(background.SPEC, segmenter, {"image": png(quarters())}, kind="colour", colour=RED), "result")
    assert alike(result, np.full((60, 80, 3), RED))


def test_another_picture_comes_behind(segmenter):
    sky = png(np.full((20, 20, 3), BLUE, np.uint8))
    result = still(output(background.SPEC, segmenter, {"image": png(quarters())}, kind="image", image=sky), "result")
    assert alike(result, np.full((60, 80, 3), BLUE))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"kind": "image"}, "image: is missing"),
        ({"image": png(quarters())}, "needs kind image"),
        ({"kind": "colour", "colour": (0, 300, 0)}, "0–255"),
        ({"kind": "beach"}, "blur"),
    ],
)
def test_backgrounds_that_are_not_legal(parameters, said):
    with pytest.raises(ValidationError, match=said):
        background.BackgroundParameters.model_validate(parameters)


@pytest.mark.parametrize("content", [None, b"no network"])
def test_a_segmenter_that_is_none(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "a.tflite").write_bytes(content)
    with pytest.raises(ModelError) as refused:
        background.load(tmp_path, "cpu", "float32")
    assert refused.value.code == "model_broken"


# ------------------------------------------------------------------------------------------------ bad pictures


@pytest.mark.parametrize("spec", [edit.SPEC, enhance.SPEC, background.SPEC], ids=lambda spec: spec.name)
def test_a_damaged_picture_is_told(spec):
    assert "image: is damaged" in outcome(spec, None, {"image": BROKEN}).message


@pytest.mark.parametrize(("value", "said"), REFUSED)
def test_what_is_no_mask_is_refused(value, said):
    with pytest.raises(ValidationError, match=said):
        edit.EditInput(image=png(quarters()), mask=value)
