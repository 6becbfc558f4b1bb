"""A vision-language model of transformers that tells its words as it writes them. Blocking."""

from __future__ import annotations

import threading
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TextStreamer

from pipelines.tasks.image.looking import Ear


class _Saying(TextStreamer):
    """Hands whole words on."""

    def __init__(self, words: Any, ear: Ear) -> None:
        super().__init__(words, skip_prompt=True, skip_special_tokens=True)
        self._ear = ear

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        if text:
            self._ear.say(text)


class _Stops(StoppingCriteria):
    def __init__(self, ear: Ear) -> None:
        self._ear = ear

    def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Any:
        return torch.full((len(input_ids),), self._ear.stopped(), device=input_ids.device, dtype=torch.bool)


def spoken(model: Any, words: Any, read: Any, most: int, ear: Ear) -> None:
    """Write the answer to what was read, word by word."""
    mine = threading.get_ident()
    hooks: list[Any] = []

    def seen(decoder: Any, args: Any, output: Any) -> None:
        if ear.see is not None and hooks and threading.get_ident() == mine:
            hooks.pop().remove()  # the first pass has it all
            ear.see(output.last_hidden_state.detach())

    if ear.see is not None:
        hooks.append(model.get_decoder().register_forward_hook(seen))
    try:
        with torch.inference_mode():
            model.generate(
                **read,
                do_sample=False,
                max_new_tokens=most,
                streamer=_Saying(words, ear),
                stopping_criteria=StoppingCriteriaList([_Stops(ear)]),
            )
    finally:
        for hook in hooks:
            hook.remove()
