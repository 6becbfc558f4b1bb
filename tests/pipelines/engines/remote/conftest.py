"""Deployments of Ray Serve that only pretends: no cluster and no other process, but its handles and its classes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pipelines.engines.remote import library
from pipelines.engines.remote.calls import Deployments
from pipelines.engines.remote.engines import Patience, Remote
from pipelines.engines.remote.link import Link
from pipelines.engines.remote.rows import Place, Row
from tests.fakes.ray_bridge import Bridges
from tests.fakes.ray_engines import BUILD

needs_ray = pytest.mark.skipif(not library.is_installed(), reason="Ray Serve is not installed (extra ray)")
Deploy = Callable[..., Awaitable[Remote]]


@pytest.fixture
async def deploy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Deploy]:
    """Deploys an engine of :mod:`tests.fakes.ray_engines` and gives the way to it."""
    if not library.is_installed():
        pytest.skip("Ray Serve is not installed (extra ray)")
    links: list[Link] = []

    async def deployed(stage: str, model: str = "x", build: str = BUILD, patience: Patience | None = None) -> Remote:
        from pipelines.engines.remote.serving import application

        serve = library.serve()
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        row = Row.model_validate({"stage": stage, "model": model})
        name = f"{stage}-{model}"
        handle = await asyncio.to_thread(
            serve.run, application(row, Place(), build), name=name, route_prefix=None, _local_testing_mode=True
        )
        bridges = Bridges(Deployments("test", lambda _, name: {stage: handle}[name]))
        links.append(Link("nowhere:1", "test", bridges.start))
        return Remote(links[-1], stage, patience or Patience(20, 20, 20))

    yield deployed
    for link in links:
        await link.close()
