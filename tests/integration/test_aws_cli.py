"""The ECS engine under clients that are not ours: the aws command line, and the calls of Airflow's
operator for ECS tasks.
"""

import json
import os
import subprocess

import pytest

from tests.emulators import AWS_CLI
from tests.integration.conftest import wait_until
from tests.needs import needs_awscli

TASK = {
    "family": "cli",
    "containerDefinitions": [
        {
            "name": "main",
            "image": "usher-session",
            "memory": 64,
            "essential": True,
            "stopTimeout": 2,
            "entryPoint": ["python", "-c", "import time; time.sleep(600)"],
        }
    ],
}


@pytest.fixture
def aws(cloud, tmp_path):
    """Runs `aws ecs …` in the stage's region: returns its answer; with `code`, its stderr."""

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


ENDS = [{"name": "main", "image": "usher-session", "memory": 64, "essential": True,
         "entryPoint": ["python", "-c", "raise SystemExit(3)"]}]  # fmt: skip


@pytest.fixture(scope="module")
def ecs(cloud):
    made = cloud.client("ecs")
    made.register_task_definition(**TASK | {"family": "airflow-runs"})
    made.register_task_definition(family="airflow-ends", containerDefinitions=ENDS)
    return made


def run_as_airflow(ecs, family, started_by):
    """As EcsRunTaskOperator of apache-airflow-providers-amazon 9.39 asks for a task: `startedBy` is
    the DAG's owner, a name of people, unless it reattaches.
    """
    answer = ecs.run_task(
        cluster="usher-local",
        taskDefinition=family,
        overrides={"containerOverrides": [{"name": "main", "environment": []}]},
        startedBy=started_by,
        launchType="EC2",
        group="family:airflow",
        placementStrategy=[{"type": "random"}],
        tags=[{"key": "dag", "value": "nightly"}],
        propagateTags="TASK_DEFINITION",
    )
    assert answer["failures"] == []
    return answer["tasks"][0]["taskArn"]


def seen(ecs, arn):
    """Wait for the task in ECS; the operator describes it later, and reports a missing one as
    failed.
    """

    def now():
        answer = ecs.describe_tasks(cluster="usher-local", tasks=[arn])
        assert not answer["failures"] or answer["failures"][0]["reason"] == "MISSING"
        return answer["tasks"]

    return wait_until(now)[0]


def test_airflows_operator_sees_how_its_task_ended(ecs):
    arn = run_as_airflow(ecs, "airflow-ends", "jane doe")
    assert seen(ecs, arn)["startedBy"] == "jane doe"
    ecs.get_waiter("tasks_stopped").wait(
        cluster="usher-local", tasks=[arn], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    (task,) = ecs.describe_tasks(cluster="usher-local", tasks=[arn])["tasks"]
    (container,) = task["containers"]
    assert (container["lastStatus"], container["exitCode"]) == ("STOPPED", 3)
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["tags"] == [] or ecs.list_tags_for_resource(resourceArn=arn)["tags"]


def test_airflows_operator_reattaches_to_its_task_and_kills_it(ecs):
    name = "3f1c1f0e-90a3-5e0c-9b64-0d9b9f1a2c33"  # of DAG, task and run
    arn = run_as_airflow(ecs, "airflow-runs", name)
    mine = {"cluster": "usher-local", "desiredStatus": "RUNNING", "startedBy": name}
    wait_until(lambda: ecs.list_tasks(**mine)["taskArns"] == [arn])
    stopped = ecs.stop_task(cluster="usher-local", task=arn, reason="Task killed by the user")
    assert stopped["task"]["desiredStatus"] == "STOPPED"
    wait_until(lambda: seen(ecs, arn)["lastStatus"] == "STOPPED", 30)
    assert seen(ecs, arn)["stoppedReason"] == "Task killed by the user"
    assert ecs.list_tasks(**mine)["taskArns"] == []
