"""Our task definitions as CloudFormation would have them, read by cfn-lint."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.apps import App
from chalicelib.ecs.task_definitions import Deployment, task_definition_for
from chalicelib.jobs.description import JobDescription
from chalicelib.jobs.task_definitions import job_task_definition

DEPLOYMENT = Deployment(
    region="eu-west-1",
    log_group="/usher/prod/sessions",
    execution_role_arn="arn:aws:iam::123456789012:role/usher-prod-execution",
    architecture="arm64",
)
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:usher/prod/word-AbCdEf"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/usher-prod@sha256:" + "0" * 64
KEPT = {"DockerLabels", "Options"}
"""Properties whose keys are the project's names, not CloudFormation's."""

SPELT = {"EfsVolumeConfiguration": "EFSVolumeConfiguration", "FileSystemId": "FilesystemId"}
"""Properties that CloudFormation spells in its own way."""


def as_resource(request):
    """A RegisterTaskDefinition request as the resource of a template."""

    def renamed(value):
        if isinstance(value, dict):
            capital = {key[0].upper() + key[1:]: part for key, part in value.items()}
            named = {SPELT.get(key, key): part for key, part in capital.items()}
            return {k: part if k in KEPT else renamed(part) for k, part in named.items()}
        return [renamed(part) for part in value] if isinstance(value, list) else value

    return {"Type": "AWS::ECS::TaskDefinition", "Properties": renamed(request)}


def lint(folder, resources):
    """Returns cfn-lint's (exit code, output) for a template."""
    template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}
    file = folder / "template.json"
    file.write_text(json.dumps(template), "utf-8")
    command = [str(Path(sys.executable).with_name("cfn-lint")), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


SESSION = App(name="chat", image="chat", environment={"PLACE": "here"}, secrets={"WORD": SECRET})
ON_FARGATE = {"network_mode": "awsvpc", "launch_type": "FARGATE", "cpu": 256, "memory": 512}


def sessions():
    """The definitions of session apps: on either launch type, with what an app can ask for."""
    command = {"entry_point": ("node",), "command": ("server.js",)}
    checked = {"health_check": ("CMD", "true")}
    yield SESSION
    yield replace(SESSION, **command, **checked, stop_timeout_seconds=120)
    yield replace(SESSION, certificates="/etc/tls")
    yield replace(SESSION, **ON_FARGATE)
    yield replace(SESSION, **ON_FARGATE, certificates="fs-0123456789abcdef0")


def definitions(launch_types=("EC2", "FARGATE")):
    """All kinds of task definitions that are registered on AWS."""
    role = "arn:aws:iam::123456789012:role/usher-prod-session"
    found = [
        task_definition_for(
            app, stage="prod", image=IMAGE, task_role_arn=role, deployment=DEPLOYMENT,
            feed_url="kinesis://usher-prod-updates", feed_password=SECRET,
        )
        for app in sessions()
    ]  # fmt: skip
    for launch_type in launch_types:
        description = JobDescription(
            "report", cpu=256, memory=512, environment={"A": "b"}, secrets={"WORD": SECRET},
            parameters={"type": "object"},
        )  # fmt: skip
        found.append(
            job_task_definition(
                description,
                IMAGE,
                stage="prod",
                region="eu-west-1",
                launch_type=launch_type,
                log_group="/usher/prod/jobs",
                deployment=DEPLOYMENT,
            )
        )
    return found


def test_the_linter_finds_nothing_in_any_task_definition(tmp_path):
    found = definitions()
    assert len(found) == 7
    resources = {f"Task{n}": as_resource(request) for n, request in enumerate(found)}
    assert lint(tmp_path, resources) == (0, "")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"cpu": "300"}, "E3047"),
        ({"networkMode": "bridge", "requiresCompatibilities": ["FARGATE"]}, "E3049|E3048|E3052"),
        ({"nobodysField": 1}, "E3002"),
    ],
)
def test_the_linter_would_find_it(tmp_path, change, rule):
    (on_fargate,) = [d for d in definitions() if d["family"].endswith("job-report")][1:]
    code, said = lint(tmp_path, {"Task": as_resource(on_fargate | change)})
    assert code != 0
    assert any(each in said for each in rule.split("|")), said
