"""A client without credentials reads error messages.

Goal: the account, its resources, registries and addresses inside the network. Reach: `/health`,
and sessions and runs that fail to start.
"""

import logging
from dataclasses import fields
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from chalicelib.ecs.failures import classify_error, classify_failures
from chalicelib.ecs.public_text import for_clients
from chalicelib.ecs.task_changes import parse_task
from chalicelib.errors import UnavailableError
from chalicelib.wiring import Services

ACCOUNT = "123456789012"
SECRETS = (
    ACCOUNT,
    "arn:aws",
    "registry.corp",
    "10.0.0.",
    "i-0abc",
    "eni-0abc",
    "5000",
    "amazonaws",
)
TEXTS = [
    f"User: arn:aws:sts::{ACCOUNT}:assumed-role/usher-dev-api/usher-dev is not authorized to "
    f"perform: iam:PassRole on resource: arn:aws:iam::{ACCOUNT}:role/usher-task because no …",
    "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve "
    f"ref {ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1: not found",
    f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws/app@sha256:{'0' * 64}: no basic auth credentials",
    'Error response from daemon: Get "https://registry.corp:5000/v2/": dial tcp 10.0.0.12:5000: '
    "connect: connection refused",
    "failed to do request: Head registry.corp:5000/v2/app/manifests/latest: dial tcp: lookup "
    "registry.corp on 10.0.0.2:53: no such host",
    "dial tcp [fd00:ec2::254]:53: timeout; fe80:0:0:0:1:2:3:4 is not reached",
    "Host EC2 (instance i-0abc123456789def0) terminated.",
    "ResourceInitializationError: unable to pull secrets: RequestCanceled, eni-0abc123456789def0 "
    "in ip-10-0-0-12.eu-west-1.compute.internal",
    f"Unable to describe task definition of {ACCOUNT}/usher",
]


@pytest.mark.parametrize("text", TEXTS)
def test_clients_read_no_account_resource_registry_or_address(text):
    shown = for_clients(text)
    assert not [secret for secret in SECRETS if secret in shown], shown
    assert "fd00" not in shown
    assert "fe80" not in shown


@pytest.mark.parametrize("text", [
    "Essential container in task exited", "OutOfMemoryError: Container killed due to memory usage",
    "RESOURCE:MEMORY", "Task failed ELB health checks", "exec: \"python3.11\": not found in $PATH",
    "No module named 'app.main'", "started at 12:30:05, 2027-01-31T09:00:00Z", "version 5.2.1",
    "Traceback: File app.py, line 3", "took 1234567890123 ns", "and/or", "a:b", "e.g. this",
])  # fmt: skip
def test_what_helps_is_left_for_the_legitimate_reader(text):
    assert for_clients(text) == text


@pytest.mark.parametrize("text", TEXTS)
def test_texts_of_ecs_enter_records_filtered_and_logs_whole(text):
    task = {"taskArn": "t", "lastStatus": "STOPPED", "stoppedReason": text}
    for change in (
        parse_task(task),
        parse_task(task | {"containers": [{"name": "session", "reason": text}]}),
    ):
        assert not [secret for secret in SECRETS if secret in change.why_stopped]
        assert text[:60] in change.stop_texts
    for error in (
        classify_error("ClientException", text, 400),
        classify_failures([{"reason": text}]),
    ):
        assert not [secret for secret in SECRETS if secret in error.public_message]
        assert text in str(error)


LOGGER = "usher.health"


@pytest.mark.parametrize("error", [
    ClientError({"Error": {"Code": "AccessDenied", "Message": TEXTS[0]}}, "GetItem"),
    EndpointConnectionError(endpoint_url="http://10.0.0.12:5000"),
])  # fmt: skip
def test_health_tells_strangers_that_it_fails_and_not_why(error, caplog, monkeypatch):
    # Other tests of this process may have configured logging differently.
    for name in ("usher", LOGGER):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "propagate", True)
        monkeypatch.setattr(logger, "disabled", False)
        monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setattr(logging.root.manager, "disable", 0)
    logging.getLogger(LOGGER).addHandler(caplog.handler)

    class Items:
        def get(self, key: str, **_: object) -> None:
            raise error

    sessions = SimpleNamespace(table=SimpleNamespace(items=Items()))
    environment = SimpleNamespace(now=lambda: 0.0)
    rest = dict.fromkeys(REST) | {"environment": environment}
    services = Services(sessions=sessions, **rest)  # type: ignore[arg-type]
    with pytest.raises(UnavailableError) as told:
        services.check()
    assert str(told.value) == "the table of sessions does not answer"
    logging.getLogger(LOGGER).removeHandler(caplog.handler)
    assert str(error) in caplog.text


REST = tuple(field.name for field in fields(Services) if field.name != "sessions")
