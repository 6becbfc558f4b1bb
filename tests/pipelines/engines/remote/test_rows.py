"""The file of engines for a cluster: what it says, what is refused, and what Ray Serve is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.engines.remote import library
from pipelines.engines.remote.rows import Plan, Row, Scale, read_plan
from pipelines.errors import DefinitionError
from server.engines.remote.deploying import config
from tests.pipelines.engines.remote.conftest import needs_ray

FILE = """\
application: flat
models: /srv/models
engines:
  - {stage: stt, model: whisper-base, gpus: 0.25, replicas: {min: 1, max: 4}, target: 6, batch: 8, per_node: 2}
  - {stage: image-classification, model: clip, resources: {big: 1}}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "engines.yaml"
    file.write_text(text)
    return file


def test_a_file_says_which_engines_run_and_how_many(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, FILE))
    ears, pictures = plan.engines
    assert (plan.application, plan.place.models, plan.place.download) == ("flat", Path("/srv/models"), True)
    assert (ears.least, ears.most, ears.replicas) == (1, 4, Scale(min=1, max=4))
    assert (pictures.least, pictures.most) == (1, 1)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{stage: ears}", "line 2: engines.0.stage: there is no stage 'ears'"),
        ("{stage: stt, gpu: 1}", "gpu"),
        ("{stage: stt, replicas: {min: 3, max: 2}}", "min: 3 is more than max, 2"),
        ("{stage: stt, replicas: 0}", "replicas"),
        ("{stage: tts, batch: 4}", "batch: is for the stage stt"),
        ("{stage: stt, target: 4}", "target: needs replicas"),
        ("{stage: stt, batch: 32, max_ongoing: 8}", "batch: 32 is more than max_ongoing, 8"),
        ("{stage: stt}\n  - {stage: stt}", "stt: is there twice"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(row: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_plan(written(tmp_path, f"engines:\n  - {row}\n"))
    assert words in caught.value.message
    assert str(tmp_path) in caught.value.message


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_ray_serve_takes_the_file_that_is_written_for_it(tmp_path: Path) -> None:
    schema = library.module("serve.schema")
    told = config(read_plan(written(tmp_path, FILE)))
    found = schema.ServeDeploySchema.model_validate(told)
    assert [one.name for one in found.applications] == ["flat-stt", "flat-image-classification"]
    assert found.proxy_location == "Disabled"


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_the_application_of_that_file_is_the_one_that_is_deployed(tmp_path: Path) -> None:
    from server.engines.remote.deploying import app

    first, _ = config(read_plan(written(tmp_path, FILE)))["applications"]
    deployment = app(first["args"])._bound_deployment
    assert deployment.name == "stt"
    assert deployment.max_queued_requests == 32
    assert deployment.ray_actor_options["num_gpus"] == 0.25
    assert deployment._deployment_config.autoscaling_config.max_replicas == 4
    assert "ConsistentHashRouter" in str(deployment._deployment_config.request_router_config.request_router_class)


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_every_limit_of_a_row_reaches_ray_serve() -> None:
    from pipelines.engines.remote.serving import options

    row = Row(stage="llm", replicas=3, max_ongoing=5, max_queued=7, others=0, health_seconds=2, drain_seconds=1, cpus=2,
              per_node=1, resources={"big": 1})  # fmt: skip
    told = options(row)
    assert told["num_replicas"] == 3
    assert (told["max_ongoing_requests"], told["max_queued_requests"], told["max_replicas_per_node"]) == (5, 7, 1)
    assert (told["health_check_period_s"], told["graceful_shutdown_timeout_s"]) == (2, 1)
    assert told["ray_actor_options"] == {"num_cpus": 2, "resources": {"big": 1}}
    assert told["request_router_config"].request_router_kwargs == {"num_fallback_replicas": 0}


def test_the_plan_of_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="is empty"):
        read_plan(written(tmp_path, ""))
    assert Plan.model_fields["application"].default == "visavis"
