"""The stock ``openai`` package for JavaScript over our HTTPS: it knows no address but ``wss://``."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess

from tests import packages
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel
from tests.interop.stock_page import HERE

KEY = "a-long-secret"


async def test_a_typed_turn_over_tls(serve, node_modules, tmp_path):
    engines = fake_engines(llm=FakeModel("Good day."))
    url, _ = await serve(engines, tls_self_signed=True, cache=tmp_path, api_key=KEY)
    assert url.startswith("https://")
    command = [packages.node(), str(HERE / "node" / "openai_websocket.mjs"), str(node_modules), f"{url}/v1"]
    environment = {**os.environ, "KEY": KEY, "NODE_EXTRA_CA_CERTS": str(tmp_path / "tls" / "self-signed.crt")}
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=90.0
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["errors"] == ["response_cancel_not_active"]
    assert told["types"][0] == "session.created"
    assert told["response"]["output"][0]["content"] == [{"type": "output_text", "text": "Good day."}]
