"""A caller without credentials sends requests to a deployed stage whose AUTH_MODE is `none`.

Attacker: any client with the API's URL. Goal: run an image or job of their choice, read, list or
stop sessions and jobs of others. Reach: every route of the real app, as API Gateway passes requests
on.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib.callers import AuthMode
from chalicelib.config import load_config
from chalicelib.errors import ConfigurationError
from local.aws.provision import execute, read_plan
from tests.integration.conftest import ROOT, start_cloud  # noqa: F401 - a fixture

PROGRAM = """
import json, sys
from chalice.test import Client
from app import app

with Client(app) as client:
    for line in sys.stdin:
        method, path, body = json.loads(line)
        headers = {"Content-Type": "application/json"}
        found = client.http.request(method, path, headers=headers, body=json.dumps(body).encode())
        answer = found.json_body if found.body else None
        print(json.dumps([found.status_code, answer]), flush=True)
"""
ROUTES = "import app, json; print(json.dumps([[p, list(m)] for p, m in app.app.routes.items()]))"
FOR_ANYBODY = {
    ("GET", "/"),
    ("GET", "/console"),
    ("GET", "/console/{page}"),
    ("GET", "/console/{page}/{record}"),
    ("GET", "/console/files/{name}"),
    ("GET", "/demo/{name}"),
    ("GET", "/health"),
    ("GET", "/learn"),
    ("GET", "/learn/{assignment_id}"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/session"),
    ("POST", "/session"),
    ("GET", "/sessions/{session_id}"),
    ("DELETE", "/sessions/{session_id}"),
}
"""Routes that a session's page uses; a session's id is a capability. The pages' documents and
scripts are the same for all callers and contain no data.
"""
WITH_A_KEY_OF_THEIR_OWN = {
    ("GET", "/route"),
    ("GET", "/sessions/{session_id}/credentials"),
    ("POST", "/sessions/{session_id}/events"),
    ("POST", "/invocations/{invocation_id}/start"),
    ("POST", "/invocations/{invocation_id}/progress"),
    ("POST", "/invocations/{invocation_id}/marks"),
    ("POST", "/invocations/{invocation_id}/finish"),
}
"""Routes that routers and containers call, each with a key; without it a request changes nothing.
"""
LIMITS = {"MAX_SESSIONS": "10", "MAX_SESSIONS_PER_OWNER": "2", "MAX_REQUESTS_PER_SECOND": "5"}
ID = "6d6cf8ce-0000-4000-8000-000000000000"
JOB = {"image": "attacker/miner", "description": {"name": "tally", "parameters": {}}}
SCHEDULE = {"job": "tally", "expression": "rate(1 minute)", "parameters": {}}


class Stage:
    """The app of stage dev in a process of its own; `send` is a request without credentials."""

    def __init__(self, aws: str, **environment: str) -> None:
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "STAGE": "dev",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": aws,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            **environment,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, method, path, body=None):
        self.process.stdin.write(json.dumps([method, path, body]) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:  # Chalice and the logs print there too
            try:
                status, answer = json.loads(line)
            except ValueError:
                continue
            return status, answer
        raise AssertionError("the app ended")

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)


@pytest.fixture
def start_stage(start_cloud):  # noqa: F811
    cloud, started = start_cloud(), []
    template = Path(ROOT, "infra", "template.yaml")
    execute(read_plan(template, {"Stage": "dev"}, "us-east-1", "dev"), cloud.client)

    def start(**environment):
        started.append(Stage(cloud.aws, **environment))
        return started[-1]

    yield start
    for stage in started:
        stage.close()


def routes():
    shown = subprocess.run(
        [sys.executable, "-c", ROUTES],
        cwd=ROOT,
        env={**os.environ, "STAGE": "dev", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [(method, path) for path, methods in json.loads(shown.stdout) for method in methods]


def test_an_anonymous_caller_registers_invokes_lists_reads_and_kills_nothing(start_stage):
    stage = start_stage(AUTH_MODE="none", **LIMITS)
    tries = [
        ("PUT", "/jobs/tally", JOB),
        ("GET", "/jobs", None),
        ("DELETE", "/jobs/tally", None),
        ("POST", "/jobs/tally/invocations", {}),
        ("GET", "/invocations", None),
        ("GET", f"/invocations/{ID}", None),
        ("GET", f"/invocations/{ID}/logs", None),
        ("POST", f"/invocations/{ID}/kill", None),
        ("POST", f"/invocations/{ID}/rerun", None),
        ("PUT", "/schedules/often", SCHEDULE),
        ("GET", "/schedules", None),
        ("POST", "/schedules/often/run", None),
    ]
    for method, path, body in tries:
        status, answer = stage.send(method, path, body)
        assert (method, path, status) == (method, path, 403), answer
        assert "AUTH_MODE" in answer["error"]["message"]  # what to configure


def test_every_route_but_those_of_sessions_is_closed_to_anonymous_callers(start_stage):
    stage = start_stage(AUTH_MODE="none", **LIMITS)
    for method, route in routes():
        if (method, route) in FOR_ANYBODY:
            continue
        status, answer = stage.send(method, re.sub(r"\{\w+\}", ID, route), {})
        wanted = {400, 401} if (method, route) in WITH_A_KEY_OF_THEIR_OWN else {403}
        assert status in wanted, (method, route, status, answer)


def test_a_session_may_be_asked_for(start_stage):
    stage = start_stage(AUTH_MODE="none", **LIMITS)
    assert stage.send("GET", f"/sessions/{ID}")[0] == 404


def test_without_a_decision_nobody_is_served(start_stage):
    stage = start_stage(AUTH_MODE="")
    for method, path in (("GET", "/session"), ("GET", f"/sessions/{ID}"), ("GET", "/jobs")):
        status, answer = stage.send(method, path)
        assert (status, "AUTH_MODE" in answer["error"]["message"]) == (403, True), answer


@pytest.mark.parametrize("name", LIMITS)
def test_an_anonymous_stage_without_a_limit_does_not_start(name):
    stage = {"STAGE": "dev", "AUTH_MODE": "none"} | LIMITS
    assert load_config(stage).auth_mode is AuthMode.NONE
    with pytest.raises(ConfigurationError, match=name):
        load_config(stage | {name: "0"})
