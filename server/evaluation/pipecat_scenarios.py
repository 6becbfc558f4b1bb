"""``visavis eval import pipecat``: Pipecat's scenario files (1.14, ``pipecat.evals.script``) as ours.

What has a counterpart is carried over; what has none is left out and counted, so that nobody believes it is checked.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from pipelines.errors import DefinitionError
from server.cli.terminal import foreign, tell
from server.settings import SettingsError

_ANSWERS = ("response", "llm_response", "tts_response")
Json = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Knows ``!include``, which names a file beside the one that is read."""

    folder = Path()


def _included(loader: _Loader, node: yaml.ScalarNode) -> Any:
    path = loader.folder / str(loader.construct_scalar(node))
    return _load(path)


_Loader.add_constructor("!include", _included)


def _load(path: Path) -> Any:
    loader = type("_LoaderThere", (_Loader,), {"folder": path.parent})
    try:
        return yaml.load(path.read_text("utf-8"), Loader=loader)
    except (OSError, yaml.YAMLError) as error:
        raise DefinitionError("definition_unreadable", f"{path}: {error}") from error


def import_pipecat(options: argparse.Namespace, console: Console) -> int:
    """Do what the command line says."""
    data = _load(options.file)
    if not isinstance(data, dict) or not isinstance(data.get("scenarios"), list):
        raise DefinitionError("definition_invalid", f"{options.file}: scenarios: must be a list of scenarios")
    left_out: Counter[str] = Counter()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for place, one in enumerate(data["scenarios"]):
            scenario = converted({**data, **one}, place, left_out) if isinstance(one, dict) else None
            if scenario is None:
                continue
            path = options.out / f"{scenario['name']}.yaml"
            path.write_text(yaml.safe_dump(scenario, sort_keys=False, allow_unicode=True, width=110), "utf-8")
            tell(console, f"{foreign(path)}: {len(scenario['turns'])} turns")
    except OSError as error:
        raise SettingsError(f"--out: {options.out} cannot be written: {error.strerror or error}") from error
    for what, number in sorted(left_out.items()):
        tell(console, f"[yellow]left out[/] {foreign(what)}: {number} times")
    return 0


def converted(data: Json, place: int, left_out: Counter[str]) -> Json | None:
    """One scenario as ours; ``None`` for one without turns (a persona). ``left_out`` counts what has no counterpart."""
    if not isinstance(data.get("turns"), list):
        left_out["a scenario with a persona"] += 1
        return None
    spoken = (data.get("user") or {}).get("modality", "text") == "audio"
    left_out.update(name for name in ("context",) if name in data)
    turns = [one for turn in data["turns"] if (one := _turn(turn, spoken, left_out)) is not None]
    if not turns:
        left_out["a scenario without a turn of the user's"] += 1
        return None
    if "when" in turns[0]:
        del turns[0]["when"]
        left_out["send_after of the first turn"] += 1
    name = re.sub(r"[^a-z0-9]+", "-", str(data.get("name", f"imported-{place + 1}")).lower()).strip("-")[:64]
    return {"version": 1, "name": name, "description": "Imported from Pipecat", "turns": turns}


def _turn(turn: Json, spoken: bool, left_out: Counter[str]) -> Json | None:
    """A turn; ``None`` for one that only waits for what the bot does by itself."""
    found: Json = {}
    said = turn.get("user")
    if isinstance(turn.get("audio"), str):
        found["audio"] = turn["audio"]
    elif isinstance(said, list):
        texts = [part for part in said if isinstance(part, str)]
        pauses = [part["pause_ms"] for part in said if isinstance(part, dict) and "pause_ms" in part]
        found["inside"] = " ... ".join(texts)
        found["pause_ms"] = int(max(pauses, default=700))
        if len(texts) < 2:
            found = {"say": " ".join(texts)}
    elif isinstance(said, str):
        found["say" if spoken else "type"] = said
    else:
        left_out["dtmf" if "dtmf" in turn else "a turn without user"] += 1
        return None
    left_out.update(name for name in ("image", "dtmf") if name in turn)
    if isinstance(after := turn.get("send_after"), dict):
        moment = _moment(after)
        if moment is None:
            left_out[f"send_after: {after.get('event')}"] += 1
        else:
            found["when"] = moment
    expected = [one for given in turn.get("expect") or [] for one in _expectation(given, left_out)]
    if all("judge" in one for one in expected) and expected:
        expected.insert(0, {"reply": {"words_min": 1}})
    if merged := _merged(expected):
        found["expect"] = merged
    return found


def _moment(after: Json) -> Json | None:
    delay = max(1, int(after.get("delay_ms", 1)))
    if after.get("event") in ("bot_started_speaking", *_ANSWERS):
        return {"reply_started_ms": delay}
    return {"said_ms": delay} if "event" not in after or after["event"] == "user_stopped_speaking" else None


def _expectation(given: Json, left_out: Counter[str]) -> list[Json]:
    kind, found = given.get("event"), list[Json]()
    if given.get("absent"):
        if kind in _ANSWERS:
            return [{"not": "reply"}]
        left_out[f"absent: {kind}"] += 1
        return []
    if kind in _ANSWERS:
        words: Json = {}
        if "text_contains" in given:
            words["contains"] = _texts(given["text_contains"])
        if "text_excludes" in given:
            words["not_contains"] = _texts(given["text_excludes"])
        if "within_ms" in given:
            words["starts_within_ms"] = given["within_ms"]
        found.append({"reply": words})
        if "eval" in given:
            found.append({"judge": {"model": str(given["eval"])[:500]}})
        return found
    if kind == "user_transcription":
        words = {"contains": _texts(given["text_contains"])} if "text_contains" in given else {}
        return [{"heard": words}]
    if kind == "function_call":
        calls = given.get("calls") or ([given] if "name" in given else [])
        return [{"tool": {"name": one["name"], "arguments": one.get("args") or {}}} for one in calls]
    left_out[f"event: {kind}"] += 1
    return []


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _merged(expected: list[Json]) -> list[Json]:
    """Without those that say nothing more than another of the same."""
    told: list[Json] = []
    for one in expected:
        if one not in told:
            told.append(one)
    return told
