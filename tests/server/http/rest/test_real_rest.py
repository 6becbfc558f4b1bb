"""The REST API on real weights: Piper speaks, Moonshine and Whisper hear it again, SmolLM2 answers, MiniLM compares."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import numpy as np
import openai
import pytest

from server.engines.build import Engines, build_engines
from server.settings import load_settings
from tests.assets import word_recall
from tests.conftest import serving
from tests.real_models import real_model
from tests.server.http.rest.clients import HELLO, client_of

CHAT = "smollm2-135m-instruct-gguf"
SENTENCE = "The quick brown fox jumps over the lazy dog. After that, it went home and slept for a very long time."


async def engines_with(**settings) -> Engines:
    settings = {"download": False, "vision": False, "chat_model": "starter", **settings}
    return await build_engines(load_settings(settings))


@pytest.fixture
async def client(loopback, request) -> AsyncIterator[openai.AsyncOpenAI]:
    """Of a server with the models that the test names, and the settings that follow from them."""
    models, settings = request.param
    for model_id in models:
        real_model(model_id)
    async with serving(ice_address=("127.0.0.1",)) as start:
        url, _ = await start(await engines_with(**settings))
        async with client_of(url) as client:
            yield client


def on(*models: str, **settings):
    return pytest.mark.parametrize("client", [(models, settings)], indirect=True, ids=["+".join(models)])


@on("piper-en_US-joe-medium", "moonshine-tiny-en", "whisper-base")
async def test_a_sentence_is_spoken_and_heard_again(client):
    speech = await client.audio.speech.create(model="tts-1", voice="alloy", input=SENTENCE, response_format="mp3")
    found = await client.audio.transcriptions.create(model="whisper-1", file=("speech.mp3", speech.content))
    assert word_recall(SENTENCE, found.text) > 0.7, found.text
    timed = await client.audio.transcriptions.create(
        model="whisper-1",
        file=("speech.mp3", speech.content),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    heard = [word.word for word in timed.words]
    assert word_recall(SENTENCE, " ".join(heard)) > 0.7, heard
    starts = [word.start for word in timed.words]
    assert starts == sorted(starts) and timed.words[-1].end <= timed.duration + 0.1
    assert 4 < timed.duration < 12 and timed.language == "en"


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # by OpenAI, and still asked for
@on("moonshine-tiny-en", "whisper-base", tts_model="espeak-ng")
async def test_spanish_is_translated(client):
    said = "Buenos días. Me gustaría saber qué hora es. ¿Puede usted ayudarme, por favor?"
    speech = await client.audio.speech.create(model="tts-1", voice="es", input=said, response_format="wav", speed=0.8)
    found = await client.audio.translations.create(model="whisper-1", file=("speech.wav", speech.content))
    assert word_recall("i would like to know what time it is", found.text) > 0.4, found.text


@pytest.mark.long
@on(CHAT, chat_model=CHAT, tts_model="espeak-ng")
async def test_a_real_model_answers(client):
    asked = {"model": "gpt-4o-mini", "messages": HELLO, "temperature": 0, "seed": 1}
    answer = await client.chat.completions.create(**asked, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage is not None and 0 < answer.usage.completion_tokens <= 8
    assert answer.usage.prompt_tokens > 5
    stream = await client.chat.completions.create(
        **asked, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == answer.choices[0].message.content, "nothing is left to chance at temperature 0"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens <= 8


@pytest.mark.long
@on("all-minilm-l6-v2-int8", tts_model="espeak-ng")
async def test_alike_texts_have_alike_vectors(client):
    texts = ["A cat sits on the mat.", "There is a cat on the rug.", "Stock prices fell sharply on Monday."]
    found = await client.embeddings.create(model="text-embedding-3-small", input=texts)
    cat, rug, stocks = (np.array(row.embedding) for row in found.data)
    assert len(cat) == 384 and np.linalg.norm(cat) == pytest.approx(1.0, abs=1e-4)
    assert cat @ rug > cat @ stocks + 0.3
    assert found.usage.prompt_tokens > 20
    plain = await client.embeddings.create(model="all-minilm-l6-v2-int8", input=texts[0], encoding_format="float")
    assert np.allclose(plain.data[0].embedding, cat, atol=0.02)
    raw = await client.embeddings.with_raw_response.create(model="text-embedding-3-small", input=texts[0])
    written = raw.http_response.json()["data"][0]["embedding"]
    assert len(base64.b64decode(written)) == 4 * 384, "as the client asks by itself"
    assert "all-minilm-l6-v2-int8" in [model.id for model in (await client.models.list()).data]
    for fields, param in (
        ({"input": ""}, "input.0"),
        ({"input": []}, "input"),
        ({"input": "word " * 2000}, "input.0"),
        ({"input": [[5, 10**9]]}, "input.0"),
        ({"input": "x", "dimensions": 12}, "dimensions"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.embeddings.create(**{"model": "text-embedding-3-small", **fields})
        assert (caught.value.param or "").startswith(param)
