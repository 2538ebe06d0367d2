"""The engine on real hosts: processes, with the isolation that works here."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from local.aws.ecs.api import EcsApi
from local.aws.ecs.buckets import UNLIMITED
from local.aws.ecs.engine import Engine, HostSlot
from local.hosts.isolation import Kind
from local.hosts.process import ProcessHost
from tests.integration.process_images import IMAGE, make_image
from tests.integration.test_process_host import WORKS, processes_of
from tests.unit.local.fakes import until

each_isolation = pytest.mark.parametrize("cloud", WORKS, ids=lambda kind: kind.value, indirect=True)
"""The effect of a signal depends on the isolation: machines without namespaces test plain processes
alone, all others every isolation but those.
"""


class Cloud:
    """Two process hosts behind the ECS API."""

    def __init__(self, folder: Path, kind: Kind | None = None) -> None:
        self.run_id = uuid4().hex
        self.logs = folder / "logs"
        self.logs.mkdir()
        source = make_image(folder / "image")
        self.hosts = [
            ProcessHost(f"host-{n}", run_id=self.run_id, images=[source], logs=self.logs, kind=kind)
            for n in range(2)
        ]
        self.events: list[dict[str, Any]] = []
        self.engine = Engine(
            region="us-east-1",
            account="123456789012",
            hosts=[
                HostSlot(
                    name=host.name,
                    host=host,
                    address="127.0.0.1",
                    cpu_units=8192,
                    memory_mib=8192,
                    ec2_instance_id=f"i-{place}",
                    availability_zone="us-east-1a",
                )
                for place, host in enumerate(self.hosts)
            ],
            publish=self.events.append,
            health_interval_floor_seconds=1,
        )
        self.call = EcsApi(self.engine, limits=UNLIMITED).call

    def run(self, *command: str, count: int = 1, **container: Any) -> list[str]:
        main = {"name": "main", "image": IMAGE, "memory": 64, "command": list(command)}
        body = {"family": uuid4().hex, "containerDefinitions": [main | container]}
        definition = self.call("RegisterTaskDefinition", body)["taskDefinition"]
        request = {
            "taskDefinition": definition["taskDefinitionArn"],
            "count": count,
            "placementStrategy": [{"type": "spread", "field": "host"}],
        }
        reply = self.call("RunTask", request)
        assert reply["failures"] == []
        return [task["taskArn"] for task in reply["tasks"]]

    def task(self, arn: str) -> dict[str, Any]:
        return self.call("DescribeTasks", {"tasks": [arn]})["tasks"][0]

    def wait(self, arn: str, status: str) -> dict[str, Any]:
        until(lambda: self.task(arn)["lastStatus"] == status, seconds=30)
        return self.task(arn)

    def wait_printed(self, arn: str, text: str) -> None:
        log = self.logs / f"{arn.rpartition('/')[2]}-main.log"
        until(lambda: log.exists() and text in log.read_text(), seconds=30)


@pytest.fixture
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cloud]:
    """With the best isolation that works here, or the kind that a test is parametrised with."""
    cloud = Cloud(tmp_path, getattr(request, "param", None))
    yield cloud
    cloud.engine.close()
    assert processes_of(cloud.run_id) == []


def hello(port: int) -> Callable[[], bool]:
    def said() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                return connection.recv(5) == b"hello"
        except ConnectionError:  # refused, or reset by one that is killed in this moment
            return False

    return said


def silent(port: int) -> Callable[[], bool]:
    """True when no process answers at the port: processes of a lost host end a moment after it."""
    return lambda: not hello(port)()


def port_of(task: dict[str, Any]) -> int:
    return task["containers"][0]["networkBindings"][0]["hostPort"]


def test_twenty_tasks_serve_on_ports_of_their_own_and_stop(cloud: Cloud) -> None:
    ports = [{"containerPort": 8080}]
    arns = cloud.run("serves.py", count=10, portMappings=ports)
    arns += cloud.run("serves.py", count=10, portMappings=ports)
    tasks = [cloud.wait(arn, "RUNNING") for arn in arns]
    assert len({port_of(task) for task in tasks}) == 20
    for task in tasks:
        until(hello(port_of(task)))
    for arn in arns:
        cloud.call("StopTask", {"task": arn})
    cloud.engine.kill_host("host-0")  # these ignore SIGTERM; losing the host saves the 30 s
    cloud.engine.kill_host("host-1")
    for task in tasks:
        cloud.wait(task["taskArn"], "STOPPED")
        until(silent(port_of(task)))


def test_an_exit_code(cloud: Cloud) -> None:
    (arn,) = cloud.run("exits.py", "3")
    task = cloud.wait(arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 3
    assert task["stopCode"] == "EssentialContainerExited"


@each_isolation
def test_sigterm_is_handled(cloud: Cloud) -> None:
    (arn,) = cloud.run("ends_on_sigterm.py")
    cloud.wait_printed(arn, "ready")
    cloud.call("StopTask", {"task": arn, "reason": "enough"})
    task = cloud.wait(arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 0
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")


def test_health_is_what_a_command_in_the_task_says(cloud: Cloud) -> None:
    check = {"command": ["CMD-SHELL", "exit $FAILS"], "interval": 1, "timeout": 5, "retries": 1}
    healths = {}
    for fails, expected in (("0", "HEALTHY"), ("1", "UNHEALTHY")):
        variables = [{"name": "FAILS", "value": fails}]
        (arn,) = cloud.run("forks.py", healthCheck=check, environment=variables)
        healths[arn] = expected
    for arn, expected in healths.items():
        until(lambda arn=arn, expected=expected: cloud.task(arn)["healthStatus"] == expected)


@each_isolation
def test_sigterm_ignored_is_sigkill_after_the_stop_timeout(cloud: Cloud) -> None:
    (arn,) = cloud.run("ignores_sigterm.py", stopTimeout=1)
    cloud.wait_printed(arn, "ready")  # a plain process that does not ignore it yet ends of it
    cloud.call("StopTask", {"task": arn})
    task = cloud.wait(arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 137
    assert task["stoppedAt"] - task["stoppingAt"] >= 1


def test_a_missing_image(cloud: Cloud) -> None:
    (arn,) = cloud.run(image="nobody/has:this")
    task = cloud.wait(arn, "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError: ")
    assert "nobody/has:this" in task["containers"][0]["reason"]


def test_a_program_that_is_not_executable(cloud: Cloud) -> None:
    (arn,) = cloud.run(entryPoint=["./not_executable"])
    task = cloud.wait(arn, "STOPPED")
    assert (task["stopCode"], task["stoppedReason"]) == (
        "TaskFailedToStart",
        "Task failed to start",
    )
    assert "permission denied" in task["containers"][0]["reason"]


def test_a_memory_hog(cloud: Cloud) -> None:
    (arn,) = cloud.run("hog.py")
    (container,) = cloud.wait(arn, "STOPPED")["containers"]
    assert container["exitCode"] == 137
    assert container["reason"].startswith("OutOfMemoryError: ")


def test_a_killed_agent_stops_its_tasks_and_leaves_the_others(cloud: Cloud) -> None:
    arns = cloud.run("ends_on_sigterm.py", count=2)
    tasks = [cloud.wait(arn, "RUNNING") for arn in arns]
    arns = cloud.call("ListContainerInstances", {})["containerInstanceArns"]
    reply = cloud.call("DescribeContainerInstances", {"containerInstances": arns})
    ids = {i["containerInstanceArn"]: i["ec2InstanceId"] for i in reply["containerInstances"]}
    os.kill(cloud.hosts[0].agent_pid, signal.SIGKILL)
    lost, kept = sorted(tasks, key=lambda task: ids[task["containerInstanceArn"]])
    ended = cloud.wait(lost["taskArn"], "STOPPED")
    assert ended["stoppedReason"] == "Host EC2 (instance i-0) terminated."
    assert cloud.task(kept["taskArn"])["lastStatus"] == "RUNNING"
    until(lambda: len(cloud.call("ListContainerInstances", {})["containerInstanceArns"]) == 1)
    cloud.run("exits.py", "0")


def test_closing_with_tasks_that_ignore_sigterm_is_quick_and_complete(cloud: Cloud) -> None:
    arns = cloud.run("ignores_sigterm.py", count=10)
    cloud.engine.close()
    assert processes_of(cloud.run_id) == []
    assert {cloud.task(arn)["lastStatus"] for arn in arns} == {"STOPPED"}
