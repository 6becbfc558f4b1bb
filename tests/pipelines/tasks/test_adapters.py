"""LoRA adapters of a task's model: texts with different ones, and with none, continued in one batch."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipelines.interfaces.task import TaskError
from pipelines.models.residency import Residency
from pipelines.tasks.service import TaskOptions, TaskService
from pipelines.tasks.text.causal import load
from tests.fakes import tiny_models
from tests.fakes.tiny_lora import save_tiny_lora
from tests.pipelines.tasks.conftest import only_cpu

pytest.importorskip("peft", reason="the extra `adapters` is not installed")


async def test_each_text_with_its_own_adapter(tmp_path: Path) -> None:
    tiny_models.language_model(tmp_path / "lm")
    model = load(tmp_path / "lm", "cpu", "float32").model
    for seed, name in enumerate(("calm", "loud")):
        save_tiny_lora(tmp_path / "lm/adapters" / name, model, alpha=64.0, seed=seed)
    save_tiny_lora(tmp_path / "lm/adapters/odd", model, targets=("q_proj",), config={"r": 2})
    tasks = TaskService(None, Residency(), only_cpu, TaskOptions(folders=(tmp_path,)))
    try:
        runner = tasks.runner("text-generation", "lm")

        async def said(adapter: str) -> str:
            parameters = {"max_new_tokens": 8, "adapter_id": adapter}
            done = await runner.run({"text": "add x y return"}, parameters)
            return str(done.output["generated_text"])

        alone = [await said(name) for name in ("", "calm", "loud", "")]
        assert alone[0] == alone[3], "an adapter that was used leaves nothing behind"
        assert len(set(alone)) == 3
        assert await asyncio.gather(*(said(name) for name in ("loud", "", "calm"))) == [alone[2], alone[0], alone[1]]
        for name, words in (("nobody", "legal values are calm, loud"), ("odd", "does not fit|is not for this model")):
            with pytest.raises(TaskError, match=f"parameters.adapter_id: .*({words})"):
                await said(name)
        assert await said("") == alone[0]
    finally:
        tasks.close()
