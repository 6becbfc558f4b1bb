"""The generator that the settings name: told with its licence, or refused with the setting's name."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.errors import ModelError
from pipelines.foresight.generator.filmer import GRAIN
from pipelines.models.residency import Residency
from server.engines.foresight import generator
from server.settings import SettingsError, load_settings

pytest.importorskip("diffusers", reason="needs the extra diffusion")


class Parts(SimpleNamespace):
    """What of the composition is asked."""

    bench = False
    ray = None

    def __init__(self, **settings: object) -> None:
        super().__init__(settings=load_settings(settings), residency=Residency(), told=[])
        self.say = self.told.append

    async def aside(self, function, *args):
        return function(*args)

    def device_for(self, library: str) -> tuple[str, str]:
        return "cpu", ""


@pytest.fixture
def ltx(tmp_path: Path) -> Path:
    folder = tmp_path / "ltx"
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "LTXPipeline"}))
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: ltx-open-weights\n---\n")
    return folder


async def test_none_is_there_unless_it_is_named(ltx):
    assert await generator(Parts()) is None
    parts = Parts(foresight_generator=ltx)
    made = await generator(parts)
    assert made is not None
    assert (made.filmer.model, made.filmer.grain, made.describer) == ("ltx", GRAIN, None)
    assert "its licence: other" in parts.told[0]
    for worker in made.workers:
        worker.close()


async def test_what_is_no_generator_is_refused_with_the_name_of_the_setting(tmp_path, ltx):
    with pytest.raises(ModelError, match=r"foresight_generator: .* holds no pipeline"):
        await generator(Parts(foresight_generator=tmp_path))
    with pytest.raises(ModelError, match=r"foresight\.json cannot be read"):
        await generator(Parts(foresight_generator=ltx, foresight_adapter=tmp_path))
    shape = {"patch_width": 24, "state_width": 32, "context_width": 16}
    (tmp_path / "own").mkdir()
    (tmp_path / "own/foresight.json").write_text(json.dumps({"encoder": "dinov2", "describer": "", "shape": shape}))
    with pytest.raises(ModelError, match="foresight_adapter: own was trained with dinov2, which is not in"):
        await generator(Parts(foresight_generator=ltx, foresight_adapter=tmp_path / "own"))
    for name in ("foresight_adapter", "foresight_steps"):
        with pytest.raises(SettingsError, match="needs foresight_generator"):
            load_settings({name: 8 if "steps" in name else tmp_path})
