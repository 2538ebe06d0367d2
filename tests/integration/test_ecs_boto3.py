"""The ECS API with boto3: botocore's parser reads every reply, and botocore's model finds names
that are misspelt or missing and values of a wrong type.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.aws.ecs.errors import EcsApiError
from local.hosts.base import Exit
from tests.unit.local.fakes import World
from tests.unit.local.strict_ecs import check


class Served:
    """A world behind HTTP, and a client of it that checks what it gets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.replies: list[tuple[str, dict[str, Any]]] = []
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                action = self.headers["X-Amz-Target"].rpartition(".")[2]
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    status, reply = 200, world.api.call(action, body)
                    served.replies.append((action, reply))
                except EcsApiError as error:
                    status, reply = error.status, error.body()
                data = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.client = boto3.client(
            "ecs",
            endpoint_url=f"http://127.0.0.1:{self.server.server_port}",
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"max_attempts": 1}),
        )

    def close(self) -> None:
        self.client.close()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def served() -> Iterator[Served]:
    with World(hosts=2) as world:
        served = Served(world)
        yield served
        served.close()


def test_every_reply_fits_botocores_model(served: Served) -> None:
    ecs, world = served.client, served.world
    ecs.create_cluster(clusterName="other", tags=[{"key": "k", "value": "v"}])
    ecs.describe_clusters(clusters=["default", "other", "nowhere"])
    ecs.list_clusters()
    ecs.describe_capacity_providers()
    ecs.put_cluster_capacity_providers(
        cluster="other", capacityProviders=["FARGATE"], defaultCapacityProviderStrategy=[]
    )
    ecs.describe_clusters(clusters=["other"], include=["STATISTICS"])
    check_command = {"command": ["CMD-SHELL", "true"], "interval": 10}
    main = {
        "name": "main",
        "image": "image",
        "memory": 64,
        "memoryReservation": 32,
        "portMappings": [{"containerPort": 80}],
        "healthCheck": check_command,
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
    }
    ecs.register_task_definition(
        family="f", containerDefinitions=[main], tags=[{"key": "k", "value": "v"}]
    )
    ecs.describe_task_definition(taskDefinition="f", include=["TAGS"])
    ecs.list_task_definitions(maxResults=1)
    ecs.list_task_definition_families()
    run = ecs.run_task(
        taskDefinition="f",
        count=2,
        startedBy="me",
        clientToken="token",
        tags=[{"key": "a", "value": "b"}],
        placementStrategy=[{"type": "spread", "field": "instanceId"}],
        overrides={"containerOverrides": [{"name": "main", "command": ["x"]}]},
    )
    first, second = (task["taskArn"] for task in run["tasks"])
    assert run["tasks"][0]["createdAt"].tzinfo is not None
    world.wait_status(first, "RUNNING")
    world.wait_status(second, "RUNNING")
    instances = ecs.list_container_instances()["containerInstanceArns"]
    ecs.describe_container_instances(containerInstances=[*instances, "nothing"])
    ecs.start_task(taskDefinition="f", containerInstances=[instances[0], "nothing"])
    ecs.describe_tasks(tasks=[first, "nothing"], include=["TAGS"])
    ecs.list_tasks(family="f", desiredStatus="RUNNING", maxResults=1)
    ecs.stop_task(task=first, reason="enough")
    world.exit_main(second, Exit(137, "OutOfMemoryError: Container killed"))
    world.wait_status(first, "STOPPED")
    world.wait_status(second, "STOPPED")
    ended = ecs.describe_tasks(tasks=[first, second])["tasks"]
    assert [task["stopCode"] for task in ended] == ["UserInitiated", "EssentialContainerExited"]
    ecs.tag_resource(resourceArn=first, tags=[{"key": "c", "value": "d"}])
    ecs.untag_resource(resourceArn=first, tagKeys=["a"])
    tags = ecs.list_tags_for_resource(resourceArn=first)["tags"]
    assert tags == [{"key": "c", "value": "d"}]
    ecs.update_container_instances_state(containerInstances=instances, status="DRAINING")
    ecs.deregister_task_definition(taskDefinition="f:1")
    ecs.delete_cluster(cluster="other")
    for action, reply in served.replies:
        check(ecs.meta.service_model.operation_model(action).output_shape, reply, action)
    names = {action for action, _ in served.replies}
    assert names == set(world.api.actions), "an action has no reply in this test"


def test_paginators_and_waiters_of_boto3_work(served: Served) -> None:
    ecs, world = served.client, served.world
    world.register(container={"memory": 6, "cpu": 0})
    for _ in range(3):
        world.run(count=10)
    pages = ecs.get_paginator("list_tasks").paginate(PaginationConfig={"PageSize": 7})
    assert len(set(pages.build_full_result()["taskArns"])) == 30
    arn = world.run_one()
    ecs.get_waiter("tasks_running").wait(tasks=[arn], WaiterConfig={"Delay": 1})
    world.exit_main(arn, Exit(0))
    ecs.get_waiter("tasks_stopped").wait(tasks=[arn], WaiterConfig={"Delay": 1})


def test_errors_are_the_exceptions_boto3_knows(served: Served) -> None:
    ecs, world = served.client, served.world
    world.register()
    arn = ecs.run_task(taskDefinition="family", clientToken="t")["tasks"][0]["taskArn"]
    with pytest.raises(ecs.exceptions.ConflictException) as conflict:
        ecs.run_task(taskDefinition="family", clientToken="t", count=2)
    assert conflict.value.response["resourceIds"] == [arn]
    with pytest.raises(ecs.exceptions.ClusterNotFoundException):
        ecs.run_task(taskDefinition="family", cluster="nowhere")
    with pytest.raises(ecs.exceptions.ClientException):
        ecs.run_task(taskDefinition="nothing")
    with pytest.raises(ecs.exceptions.InvalidParameterException):
        ecs.stop_task(task="nothing")
    with pytest.raises(ecs.exceptions.UnsupportedFeatureException):
        ecs.run_task(taskDefinition="family", launchType="EXTERNAL")
    with pytest.raises(ClientError, match="does not know CreateService") as unknown:
        ecs.create_service(serviceName="s")
    assert unknown.value.response["Error"]["Code"] == "UnknownOperationException"
