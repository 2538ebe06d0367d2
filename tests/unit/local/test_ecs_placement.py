"""Where tasks go, and that nothing is given away twice."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.aws.ecs.errors import EcsApiError
from local.aws.ecs.expressions import parse_expression
from local.aws.ecs.placement import Constraints, Instance, Need, Refusal, Strategy, place
from local.aws.ecs.ports import NoPortError, Ports, ephemeral_range, task_range

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


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("attribute:zone == a", True),
        ("attribute:zone != a", False),
        ("attribute:zone in [b, a]", True),
        ("attribute:zone not_in [b, c]", True),
        ("attribute:zone == a and attribute:size == 'big'", True),
        ("attribute:zone == a and attribute:size == small", False),
        ("attribute:absent == a", False),
        ("ec2InstanceId in ['i-1']", True),
    ],
)
def test_expressions(text: str, matches: bool) -> None:
    subjects = {"attribute:zone": "a", "attribute:size": "big", "ec2InstanceId": "i-1"}
    assert parse_expression(text).matches(subjects) is matches


@pytest.mark.parametrize("text", ["", "zone == a", "attribute:zone == [a]", "attribute:zone in a"])
def test_expressions_that_are_not_understood_are_refused(text: str) -> None:
    with pytest.raises(EcsApiError):
        parse_expression(text)


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
