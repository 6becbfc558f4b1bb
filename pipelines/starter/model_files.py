"""Where the starter chat model lies in the package."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "chat"
"""As transformers loads it; beside it its card."""

PASSES = ("I am the small built-in model and do not know that", "That is beyond me", "I cannot answer that")
"""How its answers to questions begin that it does not know: a larger model can answer those in its place."""
