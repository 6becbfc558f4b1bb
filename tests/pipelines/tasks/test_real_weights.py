"""MiniLM with its real weights: paraphrases are nearer to each other than texts that have nothing to do with them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from pipelines.models.residency import Residency
from pipelines.models.store import ModelStore
from pipelines.tasks.service import TaskService
from server.settings import load_settings
from tests.fakes.devices import only_cpu
from tests.real_models import real_model

MODEL = "all-minilm-l6-v2-int8"
PAIRS = (
    ("A cat sits on the mat.", "There is a cat on the rug."),
    ("How old are you?", "What is your age?"),
    ("The meeting was put off until Friday.", "They postponed the meeting to Friday."),
    ("He bought a new car last week.", "Last week he purchased a new automobile."),
    ("The film was terribly boring.", "I found the movie really dull."),
    ("It is raining heavily outside.", "There is a downpour out there."),
    ("She plays the violin in an orchestra.", "She is an orchestra violinist."),
    ("Prices of houses have risen sharply.", "Home prices have gone up a lot."),
    ("The doctor told him to rest.", "The physician advised him to take it easy."),
    ("Turn the lights off in the kitchen.", "Switch off the kitchen lamps."),
    ("The train leaves at eight in the morning.", "The train departs at 8 am."),
    ("My phone's battery is empty.", "My mobile has run out of power."),
    ("Children are playing football in the park.", "Some kids play soccer in the park."),
    ("The recipe needs three eggs.", "You need three eggs for this dish."),
    ("He was late because of the traffic.", "Traffic made him arrive late."),
    ("The company fired two hundred workers.", "Two hundred employees were laid off by the firm."),
    ("I forgot the password of my account.", "I cannot remember my account's password."),
    ("The river flooded the village.", "The village was under water after the river rose."),
    ("Scientists found a new planet.", "Astronomers have discovered an unknown planet."),
    ("Where can I buy tickets for the concert?", "Where are concert tickets sold?"),
)


@pytest.fixture
async def real_tasks() -> AsyncIterator[TaskService]:
    real_model(MODEL)
    service = TaskService(ModelStore(load_settings({}).model_cache), Residency(), only_cpu)
    yield service
    service.close()


async def test_paraphrases_are_nearer_than_anything_else(real_tasks: TaskService) -> None:
    runner = real_tasks.runner("feature-extraction")
    assert runner.models[0].id == MODEL
    vectors = [[np.array((await runner.run({"text": text})).output) for text in pair] for pair in PAIRS]
    own = [first @ second for first, second in vectors]
    others = [
        max(first @ other[1] for m, other in enumerate(vectors) if m != n) for n, (first, _) in enumerate(vectors)
    ]
    in_order = sum(mine > theirs for mine, theirs in zip(own, others, strict=True))
    assert in_order == len(PAIRS), [(PAIRS[n], own[n], others[n]) for n in range(len(PAIRS)) if own[n] <= others[n]]


async def test_the_answer_is_ranked_first(real_tasks: TaskService) -> None:
    done = await real_tasks.runner("text-ranking").run(
        {
            "query": "What is the capital of France?",
            "documents": ["Berlin is in Germany.", "Paris is the capital of France.", "I like cheese."],
        }
    )
    assert done.output[0]["index"] == 1 and done.model == f"{MODEL} (bi-encoder)"
    alike = await real_tasks.runner("sentence-similarity").run(
        {"source_sentence": PAIRS[0][0], "sentences": [PAIRS[0][1], PAIRS[7][1]]}
    )
    assert alike.output[0] > alike.output[1] + 0.3
