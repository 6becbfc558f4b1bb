"""LTX on a tiny pipeline of random weights: previews, an end within a step, conditioning, and training of that."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="needs the extra diffusion")
torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402

from pipelines.errors import ModelError  # noqa: E402
from pipelines.foresight.events import Completed, Frame, Preview, TextChunk, VideoDone  # noqa: E402
from pipelines.foresight.filming import Scene, fitted  # noqa: E402
from pipelines.foresight.generator.adapter import Adapter  # noqa: E402
from pipelines.foresight.generator.adapter_file import AdapterCard, load_adapter, save_adapter  # noqa: E402
from pipelines.foresight.generator.filmer import LtxFilmer  # noqa: E402
from pipelines.foresight.generator.fusion import Fusion, FusionShape  # noqa: E402
from pipelines.foresight.generator.image_encoder import ImageEncoder  # noqa: E402
from pipelines.foresight.generator.ltx import LtxVideo, Wish, load  # noqa: E402
from pipelines.foresight.generator.narrator import Narrator  # noqa: E402
from pipelines.foresight.quality import Plan  # noqa: E402
from pipelines.foresight.service import Foresight, Generator  # noqa: E402
from pipelines.models.residency import Kept  # noqa: E402
from pipelines.runtime.telling import StoppedError  # noqa: E402
from pipelines.runtime.worker import Worker  # noqa: E402
from pipelines.tasks.image import looking  # noqa: E402
from tests.fakes import tiny_picture_models  # noqa: E402
from tests.fakes.foresight import Told  # noqa: E402
from tests.fakes.moving import moving  # noqa: E402
from training.foresight.train import Film, Trainer, seen_by  # noqa: E402

PLAN = Plan("low", 64, 64, 17)
STEPS = 5
FIRST = fitted(moving(0), PLAN)
WISH = Wish(FIRST, PLAN, "it moves", seed=3)
SHAPE = FusionShape(24, 32, 16, tokens=4, width=16, layers=1, heads=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(0)
    names = ("ltx", "dinov2", "llava")
    return {name: getattr(tiny_picture_models, name)(tmp_path_factory.mktemp(name)) for name in names}


@pytest.fixture(scope="module")
def loaded(folders) -> LtxVideo:
    made = load(folders["ltx"], "cpu", "float32")
    made.steps = STEPS
    return made


@pytest.fixture
def video(loaded) -> LtxVideo:
    loaded.fusion = loaded.adapter = loaded.encoder = None
    return loaded


@pytest.fixture
def worker():
    made = Worker("test")
    yield made
    made.close()


def adapted(video: LtxVideo, folders: dict[str, Path]) -> LtxVideo:
    torch.manual_seed(1)
    video.fusion, video.adapter = Fusion(SHAPE).eval(), Adapter(video.pipeline.transformer, SHAPE.context_width).eval()
    video.encoder = ImageEncoder.load(folders["dinov2"], "cpu", "float32")
    return video


def filmed(video: LtxVideo, wish: Wish = WISH, stopped: Any = lambda: False) -> tuple[Any, list[Any]]:
    guesses: list[Any] = []
    return video.film(wish, guesses.append, stopped), guesses


def test_each_step_is_previewed_before_the_last_one(video):
    frames, guesses = filmed(video)
    assert len(frames) == PLAN.frames
    assert frames[0].shape == (64, 64, 3)
    assert [guess.step for guess in guesses] == sorted(guess.step for guess in guesses)
    assert {guess.step for guess in guesses} == set(range(1, STEPS + 1))
    assert {guess.index for guess in guesses} == {8, 16}
    assert guesses[0].pixels.shape == (128, 128, 3)


def test_it_ends_within_one_step(video):
    steps: list[int] = []

    def stopped() -> bool:
        steps.append(1)
        return len(steps) == 2

    with pytest.raises(StoppedError):
        filmed(video, stopped=stopped)
    assert len(steps) == 2


def test_a_gate_of_zero_is_the_plain_generator_to_the_bit(video, folders):
    plain = video.pipeline(
        image=Image.fromarray(FIRST), prompt=WISH.prompt, width=64, height=64, num_frames=17, frame_rate=15.0,
        num_inference_steps=STEPS, guidance_scale=video.guidance, generator=torch.Generator("cpu").manual_seed(3),
        output_type="np",
    ).frames[0]  # fmt: skip
    plain = [(one * 255 + 0.5).clip(0, 255).astype("uint8") for one in plain]
    adapted(video, folders)
    frames, _ = filmed(video)
    assert all((one == other).all() for one, other in zip(frames, plain, strict=True))
    with torch.no_grad():
        for beside in video.adapter.blocks:
            beside.gate.fill_(5.0)
    opened, _ = filmed(video)
    assert any((one != other).any() for one, other in zip(opened, plain, strict=True))
    video.adapter.strength = 0.0
    closed, _ = filmed(video)
    assert all((one == other).all() for one, other in zip(closed, plain, strict=True))


def test_fusion_has_some_ten_million_weights_and_looks_at_both():
    with torch.device("meta"):
        whole = Fusion(FusionShape(1024, 3584, 4096))
    assert 9e6 < sum(one.numel() for one in whole.parameters()) < 12e6
    fusion = Fusion(SHAPE).eval()
    patches, states = torch.randn(1, 5, 24), torch.randn(1, 7, 32)
    told = fusion(patches, states)
    assert told.shape == (1, 4, 16)
    assert not torch.allclose(told, fusion(patches, 2 * torch.randn(1, 7, 32)))
    mask = torch.tensor([[True] * 3 + [False] * 4])
    assert torch.allclose(fusion(patches, states, mask), fusion(patches, states[:, :3]), atol=1e-5)


def test_what_was_trained_is_kept_in_a_folder_and_fits_only_its_generator(video, folders, tmp_path):
    adapted(video, folders)
    with torch.no_grad():
        video.adapter.blocks[0].gate.fill_(0.25)
    save_adapter(tmp_path / "own", AdapterCard("dinov2", "llava", SHAPE), video.fusion, video.adapter)
    fusion, adapter = load_adapter(tmp_path / "own", video.pipeline.transformer)
    assert float(adapter.blocks[0].gate.detach()) == 0.25
    assert torch.equal(fusion.queries.detach(), video.fusion.queries.detach())

    class Other:
        transformer_blocks = [*video.pipeline.transformer.transformer_blocks] * 2
        device, dtype = "cpu", torch.float32

    with pytest.raises(ModelError, match="does not fit"):
        load_adapter(tmp_path / "own", Other())
    (tmp_path / "own/foresight.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read"):
        load_adapter(tmp_path / "own", video.pipeline.transformer)


async def test_words_and_previews_come_while_the_video_is_made(video, folders, worker):
    class Noted(LtxVideo):
        def context(self, wish: Wish) -> Any:
            states.append(wish.states)
            return super().context(wish)

    states: list[Any] = []
    adapted(video, folders)
    noted = Noted(video.pipeline, STEPS, 1.0, video.fusion, video.adapter, video.encoder)
    films = Worker("films")
    narrator = Narrator(Kept("llava", looking.load(folders["llava"], "cpu", "float32")), worker)
    foresight = Foresight(generator=Generator(LtxFilmer(Kept("ltx", noted), films, needs_states=True), narrator))
    told = Told()
    try:
        await foresight.foresee(Scene(moving(0)[:64, :64]), "low", told)
    finally:
        films.close()
        foresight.close()
    assert states[0].shape[-1] == 32
    assert told.of(TextChunk)
    assert len(told.of(Frame)) == told.of(VideoDone)[0].frames == 17
    order = [type(event) for event in told.events]
    assert order.index(Preview) < order.index(VideoDone)
    assert {frame.confidence for frame in told.of(Frame)[1:]} == {None}
    assert isinstance(told.events[-1], Completed)


async def test_closing_it_ends_the_work(video):
    films = Worker("films")
    filmer = LtxFilmer(Kept("ltx", video), films)
    try:
        async with aclosing(filmer.film(Scene(FIRST), FIRST, PLAN)) as pieces:
            await anext(pieces)
        async with asyncio.timeout(20):
            await films.run(lambda: None)  # the thread is free again
    finally:
        films.close()


def test_training_lowers_the_loss_and_opens_gates(video, folders):
    adapted(video, folders)
    frames = [fitted(moving(n), PLAN) for n in range(9)]
    encoder = video.encoder
    looker = looking.load(folders["llava"], "cpu", "float32")
    seen = seen_by(video.pipeline, encoder, looker, Film(np.stack(frames), "it moves"))
    assert seen.states.shape[-1] == 32
    torch.manual_seed(0)
    noise = torch.randn_like(seen.latents)
    trainer = Trainer(video.pipeline, video.fusion, video.adapter, rate=3e-2)
    before = float(trainer.loss(seen, noise, 0.5).detach())
    frozen = video.pipeline.transformer.proj_out.weight.clone()
    for _ in range(25):
        trainer.step([seen])
    assert float(trainer.loss(seen, noise, 0.5).detach()) < before - 1e-3
    assert any(float(beside.gate.detach()) != 0.0 for beside in video.adapter.blocks)
    assert torch.equal(video.pipeline.transformer.proj_out.weight, frozen)
