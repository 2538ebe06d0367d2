"""Descriptions, their parameters' schemas, and the task definitions that are made of them."""

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.api.reference.jobs import SCHEMAS
from chalicelib.contract.jobs import DESCRIPTION_LABEL, JobEnv
from chalicelib.contract.text import can_be_passed, is_variable
from chalicelib.ecs.requests import MAX_OVERRIDES_CHARACTERS, run_task_for
from chalicelib.ecs.task_definitions import Deployment
from chalicelib.errors import BadRequestError, InvalidParametersError
from chalicelib.jobs.answers import show_jobs
from chalicelib.jobs.description import (
    KEYS,
    RUNS_CODE,
    DeployedJob,
    JobDescription,
    parse_description,
)
from chalicelib.jobs.launching import task_request_for
from chalicelib.jobs.model import Priority
from chalicelib.jobs.requests import parse_page
from chalicelib.jobs.schemas import check_parameters, check_schema
from chalicelib.jobs.task_definitions import (
    CONTAINER,
    DIGEST_LABEL,
    family_of,
    image_of,
    job_task_definition,
    labels_of,
)
from tests.unit.chalicelib.jobs.examples import accepted, claimed, deployed, queued

SCHEMA = {
    "type": "object",
    "properties": {"rows": {"type": "integer", "minimum": 1}},
    "required": ["rows"],
    "additionalProperties": False,
}
DEPLOYMENT = Deployment(
    region="eu-west-1",
    log_group="/usher/prod/jobs",
    execution_role_arn="arn:role",
    architecture="arm64",
)


def definition(launch_type="EC2", deployment=None, image="registry/report:1", **facts):
    return job_task_definition(
        JobDescription("market_report", **facts), image, stage="prod", region="eu-west-1",
        log_group="/usher/prod/jobs", launch_type=launch_type, deployment=deployment,
    )  # fmt: skip


def container(**options):
    (only,) = definition(**options)["containerDefinitions"]
    return only


# Listings.


def test_a_page_of_jobs_ends_before_lambda_refuses_it():
    """A hundred jobs with large environments are more than the 6 MiB of a Lambda's answer."""
    large = {"TEXT": "\x01" * 9_000}
    names = [f"j{number}" for number in range(100, 200)]
    jobs = [
        DeployedJob(JobDescription(name, environment=large), f"arn:job-{name}:1", "image")
        for name in names
    ]
    first = show_jobs(jobs, "later", values=True)
    number = len(first["jobs"])
    assert 50 < number < 100
    assert len(json.dumps(json.dumps(first))) < 6 * 1024 * 1024
    assert first["next"] == first["jobs"][-1]["name"] == names[number - 1]
    second = show_jobs(jobs[number:], "later", values=True)
    assert [job["name"] for job in first["jobs"] + second["jobs"]] == names
    assert second["next"] == "later"
    assert show_jobs([], None, values=True) == {"jobs": [], "next": None}


def test_the_query_of_a_listing_is_checked():
    assert parse_page({}) == (100, None)
    assert parse_page({"limit": "7", "next": "report"}) == (7, "report")
    for wrong in ({"limit": "101"}, {"limit": "0"}, {"next": "No"}, {"next": ""}):
        with pytest.raises(BadRequestError):
            parse_page(wrong)


# Descriptions.

descriptions = st.builds(
    JobDescription,
    name=st.from_regex(r"[a-z][a-z0-9_]{0,39}", fullmatch=True),
    summary=st.text(max_size=50),
    cpu=st.integers(16, 16_384),
    memory=st.integers(16, 122_880),
    timeout_seconds=st.integers(1, 604_800),
    queue_seconds=st.integers(1, 1_209_600),
    priority=st.sampled_from(Priority),
    launch_type=st.sampled_from([None, "EC2", "FARGATE"]),
    environment=st.dictionaries(
        st.text(max_size=5).filter(
            lambda name: is_variable(name) and not RUNS_CODE.fullmatch(name)
        ),
        st.text(max_size=5).filter(can_be_passed),
        max_size=3,
    ),
    parameters=st.none() | st.just(SCHEMA),
)


