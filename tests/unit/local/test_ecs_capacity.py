"""A full cluster, capacity providers, lag, Fargate: the engine as ECS behaves."""

import re
from pathlib import Path
from typing import Any

import pytest

from local.aws.ecs.model import HostSlot
from local.aws.ecs.providers import CapacityProvider, Waiting
from local.aws.ecs.read_lag import ReadLag
from local.hosts.base import Exit
from tests.unit.local.fakes import Clock, FakeHost, World, until
from tests.unit.local.strict_ecs import COMMON, ecs_model
from tests.unit.local.test_ecs_engine import error_of

BY_HOSTS = {"capacityProviderStrategy": [{"capacityProvider": "hosts", "weight": 1}]}
HOSTS = CapacityProvider("hosts", host_seconds=3600)
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}}
ON_FARGATE: dict[str, Any] = {
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "256",
    "memory": "512",
}


def fargate_slot(cpu: int = 4096) -> HostSlot:
    return HostSlot(
        name="fargate",
        host=FakeHost(),
        address="192.0.2.99",
        cpu_units=cpu,
        memory_mib=2**20,
        ec2_instance_id="",
        availability_zone="us-east-1a",
    )


def test_on_a_full_cluster_a_task_of_a_provider_waits_for_room() -> None:
    with World(memory=256, providers=[HOSTS]) as world:
        world.register()
        first = world.run_one(**BY_HOSTS)
        world.wait_status(first, "RUNNING")
        reply = world.run(**BY_HOSTS)
        assert reply["failures"] == []
        (second,) = reply["tasks"]
        assert second["lastStatus"] == "PROVISIONING"
        assert second["capacityProviderName"] == "hosts"
        assert "containerInstanceArn" not in second
        world.exit_main(first, Exit(0))
        assert "containerInstanceArn" in world.wait_status(second["taskArn"], "RUNNING")


def test_an_answer_never_shows_the_host_of_a_providers_task() -> None:
    with World(providers=[HOSTS]) as world:
        world.register()
        (task,) = world.run(**BY_HOSTS)["tasks"]
        assert (task["lastStatus"], "containerInstanceArn" in task) == ("PROVISIONING", False)
        world.wait_status(task["taskArn"], "RUNNING")


def test_the_group_brings_hosts_until_nobody_waits_or_it_has_no_more() -> None:
    with World(hosts=0, memory=256, providers=[]) as world:
        left = [1, 2]

        def bring() -> HostSlot | None:
            return world.new_slot() if left and left.pop() else None

        world.engine.providers["hosts"] = CapacityProvider("hosts", bring=bring, host_seconds=0.01)
        world.api.call(
            "PutClusterCapacityProviders",
            {
                "cluster": "default",
                "capacityProviders": ["hosts"],
                "defaultCapacityProviderStrategy": [],
            },
        )
        world.register()
        arns = [world.run_one(**BY_HOSTS) for _ in range(3)]
        until(lambda: [world.task(a)["lastStatus"] for a in arns].count("RUNNING") == 2)
        assert world.task(arns[2])["lastStatus"] == "PROVISIONING", "the oldest go first"
        instances = world.api.call("ListContainerInstances", {})["containerInstanceArns"]
        shown = world.api.call("DescribeContainerInstances", {"containerInstances": instances})
        assert {i["capacityProviderName"] for i in shown["containerInstances"]} == {"hosts"}


def test_a_task_that_waits_can_be_stopped_and_takes_nothing() -> None:
    with World(memory=256, providers=[HOSTS]) as world:
        world.register(container={"portMappings": [{"containerPort": 80, "hostPort": 8080}]})
        first = world.run_one(**BY_HOSTS)
        waits = world.run_one(**BY_HOSTS)
        world.api.call("StopTask", {"task": waits, "reason": "over"})
        ended = world.wait_status(waits, "STOPPED")
        assert (ended["stopCode"], ended["stoppedReason"]) == ("UserInitiated", "over")
        assert "containerInstanceArn" not in ended
        assert "startedAt" not in ended
        world.exit_main(first, Exit(0))
        world.wait_status(world.run_one(**BY_HOSTS), "RUNNING")
        assert world.task(waits)["lastStatus"] == "STOPPED"


def test_so_many_may_wait_and_no_more() -> None:
    with World(memory=256, providers=[HOSTS], waiting=Waiting(quota=2)) as world:
        world.register()
        world.wait_status(world.run_one(**BY_HOSTS), "RUNNING")
        world.run(count=2, **BY_HOSTS)
        refused = error_of(lambda: world.run(**BY_HOSTS))
        assert (refused.code, refused.status) == ("ClientException", 400)
        assert refused.message == "Tasks provisioning capacity limit exceeded."
        assert len(world.engine.tasks()) == 3


