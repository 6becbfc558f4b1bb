"""``judge: {model: …}``: the server's own language model is asked three times whether a claim holds. Soft: a small one
judges poorly, so its word is told and fails nothing."""

from __future__ import annotations

import re

import aiohttp

from server.evaluation.judging.observed import Observed
from server.evaluation.scenario import Scenario
from server.headless.call import Address

ASKED = (
    "A user said: {said}\nAn assistant answered: {answered}\nIs this true of the answer: {claim}\nSay yes or no.",
    "Claim: {claim}\nThe claim is about this answer: {answered}\n(It was given to: {said})\nDoes it hold? yes or no?",
    "Answer with one word, yes or no. Somebody said {said!r} and was answered {answered!r}. {claim} - right?",
)
"""Temperature 0 gives the same words the same answer: so they are asked in three ways."""
SECONDS = 60.0


async def ask_opinions(scenario: Scenario, observed: Observed, address: Address, model: str) -> None:
    """Put the votes into ``observed``; a server that cannot be asked has none."""
    wanted = [
        (number, given.model)
        for number, turn in enumerate(scenario.turns[: len(observed.spoken)])
        for word, given in turn.expect
        if word == "judge"
    ]
    if not wanted:
        return
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as http:
        for number, claim in wanted:
            turn = scenario.turns[number]
            said = turn.type or turn.words or observed.texts.get(number, "")
            texts = [one.format(said=said, answered=observed.answered(number), claim=claim) for one in ASKED]
            votes = [vote for text in texts if (vote := await _vote(http, address, model, text)) is not None]
            observed.opinions[number, claim] = votes


async def _vote(http: aiohttp.ClientSession, address: Address, model: str, text: str) -> bool | None:
    body = {"model": model, "temperature": 0, "max_tokens": 8, "messages": [{"role": "user", "content": text}]}
    root = address.root.replace("ws://", "http://", 1).replace("wss://", "https://", 1)
    try:
        async with http.post(f"{root}/v1/chat/completions", json=body, headers=address.headers) as got:
            answer = await got.json(content_type=None)
        words = re.findall(r"[a-z]+", answer["choices"][0]["message"]["content"].lower())
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return next((word == "yes" for word in words if word in ("yes", "no")), False)
