"""The codes of errors that the source can send, and which section of the troubleshooting page each belongs to.

The codes are read from the source text: the literal ones that constructors of errors and the functions that answer with
an error are given. A code that is put together at run time is not found.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]

_CODE = re.compile(r"[a-z]+(_[a-z]+)+")
_RAISERS = re.compile(r".*(Error|Refusal|Denied)|error_\w+|_refuse|refusal|foreign_errors")
_PLACES = {"RefusedError": slice(2, 3)}
"""Where the code stands among the arguments, if not in the first or second place."""

_FIELD = "A field or an event is refused"
_ADDRESS = "The address is refused"
_WISH = "A wish that cannot be met"
_MODELS = "Models and downloads"
_OFFER = "The offer is refused"

SECTIONS = (
    ("Too large", r"\w+_too_(large|long)|too_long|input_audio_buffer_full"),
    (
        "A field or an event is refused",
        r"(conversation_already|input_audio|item_truncate|delegation|response_(can|not))\w+",
    ),
    ("Keys", r"(missing|invalid)_api_key|client_secret_\w+|call_not_allowed|too_many_client_secrets|key_missing"),
    (
        "The address is refused",
        r"https_required|invalid_host|(host|origin)_not_allowed|invalid_subprotocol|upgrade_required",
    ),
    ("The server is full", r"server_full|server_busy|rate_limit\w*|too_many_\w+|engine_(busy|closed)|stt_busy"),
    ("The server is still loading", r"warming_up|worker_(restarting|failed)"),
    ("Another node", r"node_\w+"),
    ("No recording", r"no_recording|recording_\w+"),
    ("No way for media", r"ice_\w+|invalid_candidates|unknown_section"),
    (_OFFER, r"\w*sdp\w*|no_(codec|media|opus)|invalid_type|renegotiation_\w+|nothing_(sent|to_watch)"),
    ("The language model's server", r"llm_(http|key|no|refused|timeout|unreachable|bad|template|context)\w*"),
    ("The language model's server", r"remote_\w+"),
    (
        "A wish that cannot be met",
        r"(unknown|wrong)_(device|language|model|pipeline|task|voice)|no_(backend|conversation)",
    ),
    (_WISH, r"(device|library|model|voice|detector|quantization)_(unavailable|missing|unknown)"),
    (_WISH, r"device_map_unknown|dtype_unknown|stage_missing|model_not_(allowed|found|here)"),
    (_WISH, r"stt_(cannot_translate|language|task|unable)|invalid_speed|images_not_taken"),
    (
        "A wish that cannot be met",
        r"tools_not_taken|\w+_unsupported|model_cannot_infill|not_served|adapter_loading_off",
    ),
    ("Not there any more", r"\w+(?<!model)_not_found|session_ended|several_sessions|not_found|precondition_failed"),
    (
        "Models and downloads",
        r"download_failed|no_space|lfs_pointer|not_installed|store_failed|server_(invalid|unreachable)",
    ),
    (
        "Models and downloads",
        r"(model|moonshine|whisper|voice|version|catalogue|adapter|adapters)_\w+|folder_unreadable",
    ),
    (_MODELS, r"(revision|repo|file|format)_unknown|no_previous_version|check_failed|assemble_failed"),
    (_MODELS, r"conver\w+|no_conversion|target_exists|quantized_already|measuring_failed"),
    ("Engines on Ray", r"not_deployed|wrong_version"),
    ("Memory", r"out_of_memory|does_not_fit"),
    ("A definition is refused", r"definition_\w+|cannot_combine|labels_differ|template_unusable"),
    ("An engine fails", r"(stt|llm|tts|vad|vision|turn|turn_model|stage|task|part|input|engine)_\w+|tool_call_invalid"),
    ("An engine fails", r"internal_error|server_error"),
    ("It came too late", r"latency_exceeded|request_timeout"),
    (_FIELD, r"(invalid|missing|unknown|unsupported|unserved|wrong)_\w+|not_acceptable|tool_choice"),
    (_FIELD, r"idle_prompt_never|nothing_given|image_unusable|expectation_failed|range_not_satisfiable"),
    ("A file of the command line", r"file_(unreadable|not_writable)"),
)
"""Heading in ``docs/troubleshooting.md``, and the codes that it is about. The first that matches a code counts."""


@cache
def codes() -> list[str]:
    """All of them, in order."""
    found: set[str] = set()
    for house in ("media", "pipelines", "server"):
        for file in sorted((ROOT / house).rglob("*.py")):
            found.update(_codes_of(ast.parse(file.read_text("utf-8"))))
    return sorted(found)


def section_of(code: str) -> str | None:
    """The heading that tells about a code; none if no row does."""
    return next((heading for heading, pattern in SECTIONS if re.fullmatch(pattern, code)), None)


def _codes_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if _RAISERS.fullmatch(name):
                given = node.args[_PLACES.get(name, slice(0, 2))] + [
                    one.value for one in node.keywords if one.arg == "code"
                ]
                yield from filter(None, map(_literal, given))
        elif isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name | ast.Tuple):
            first, value = (target.elts[0], node.value) if isinstance(target, ast.Tuple) else (target, node.value)
            value = value.elts[0] if isinstance(value, ast.Tuple) and value.elts else value
            if isinstance(first, ast.Name) and first.id == "code":
                yield from filter(None, [_literal(value)])


def _literal(node: ast.expr) -> str | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None