@pytest.mark.parametrize(
    ("hosts", "words"), [(0, "EMPTY CAPACITY PROVIDER"), (1, "RESOURCE:MEMORY")]
)
def test_who_waits_for_too_long_is_given_up(hosts: int, words: str) -> None:
    clock = Clock()
    with World(hosts=hosts, memory=128, providers=[HOSTS], clock=clock) as world:
        world.register()
        arn = world.run_one(**BY_HOSTS)
        clock.now += 1_199
        assert world.task(arn)["lastStatus"] == "PROVISIONING"
        clock.now += 2
        ended = world.wait_status(arn, "STOPPED")
        assert (ended["stopCode"], ended["stoppedReason"]) == ("TaskFailedToStart", words)


def test_without_managed_scaling_or_provider_no_room_is_a_failure() -> None:
    fixed = CapacityProvider("hosts", managed_scaling=False)
    with World(memory=256, providers=[fixed]) as world:
        world.register()
        world.run_one(**BY_HOSTS)
        for parameters in (BY_HOSTS, {"launchType": "EC2"}):
            reply = world.run(**parameters)
            assert reply["tasks"] == []
            assert [f["reason"] for f in reply["failures"]] == ["RESOURCE:MEMORY"]


def test_a_provider_that_the_cluster_does_not_have_is_refused() -> None:
    strategy = [{"capacityProvider": "nowhere"}]
    with World(providers=[HOSTS]) as world:
        world.register()
        refused = error_of(lambda: world.run(capacityProviderStrategy=strategy))
        assert refused.code == "InvalidParameterException"
        assert "not associated with the cluster" in refused.message
        put = {"cluster": "default", "capacityProviders": ["nowhere"]}
        call = put | {"defaultCapacityProviderStrategy": []}
        unknown = error_of(lambda: world.api.call("PutClusterCapacityProviders", call))
        assert "'nowhere' was not found" in unknown.message
        described = world.api.call(
            "DescribeCapacityProviders", {"capacityProviders": ["hosts", "nowhere"]}
        )
        assert [p["name"] for p in described["capacityProviders"]] == ["hosts"]
        assert [f["reason"] for f in described["failures"]] == ["MISSING"]


def test_the_clusters_default_strategy_holds_where_nothing_else_is_said() -> None:
    with World(providers=[HOSTS]) as world:
        world.register()
        put = {
            "cluster": "default",
            "capacityProviders": ["hosts"],
            "defaultCapacityProviderStrategy": [{"capacityProvider": "hosts"}],
        }
        world.api.call("PutClusterCapacityProviders", put)
        assert world.run()["tasks"][0]["capacityProviderName"] == "hosts"
        assert "capacityProviderName" not in world.run(launchType="EC2")["tasks"][0]
        dropped = put | {"capacityProviders": [], "defaultCapacityProviderStrategy": []}
        in_use = error_of(lambda: world.api.call("PutClusterCapacityProviders", dropped))
        assert in_use.code == "ResourceInUseException"


def test_lists_and_descriptions_know_of_a_task_only_later() -> None:
    clock = Clock()
    with World(clock=clock, read_lag=ReadLag(5)) as world:
        world.register()
        arn = world.run_one()
        assert world.api.call("ListTasks", {})["taskArns"] == []
        described = world.api.call("DescribeTasks", {"tasks": [arn]})
        assert [f["reason"] for f in described["failures"]] == ["MISSING"]
        clock.now += 5
        assert world.api.call("ListTasks", {})["taskArns"] == [arn]
        assert world.task(arn)["taskArn"] == arn


def test_each_task_lags_by_a_time_of_its_own_within_the_maximum() -> None:
    clock = Clock()
    lag = ReadLag(10, seed=1)
    with World(clock=clock, read_lag=lag) as world:
        world.register()
        arns = [world.run_one() for _ in range(6)]
        seen = []
        for _ in range(100):
            seen.append(len(world.api.call("ListTasks", {})["taskArns"]))
            clock.now += 0.1
        assert seen == sorted(seen)
        assert len(set(seen)) > 3
        assert sorted(world.api.call("ListTasks", {})["taskArns"]) == sorted(arns)
        lags = [lag.of(task) for task in world.engine.tasks()]
        assert lags == [ReadLag(10, seed=1).of(task) for task in world.engine.tasks()]
        assert lags != [ReadLag(10, seed=2).of(task) for task in world.engine.tasks()]


def test_started_by_goes_with_no_other_filter() -> None:
    with World() as world:
        world.register()
        arn = world.run_one(startedBy="jane doe")
        for other in ({"family": "family"}, {"launchType": "EC2"}, {"containerInstance": "x"}):
            call = {"startedBy": "jane doe"} | other
            refused = error_of(lambda call=call: world.api.call("ListTasks", call))
            assert refused.code == "InvalidParameterException"
            assert refused.message == "cannot specify startedBy with other arguments"
        with_status = {"startedBy": "jane doe", "desiredStatus": "RUNNING"}
        assert world.api.call("ListTasks", with_status)["taskArns"] == [arn]
        refused = error_of(lambda: world.run(startedBy="x" * 129))
        assert refused.message == "startedBy longer than 128."


