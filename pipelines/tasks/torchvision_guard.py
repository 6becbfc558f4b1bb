"""Keeps transformers usable beside a torchvision that does not fit its torch.

The build of torchvision on the package index is linked to CUDA's libraries: beside a torch for the processor its import
fails, and with it that of every class of transformers (pytorch/vision#9085). Hidden, transformers uses Pillow.
"""

from __future__ import annotations

import logging
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec

log = logging.getLogger(__name__)


@cache
def hide_broken_torchvision() -> str:
    """Make transformers do without a torchvision that cannot be imported. Blocking: the first call imports it.

    Call it before transformers is imported. Returns what is wrong with it; empty when nothing is, or it is not there.
    """
    if "torchvision" in sys.modules or find_spec("torchvision") is None:
        return ""
    try:
        import_module("torchvision")
    except Exception as error:  # noqa: BLE001 - OSError, RuntimeError or ImportError, as the library that lacks has it
        for name in [one for one in sys.modules if one.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules["torchvision"] = None  # type: ignore[assignment]
        problem = f"torchvision does not fit torch ({str(error).splitlines()[0][:200]}): pip uninstall torchvision"
        log.warning("%s; pictures are prepared with Pillow", problem)
        return problem
    return ""
