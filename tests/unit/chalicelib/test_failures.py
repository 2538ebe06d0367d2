"""Every no of ECS that is documented, and what is done about it."""

import json
from pathlib import Path

import pytest
from botocore.session import get_session

from chalicelib.apps import App
from chalicelib.ecs import fargate
from chalicelib.ecs.failures import (
    TABLE,
    LaunchFailure,
    classify_error,
    classify_failures,
    failure_of_reason,
)
from chalicelib.ecs.task_definitions import task_definition_for
from chalicelib.errors import ConfigurationError

MODEL = get_session().get_service_model("ecs")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.code} {row.text}".strip())
def test_each_row_decides_for_its_words(row):
    if row.code:
        assert classify_error(row.code, f"{row.text} and more", 400).failure is row.failure
    else:
        assert failure_of_reason(f"{row.text}MEMORY") is row.failure
        assert failure_of_reason(f"TaskFailedToStart: {row.text}") is row.failure
    assert row.source in {"api", "reasons", "events", "stopped", "seen"}


@pytest.mark.parametrize("action", ["RunTask", "StopTask", "RegisterTaskDefinition"])
def test_every_error_in_botocores_model_has_a_row(action):
    codes = {shape.name for shape in MODEL.operation_model(action).error_shapes}
    assert codes <= {row.code for row in TABLE}


@pytest.mark.parametrize(
    ("code", "message", "failure"),
    [
        ("ClientException", "Tasks provisioning capacity limit exceeded.", LaunchFailure.CAPACITY),
        ("ClientException", fargate.REFUSAL, LaunchFailure.INVALID),
        (
            "InvalidParameterException",
            "The specified capacity provider strategy cannot contain a capacity provider that is "
            "not associated with the cluster.",
            LaunchFailure.INVALID,
        ),
        ("ThrottlingException", "Rate exceeded", LaunchFailure.THROTTLED),
    ],
)
def test_words_in_a_message_go_before_the_code(code, message, failure):
    assert classify_error(code, message, 400).failure is failure


@pytest.mark.parametrize("quote", ["'", "’"])
def test_a_quota_of_fargate_means_later(quote):
    text = f"You{quote}ve reached the limit on the number of vCPUs you can run concurrently"
    assert classify_failures([{"reason": text}]).failure is LaunchFailure.CAPACITY


def test_fargate_has_the_sizes_that_cfn_lint_knows():
    data = pytest.importorskip("cfnlint.data.schemas.extensions.aws_ecs_taskdefinition")
    rule = json.loads((Path(data.__file__).parent / "fargate_cpu_memory.json").read_text())
    theirs = {}
    for pair in rule["then"]["anyOf"]:
        (cpu,) = pair["properties"]["Cpu"]["then"]["enum"]
        memory = pair["properties"]["Memory"]["then"]
        listed = memory.get("enum") or range(
            memory["minimum"], memory["maximum"] + 1, memory["multipleOf"]
        )
        theirs[int(cpu)] = set(map(int, listed))
    assert {cpu: set(sizes) for cpu, sizes in fargate.SIZES.items()} == theirs


@pytest.mark.parametrize(("cpu", "memory"), [(128, 128), (256, 256), (300, 512), (1024, 1024)])
def test_an_app_of_a_size_that_fargate_lacks_is_not_deployed(cpu, memory):
    app = App("a", "i", launch_type="FARGATE", network_mode="awsvpc", cpu=cpu, memory=memory)
    with pytest.raises(ConfigurationError, match=r"apps\.a: No Fargate configuration exists"):
        task_definition_for(app, stage="dev")
