"""Running a task directly, as its worker does, and holding what it gives to what it promises."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from pipelines.interfaces.task import Done, Job, TaskSpec


def job(spec: TaskSpec[Any, Any, Any], inputs: dict[str, Any], parameters: dict[str, Any] | None = None) -> Any:
    """The item, checked."""
    return Job(spec.inputs.model_validate(inputs), spec.parameters.model_validate(parameters or {}))


def outcome(spec: TaskSpec[Any, Any, Any], model: Any, inputs: dict[str, Any], **parameters: Any) -> Any:
    """What becomes of one item: a :class:`Done` or an error."""
    (result,) = spec.run(model, [job(spec, inputs, parameters)])
    return result


def output(spec: TaskSpec[Any, Any, Any], model: Any, inputs: dict[str, Any], **parameters: Any) -> Any:
    """The output of one item, which is as the task says."""
    result = outcome(spec, model, inputs, **parameters)
    assert isinstance(result, Done), result
    TypeAdapter(spec.output).validate_python(result.output)
    return result.output
