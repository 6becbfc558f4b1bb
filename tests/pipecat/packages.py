"""Pipecat's JavaScript clients as they are published, bundled with esbuild."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.packages import node, node_modules

ESBUILD = {"esbuild": "0.25.12"}
CLIENT = {"@pipecat-ai/client-js": "1.13.1", "@pipecat-ai/small-webrtc-transport": "1.10.8", **ESBUILD}
CONSOLE = {
    **CLIENT,
    "@pipecat-ai/client-react": "1.8.2",
    "@pipecat-ai/voice-ui-kit": "0.14.0",
    "react": "19.2.3",
    "react-dom": "19.2.3",
}


def bundled(source: str, wanted: Mapping[str, str], folder: Path, *flags: str) -> Path:
    """``source``, a module that imports what is ``wanted`` of npm (versions by name), as one script in ``folder``."""
    node()  # which esbuild runs on
    modules = node_modules(wanted)
    (folder / "app.jsx").write_text(source, "utf-8")
    command = [str(modules / ".bin" / "esbuild"), "app.jsx", "--bundle", "--outfile=bundle.js", "--jsx=automatic"]
    environment = {**os.environ, "NODE_PATH": str(modules)}
    done = subprocess.run([*command, *flags], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "bundle.js"