@given(descriptions)
def test_a_description_is_read_as_it_is_told(description):
    assert parse_description(json.loads(json.dumps(description.to_json()))) == description


def test_what_is_not_said_has_its_default():
    assert parse_description({"name": "report"}) == JobDescription("report")
    assert parse_description(
        dict.fromkeys(JobDescription("x").to_json(), None) | {"name": "report", "version": 1}
    ) == JobDescription("report")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Report"},
        {"name": "a" * 41},
        {"name": "a-b"},
        {"name": 7},
        {"version": 2},
        {"cpu": 15},
        {"cpu": 1.5},
        {"memory": True},
        {"timeoutSeconds": 0},
        {"queueSeconds": 1_209_601},
        {"priority": "urgent"},
        {"priority": ["low"]},
        {"launchType": "ec2"},
        {"launchType": {"a": 1}},
        {"environment": {"A": 1}},
        {"environment": ["A"]},
        {"parameters": []},
        {"parameters": {"description": "x" * 20_000}},
        {"unknown": 1},
    ],
)
def test_descriptions_that_are_refused(changes):
    with pytest.raises(BadRequestError) as refused:
        parse_description({"name": "report"} | changes)
    assert next(iter(changes)) in str(refused.value)


def test_every_problem_is_told_at_once():
    with pytest.raises(BadRequestError) as refused:
        parse_description({"name": "?", "cpu": 1, "memory": 1, "priority": "x"})
    for word in ("name", "cpu", "memory", "priority"):
        assert f"{word}:" in str(refused.value)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)


names = sorted({*JobDescription("x").to_json(), "secrets", "version"})


@given(junk | st.dictionaries(st.sampled_from(names), junk))
@example({"name": "x", "environment": 4})
@example({"name": "x", "secrets": [["LD_PRELOAD"]]})
def test_garbage_is_a_bad_request(document):
    with suppress(BadRequestError):
        parse_description(document)


# Parameters.


def test_parameters_are_held_against_the_schema():
    check_parameters(SCHEMA, {"rows": 3})
    for wrong in ({}, {"rows": 0}, {"rows": "3"}, {"rows": 3, "more": 1}, None, []):
        with pytest.raises(InvalidParametersError):
            check_parameters(SCHEMA, wrong)


def test_a_job_without_a_schema_takes_no_parameters():
    check_parameters(None, None)
    check_parameters(None, {})
    for given_all_the_same in ({"rows": 1}, [1], "x", 0, False, []):
        with pytest.raises(InvalidParametersError):
            check_parameters(None, given_all_the_same)


@pytest.mark.parametrize("schema", [{"type": "thing"}, {"minimum": "1"}, {"pattern": "("}])
def test_what_is_no_schema_is_refused(schema):
    with pytest.raises(BadRequestError):
        check_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://example.com/elsewhere"},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"$dynamicRef": "#nowhere"},
    ],
)
def test_a_schema_that_leads_nowhere_is_no_error_of_ours(schema):
    with pytest.raises(InvalidParametersError):
        check_parameters(schema, {"rows": 1})


# Task definitions.


