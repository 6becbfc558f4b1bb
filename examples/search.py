"""Search by meaning: texts as vectors, the nearest to a question, and those ranked once more.

visavis models pull all-minilm-l6-v2-int8
python examples/search.py "How do I keep people from listening in?"
"""

import asyncio
import os
import sys

import aiohttp

SERVER = os.environ.get("VISAVIS_URL", "http://127.0.0.1:8080")
HEADERS = {"Authorization": f"Bearer {os.environ['VISAVIS_API_KEY']}"} if "VISAVIS_API_KEY" in os.environ else {}
TEXTS = (
    "Voice and pictures travel encrypted, over DTLS.",
    "The cat sleeps on the warm stove.",
    "A key is required as soon as other machines can reach the server.",
    "Bread is baked at 220 degrees for forty minutes.",
    "The model is loaded once and shared by all sessions.",
    "Trains to Paris leave every hour.",
)


async def main(question):
    async with aiohttp.ClientSession(SERVER, headers=HEADERS, raise_for_status=True) as http:
        body = {"model": "text-embedding-3-small", "input": [question, *TEXTS]}
        async with http.post("/v1/embeddings", json=body) as response:
            wanted, *vectors = [row["embedding"] for row in (await response.json())["data"]]
        near = [sum(a * b for a, b in zip(wanted, vector, strict=True)) for vector in vectors]
        found = sorted(zip(near, TEXTS, strict=True), reverse=True)[:3]
        for score, text in found:
            print(f"{score:5.2f}  {text}")
        body = {"model": "auto", "query": question, "documents": [text for _, text in found], "top_n": 1}
        async with http.post("/v1/rerank", json=body) as response:
            best = (await response.json())["results"][0]
        print("best:", found[best["index"]][1])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
