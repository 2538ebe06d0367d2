"""The ECS engine under a client that is not ours: the aws command line."""

import json
import os
import subprocess

import pytest

from tests.emulators import AWS_CLI
from tests.needs import needs_awscli

TASK = {
    "family": "cli",
    "containerDefinitions": [
        {
            "name": "main",
            "image": "usher-session",
            "memory": 64,
            "essential": True,
            "entryPoint": ["python", "-c", "import time; time.sleep(600)"],
        }
    ],
}


@pytest.fixture
def aws(cloud, tmp_path):
    """`aws ecs …` in the stage's region: its answer; with `code`, what it says on stderr."""

    def run(*words, code=0):
        done = subprocess.run(
            [str(AWS_CLI), "ecs", *words, "--output", "json"],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "AWS_ENDPOINT_URL": cloud.aws,
                "AWS_DEFAULT_REGION": cloud.ready["region"],
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code else json.loads(done.stdout or "null")

    return run


@needs_awscli
def test_a_task_from_its_definition_to_its_end(aws):
    assert aws("list-clusters")["clusterArns"][0].endswith(":cluster/usher-local")
    made = aws("register-task-definition", "--cli-input-json", json.dumps(TASK))
    assert made["taskDefinition"]["status"] == "ACTIVE"
    started = aws(
        "run-task",
        *("--cluster", "usher-local", "--task-definition", "cli", "--started-by", "aws cli"),
        *("--overrides", '{"containerOverrides": [{"name": "main", "environment": []}]}'),
    )
    assert started["failures"] == []
    place = ("--cluster", "usher-local", "--tasks", started["tasks"][0]["taskArn"])
    aws("wait", "tasks-running", *place)
    (task,) = aws("describe-tasks", *place)["tasks"]
    assert (task["lastStatus"], task["startedBy"]) == ("RUNNING", "aws cli")
    listed = aws("list-tasks", "--cluster", "usher-local", "--started-by", "aws cli")
    assert listed["taskArns"] == [task["taskArn"]]
    stopped = aws(
        "stop-task", "--cluster", "usher-local", "--task", task["taskArn"], "--reason", "enough"
    )
    assert stopped["task"]["desiredStatus"] == "STOPPED"
    aws("wait", "tasks-stopped", *place)
    (task,) = aws("describe-tasks", *place)["tasks"]
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")
    assert task["containers"][0]["exitCode"] in {137, 143}
    gone = aws("deregister-task-definition", "--task-definition", "cli:1")
    assert gone["taskDefinition"]["status"] == "INACTIVE"


@needs_awscli
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("run-task --cluster usher-local --task-definition nobody", "(ClientException)"),
        ("describe-tasks --cluster other --tasks x", "(ClusterNotFoundException)"),
        (f"stop-task --cluster usher-local --task {'0' * 32}", "(InvalidParameterException)"),
    ],
)
def test_refusals_are_read_as_those_of_ecs(aws, words, told):
    assert told in aws(*words.split(), code=255)
