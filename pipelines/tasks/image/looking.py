"""Models that look at pictures and answer in words: LLaVA, Qwen-VL, SmolVLM, Idefics, Gemma 3, Janus, Florence-2 …

Pictures are handed over as such, never as addresses or paths: processors would fetch those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipelines.errors import ModelError
from pipelines.interfaces.task import Done, ModelFolder, TaskError
from pipelines.tasks.image import florence
from pipelines.tasks.image.pictures import as_pil
from pipelines.tasks.image.transformers_models import (
    config_of,
    image_processor,
    opened,
    processor,
    tokenizer,
)

_QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
_NEEDS_IMAGE_PROCESSOR = ("smolvlm",)
_ENDINGS = ("ForConditionalGeneration", "ForVision2Seq", "ForImageTextToText")
_KINDS = (
    *_QWEN, "llava", "llava_next", "llava_onevision", "smolvlm", "idefics2", "idefics3", "gemma3", "paligemma",
    "lfm2_vl", "internvl", "janus", "florence2", "mllama", "aya_vision",
)  # fmt: skip
CAPTION = "Describe this picture in one sentence."


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about some pictures."""

    pictures: tuple[bytes, ...]
    text: str
    max_new_tokens: int = 256
    temperature: float = 0.0
    """0: always the likeliest word."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model says."""

    text: str
    tokens: int
    answer_tokens: int
    score: float
    """Geometric mean of the probabilities of its tokens, 0–1: how sure it was of its words, not how true they are."""

    def done(self, output: Any) -> Done:
        """With ``output`` as the task's."""
        return Done(output, self.tokens, self.answer_tokens)


@dataclass(frozen=True, slots=True)
class Ear:
    """Who is told an answer as it is written."""

    say: Callable[[str], None]
    stopped: Callable[[], bool]
    see: Callable[[Any], None] | None = None


class Looker(Protocol):
    """One of these models. Blocking."""

    def answer(self, asked: Asked) -> Answered:
        """Raises :class:`TaskError` for what it cannot be asked."""
        ...


def load(folder: Path, device: str, dtype: str) -> Looker:
    """The model in ``folder``. Raises :class:`ModelError` (``model_broken``, ``model_needs_remote_code``)."""
    kind = config_of(folder).get("model_type")
    if kind == "florence2":
        return FlorenceLooker(florence.load(folder, device, dtype))
    if kind == "janus":
        from pipelines.tasks.image.janus import load_janus

        return load_janus(folder, device, dtype)
    model = opened("AutoModelForImageTextToText", folder, device, dtype)
    if kind in _QWEN:
        return ChatLooker(model, QwenInput(tokenizer(folder), image_processor(folder), model.config))
    if kind in _NEEDS_IMAGE_PROCESSOR:
        return ChatLooker(model, ProcessorInput(_without_videos(folder)))
    return ChatLooker(model, ProcessorInput(processor(folder)))


def _without_videos(folder: Path) -> Any:
    """SmolVLM's own processor wants torchvision, for videos; that of Idefics 3 does the same with pictures."""
    import json

    from transformers import Idefics3Processor

    words = tokenizer(folder)
    told = folder / "processor_config.json"
    length = json.loads(told.read_text("utf-8")).get("image_seq_len", 169) if told.is_file() else 169
    template = getattr(words, "chat_template", None)
    file = folder / "chat_template.jinja"
    template = template or (file.read_text("utf-8") if file.is_file() else None)
    try:
        return Idefics3Processor(image_processor(folder), words, image_seq_len=length, chat_template=template)
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError("model_broken", f"{folder.name}: its processor cannot be made: {error}") from error


class Preparing(Protocol):
    """Turns a question into what the model reads."""

    @property
    def words(self) -> Any:
        """The tokenizer."""
        ...

    def prepare(self, asked: Asked) -> Any:
        """Tensors by name."""
        ...


@dataclass(frozen=True, slots=True)
class ProcessorInput:
    """By the model's own processor."""

    processor: Any

    @property
    def words(self) -> Any:
        """The tokenizer."""
        return self.processor.tokenizer

    def prepare(self, asked: Asked) -> Any:
        """Tensors by name."""
        images = [as_pil(data, f"images.{n}") for n, data in enumerate(asked.pictures)]
        prompt = _prompt(self.processor, asked, getattr(self.processor, "image_token", "<image>"))
        return self.processor(text=prompt, images=images, return_tensors="pt")


