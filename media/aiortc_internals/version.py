"""The one release line of aiortc whose private names are used here, checked wherever they are."""

from __future__ import annotations

from importlib.metadata import version

SUPPORTED = "1.16."


def check_version(installed: str) -> None:
    """Raise :class:`ImportError` unless the files with private names were written for that aiortc."""
    if not installed.startswith(SUPPORTED):
        raise ImportError(
            f"aiortc {installed} is installed, but media/aiortc_internals/ knows the insides of {SUPPORTED}x only: "
            "install that release (pip install 'aiortc>=1.16,<1.17'), or check the names in these files against the "
            "new one"
        )


check_version(version("aiortc"))
