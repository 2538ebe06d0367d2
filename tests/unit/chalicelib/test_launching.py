"""Requests to ECS, and the meaning of its refusals."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.apps import App, Placement, PoolSize
from chalicelib.config import load_config
from chalicelib.ecs.failures import LaunchError, LaunchFailure, classify_error, classify_failures
from chalicelib.ecs.requests import MAX_OVERRIDES_CHARACTERS, client_token, run_task_for
from chalicelib.ecs.task_definitions import CONTAINER, Deployment, family_of, task_definition_for
from chalicelib.sessions.answers import body_of
from chalicelib.sessions.launching import (
    MAX_PAUSE_SECONDS,
    STARTS_PER_SECOND,
    GiveUp,
    Retry,
    decide_after_failure,
    environment_for,
    pause_seconds,
    task_request_for,
)
from chalicelib.sessions.model import Reason, State
from chalicelib.sessions.reaping import RELAUNCH_SECONDS
from tests.unit.chalicelib.test_lifecycle import APP, DEFINITION, queued

CONFIG = load_config({"STAGE": "test", "CALLBACK_BASE_URL": "http://dispatcher"})


def test_a_run_task_request_is_complete_and_within_ecs_limits():
    request = run_task_for(task_request_for(queued(), APP, CONFIG), "usher-test")
    assert request["count"] == 1
    assert request["taskDefinition"] == DEFINITION
    assert request["startedBy"] == f"session/{queued().id}"
    assert len(request["startedBy"]) <= 128
    assert len(request["clientToken"]) <= 64
    assert len(str(request["overrides"])) < MAX_OVERRIDES_CHARACTERS
    (override,) = request["overrides"]["containerOverrides"]
    assert override["name"] == CONTAINER
    environment = {pair["name"]: pair["value"] for pair in override["environment"]}
    assert environment["SESSION_UUID"] == queued().uuid
    assert environment["SESSION_REVISION"] == "7"
    assert environment["FEED_URL"] == "kinesis://usher-test-updates"


def test_the_same_record_asks_for_the_same_task():
    one, other = (run_task_for(task_request_for(queued(), APP, CONFIG), "c") for _ in range(2))
    assert one == other


PLACE = {
    "CAPACITY_PROVIDER": "usher-test",
    "TASK_SUBNETS": "subnet-1,subnet-2",
    "TASK_SECURITY_GROUPS": "sg-1",
}


def test_hosts_are_added_for_tasks_that_ask_by_capacity_provider():
    config = load_config(PLACE)
    request = run_task_for(task_request_for(queued(), APP, config), "c")
    assert request["capacityProviderStrategy"] == [
        {"capacityProvider": "usher-test", "weight": 1},
    ]
    assert "launchType" not in request
    assert "networkConfiguration" not in request


def test_a_fargate_task_has_an_interface_with_a_public_address():
    app = replace(APP, launch_type="FARGATE", network_mode="awsvpc")
    request = run_task_for(task_request_for(queued(), app, load_config(PLACE)), "c")
    assert request["launchType"] == "FARGATE"
    assert "capacityProviderStrategy" not in request
    assert request["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["subnet-1", "subnet-2"],
        "securityGroups": ["sg-1"],
        "assignPublicIp": "ENABLED",
    }


@given(st.text(max_size=200), st.integers(1, 99), st.integers(1, 99))
def test_tokens_differ_by_attempt_only(started_by, attempt, other):
    assert (client_token(started_by, attempt) == client_token(started_by, other)) == (
        attempt == other
    )


DEPLOYED = Deployment("eu-west-1", "/usher/dev/sessions", "arn:execution", "arm64")


def test_a_deployed_task_definition_has_a_log_that_never_blocks_and_a_role_to_start_with():
    request = task_definition_for(APP, stage="dev", image="r@sha256:1", deployment=DEPLOYED)
    (container,) = request["containerDefinitions"]
    assert request["executionRoleArn"] == "arn:execution"
    assert container["image"] == "r@sha256:1"
    assert container["logConfiguration"]["options"]["awslogs-group"] == "/usher/dev/sessions"
    assert container["logConfiguration"]["options"]["mode"] == "non-blocking"
    assert "taskRoleArn" not in request
    assert "runtimePlatform" not in request  # EC2: the host's


def test_fargate_is_told_the_architecture():
    app = replace(APP, launch_type="FARGATE", network_mode="awsvpc", cpu=256, memory=512)
    request = task_definition_for(app, stage="dev", deployment=DEPLOYED)
    assert request["runtimePlatform"]["cpuArchitecture"] == "ARM64"
    assert request["containerDefinitions"][0]["portMappings"][0]["hostPort"] == app.port


@pytest.mark.parametrize(
    ("place", "volume"),
    [
        ("/etc/usher/tls", {"host": {"sourcePath": "/etc/usher/tls"}}),
        (
            "fs-12ab",
            {
                "efsVolumeConfiguration": {
                    "fileSystemId": "fs-12ab",
                    "transitEncryption": "ENABLED",
                }
            },
        ),
    ],
)
def test_certificates_are_mounted_read_only_where_the_container_is_told(place, volume):
    request = task_definition_for(replace(APP, certificates=place), stage="dev")
    (container,) = request["containerDefinitions"]
    assert request["volumes"] == [{"name": "certificates"} | volume]
    assert container["mountPoints"][0]["readOnly"] is True
    told = {pair["name"]: pair["value"] for pair in container["environment"]}
    assert told["TLS_CERT_FILE"] == "/certificates/fullchain.pem"
    assert told["TLS_KEY_FILE"] == "/certificates/privkey.pem"


def test_optional_settings_reach_the_container_only_when_set():
    app = App(name="chat", image="chat", session_app="my.app:Chat")
    config = load_config({"CONTAINER_AWS_ENDPOINT_URL": "http://10.0.0.1:5000"})
    assert environment_for(queued(), app, config)["SESSION_APP"] == "my.app:Chat"
    assert environment_for(queued(), app, config)["AWS_ENDPOINT_URL"] == "http://10.0.0.1:5000"
    assert not {"SESSION_APP", "AWS_ENDPOINT_URL"} & set(environment_for(queued(), APP, CONFIG))


@pytest.mark.parametrize(
    ("reasons", "failure"),
    [
        (["RESOURCE:MEMORY"], LaunchFailure.CAPACITY),
        (["RESOURCE:CPU", "AGENT"], LaunchFailure.CAPACITY),
        (["RESOURCE:PORTS", "ATTRIBUTE"], LaunchFailure.CAPACITY),
        (["MISSING"], LaunchFailure.REFUSED),
    ],
)
def test_failures_inside_a_200_are_told_apart(reasons, failure):
    error = classify_failures([{"arn": "a", "reason": reason} for reason in reasons])
    assert error.failure is failure
    assert all(reason in str(error) for reason in reasons)


@pytest.mark.parametrize(
    ("code", "message", "status", "failure"),
    [
        ("ThrottlingException", "Rate exceeded", 400, LaunchFailure.THROTTLED),
        ("ServerException", "oops", 500, LaunchFailure.UNCERTAIN),
        ("Whatever", "oops", 503, LaunchFailure.UNCERTAIN),
        (
            "InvalidParameterException",
            "No Container Instances were found in your cluster.",
            400,
            LaunchFailure.CAPACITY,
        ),
        ("InvalidParameterException", "Invalid count", 400, LaunchFailure.REFUSED),
        ("ClientException", "TaskDefinition is inactive", 400, LaunchFailure.REFUSED),
        ("AccessDeniedException", "no", 400, LaunchFailure.REFUSED),
    ],
)
def test_error_codes_are_told_apart(code, message, status, failure):
    assert classify_error(code, message, status).failure is failure


def after(failure: LaunchFailure, tries: int = 1):
    return decide_after_failure(
        queued(), LaunchError(failure, "words"), tries=tries, waiting=7, now=1001.0
    )


def test_only_a_no_for_certain_makes_a_new_attempt():
    capacity, throttled, uncertain = (
        after(failure)
        for failure in (LaunchFailure.CAPACITY, LaunchFailure.THROTTLED, LaunchFailure.UNCERTAIN)
    )
    assert isinstance(capacity, Retry)
    assert isinstance(throttled, Retry)
    assert isinstance(uncertain, Retry)
    assert [d.session.attempt for d in (capacity, throttled, uncertain)] == [2, 1, 1]
    assert capacity.session.state is State.QUEUED
    assert "words" in (capacity.session.detail or "")


def test_retries_come_later_and_later_but_not_without_bound():
    delays = [after(LaunchFailure.CAPACITY, tries).delay_seconds for tries in range(1, 9)]
    assert delays == [1, 2, 4, 8, 16, 30, 30, 30]


def test_who_waits_is_told_the_place_and_when_to_ask_again():
    waiting = after(LaunchFailure.CAPACITY, tries=3).session
    body = body_of(waiting, "ws://{ip}:{port}{path}")
    assert (body["state"], body["position"], body["retryAfter"]) == ("QUEUED", 8, 4)
    assert "words" in body["detail"]


def test_a_session_that_nobody_waits_for_does_not_queue_for_room():
    nobodys = queued(owner=None)
    error = LaunchError(LaunchFailure.CAPACITY, "words")
    assert isinstance(decide_after_failure(nobodys, error, tries=1, waiting=0, now=1001.0), GiveUp)


def test_placement_is_asked_for_in_ecs_words():
    placement = Placement(
        spread=("attribute:ecs.availability-zone",), binpack="memory", constraints=("x == y",)
    )
    app = App(name="chat", image="chat", placement=placement)
    request = run_task_for(task_request_for(queued(), app, CONFIG), "c")
    assert request["placementStrategy"] == [
        {"type": "spread", "field": "attribute:ecs.availability-zone"},
        {"type": "binpack", "field": "memory"},
    ]
    assert request["placementConstraints"] == [{"type": "memberOf", "expression": "x == y"}]


def test_a_container_of_the_pool_waits_for_its_claim_too():
    app = App(name="chat", image="chat", pool=PoolSize(1, 2, max_age_seconds=600))
    told = environment_for(replace(queued(), pooled=True), app, CONFIG)
    assert told["CONNECT_DEADLINE_SECONDS"] == "630"
    assert environment_for(queued(), app, CONFIG)["CONNECT_DEADLINE_SECONDS"] == "30"


def test_a_refusal_ends_the_session_with_ecs_words():
    decision = after(LaunchFailure.REFUSED)
    assert isinstance(decision, GiveUp)
    assert decision.session.reason is Reason.FAILED_TO_START
    assert decision.session.detail == "words"


def test_task_definitions_are_hardened():
    definition = task_definition_for(APP, stage="test", task_role_arn="arn:role")
    (container,) = definition["containerDefinitions"]
    assert definition["family"] == family_of("chat", "test")
    assert container["readonlyRootFilesystem"] is True
    assert container["linuxParameters"]["initProcessEnabled"] is True
    assert container["privileged"] is False
    assert container["user"] not in {"0", "root", ""}
    assert container["linuxParameters"]["capabilities"]["drop"] == ["ALL"]
    assert container["dockerSecurityOptions"] == ["no-new-privileges"]
    assert container["portMappings"][0]["hostPort"] == 0
    assert definition["taskRoleArn"] == "arn:role"


def test_a_task_role_goes_only_to_apps_whose_feed_needs_one():
    app = App(name="chat", image="chat", needs_aws=False)
    assert "taskRoleArn" not in task_definition_for(app, stage="t", task_role_arn="arn:role")


def test_fargate_and_health_checks_have_their_fields():
    app = App(
        name="chat", image="chat", cpu=256, memory=512, launch_type="FARGATE",
        network_mode="awsvpc", health_check=("CMD", "true"), command=("run",), entry_point=("sh",),
    )  # fmt: skip
    definition = task_definition_for(app, stage="test", image="registry/chat@sha256:0")
    (container,) = definition["containerDefinitions"]
    assert (definition["cpu"], definition["memory"]) == ("256", "512")
    assert container["portMappings"][0]["hostPort"] == 8080
    assert container["healthCheck"]["command"] == ["CMD", "true"]
    assert (container["command"], container["entryPoint"]) == (["run"], ["sh"])
    assert container["image"] == "registry/chat@sha256:0"
    assert container["dockerSecurityOptions"] == []


@given(st.integers(0, 50_000), st.integers(0, 10**6))
def test_a_pause_ends_before_the_sweep_takes_the_session_for_forgotten(waiting, now):
    assert 1 <= pause_seconds("id", waiting, now) <= MAX_PAUSE_SECONDS < RELAUNCH_SECONDS


@pytest.mark.parametrize("waiting", [90, 300, 900])
def test_about_twice_as_many_try_in_a_second_as_may_start(waiting):
    """A waiting session tries again after each pause; counts the tries per second, on average."""
    seconds = 600
    tries, due = 0, {f"session-{number}": 0 for number in range(waiting)}
    for now in range(seconds):
        for name, at in due.items():
            if at <= now:
                tries += 1
                due[name] = now + pause_seconds(name, waiting, now)
    assert STARTS_PER_SECOND < tries / seconds < 2.2 * STARTS_PER_SECOND
