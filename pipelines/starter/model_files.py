"""Where the starter chat model lies in the package."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "chat"
"""As transformers loads it; beside it its card."""

PASSES = ("I am the small", "That is beyond", "I cannot answer")
"""How its answers to questions begin that it does not know, and no others. A larger model can answer those
in its place, the sooner the fewer words are waited for."""

AWAY = "I cannot answer that right now, for the larger model is not available. Please ask me again in a moment."
"""What it says in place of those while a larger model is there and does not answer. It begins like one of them, so that
the larger one need not read it later."""

NEVER = "I cannot answer that."
"""The same where a larger model is not asked either."""

KEEPS = re.compile(
    r"^\W*((please|can you|could you|would you|will you|i want you to|i'd like you to)\W+)*"
    r"(book|reserve|order|buy|call|phone|text|message|email|ring|play|put on|turn (on|off|up|down)|switch|dim|lock"
    r"|unlock|send|forward|open|add|check|search|look up|google|draw|paint|show me|remind|(find|get) (me|us))\b"
    r"|^\W*(i'm|i am|i've|i have|i feel|i felt|nobody|no one) "
    r"|\b(weather|forecast|news|headlines|stocks?|shares|invest\w*|bitcoin|elections?|traffic)\b",
    re.IGNORECASE,
)
"""What the user says that the starter answers itself though it knows nothing of it: errands that no model here can run,
feelings, and what goes on in the world today. A larger small model claims to have booked the table."""
