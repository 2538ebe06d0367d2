"""The placement of tasks; no resource is given to two."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.cluster_query import parse_expression
from local.aws.ecs.errors import EcsApiError
from local.aws.ecs.placement import Constraints, Instance, Need, Refusal, Strategy, place
from local.aws.ecs.ports import NoPortError, Ports, ephemeral_range, task_range
from tests.unit.local.fakes import World

SMALL = Need(100, 100)


def instance(name: str, zone: str = "a", **changes) -> Instance:
    fields = {
        "arn": name,
        "name": name,
        "ec2_instance_id": f"i-{name}",
        "attributes": {"ecs.availability-zone": zone},
        "cpu": 1000,
        "memory": 1000,
        "registered_at": 0.0,
    }
    return Instance(**(fields | changes))


ANYWHERE = Constraints()


def chosen(need, instances, *, constraints=ANYWHERE, strategies=(), groups=None):
    return place(
        need,
        instances,
        constraints=constraints,
        strategies=[Strategy(*strategy) for strategy in strategies],
        tasks_of_group=groups or {},
        groups_on={},
        choose=lambda equal: equal[0],
    )


def test_the_refusal_names_what_is_missing_for_each_instance() -> None:
    refusals = chosen(
        Need(500, 500, frozenset({(8080, "tcp")})),
        [
            instance("cpu", used_cpu=600),
            instance("memory", used_memory=600),
            instance("ports", used_ports=frozenset({(8080, "tcp")})),
            instance("agent", agent_connected=False),
        ],
    )
    assert refusals == [
        Refusal("cpu", "RESOURCE:CPU"),
        Refusal("memory", "RESOURCE:MEMORY"),
        Refusal("ports", "RESOURCE:PORTS"),
        Refusal("agent", "AGENT"),
    ]


@pytest.mark.parametrize("statuses", [[], ["DRAINING"], ["INACTIVE"]])
def test_without_an_active_instance_the_request_is_wrong(statuses: list[str]) -> None:
    with pytest.raises(EcsApiError, match="No Container Instances were found"):
        chosen(SMALL, [instance(status, status=status) for status in statuses])


def test_binpack_takes_what_has_the_least_left() -> None:
    instances = [
        instance("empty"),
        instance("full", used_memory=800),
        instance("half", used_cpu=500),
    ]
    assert chosen(SMALL, instances, strategies=[("binpack", "memory")]).name == "full"
    assert chosen(SMALL, instances, strategies=[("binpack", "cpu")]).name == "half"


def test_spread_takes_the_zone_then_the_instance_with_the_fewest_of_the_group() -> None:
    instances = [instance("a1", "a"), instance("a2", "a"), instance("b1", "b")]
    groups = {"a1": 1, "b1": 3}
    by_zone = ("spread", "attribute:ecs.availability-zone")
    assert chosen(SMALL, instances, strategies=[by_zone], groups=groups).attributes == {
        "ecs.availability-zone": "a"
    }
    both = [by_zone, ("spread", "instanceId")]
    assert chosen(SMALL, instances, strategies=both, groups=groups).name == "a2"


def test_distinct_instance_and_member_of() -> None:
    instances = [instance("a1", "a"), instance("b1", "b")]
    assert (
        chosen(SMALL, instances, constraints=Constraints(distinct=True), groups={"a1": 1}).name
        == "b1"
    )
    only_b = Constraints(member_of=(parse_expression("attribute:ecs.availability-zone == b"),))
    assert chosen(SMALL, instances, constraints=only_b).name == "b1"
    refused = chosen(SMALL, instances[:1], constraints=only_b)
    assert refused == [Refusal("a1", "MemberOf placement constraint unsatisfied.")]


NEEDS = st.builds(
    Need,
    st.integers(0, 600),
    st.integers(0, 600),
    st.frozensets(st.tuples(st.integers(1, 3), st.just("tcp")), max_size=2),
)
STRATEGIES = st.lists(
    st.sampled_from(
        [("random", ""), ("binpack", "cpu"), ("binpack", "memory"), ("spread", "host")]
    ),
    max_size=2,
)


@given(st.lists(st.one_of(NEEDS, st.none()), max_size=30), STRATEGIES, st.randoms())
def test_capacity_is_never_over_committed_and_comes_back(
    steps: list[Need | None], strategies: list[tuple[str, str]], rng: random.Random
) -> None:
    instances = {name: instance(name) for name in ("x", "y")}
    held: list[tuple[str, Need]] = []
    for need in steps:
        if need is None:
            if held:
                name, given_back = held.pop(rng.randrange(len(held)))
                instances[name] = instances[name].release(given_back, was_running=False)
            continue
        outcome = chosen(need, instances.values(), strategies=strategies)
        if isinstance(outcome, Instance):
            instances[outcome.name] = outcome.reserve(need)
            held.append((outcome.name, need))
        for each in instances.values():
            mine = [taken for name, taken in held if name == each.name]
            assert 0 <= each.used_cpu == sum(taken.cpu for taken in mine) <= each.cpu
            assert 0 <= each.used_memory == sum(taken.memory for taken in mine) <= each.memory
            assert len(each.used_ports) == sum(len(taken.ports) for taken in mine)
            assert each.pending_tasks == len(mine)


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 100))
def test_a_port_in_use_is_never_handed_out_again(takes: list[bool], start: int) -> None:
    ports = Ports(range(100, 108), free=lambda port, _: port != 103, start=start)
    held: list[int] = []
    for take in takes:
        if not take and held:
            ports.give_back(held.pop(0), "tcp")
        elif take and len(held) < 7:
            port = ports.take(0, "tcp")
            assert port not in held
            assert port != 103
            held.append(port)
        elif take:
            with pytest.raises(NoPortError):
                ports.take(0, "tcp")


def test_the_range_is_beside_the_one_for_outgoing_connections() -> None:
    assert task_range((32768, 60999)) == range(10_000, 32768)
    assert task_range((10_000, 20_000)) == range(20_001, 65536)
    low, high = ephemeral_range()
    assert 0 < low < high < 65536


@pytest.mark.parametrize(
    ("parameters", "refusal"),
    [
        ({"placementStrategy": [{"type": "random"}] * 6}, "strategies must be at most 5"),
        ({"placementConstraints": [{"type": "distinctInstance"}] * 11}, "must be at most 10"),
        (
            {"placementConstraints": [{"type": "memberOf", "expression": "zone is a"}]},
            "Invalid placement constraint expression",
        ),
        (
            {"placementConstraints": [{"type": "distinctInstance", "expression": "x"}]},
            "distinctInstance takes no expression",
        ),
        ({"placementStrategy": [{"type": "spread", "field": "cpu"}]}, "Invalid placement strategy"),
    ],
)
def test_run_task_refuses_what_ecs_refuses(parameters, refusal: str) -> None:
    with World() as world:
        world.register()
        with pytest.raises(EcsApiError, match=refusal):
            world.run(**parameters)


def test_tasks_keep_away_from_a_group_or_go_where_it_runs() -> None:
    apart = {"type": "memberOf", "expression": "not(task:group == family:family)"}
    beside = {"type": "memberOf", "expression": "task:group == family:family"}
    with World(hosts=2) as world:
        world.register()
        first = world.run_one()
        host = world.task(first)["containerInstanceArn"]
        other = world.run_one(placementConstraints=[apart])
        assert world.task(other)["containerInstanceArn"] != host
        assert world.run(placementConstraints=[apart])["failures"][0]["reason"] == (
            "MemberOf placement constraint unsatisfied."
        )
        world.register("guest")
        assert world.run_one("guest", placementConstraints=[beside])


def test_start_task_names_its_hosts_and_waits_nowhere() -> None:
    with World(hosts=2, cpu=300) as world:
        world.register()
        (arn, _) = world.api.call("ListContainerInstances", {})["containerInstanceArns"]
        start = {"taskDefinition": "family", "containerInstances": [arn]}
        started = world.api.call("StartTask", start)
        assert started["tasks"][0]["containerInstanceArn"] == arn
        refused = world.api.call("StartTask", start)
        assert refused["failures"] == [{"arn": arn, "reason": "RESOURCE:CPU"}]
        draining = {"containerInstances": [arn], "status": "DRAINING"}
        world.api.call("UpdateContainerInstancesState", draining)
        assert world.api.call("StartTask", start)["tasks"] == []
