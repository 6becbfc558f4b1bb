"""The command ``visavis``: ends quietly when it is told to, from its first moment on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from server.cli.at_once import ended_at_once

_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "1")
"""NumPy's products are small here; shared out among threads they take twenty times as long on a busy machine, because
the threads wait for each other at every step. Read once, when NumPy is first imported."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point.

    Exits 0; 1 when it was done and came to nothing (no conversation, a model that is not sound, a machine that cannot
    serve); 2 with one line on what was wrong; 128 + the number of the signal that ended it before it served.
    """
    os.environ.setdefault(*_ONE_THREAD)
    try:
        with ended_at_once():
            from server.cli.commands import run  # half a second of imports

        sys.exit(run(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        sys.exit(130)
