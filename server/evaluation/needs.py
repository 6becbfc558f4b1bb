"""What a server can do, and which scenarios it lacks something for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp

from server.evaluation.playing.line import is_websocket, speaks_rtvi
from server.evaluation.scenario import Scenario
from server.headless.call import Address

_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Abilities:
    """Of one server."""

    name: str
    """What it calls itself, with its version."""
    lacks: dict[str, str]
    """Need → why it is not met."""
    engines: dict[str, str]
    """Stage → engine, as far as the server tells."""
    model: str = "default"
    """By which its language model is asked for."""

    def lacking(self, scenario: Scenario) -> str:
        """Why a scenario cannot be played; empty when it can."""
        needs = {*scenario.needs, *(["tools"] if scenario.tools else [])}
        needs |= {"vision"} if any(turn.video for turn in scenario.turns) else set()
        return "; ".join(f"{need}: {self.lacks[need]}" for need in sorted(needs) if need in self.lacks)


async def abilities_of(address: Address) -> Abilities:
    """Ask the server. One that is none of ours is taken to speak, and to do nothing else unless it is tried."""
    told = await _status(address)
    lacks: dict[str, str] = {}
    if is_websocket(address):
        lacks["vision"] = "a WebSocket carries no camera"
    if told.get("name") != "visavis":
        lacks.setdefault("vision", "the server does not say that it sees")
        if speaks_rtvi(address):
            lacks["tools"] = "RTVI sets no tools"
        return Abilities("a server of another kind", lacks, {})
    engines = {row["stage"]: str(row.get("engine", "")) for row in told.get("engines", []) if "stage" in row}
    detectors = [one for one in told.get("detectors", []) if one.get("available")]
    if not detectors:
        lacks.setdefault("vision", "no detector of the server's is available")
    if told.get("quality", {}).get("llm") == "basic":
        lacks["model"] = "the server's language model is the smallest one"
    name = f"visavis {told.get('version', '')}".strip()
    return Abilities(name, lacks, engines, next(iter(told.get("models", [])), "default"))


async def _status(address: Address) -> dict[str, Any]:
    root = address.root.replace("wss://", "https://", 1).replace("ws://", "http://", 1)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as http,
            http.get(f"{root}/v1/status", headers=address.headers) as got,
        ):
            told = await got.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