@dataclass(frozen=True, slots=True)
class QwenInput:
    """As Qwen-VL's processor does it, which cannot be made without torchvision."""

    words: Any
    images: Any
    config: Any

    def prepare(self, asked: Asked) -> Any:
        """Tensors by name."""
        import torch

        pictures = [as_pil(data, f"images.{n}") for n, data in enumerate(asked.pictures)]
        seen = self.images(images=pictures, return_tensors="pt")
        token = self.words.convert_ids_to_tokens(self.config.image_token_id)
        prompt = _prompt(self.words, asked, token)
        parts = prompt.split(token)
        sizes = [int(grid.prod()) // self.images.merge_size**2 for grid in seen["image_grid_thw"]]
        text = parts[0] + "".join(token * size + part for size, part in zip(sizes, parts[1:], strict=True))
        read = self.words(text, return_tensors="pt", return_token_type_ids=False)
        kinds = (read["input_ids"] == self.config.image_token_id).to(torch.int32)
        return {**read, **seen, "mm_token_type_ids": kinds}


def _prompt(templated: Any, asked: Asked, image_token: str) -> str:
    """The question as the model was taught to be asked."""
    if getattr(templated, "chat_template", None):
        content: list[dict[str, str]] = [{"type": "image"} for _ in asked.pictures]
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": asked.text}]}]
        prompt = templated.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return str(prompt)
    return f"USER: {''.join(f'{image_token}{chr(10)}' for _ in asked.pictures)}{asked.text} ASSISTANT:"


class ChatLooker:
    """A model that is asked in a chat."""

    def __init__(self, model: Any, preparing: Preparing) -> None:
        self._model = model
        self._preparing = preparing

    def answer(self, asked: Asked) -> Answered:
        """See :class:`Looker`."""
        read = {name: self._there(value) for name, value in self._preparing.prepare(asked).items()}
        return generated(self._model, self._preparing.words, read, asked)

    def tell(
        self,
        asked: Asked,
        say: Callable[[str], None],
        stopped: Callable[[], bool],
        see: Callable[[Any], None] | None = None,
    ) -> None:
        """The same, as it is written: ``say`` is given its pieces, and it ends soon after ``stopped`` turns true.

        ``see`` is given the hidden states of picture and question, ``(1, tokens, width)``, before the first word.
        """
        from pipelines.tasks.image.speaking_looker import spoken

        read = {name: self._there(value) for name, value in self._preparing.prepare(asked).items()}
        spoken(self._model, self._preparing.words, read, asked.max_new_tokens, Ear(say, stopped, see))

    def _there(self, value: Any) -> Any:
        import torch

        if not isinstance(value, torch.Tensor):
            return value
        return value.to(self._model.device, self._model.dtype if value.is_floating_point() else value.dtype)


def generated(model: Any, words: Any, read: Any, asked: Asked, **more: Any) -> Answered:
    """The model's continuation of what it has read."""
    import torch

    hot = asked.temperature > 0
    how = {"do_sample": True, "temperature": asked.temperature} if hot else {"do_sample": False}
    with torch.inference_mode():
        told = model.generate(
            **read,
            **how,
            **more,
            max_new_tokens=asked.max_new_tokens,
            return_dict_in_generate=True,
            output_logits=True,
        )
    logits = torch.stack(told.logits, dim=1)[0].float()
    answer = told.sequences[0][-len(logits) :]
    sure = logits.log_softmax(-1).gather(-1, answer[:, None]).mean().exp()
    text = words.decode(answer, skip_special_tokens=True).strip()
    return Answered(text, int(read["input_ids"].numel()), len(logits), round(float(sure), 6))


class FlorenceLooker:
    """Florence-2, which captions and answers no questions."""

    def __init__(self, model: florence.Florence) -> None:
        self._model = model

    def answer(self, asked: Asked) -> Answered:
        """A caption. Raises :class:`TaskError` (``unsupported_value``) for a question, or several pictures."""
        if len(asked.pictures) != 1:
            raise TaskError("unsupported_value", "images: Florence-2 looks at one picture at a time")
        if asked.text != CAPTION:
            told = "text: Florence-2 answers no questions, it captions; the task florence has what else it can do"
            raise TaskError("unsupported_value", told)
        wishes = florence.FlorenceParameters(
            task="DETAILED_CAPTION", max_new_tokens=min(asked.max_new_tokens, 1024), num_beams=1
        )
        done = florence.answered(self._model, asked.pictures[0], wishes)
        return Answered(done.output["text"], done.tokens, done.answer_tokens, 0.0)


def fits_chat(folder: ModelFolder) -> bool:
    """Whether a folder holds a model that answers questions about pictures."""
    return fits(folder) and folder.config.get("model_type") != "florence2"


def fits(folder: ModelFolder) -> bool:
    """Whether a folder holds a model that says what is in a picture."""
    return folder.config.get("model_type") in _KINDS and folder.architecture.endswith(_ENDINGS)
