"""How work is asked of Ray Serve's deployments: handles by name, and what its errors mean. In the bridge's process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from pipelines.engines.remote import library
from pipelines.engines.remote.messages import Call, Deployed
from pipelines.engines.remote.wire import Failed, RemoteError


class Deployments:
    """The deployments of one application; ``find`` looks one up by the name of both, ``look`` how all are."""

    def __init__(
        self,
        application: str,
        find: Callable[[str, str], Any] | None = None,
        look: Callable[[str], dict[str, Deployed]] | None = None,
    ) -> None:
        self._application = application
        self._find = find or found
        self._look = look or deployed
        self._handles: dict[str, Any] = {}

    async def pieces(self, call: Call) -> AsyncGenerator[Any, None]:
        """What comes back; a :class:`Failed` is the last one. Closing it cancels the work."""
        response: Any = None
        try:
            if not call.deployment:
                yield await asyncio.to_thread(self._look, self._application)
                return
            handle = await self._handle(call.deployment)
            options: dict[str, Any] = {"method_name": call.method, "stream": call.streams}
            if call.session:
                options["session_id"] = call.session
            response = handle.options(**options).remote(*call.arguments)
            if call.streams:
                async for piece in response:
                    yield piece
            else:
                yield await response
            response = None
        except Exception as error:  # told to the stage, as what it means
            if _is_cancelled():  # Ray Serve takes that for an error of its own
                raise asyncio.CancelledError from error
            response = None
            self._handles.pop(call.deployment, None)
            yield failure(error, call.deployment)
        finally:
            if response is not None:
                response.cancel()

    async def _handle(self, deployment: str) -> Any:
        if deployment not in self._handles:
            self._handles[deployment] = await asyncio.to_thread(self._find, self._application, deployment)
        return self._handles[deployment]


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def app_name(application: str, deployment: str) -> str:
    """What the application of one deployment is called in Ray Serve: each can be changed without the others."""
    return f"{application}-{deployment}"


def found(application: str, deployment: str) -> Any:
    """The handle of a deployment. Raises :class:`RemoteError`: ``not_deployed``, ``unreachable``."""
    serve, name = library.serve(), app_name(application, deployment)
    if not library.ray().is_initialized():  # else it would begin a cluster of its own
        raise RemoteError("unreachable", "this process has joined no cluster")
    try:
        return serve.get_app_handle(name)
    except library.module("serve.exceptions").RayServeException as error:
        try:
            there = sorted(serve.status().applications)
        except Exception:  # noqa: BLE001 - it only makes a message better
            there = []
        told = f"there are {', '.join(there)}" if there else "nothing is deployed there: visavis serve-engines"
        message = f"Ray Serve has no application {name}; {told}"
        raise RemoteError("not_deployed", message) from error


def deployed(application: str) -> dict[str, Deployed]:
    """What is deployed of an application, by stage. Blocking."""
    rows, start = {}, app_name(application, "")
    for name, one in library.serve().status().applications.items():
        if name.startswith(start):
            stage = name.removeprefix(start)
            row = one.deployments.get(stage)
            states = {} if row is None else {str(getattr(k, "value", k)): n for k, n in row.replica_states.items()}
            message = one.message or ("" if row is None else row.message)
            since = float(one.last_deployed_time_s or 0.0)
            counts = states.get("RUNNING", 0), sum(states.values())
            rows[stage] = Deployed(str(one.status.value), *counts, message[:300], since)
    return rows


def connect(address: str) -> None:
    """Be a driver of the cluster. Blocking. Raises :class:`RemoteError`: ``not_installed``, ``unreachable``,
    ``wrong_version``."""
    ray = library.ray()
    try:
        ray.init(
            address=address,
            namespace="visavis",
            log_to_driver=False,
            configure_logging=False,
        )
    except RuntimeError as error:
        if "ersion mismatch" in str(error):
            told = " ".join(str(error).split())
            raise RemoteError("wrong_version", f"the cluster at {address} cannot be used: {told}") from error
        raise RemoteError("unreachable", _away(address, error)) from error
    except Exception as error:
        raise RemoteError("unreachable", _away(address, error)) from error


def _away(address: str, error: Exception) -> str:
    told = " ".join(str(error).split())[:200]
    node = "this machine has to be one of its nodes: ray start --address=HEAD:6379"
    token = "and one that demands a token needs the same one here (~/.ray/auth_token or RAY_AUTH_TOKEN)"
    return f"no Ray cluster answers at {address} ({told}); {node}, {token}"


def failure(error: Exception, deployment: str) -> Failed:
    """What an exception of Ray means for who asked."""
    if isinstance(error, RemoteError):
        return Failed(error.code, error.message)
    exceptions, serving = library.module("exceptions"), library.module("serve.exceptions")
    if isinstance(error, serving.BackPressureError):
        return Failed("busy", f"as many as may wait for {deployment} do", busy=True)
    if isinstance(error, serving.DeploymentUnavailableError):
        return Failed("not_deployed", f"{deployment} could not be deployed: {_short(error)}")
    gone = (
        exceptions.RayActorError,
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        exceptions.ObjectLostError,
        exceptions.TaskCancelledError,
        exceptions.RaySystemError,
        exceptions.RpcError,
        serving.ReplicaUnavailableError,
    )
    if isinstance(error, gone):
        return Failed("unreachable", f"the replica of {deployment} is gone: {type(error).__name__}")
    return Failed("failed", f"{deployment}: {_short(error)}")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[-200:]}"
