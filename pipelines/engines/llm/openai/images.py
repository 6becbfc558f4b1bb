"""Pictures in requests to an OpenAI-compatible server: which models take them, and how they are sent.

The form is that of https://platform.openai.com/docs/guides/images-vision: a part ``image_url`` with a data URI.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from pipelines.engines.llm.messages import UNSEEN
from pipelines.interfaces.llm import Image, Message

_NAMES = re.compile(
    r"gpt-4o|gpt-4\.1|gpt-4-turbo|gpt-5|chatgpt|\bo[134]\b|claude-(?!instant|2)|gemini|gemma-?(3|4)(?!n?[:-](270m|1b))"
    r"|llava|bakllava|vision|[-_.]vl\b|\dvl\b|\bvl[-_:0-9]|pixtral|mistral-small-?3\.[12]|moondream|minicpm-v|internvl"
    r"|smolvlm|idefics|paligemma|cogvlm|phi-?(3(\.5)?|4)-(vision|multimodal)|llama-?4|molmo|nvila|granite.*vision",
    re.IGNORECASE,
)
"""Names of model families that take pictures. What is missing here is set by hand (``chat_images: true``)."""


def known_to_see(model: str) -> bool:
    """Whether a model of this name takes pictures, as far as names tell."""
    return _NAMES.search(model) is not None


def as_content(message: Message, seen: bool) -> str | list[dict[str, Any]]:
    """The content of ``message``: text alone, or parts with its pictures; ``seen``: whether the model takes them."""
    if not message.images:
        return message.content
    if not seen:
        return f"{message.content}\n{UNSEEN}".strip()
    text = [{"type": "text", "text": message.content}] if message.content else []
    return [*text, *({"type": "image_url", "image_url": {"url": data_uri(image)}} for image in message.images)]


def data_uri(image: Image) -> str:
    """``data:image/jpeg;base64,…``."""
    return f"data:{image.kind};base64,{base64.b64encode(image.data).decode('ascii')}"
