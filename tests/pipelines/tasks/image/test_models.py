"""Tasks that need a model, on tiny random ones: really loaded, really run, and held to the types of the hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.inference._generated.types import (
    ImageClassificationOutputElement,
    ImageToTextOutput,
    ObjectDetectionOutputElement,
    VisualQuestionAnsweringOutputElement,
    ZeroShotImageClassificationOutputElement,
)
from pydantic import ValidationError

from pipelines.errors import ModelError
from pipelines.interfaces.task import Done, TaskError
from pipelines.tasks.image import (
    captions,
    chat,
    classification,
    detection,
    features,
    florence,
    questions,
    zero_shot,
)
from pipelines.tasks.image.generation import drawing, filming
from pipelines.tasks.image.looking import fits, fits_chat
from pipelines.tasks.model_folders import folder_at
from pipelines.tasks.registry import TASKS, spec_of
from pipelines.vision.images import still
from tests.pipelines.tasks.image.bad_pictures import BROKEN, REFUSED
from tests.pipelines.tasks.image.results import job, outcome, output

Tiny = Callable[[str], Path]


@pytest.fixture(scope="session")
def load(tiny: Tiny) -> Callable[[Any, str], Any]:
    """The tiny model of that name, loaded once as the task does it."""

    @cache
    def loaded(loader: Any, name: str) -> Any:
        return loader(tiny(name), "cpu", "float32")

    return lambda spec, name: loaded(spec.load, name)


# ------------------------------------------------------------------------------------------------ CLIP and classes


def test_clip_shares_one_certainty_among_the_labels(load, picture):
    told = output(
        zero_shot.SPEC, load(zero_shot.SPEC, "clip"), {"image": picture}, candidate_labels=["cat", "dog", "cat"]
    )
    elements = ZeroShotImageClassificationOutputElement.parse_obj_as_list(told)
    assert {element.label for element in elements} == {"cat", "dog"}
    assert sum(element.score for element in elements) == pytest.approx(1, abs=1e-4)
    assert elements[0].score >= elements[1].score


def test_siglip_judges_each_label_for_itself(tiny, picture, tmp_path):
    from tests.fakes.tiny_picture_models import clip

    model = zero_shot.load(clip(tmp_path, siglip=True), "cpu", "float32")
    labels = ["cat", "dog", "photo"]
    told = output(zero_shot.SPEC, model, {"image": picture}, candidate_labels=labels)
    alone = output(zero_shot.SPEC, model, {"image": picture}, candidate_labels=["cat"])
    assert sum(one["score"] for one in told) != pytest.approx(1, abs=0.05)
    assert alone[0]["score"] == pytest.approx(next(one["score"] for one in told if one["label"] == "cat"), abs=1e-4)


def test_pictures_and_sentences_become_vectors_of_one_space(load, picture):
    model = load(features.SPEC, "clip")
    of_picture = output(features.SPEC, model, {"image": picture})
    of_words = output(features.SPEC, model, {"text": "a cat"})
    assert len(of_picture) == len(of_words) == 24
    assert sum(value**2 for value in of_picture) == pytest.approx(1, abs=1e-4)
    raw = output(features.SPEC, model, {"image": picture}, normalize=False)
    assert sum(value**2 for value in raw) != pytest.approx(1, abs=1e-2)


def test_classes_come_with_their_scores_the_likeliest_first(load, picture):
    model = load(classification.SPEC, "vit")
    told = output(classification.SPEC, model, {"image": picture})
    elements = ImageClassificationOutputElement.parse_obj_as_list(told)
    scores = [element.score for element in elements]
    assert {element.label for element in elements} == {"cat", "dog", "bird"}
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-4)
    assert len(output(classification.SPEC, model, {"image": picture}, top_k=1)) == 1
    each = output(classification.SPEC, model, {"image": picture}, function_to_apply="sigmoid")
    assert sum(one["score"] for one in each) != pytest.approx(1, abs=1e-2)


def test_things_are_found_within_the_picture(load, picture):
    model = load(detection.SPEC, "yolos")
    told = output(detection.SPEC, model, {"image": picture}, threshold=0.0)
    elements = ObjectDetectionOutputElement.parse_obj_as_list(told)
    height, width = still(picture, "picture").shape[:2]
    assert elements
    assert all(0 <= one.box.xmin <= one.box.xmax <= width for one in elements)
    assert all(0 <= one.box.ymin <= one.box.ymax <= height for one in elements)
    assert output(detection.SPEC, model, {"image": picture}, threshold=1.0) == []


# ------------------------------------------------------------------------------------------------ Florence-2


def test_florence_captions(load, picture):
    told = output(florence.SPEC, load(florence.SPEC, "florence"), {"image": picture}, max_new_tokens=4, num_beams=1)
    assert told["task"] == "CAPTION"
    assert told["objects"] == ()


@pytest.mark.parametrize("word", florence.WORDS)
def test_every_word_of_florence_goes_through(load, picture, word):
    more: dict[str, Any] = {}
    if word in florence._OF_TEXT:
        more = {"text": "a cat"}
    elif word in florence._OF_REGION:
        more = {"region": (0.1, 0.1, 0.5, 0.5)}
    model = load(florence.SPEC, "florence")
    told = output(florence.SPEC, model, {"image": picture}, task=word, max_new_tokens=3, num_beams=1, **more)
    assert told["task"] == word
    assert all(one["score"] is None for one in told["objects"])


@pytest.mark.parametrize(
    ("word", "raw", "objects"),
    [
        ("OD", "cat<loc_10><loc_20><loc_500><loc_700>", [("cat", (0, 1, 40, 44), 0)]),
        ("OCR_WITH_REGION", "EXIT<loc_0><loc_0><loc_500><loc_0><loc_500><loc_500><loc_0><loc_500>",
         [("EXIT", (0, 0, 40, 32), 1)]),
        ("REFERRING_EXPRESSION_SEGMENTATION", "cat<loc_0><loc_0><loc_500><loc_0><loc_500><loc_500>",
         [("", (0, 0, 40, 32), 1)]),
        ("REGION_PROPOSAL", "<loc_10><loc_20><loc_500><loc_700>", [("", (0, 1, 40, 44), 0)]),
    ],
)  # fmt: skip
def test_places_that_florence_writes_are_told_in_pixels(load, word, raw, objects):
    processor = load(florence.SPEC, "florence").processor
    parsed = processor.post_process_generation(f"</s><s>{raw}</s>", task=f"<{word}>", image_size=(80, 64))[f"<{word}>"]
    told = florence.shaped(word, parsed, f"</s><s>{raw}</s>", (80, 64))
    shown = [
        (one.label, (one.box.xmin, one.box.ymin, one.box.xmax, one.box.ymax), len(one.polygons)) for one in told.objects
    ]
    assert shown == objects
    assert told.raw == raw


def test_a_region_is_told_in_thousandths():
    wishes = florence.FlorenceParameters(task="REGION_TO_OCR", region=(0.1, 0.2, 0.5, 1.0))
    assert wishes.prompt == "<REGION_TO_OCR><loc_100><loc_200><loc_500><loc_999>"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"task": "<OD>"}, "OD"),
        ({"task": "PAINT"}, "CAPTION"),
        ({"task": "OD", "text": "cat"}, "OD takes none"),
        ({"task": "OPEN_VOCABULARY_DETECTION"}, "text: is missing"),
        ({"task": "REGION_TO_OCR"}, "region: is missing"),
        ({"task": "REGION_TO_OCR", "region": (0.5, 0, 0.1, 1)}, "in this order"),
        ({"max_new_tokens": 9999}, "1024"),
    ],
)
def test_wishes_of_florence_that_are_not_legal(parameters, said):
    with pytest.raises(ValidationError, match=said):
        florence.FlorenceParameters.model_validate(parameters)


# ------------------------------------------------------------------------------------------------ in words


@pytest.mark.parametrize("name", ["llava", "qwen", "smolvlm", "janus"])
def test_questions_about_several_pictures_are_answered(load, picture, name):
    model = load(chat.SPEC, name)
    done = outcome(chat.SPEC, model, {"images": [picture, picture], "text": "What is this?"}, max_new_tokens=4)
    assert isinstance(done, Done), done
    (told,) = done.output
    assert isinstance(told["generated_text"], str)
    assert 1 <= done.answer_tokens <= 4
    one = outcome(chat.SPEC, model, {"image": picture, "text": "What is this?"}, max_new_tokens=4)
    assert done.tokens > one.tokens > 4  # each picture is read


def test_a_short_answer_tells_how_sure_the_model_was_of_its_words(load, picture):
    told = output(
        questions.SPEC, load(questions.SPEC, "llava"), {"image": picture, "question": "What?"}, max_new_tokens=3
    )
    (element,) = VisualQuestionAnsweringOutputElement.parse_obj_as_list(told)
    assert 0 < element.score < 1


@pytest.mark.parametrize("name", ["llava", "florence"])
def test_captions(load, picture, name):
    told = output(captions.SPEC, load(captions.SPEC, name), {"image": picture}, max_new_tokens=3)
    (element,) = ImageToTextOutput.parse_obj_as_list(told)
    assert isinstance(element.generated_text, str)


def test_florence_is_asked_no_questions(load, picture):
    error = outcome(captions.SPEC, load(captions.SPEC, "florence"), {"image": picture, "prompt": "Why?"})
    assert isinstance(error, TaskError)
    assert (error.code, "Florence-2 answers no questions" in error.message) == ("unsupported_value", True)


def test_the_same_is_answered_to_the_same(load, picture):
    model, item = load(chat.SPEC, "llava"), {"image": picture, "text": "What is this?"}
    first, second = (output(chat.SPEC, model, item, max_new_tokens=4) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"text": "What?"}, "give either image"),
        ({"images": [], "text": "What?"}, "give either image"),
        ({"images": [BROKEN] * 9, "text": "What?"}, "at most 8"),
        ({"images": ["https://example.org/a.png"], "text": "What?"}, "addresses are not fetched"),
        ({"image": BROKEN, "text": ""}, "text"),
        ({"image": BROKEN, "text": "a" * 9_000}, "8000"),
        ({"image": BROKEN, "text": 7}, "text"),
    ],
)
def test_questions_that_are_not_legal(inputs, said):
    with pytest.raises(ValidationError, match=said):
        job(chat.SPEC, inputs)


def test_which_folders_answer_questions(tiny):
    assert fits_chat(folder_at(tiny("llava")))
    assert fits_chat(folder_at(tiny("janus")))
    assert not fits_chat(folder_at(tiny("florence")))
    assert fits(folder_at(tiny("florence")))
    assert not fits(folder_at(tiny("vit")))


# ------------------------------------------------------------------------------------------------ drawing


def test_janus_draws_and_the_seed_decides_what(load):
    model = load(drawing.SPEC, "janus")
    pictures = [output(drawing.SPEC, model, {"inputs": "a cat"}, seed=seed) for seed in (1, 1, 2)]
    assert still(pictures[0], "picture").shape == (16, 16, 3)
    assert pictures[0] == pictures[1] != pictures[2]
    error = outcome(drawing.SPEC, model, {"inputs": "a cat"}, width=64)
    assert (error.code, error.message) == ("unsupported_value", "parameters.width: Janus takes none")


def test_a_pipeline_of_diffusers_draws(load):
    pytest.importorskip("diffusers", reason="the extra diffusion is not installed")
    model = load(drawing.SPEC, "stable_diffusion")
    wishes = {"width": 64, "height": 128, "num_inference_steps": 2, "guidance_scale": 2.0, "negative_prompt": "dog"}
    pictures = [output(drawing.SPEC, model, {"inputs": "a cat"}, **wishes, seed=seed) for seed in (1, 1, 2)]
    assert still(pictures[0], "picture").shape == (128, 64, 3)
    assert pictures[0] == pictures[1] != pictures[2]


def test_a_pipeline_of_diffusers_films(load, picture):
    pytest.importorskip("diffusers", reason="the extra diffusion is not installed")
    model = load(filming.SPEC, "ltx")
    wishes = {"width": 32, "height": 32, "num_frames": 9, "num_inference_steps": 2, "seed": 1}
    told = output(filming.SPEC, model, {"inputs": "a cat"}, **wishes)
    assert (len(told["frames"]), told["width"], told["height"], told["fps"]) == (9, 32, 32, 8.0)
    assert {still(frame, "frame").shape for frame in told["frames"]} == {(32, 32, 3)}
    error = outcome(filming.SPEC, model, {"inputs": "a cat", "image": picture}, **wishes)
    assert error.message == "image: this model takes none"


def test_which_folders_draw_and_which_film(tiny):
    pytest.importorskip("diffusers", reason="the extra diffusion is not installed")
    sd, ltx, janus = (folder_at(tiny(name)) for name in ("stable_diffusion", "ltx", "janus"))
    assert [drawing.fits(one) for one in (sd, ltx, janus)] == [True, False, True]
    assert [filming.fits(one) for one in (sd, ltx, janus)] == [False, True, False]


def test_without_the_package_it_is_told_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    monkeypatch.setattr("pipelines.tasks.image.generation.diffusion.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"needs the package diffusers: pip install '\.\[diffusion\]'") as refused:
        drawing.load(tmp_path, "cpu", "float32")
    assert refused.value.code == "model_not_here"


@pytest.mark.parametrize("spec", [drawing.SPEC, filming.SPEC], ids=lambda spec: spec.name)
@pytest.mark.parametrize(
    ("inputs", "parameters"),
    [
        ({"inputs": ""}, {}),
        ({"inputs": 7}, {}),
        ({"inputs": "a" * 5_000}, {}),
        ({}, {}),
        ({"inputs": "a cat"}, {"width": 33}),
        ({"inputs": "a cat"}, {"width": 100_000}),
        ({"inputs": "a cat"}, {"num_inference_steps": 0}),
        ({"inputs": "a cat"}, {"seed": -1}),
        ({"inputs": "a cat"}, {"scheduler": "DDIM"}),
    ],
    ids=str,
)
def test_wishes_to_draw_that_are_not_legal(spec, inputs, parameters):
    with pytest.raises(ValidationError):
        job(spec, inputs, parameters)


# ------------------------------------------------------------------------------------------------ all of them

PICTURED = sorted(name for name, place in TASKS.items() if ".image." in place and not name.startswith("text-to"))


@pytest.mark.parametrize("name", [name for name, place in TASKS.items() if ".image." in place])
def test_the_registry_names_each_task_as_it_calls_itself(name):
    assert spec_of(name).name == name


@pytest.mark.parametrize("name", PICTURED)
@pytest.mark.parametrize(("value", "said"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_picture_is_refused(name, value, said):
    with pytest.raises(ValidationError, match=said):
        spec_of(name).inputs.model_validate({"image": value, "text": "What?", "question": "What?"})


@pytest.mark.parametrize(
    ("spec", "name", "inputs", "parameters"),
    [
        (zero_shot.SPEC, "clip", {}, {"candidate_labels": ["cat"]}),
        (features.SPEC, "clip", {}, {}),
        (classification.SPEC, "vit", {}, {}),
        (detection.SPEC, "yolos", {}, {}),
        (florence.SPEC, "florence", {}, {"max_new_tokens": 2, "num_beams": 1}),
        (chat.SPEC, "llava", {"text": "What?"}, {"max_new_tokens": 2}),
        (questions.SPEC, "llava", {"question": "What?"}, {"max_new_tokens": 2}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_damaged_picture_gets_its_error_and_spoils_no_other(load, picture, spec, name, inputs, parameters):
    jobs = [job(spec, {"image": data, **inputs}, parameters) for data in (BROKEN, picture)]
    bad, good = spec.run(load(spec, name), jobs)
    assert isinstance(bad, TaskError)
    assert (bad.code, "damaged" in bad.message) == ("invalid_value", True)
    assert isinstance(good, Done)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"candidate_labels": []},
        {"candidate_labels": ["x"] * 101},
        {"candidate_labels": [""]},
        {"candidate_labels": "cat"},
        {"candidate_labels": ["cat"], "hypothesis_template": "no place"},
    ],
)
def test_labels_that_are_not_legal(parameters):
    with pytest.raises(ValidationError):
        zero_shot.ZeroShotParameters.model_validate(parameters)


@pytest.mark.parametrize(
    "spec", [classification.SPEC, zero_shot.SPEC, chat.SPEC, florence.SPEC, drawing.SPEC], ids=lambda spec: spec.name
)
def test_a_folder_without_a_model_is_told(spec, tmp_path):
    with pytest.raises(ModelError) as refused:
        spec.load(tmp_path, "cpu", "float32")
    assert refused.value.code == "model_broken"


def test_code_of_a_model_is_never_run(tiny, tmp_path):
    folder = tmp_path / "odd"
    shutil.copytree(tiny("vit"), folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "odd",
        "auto_map": {"AutoConfig": "odd.OddConfig", "AutoModelForImageClassification": "odd.Odd"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "odd.py").write_text("raise SystemExit('run')")
    with pytest.raises(ModelError) as refused:
        classification.load(folder, "cpu", "float32")
    assert refused.value.code == "model_needs_remote_code"
