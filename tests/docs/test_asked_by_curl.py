"""What pages ask by curl is answered as they say, on the real application with fake engines."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import fake_engines
from tests.patience import PATIENCE
from tools.doc_tables import DOCS

KEY = "a-key-of-the-test"


async def test_keys_secrets_and_metrics(serve: Any, tmp_path: Path) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("needs curl and bash")
    url, _ = await serve(fake_engines(), api_key=KEY, cache=tmp_path)

    async def run(command: str) -> str:
        script = f"curl() {{ command curl --silent --noproxy '*' \"$@\"; }}\n{command}".replace(
            "http://127.0.0.1:8080", url
        )
        environment = {"PATH": os.environ["PATH"], "VISAVIS_API_KEY": KEY}
        done = await asyncio.to_thread(
            subprocess.run, ["bash", "-ec", script], env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def curls(page: str) -> list[str]:
        fences = re.findall(r"^```sh\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
        return [line for fence in fences for line in re.findall(r"^curl (?:.*\\\n)*.*\n", fence, re.MULTILINE)]

    made, listed, revoked, without, with_key = curls("how-to/keys-and-secrets.md")
    secret = json.loads(await run(made))
    assert secret["value"].startswith("ek_")
    told = await run(listed)
    assert secret["id"] in told
    assert secret["value"] not in told
    await run(revoked.replace("/ID", f"/{secret['id']}"))
    assert '"status": "revoked"' in await run(listed)
    assert "401" in (first := await run(without)) and "missing_api_key" in first
    assert " 200 " in (await run(with_key)).splitlines()[0]
    (metrics,) = curls("how-to/monitor.md")
    assert "visavis_sessions 0.0" in await run(metrics)
