"""A language model of your own: a class, a function that builds it, and a row in the table of engines.

This one repeats what you have said. Put the model's own work into ``stream``; what blocks goes on a thread.

python examples/own_engine.py --port 8080              (takes everything that `visavis serve` takes)
"""

import sys

from pipelines.engines.registry import ENGINES, Built, EngineSpec
from server.cli.main import main


class Parrot:
    """Implements :class:`pipelines.interfaces.llm.LanguageModel`."""

    name = "parrot"

    async def stream(self, request):
        """Yield the answer in pieces; the voice begins with the first of them."""
        yield "You said: "
        for word in request.messages[-1].content.split():
            yield f"{word} "

    async def close(self):
        """Nothing to close."""


async def build(site, found):
    """See :data:`pipelines.engines.registry.Build`."""
    return Built(Parrot(), reason="it needs nothing")


ROW = EngineSpec("parrot", "llm", "repeats what you have said", "own_engine:build")

if __name__ == "__main__":
    ENGINES.append(ROW)
    sys.exit(main(["serve", "--chat-model", "parrot", *sys.argv[1:]]))
