"""What a request wants of a cluster: a node that it names, or a place for a session. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.cluster.sharing import previous_in
from server.http.access.secret_routes import SECRETS
from server.workers.ids import node_in, node_of_bare

OFFERS = re.compile(r"/offer|(?:/sessions/[^/]+)?/api/offer")
"""Offers in JSON, which may name the session that they go on with."""
BEGIN = re.compile(r"/v1/realtime/calls|/v1/live/sessions|/whip|/start")
"""Where other sessions begin."""
REALTIME = "/v1/realtime"
_CHANGES = "POST", "PATCH"


@dataclass(frozen=True, slots=True)
class Wanted:
    """``node``: the one that it names, by name. ``begins``: whether a session begins with it, so that it goes where
    there is room if that node is not there. ``previous``: the session whose conversation goes on."""

    node: str | None = None
    begins: bool = False
    previous: str | None = None


def has_body(method: str, path: str) -> bool:
    """Whether its body tells where it goes, or may have to be sent twice."""
    if OFFERS.fullmatch(path) is not None:
        return method in _CHANGES
    return method == "POST" and BEGIN.fullmatch(path) is not None


def wanted(method: str, path: str, query: Mapping[str, str], told: Mapping[str, Any]) -> Wanted:
    """``told``: what is in the body of an offer in JSON."""
    if OFFERS.fullmatch(path) is not None and method in _CHANGES:
        previous = previous_in(told)
        node = node_in(previous or "") or node_in(path)
        return Wanted(node, method == "POST", previous)
    if path == REALTIME and method == "GET":
        call = query.get("call_id")
        return Wanted(begins=True) if call is None else Wanted(node_in(call))
    if method == "POST" and BEGIN.fullmatch(path) is not None:
        return Wanted(begins=True)
    if path.startswith(f"{SECRETS}/"):
        return Wanted(node_of_bare(path.removeprefix(f"{SECRETS}/")))
    return Wanted(node_in(path))
