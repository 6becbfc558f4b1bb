"""Picture tasks as the task service runs them: found, checked, batched, kept."""

from __future__ import annotations

import base64
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pipelines.interfaces.task import TaskError
from pipelines.models.residency import Residency
from pipelines.runtime.hardware import Devices, Library
from pipelines.runtime.processor import Processor
from pipelines.tasks.service import TaskOptions, TaskService
from pipelines.vision.images import still
from tests.fakes.printed import page, png

PLAIN = Devices(Processor("plain", 1, 1), False, False, {"torch": Library("torch", "2", ("cpu",))})


@pytest.fixture
def folder(tiny: Callable[[str], Path], tmp_path: Path) -> Path:
    """The user's folder with models."""
    shutil.copytree(tiny("vit"), tmp_path / "classes")
    shutil.copytree(tiny("llava"), tmp_path / "looks")
    return tmp_path


@pytest.fixture
async def service(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[TaskService]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    service = TaskService(None, Residency(), lambda: PLAIN, TaskOptions("cpu", folders=(folder,)))
    yield service
    service.close()


async def test_what_needs_no_model_is_done_at_once(service: TaskService) -> None:
    picture = base64.b64encode(png(page(["HELLO"], 20))).decode()
    assert service.why_not("image-edit") == ""
    edited = await service.runner("image-edit").run({"image": picture}, {"width": 50})
    assert still(edited.output, "result").shape[1] == 50
    larger = await service.runner("image-enhance").run({"image": picture}, {"upscale": 2})
    assert still(larger.output, "result").shape[1] == 2 * page(["HELLO"], 20).shape[1]


async def test_models_in_the_users_folder_are_found_for_their_tasks(service: TaskService, picture: bytes) -> None:
    assert service.models("image-classification") == ["classes"]
    assert service.models("image-text-to-text") == service.models("image-to-text") == ["looks"]
    done = await service.runner("image-classification").run({"image": picture}, {"top_k": 1})
    assert (len(done.output), done.model) == (1, "classes")
    again = await service.runner("image-classification").run({"image": picture}, {"top_k": 1})
    assert again.output == done.output


async def test_pipelines_of_diffusers_are_found_too(service: TaskService, folder: Path, tiny) -> None:
    pytest.importorskip("diffusers", reason="the extra diffusion is not installed")
    shutil.copytree(tiny("ltx"), folder / "films")
    assert service.models("text-to-video") == ["films"]
    assert service.models("text-to-image") == []


@pytest.mark.parametrize("task", ["ocr", "text-to-image", "image-background", "florence"])
async def test_without_a_model_it_is_told_why(service: TaskService, task: str) -> None:
    assert f"no model for {task} is here" in service.why_not(task)
    with pytest.raises(TaskError) as refused:
        service.runner(task)
    assert refused.value.code == "model_not_here"


@pytest.mark.parametrize(
    ("task", "inputs", "parameters", "said"),
    [
        ("image-edit", {"image": "https://example.org/a.png"}, {}, "image: addresses are not fetched"),
        ("image-edit", {"image": ""}, {}, "image: is empty"),
        ("image-edit", {}, {}, "image"),
        ("image-edit", {"image": png(page(["A"]))}, {"prompt": "make it snow"}, "diffusion"),
        ("image-enhance", {"image": png(page(["A"]))}, {"upscale": 9}, "parameters.upscale"),
        ("image-classification", {"image": png(page(["A"]))}, {"colour": "red"}, "colour"),
        ("image-text-to-text", {"text": "What?"}, {}, "give either image"),
    ],
)
async def test_what_is_not_legal_is_told_with_its_field(service, task, inputs, parameters, said) -> None:
    with pytest.raises(TaskError) as refused:
        await service.runner(task).run(inputs, parameters)
    assert refused.value.code == "invalid_value"
    assert said in refused.value.message
