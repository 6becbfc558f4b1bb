"""A file of engines onto a Ray cluster, and off it: what ``visavis serve-engines`` does.

Each engine is an application of its own, so that one can be changed while the others serve. Nothing is offered over
HTTP: who may ask is who may join the cluster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.engines.remote import library
from pipelines.engines.remote.calls import app_name, connect, deployed
from pipelines.engines.remote.messages import Deployed
from pipelines.engines.remote.rows import Place, Plan, Row
from pipelines.engines.remote.serving import application, options, plain
from pipelines.engines.remote.wire import RemoteError
from server.engines.remote.replicas import BUILD, check

_LOOK_SECONDS = 0.5
_WRONG = ("DEPLOY_FAILED", "UNHEALTHY")


def app(args: Mapping[str, Any]) -> Any:
    """The application of one engine, as a file of ``serve deploy`` names it: ``args`` hold ``row`` and ``place``."""
    return application(Row.model_validate(args["row"]), Place.model_validate(args.get("place", {})), BUILD)


def config(plan: Plan) -> dict[str, Any]:
    """The same as a file for ``serve deploy`` and KubeRay's RayService."""
    return {
        "proxy_location": "Disabled",
        "applications": [
            {
                "name": app_name(plan.application, row.stage),
                "route_prefix": None,
                "import_path": f"{__name__}:app",
                "args": {"row": plain(row), "place": plain(plan.place)},
            }
            for row in plan.engines
        ],
    }


class Deployer:
    """Changes what a cluster runs. Blocking; raises :class:`~pipelines.engines.remote.wire.RemoteError`."""

    def __init__(self, address: str, say: Callable[[str], object], build: str = BUILD) -> None:
        self._say = say
        self._build = build
        connect(address)

    def deploy(self, plan: Plan, seconds: float) -> dict[str, Deployed]:
        """Deploy all engines of the file and wait, at most so many ``seconds``, until they serve."""
        serve = library.serve()
        serve.start(proxy_location="Disabled")
        targets = []
        for row in plan.engines:
            if self._build == BUILD:
                check(row, plan.place)
            target = application(row, plan.place, self._build)
            targets.append(serve.RunTarget(target, app_name(plan.application, row.stage), None))
            self._say(f"deploying {row.stage}: {row.model}")
        serve.run_many(targets, wait_for_applications_running=False)
        return self._wait(plan, time.monotonic() + seconds)

    def remove(self, application_name: str) -> tuple[str, ...]:
        """Take all engines of an application away; their stages."""
        stages = tuple(deployed(application_name))
        for stage in stages:
            library.serve().delete(app_name(application_name, stage))
        return stages

    def status(self, application_name: str) -> dict[str, Deployed]:
        """What is deployed, by stage."""
        return deployed(application_name)

    def close(self) -> None:
        """Leave the cluster; what is deployed stays."""
        library.ray().shutdown()

    def _wait(self, plan: Plan, until: float) -> dict[str, Deployed]:
        wanted = {row.stage for row in plan.engines}
        told: set[str] = set()
        while True:
            found = {stage: one for stage, one in deployed(plan.application).items() if stage in wanted}
            for stage, one in found.items():
                if one.status == "RUNNING" and stage not in told:
                    told.add(stage)
                    self._say(f"{stage} serves: {one.running} replica{'s' if one.running != 1 else ''}")
            if told == wanted or any(one.status in _WRONG for one in found.values()):
                return found
            if time.monotonic() > until:
                missing = ", ".join(sorted(wanted - told))
                raise RemoteError(
                    "timeout", f"not all is deployed yet: {missing} (does a node have what they reserve?)"
                )
            time.sleep(_LOOK_SECONDS)


def reserved(row: Row) -> str:
    """What a replica takes of the machine it is on, for people."""
    actor = options(row)["ray_actor_options"]
    gpus = actor.get("num_gpus", 0)
    return f"{actor['num_cpus']:g} CPU" + (f", {gpus:g} GPU" if gpus else "")
