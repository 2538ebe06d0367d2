"""The engine and its API on hosts that start nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.aws.ecs.errors import EcsApiError
from local.aws.ecs.model import ORDER, Status
from local.aws.ecs.store import STOPPED_KEPT_COUNT
from local.hosts.base import CannotPullImageError, CannotStartError, Exit
from tests.unit.local.fakes import Clock, World, until

PORT = {"portMappings": [{"containerPort": 8080}]}


def error_of(call) -> EcsApiError:
    with pytest.raises(EcsApiError) as caught:
        call()
    return caught.value


def statuses(world: World, arn: str) -> list[tuple[str, str]]:
    details = [event["detail"] for event in world.events_of(arn)]
    return [(detail["lastStatus"], detail["desiredStatus"]) for detail in details]


def test_a_task_from_its_start_to_the_end_of_its_program() -> None:
    with World() as world:
        world.register(container=PORT)
        arn = world.run_one(startedBy="me")
        shown = world.wait_status(arn, "RUNNING")
        (container,) = shown["containers"]
        (binding,) = container["networkBindings"]
        assert binding["containerPort"] == 8080
        assert binding["hostPort"] in range(20_000, 30_000)
        world.exit_main(arn, Exit(3))
        ended = world.wait_status(arn, "STOPPED")
        assert ended["stopCode"] == "EssentialContainerExited"
        assert ended["stoppedReason"] == "Essential container in task exited"
        assert ended["containers"][0]["exitCode"] == 3
        assert ended["createdAt"] <= ended["startedAt"] <= ended["stoppingAt"] <= ended["stoppedAt"]
    assert statuses(world, arn) == [
        ("PROVISIONING", "RUNNING"),
        ("PENDING", "RUNNING"),
        ("RUNNING", "RUNNING"),
        ("DEPROVISIONING", "STOPPED"),
        ("STOPPED", "STOPPED"),
    ]
    assert [e["detail"]["version"] for e in world.events_of(arn)] == [1, 2, 3, 4, 5]


def test_events_have_the_shape_of_eventbridge() -> None:
    with World() as world:
        world.register()
        arn = world.run_one()
        world.wait_status(arn, "RUNNING")
        until(lambda: len(world.events_of(arn)) == 3)
        shown = world.task(arn)
    event = world.events_of(arn)[2]
    assert event["version"] == "0"
    assert (event["source"], event["detail-type"]) == ("aws.ecs", "ECS Task State Change")
    assert (event["account"], event["region"]) == ("123456789012", "us-east-1")
    assert event["time"].endswith("Z")
    detail = event["detail"]
    assert detail["updatedAt"].endswith("Z")
    assert detail["startedAt"][:4] == "20" + detail["startedAt"][2:4]
    same = [name for name in shown if not name.endswith("At")]
    assert {name: detail[name] for name in same} == {name: shown[name] for name in same}
    assert len({e["id"] for e in world.events}) == len(world.events)


def test_stopping_is_asked_for_with_sigterm_and_the_reason_is_kept() -> None:
    with World() as world:
        world.register()
        arn = world.run_one()
        world.wait_status(arn, "RUNNING")
        asked = world.api.call("StopTask", {"task": arn, "reason": "no longer needed"})["task"]
        assert (asked["lastStatus"], asked["desiredStatus"]) == ("RUNNING", "STOPPED")
        ended = world.wait_status(arn, "STOPPED")
        assert (ended["stopCode"], ended["stoppedReason"]) == ("UserInitiated", "no longer needed")
        assert ended["containers"][0]["exitCode"] == 143
        assert [name for _, name in world.hosts[0].signals] == ["SIGTERM"]
        again = world.api.call("StopTask", {"task": arn})["task"]
        assert again["stoppedReason"] == "no longer needed"
    assert ("STOPPING", "STOPPED") in statuses(world, arn)


def test_who_ignores_sigterm_is_killed_after_the_stop_timeout() -> None:
    with World() as world:
        world.hosts[0].ignores_sigterm = True
        world.register(container={"stopTimeout": 0})
        arn = world.run_one()
        world.wait_status(arn, "RUNNING")
        world.api.call("StopTask", {"task": arn})
        assert world.wait_status(arn, "STOPPED")["containers"][0]["exitCode"] == 137
        assert [name for _, name in world.hosts[0].signals] == ["SIGTERM", "SIGKILL"]


@pytest.mark.parametrize(
    ("refusal", "stopped_reason"),
    [
        (CannotPullImageError("CannotPullContainerError: no"), "CannotPullContainerError: no"),
        (CannotStartError("CannotStartContainerError: no"), "Task failed to start"),
    ],
)
def test_a_container_that_does_not_start(refusal: Exception, stopped_reason: str) -> None:
    with World(ports=range(20_000, 20_001)) as world:
        world.register(container=PORT)
        world.hosts[0].refuses = refusal
        ended = world.wait_status(world.run_one(), "STOPPED")
        assert ended["stopCode"] == "TaskFailedToStart"
        assert ended["stoppedReason"] == stopped_reason
        assert ended["containers"][0]["reason"] == str(refusal)
        assert "exitCode" not in ended["containers"][0]
        world.hosts[0].refuses = None
        world.wait_status(world.run_one(), "RUNNING")  # the only port is free again


def test_an_exit_before_the_start_was_reported_is_not_lost() -> None:
    with World() as world:
        world.hosts[0].exits_at_once = Exit(1)
        world.register()
        arn = world.run_one()
        assert world.wait_status(arn, "STOPPED")["containers"][0]["exitCode"] == 1
    assert ("RUNNING", "RUNNING") in statuses(world, arn)


def test_a_task_stopped_while_it_starts_is_stopped_when_it_has_started() -> None:
    with World() as world:
        world.register()
        world.hosts[0].gate.clear()
        arn = world.run_one()
        world.wait_status(arn, "PENDING")
        world.api.call("StopTask", {"task": arn})
        assert world.task(arn)["desiredStatus"] == "STOPPED"
        world.hosts[0].gate.set()
        assert world.wait_status(arn, "STOPPED")["stopCode"] == "UserInitiated"
        assert world.hosts[0].running == {}


def test_a_task_stopped_before_its_start_never_starts() -> None:
    with World(start_delay_seconds=60) as world:
        world.register()
        arn = world.run_one()
        world.api.call("StopTask", {"task": arn})
        assert world.wait_status(arn, "STOPPED")["stopCode"] == "UserInitiated"
        assert world.hosts[0].specs == {}


def test_the_start_delay_is_spent_in_provisioning() -> None:
    with World(start_delay_seconds=0.05) as world:
        world.register()
        arn = world.run_one()
        assert world.task(arn)["lastStatus"] == "PROVISIONING"
        world.wait_status(arn, "RUNNING")


def test_containers_start_in_the_order_of_their_dependencies_and_stop_together() -> None:
    with World() as world:
        common = {"image": "image", "memory": 64}
        containers = [
            {"name": "main", "dependsOn": [{"containerName": "side", "condition": "START"}]},
            {"name": "side", "essential": False},
        ]
        world.register(containerDefinitions=[common | container for container in containers])
        arn = world.run_one()
        world.wait_status(arn, "RUNNING")
        assert [spec.name for spec in world.hosts[0].specs.values()] == ["side", "main"]
        main = next(r for r, spec in world.hosts[0].specs.items() if spec.name == "main")
        world.hosts[0].exit(main, Exit(0))
        ended = world.wait_status(arn, "STOPPED")
    assert {c["name"]: c["exitCode"] for c in ended["containers"]} == {"main": 0, "side": 143}


def test_overrides_reach_the_container() -> None:
    with World() as world:
        world.register(
            container={
                "command": ["a"],
                "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}],
            }
        )
        override = {
            "name": "main",
            "command": ["b"],
            "environment": [{"name": "B", "value": "2"}],
            "cpu": 512,
            "memory": 512,
        }
        arn = world.run_one(overrides={"containerOverrides": [override]})
        shown = world.wait_status(arn, "RUNNING")
        (spec,) = world.hosts[0].specs.values()
    assert (spec.command, spec.memory_mib, spec.cpu_units) == (("b",), 512, 512)
    assert spec.environment == {"A": "1", "B": "2"}
    assert shown["overrides"]["containerOverrides"] == [override]
    assert (shown["cpu"], shown["memory"]) == ("512", "512")


def test_only_tasks_with_a_role_are_told_where_credentials_are() -> None:
    with World(agent_endpoint="http://127.0.0.1:1") as world:
        world.register("plain")
        world.register("role", taskRoleArn="arn:aws:iam::123456789012:role/r")
        plain, role = world.run_one("plain"), world.run_one("role")
        for arn in (plain, role):
            world.wait_status(arn, "RUNNING")
        specs = {f"{spec.task_id}": spec.environment for spec in world.hosts[0].specs.values()}
    task_id, plain_id = role.rpartition("/")[2], plain.rpartition("/")[2]
    assert specs[plain_id] == {
        "ECS_CONTAINER_METADATA_URI_V4": f"http://127.0.0.1:1/v4/{plain_id}-0"
    }
    assert specs[task_id] == {
        "ECS_CONTAINER_METADATA_URI_V4": f"http://127.0.0.1:1/v4/{task_id}-0",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:1/v2/credentials/{task_id}",
    }


def test_a_container_is_told_of_its_task_at_its_metadata_address() -> None:
    with World(agent_endpoint="http://127.0.0.1:1") as world:
        world.register("job", container={"dockerLabels": {"a": "b"}})
        arn = world.run_one("job")
        world.wait_status(arn, "RUNNING")
        (spec,) = world.hosts[0].specs.values()
        address = spec.environment["ECS_CONTAINER_METADATA_URI_V4"]
        own = address.rpartition("/")[2]
        task = world.engine.metadata([own, "task"])
        container = world.engine.metadata([own])
        nothing = [world.engine.metadata(words) for words in (["x-0"], [f"{own}1"], [own, "y"])]
    assert (task["TaskARN"], task["Family"], task["Revision"]) == (arn, "job", "1")
    assert task["KnownStatus"] == "RUNNING"
    assert task["Containers"] == [container]
    labels = container["Labels"]
    assert (labels["a"], labels["com.amazonaws.ecs.task-arn"]) == ("b", arn)
    assert nothing == [None, None, None]


def test_the_same_client_token_from_64_threads_starts_one_set_of_tasks() -> None:
    with World() as world, ThreadPoolExecutor(64) as pool:
        world.register()
        barrier = threading.Barrier(64)

        def request(_: int) -> list[str]:
            barrier.wait()
            reply = world.run(clientToken="token", count=2)
            return [task["taskArn"] for task in reply["tasks"]]

        answers = list(pool.map(request, range(64)))
        assert len(answers[0]) == 2
        assert all(answer == answers[0] for answer in answers)
        until(lambda: len(world.hosts[0].specs) == 2)
        assert len(world.engine.tasks()) == 2


def test_a_client_token_with_other_parameters_is_a_conflict_that_names_the_tasks() -> None:
    with World() as world:
        world.register()
        arn = world.run_one(clientToken="token")
        error = error_of(lambda: world.run(clientToken="token", count=2))
        assert error.body()["resourceIds"] == [arn]
        assert error.code == "ConflictException"
        assert error_of(lambda: world.run(clientToken="x" * 65)).code == "InvalidParameterException"


def test_a_client_token_lives_as_long_as_its_tasks_are_remembered() -> None:
    clock = Clock()
    with World(clock=clock) as world:
        world.register()
        first = world.run_one(clientToken="token")
        world.exit_main(first, Exit(0))
        world.wait_status(first, "STOPPED")
        clock.now += 3599
        assert world.run_one(clientToken="token") == first
        clock.now += 2
        second = world.run_one(clientToken="token")
        assert second != first
        reply = world.api.call("DescribeTasks", {"tasks": [first]})
        assert reply["failures"] == [{"arn": first, "reason": "MISSING"}]
        world.wait_status(second, "RUNNING")
        clock.now += 24 * 3600
        assert world.run_one(clientToken="token") not in (first, second)


def test_a_run_that_started_nothing_may_be_tried_again_with_its_token() -> None:
    with World(memory=256) as world:
        world.register()
        first = world.run_one()
        assert world.run(clientToken="token")["tasks"] == []
        world.exit_main(first, Exit(0))
        world.wait_status(first, "STOPPED")
        world.run_one(clientToken="token")


def test_what_does_not_fit_is_a_failure_in_a_reply_of_200() -> None:
    with World(memory=512) as world:
        world.register()
        reply = world.run(count=3)
        (instance,) = world.engine.instances()
        assert len(reply["tasks"]) == 2
        assert reply["failures"] == [{"arn": instance.arn, "reason": "RESOURCE:MEMORY"}]


def test_a_host_port_is_given_once_on_all_hosts_as_they_share_the_machine() -> None:
    with World(hosts=2) as world:
        world.register(container={"portMappings": [{"containerPort": 80, "hostPort": 25_000}]})
        world.run_one()
        for failure in world.run()["failures"]:
            assert failure["reason"] == "RESOURCE:PORTS"


def test_draining_takes_no_new_tasks_and_leaves_the_running_ones() -> None:
    with World(hosts=2) as world:
        world.register()
        arn = world.run_one()
        here = world.task(arn)["containerInstanceArn"]
        change = {"containerInstances": [here], "status": "DRAINING"}
        world.api.call("UpdateContainerInstancesState", change)
        others = [world.task(world.run_one())["containerInstanceArn"] for _ in range(5)]
        assert here not in others
        world.wait_status(arn, "RUNNING")
        start = {"taskDefinition": "family", "containerInstances": [here]}
        assert world.api.call("StartTask", start)["failures"][0]["reason"] == "DRAINING"
        listed = world.api.call("ListContainerInstances", {"status": "DRAINING"})
        assert listed["containerInstanceArns"] == [here]


def test_start_task_names_its_instances() -> None:
    with World(hosts=2) as world:
        world.register()
        arns = [instance.arn for instance in world.engine.instances()]
        request = {"taskDefinition": "family", "containerInstances": [*arns, "nowhere"]}
        reply = world.api.call("StartTask", request)
        assert [task["containerInstanceArn"] for task in reply["tasks"]] == arns
        assert [failure["reason"] for failure in reply["failures"]] == ["MISSING"]


def test_a_dead_host_takes_its_tasks_and_its_capacity_along() -> None:
    with World(hosts=2) as world:
        world.register()
        arns = [
            world.run_one(placementStrategy=[{"type": "spread", "field": "host"}]) for _ in "ab"
        ]
        for arn in arns:
            world.wait_status(arn, "RUNNING")
        lost = next(a for a in arns if world.task(a)["availabilityZone"] == "us-east-1a")
        world.engine.kill_host("host-0")
        ended = world.task(lost)
        assert ended["lastStatus"] == "STOPPED"
        assert ended["stoppedReason"] == "Host EC2 (instance i-00000000000000000) terminated."
        assert "exitCode" not in ended["containers"][0]
        survivor = next(a for a in arns if a != lost)
        assert world.task(survivor)["lastStatus"] == "RUNNING"
        assert len(world.api.call("ListContainerInstances", {})["containerInstanceArns"]) == 1
        assert world.engine.instance_address("i-00000000000000000") is None
        assert world.engine.instance_address("i-00000000000000001") == "192.0.2.2"
        world.engine.kill_host("host-1")
        assert "No Container Instances" in error_of(world.run).message
    assert [status for status, _ in statuses(world, lost)][-2:] == ["RUNNING", "STOPPED"]


def test_a_host_that_dies_by_itself_is_noticed() -> None:
    with World() as world:
        world.register()
        arn = world.run_one()
        world.wait_status(arn, "RUNNING")
        world.hosts[0].kill()
        assert world.wait_status(arn, "STOPPED")["stopCode"] == "TerminationNotice"


def test_health_checks_make_an_event_when_the_health_changes() -> None:
    check = {"command": ["CMD-SHELL", "true"], "interval": 1, "retries": 1, "timeout": 1}
    with World(health_interval_floor_seconds=1) as world:
        world.register(container={"healthCheck": check})
        arn = world.run_one()
        until(lambda: world.task(arn)["healthStatus"] == "HEALTHY")
        world.hosts[0].is_healthy = False
        until(lambda: world.task(arn)["healthStatus"] == "UNHEALTHY")
        assert world.task(arn)["lastStatus"] == "RUNNING", "a task without a service goes on"
    healths = [event["detail"]["healthStatus"] for event in world.events_of(arn)]
    assert [h for i, h in enumerate(healths) if i == 0 or h != healths[i - 1]] == [
        "UNKNOWN",
        "HEALTHY",
        "UNHEALTHY",
    ]


def test_health_checks_more_often_than_every_five_seconds_are_refused() -> None:
    check = {"command": ["CMD-SHELL", "true"], "interval": 4}
    with World() as world:
        error = error_of(lambda: world.register(container={"healthCheck": check}))
    assert error.code == "InvalidParameterException"


@pytest.mark.parametrize(
    "parameters",
    [
        {"count": 0},
        {"count": 11},
        {"startedBy": "x" * 129},
        {"launchType": "EXTERNAL"},
        {"overrides": {"containerOverrides": [{"name": "other"}]}},
        {"overrides": {"containerOverrides": [{"name": "main", "command": ["x" * 8192]}]}},
        {"placementStrategy": [{"type": "binpack", "field": "disk"}]},
        {"placementConstraints": [{"type": "memberOf", "expression": "nonsense"}]},
        {"launchType": "FARGATE"},
        {"cluster": "nowhere"},
        {"taskDefinition": "nowhere"},
    ],
)
def test_wrong_requests_start_nothing(parameters: dict[str, Any]) -> None:
    with World() as world:
        world.register()
        call = {"taskDefinition": "family"} | parameters
        assert error_of(lambda: world.api.call("RunTask", call)).status == 400
        assert world.engine.tasks() == []


def test_an_unknown_action_says_what_is_known() -> None:
    with World() as world:
        error = error_of(lambda: world.api.call("CreateService", {}))
    assert error.code == "UnknownOperationException"
    assert "RunTask" in error.message


def test_list_tasks_filters_and_pages() -> None:
    with World(memory=256 * 20) as world:
        world.register("a")
        world.register("b")
        for family, by in (("a", "x"), ("a", "y"), ("b", "x")):
            world.run(family, startedBy=by, count=3)
        stopped = world.run_one("b", startedBy="z")
        world.api.call("StopTask", {"task": stopped})

        def listed(**filters: Any) -> list[str]:
            return world.api.call("ListTasks", filters)["taskArns"]

        assert len(listed()) == 9
        assert len(listed(family="a")) == 6
        assert len(listed(startedBy="x")) == 6
        assert listed(desiredStatus="STOPPED") == [stopped]
        assert listed(desiredStatus="PENDING") == []
        assert len(listed(containerInstance=world.engine.instances()[0].arn)) == 9
        pages, token = [], {}
        while True:
            reply = world.api.call("ListTasks", {"maxResults": 4, **token})
            pages.append(reply["taskArns"])
            if "nextToken" not in reply:
                break
            token = {"nextToken": reply["nextToken"]}
        assert [len(page) for page in pages] == [4, 4, 1]
        assert [arn for page in pages for arn in page] == listed()
        assert error_of(lambda: listed(nextToken="%%")).message == "Invalid token"


def test_describe_tasks_takes_at_most_100_and_names_the_missing() -> None:
    with World() as world:
        world.register()
        arn = world.run_one()
        reply = world.api.call("DescribeTasks", {"tasks": [arn.rpartition("/")[2], "no"]})
        assert [task["taskArn"] for task in reply["tasks"]] == [arn]
        assert [failure["reason"] for failure in reply["failures"]] == ["MISSING"]
        error = error_of(lambda: world.api.call("DescribeTasks", {"tasks": ["x"] * 101}))
        assert error.code == "InvalidParameterException"


def test_closing_stops_everything_and_may_be_repeated() -> None:
    world = World()
    world.register()
    arn = world.run_one()
    world.wait_status(arn, "RUNNING")
    waiting = [threading.Thread(target=world.engine.close) for _ in range(3)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join(10)
    assert not any(thread.is_alive() for thread in waiting)
    assert world.task(arn)["lastStatus"] == "STOPPED"
    assert world.hosts[0].running == {}
    assert statuses(world, arn)[-1] == ("STOPPED", "STOPPED")
    assert error_of(world.run).status == 500


STEPS = st.lists(
    st.tuples(st.sampled_from(["run", "stop", "exit", "kill host"]), st.integers(0, 100)),
    max_size=25,
)


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_whatever_happens_events_are_ordered_and_capacity_is_kept(
    steps: list[tuple[str, int]],
) -> None:
    with World(hosts=2, memory=1024) as world:
        world.register(container=PORT)
        for step, number in steps:
            take(world, step, number)
            for instance in world.engine.instances():
                assert 0 <= instance.used_memory <= instance.memory
                assert 0 <= instance.used_cpu <= instance.cpu
        for task in world.engine.tasks():
            world.engine.stop(task.id, "end")
        until(lambda: all(task.is_stopped for task in world.engine.tasks()))
        tasks = world.engine.tasks()
        for instance in world.engine.instances():
            assert (instance.used_cpu, instance.used_memory) == (0, 0)
            assert (instance.pending_tasks, instance.running_tasks) == (0, 0)
    for task in tasks:
        details = [event["detail"] for event in world.events_of(task.arn)]
        versions = [detail["version"] for detail in details]
        assert versions == list(range(1, len(versions) + 1)), "each version once, in order"
        places = [ORDER[Status(detail["lastStatus"])] for detail in details]
        assert places == sorted(places)
        assert details[-1]["lastStatus"] == "STOPPED"


def take(world: World, step: str, number: int) -> None:
    live = [task for task in world.engine.tasks() if not task.is_stopped]
    if step == "run" and any(host.alive for host in world.hosts):
        world.run()
    elif step == "stop" and live:
        world.engine.stop(live[number % len(live)].id, "asked")
    elif step == "exit":
        for host in world.hosts:
            for runtime_id in list(host.running)[: number % 2]:
                host.exit(runtime_id, Exit(number))
    elif step == "kill host" and number < 5:
        world.engine.kill_host(f"host-{number % 2}")


def test_whatever_a_host_raises_the_task_has_failed_to_start() -> None:
    with World() as world:
        world.register()
        world.hosts[0].refuses = AttributeError("'NoneType' object has no attribute 'shutdown'")
        arn = world.run_one()
        ended = world.wait_status(arn, "STOPPED")
        assert ended["stopCode"] == "TaskFailedToStart"
        assert "CannotStartContainerError: AttributeError" in ended["containers"][0]["reason"]


def test_tasks_that_ended_cost_a_bounded_amount() -> None:
    """Beyond `STOPPED_KEPT_COUNT` the oldest are deleted, with all their data."""
    with World() as world:
        world.register(container=PORT)
        batches = STOPPED_KEPT_COUNT // 10 + 10
        for number in range(batches):
            answer = world.run(count=10, clientToken=f"batch-{number}")
            arns = [task["taskArn"] for task in answer["tasks"]]
            for arn in arns:
                world.wait_status(arn, "RUNNING")
                world.exit_main(arn, Exit(0))
            for arn in arns:
                world.wait_status(arn, "STOPPED")
        store = world.engine._store
        assert len(store.records) == len(store._stopped) == STOPPED_KEPT_COUNT
        assert len(store.tokens._uses) == STOPPED_KEPT_COUNT // 10
        assert len(store.tokens._token_of) == STOPPED_KEPT_COUNT
        assert {len(use.fingerprint) for use in store.tokens._uses.values()} == {64}
        assert store._ports._taken == set()
