"""Where the starter chat model lies in the package."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "chat"
"""As transformers loads it; beside it its card."""