@pytest.mark.parametrize("launch_type", ["EC2", "FARGATE"])
def test_a_job_has_no_rights_and_no_way_to_get_any(launch_type):
    request, job = definition(launch_type), container(launch_type=launch_type)
    assert "taskRoleArn" not in request
    assert (job["name"], job["privileged"], job["readonlyRootFilesystem"]) == (
        CONTAINER,
        False,
        True,
    )
    assert job["user"] == "65534:65534"
    assert job["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert "portMappings" not in job
    assert {"name": "core", "softLimit": 0, "hardLimit": 0} in job["ulimits"]
    assert job["essential"] is True
    if launch_type == "EC2":
        assert job["dockerSecurityOptions"] == ["no-new-privileges"]
        assert job["linuxParameters"]["tmpfs"] == [{"containerPath": "/tmp", "size": 64}]
    else:
        assert (request["cpu"], request["memory"]) == ("256", "256")
        assert job["mountPoints"][0]["containerPath"] == "/tmp"


def test_the_lines_of_a_job_go_to_a_stream_that_begins_with_its_name():
    for deployment in (None, DEPLOYMENT):
        options = container(deployment=deployment)["logConfiguration"]["options"]
        assert options["awslogs-group"] == "/usher/prod/jobs"
        assert options["awslogs-stream-prefix"] == "market_report"
    assert definition(deployment=DEPLOYMENT)["executionRoleArn"] == "arn:role"


def test_the_description_travels_with_the_revision():
    request = definition(cpu=512, parameters=SCHEMA)
    told = json.loads(labels_of(request)[DESCRIPTION_LABEL])
    assert parse_description(told) == JobDescription("market_report", cpu=512, parameters=SCHEMA)
    assert image_of(request) == "registry/report:1"
    assert request["family"] == family_of("market_report", "prod") == "usher-prod-job-market-report"
    assert labels_of({"containerDefinitions": [{"name": "other"}]}) == {}


def test_the_digest_changes_with_anything_and_with_nothing_else():
    def digest(**options):
        return labels_of(definition(**options))[DIGEST_LABEL]

    assert digest() == digest()
    changed = [
        {"image": "registry/report:2"}, {"cpu": 512}, {"memory": 512}, {"summary": "x"},
        {"timeout_seconds": 1}, {"priority": Priority.LOW}, {"environment": {"A": "1"}},
        {"parameters": SCHEMA}, {"launch_type": "FARGATE"}, {"deployment": DEPLOYMENT},
    ]  # fmt: skip
    assert len({digest(), *(digest(**one) for one in changed)}) == len(changed) + 1


# RunTask.


def request_of(invocation, config, **facts):
    return run_task_for(task_request_for(invocation, deployed(**facts), config), config.cluster)


def test_a_run_is_asked_for_in_the_same_words_each_time(config):
    first = request_of(claimed(), config)
    assert first == request_of(claimed(), config)
    assert first["count"] == 1
    assert first["startedBy"] == claimed().started_by
    assert len(first["clientToken"]) <= 64
    second = request_of(replace(claimed(), attempt=2), config)
    assert second["clientToken"] != first["clientToken"]
    assert second["startedBy"] != first["startedBy"]


def test_the_container_gets_its_key_and_nothing_of_aws_and_no_parameters(config):
    before = replace(queued(), parameters={"secret": "x" * 60_000}, callback_base_url="http://d")
    (override,) = request_of(before, config)["overrides"]["containerOverrides"]
    environment = {pair["name"]: pair["value"] for pair in override["environment"]}
    assert set(environment) == {str(name) for name in JobEnv}
    assert environment["INVOCATION_URL"] == f"http://d/invocations/{before.id}"
    assert len(json.dumps(override)) < MAX_OVERRIDES_CHARACTERS


def test_the_job_s_own_launch_type_goes_first(config):
    assert request_of(accepted(), config)["launchType"] == "EC2"
    assert request_of(accepted(), config, launch_type="FARGATE")["launchType"] == "FARGATE"
    provided = replace(config, capacity_provider="hosts", task_subnets=("s",))
    assert "launchType" not in request_of(accepted(), provided)
    on_fargate = request_of(accepted(), provided, launch_type="FARGATE")
    assert on_fargate["launchType"] == "FARGATE"
    assert "networkConfiguration" in on_fargate


def test_a_job_that_was_asked_for_in_a_trace_finds_its_place_in_its_environment(config):
    place = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    (override,) = request_of(replace(queued(), traceparent=place), config)["overrides"][
        "containerOverrides"
    ]
    environment = {pair["name"]: pair["value"] for pair in override["environment"]}
    assert environment["TRACEPARENT"] == place
    assert "TRACES_ENDPOINT" not in environment
    traced = replace(config, traces_endpoint="http://collector:4318")
    for asked, told in ((place, traced.traces_endpoint), (None, None)):
        (override,) = request_of(replace(queued(), traceparent=asked), traced)["overrides"][
            "containerOverrides"
        ]
        environment = {pair["name"]: pair["value"] for pair in override["environment"]}
        assert environment.get("TRACES_ENDPOINT") == told


def test_the_reference_has_every_key_of_a_description():
    properties = set(SCHEMAS["Job"]["properties"])
    assert properties - {"revision", "image", "taskDefinition"} == KEYS