def test_statistics_of_a_cluster_are_told_by_launch_type() -> None:
    with World(memory=256, providers=[HOSTS], fargate=fargate_slot()) as world:
        world.register()
        world.register("far", **ON_FARGATE)
        world.wait_status(world.run_one(**BY_HOSTS), "RUNNING")
        world.run(**BY_HOSTS)
        far = world.run_one("far", launchType="FARGATE", networkConfiguration=NETWORK)
        world.wait_status(far, "RUNNING")
        call = {"clusters": ["default"], "include": ["STATISTICS"]}
        (cluster,) = world.api.call("DescribeClusters", call)["clusters"]
        statistics = {pair["name"]: pair["value"] for pair in cluster["statistics"]}
        assert statistics["runningEC2TasksCount"] == "1"
        assert statistics["pendingEC2TasksCount"] == "1"
        assert statistics["RunningFargateTasksCount"] == "1"
        plain = world.api.call("DescribeClusters", {"clusters": ["default"]})
        assert plain["clusters"][0]["statistics"] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cpu": "300"}, "No Fargate configuration exists for given values."),
        ({"cpu": "256", "memory": "256"}, "No Fargate configuration exists for given values."),
        ({"cpu": "1024", "memory": "1024"}, "No Fargate configuration exists for given values."),
        ({"networkMode": "bridge"}, "Fargate only supports network mode ‘awsvpc’."),
        ({"cpu": None}, "Fargate requires that 'cpu' be defined at the task level."),
    ],
)
def test_fargate_takes_its_sizes_alone(changes: dict[str, Any], words: str) -> None:
    parameters = {k: v for k, v in (ON_FARGATE | changes).items() if v is not None}
    with World() as world:
        refused = error_of(lambda: world.register(**parameters))
        assert (refused.code, refused.message) == ("ClientException", words)


def test_a_size_can_be_overridden_by_one_that_exists() -> None:
    with World(fargate=fargate_slot()) as world:
        world.register(**ON_FARGATE)
        run = {"launchType": "FARGATE", "networkConfiguration": NETWORK}
        refused = error_of(lambda: world.run(overrides={"cpu": "300"}, **run))
        assert refused.message == "No Fargate configuration exists for given values."
        world.run_one(overrides={"cpu": "512", "memory": "1024"}, **run)
        world.register("bridge")
        refused = error_of(lambda: world.run("bridge", **run))
        assert refused.message == "Task definition does not support launch_type FARGATE."


def test_a_task_on_fargate_has_an_address_and_ports_of_its_own() -> None:
    far = fargate_slot()
    with World(fargate=far) as world:
        container = {"portMappings": [{"containerPort": 8080}], "memory": 256}
        world.register(**ON_FARGATE, container=container)
        run = {"launchType": "FARGATE", "networkConfiguration": NETWORK}
        arns = [world.run_one(**run) for _ in range(2)]
        shown = [world.wait_status(arn, "RUNNING") for arn in arns]
        interfaces = set()
        for task in shown:
            assert (task["launchType"], "containerInstanceArn" in task) == ("FARGATE", False)
            assert task["containers"][0]["networkBindings"] == []
            (attachment,) = task["attachments"]
            assert (attachment["type"], attachment["status"]) == (
                "ElasticNetworkInterface",
                "ATTACHED",
            )
            details = {d["name"]: d["value"] for d in attachment["details"]}
            interface = world.engine.find_interface(details["networkInterfaceId"])
            assert interface is not None
            assert interface.public_ip is not None
            assert interface.private_ip == details["privateIPv4Address"]
            interfaces.add(interface.public_ip)
        assert len(interfaces) == 2
        host = far.host
        assert isinstance(host, FakeHost)
        assert {spec.ports[0].host_port for spec in host.specs.values()} == {8080}
        world.api.call("StopTask", {"task": arns[0]})
        ended = world.wait_status(arns[0], "STOPPED")
        assert ended["containers"][0]["exitCode"] == 143
        assert ended["attachments"][0]["status"] == "DELETED"


def test_the_accounts_vcpus_on_fargate_are_a_failure_and_no_error() -> None:
    with World(fargate=fargate_slot(cpu=256)) as world:
        world.register(**ON_FARGATE)
        run = {"launchType": "FARGATE", "networkConfiguration": NETWORK}
        world.run_one(**run)
        reply = world.run(**run)
        assert reply["tasks"] == []
        (failure,) = reply["failures"]
        assert "limit on the number of vCPUs you can run" in failure["reason"]


def test_every_code_in_the_engine_is_one_of_ecs() -> None:
    known = {shape.name for shape in ecs_model().error_shapes} | COMMON
    folder = Path(__file__).parents[3] / "local" / "aws" / "ecs"
    found: set[str] = set()
    for source in folder.glob("*.py"):
        found |= set(re.findall(r'EcsApiError\(\s*"(\w+)"', source.read_text()))
    assert len(found) > 5
    assert found <= known
