"""The placement of tasks and its reasons, against the embedded cloud's ECS and a plain model."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.capacity.cluster_state import HostState, Need, PlacedTask
from chalicelib.capacity.placement import (
    Cause,
    Plugin,
    Rules,
    TaskToPlace,
    explain,
    simulate,
)
from chalicelib.cluster_query import parse_expression
from local.aws.ecs import placement as ecs
from local.aws.ecs.errors import EcsApiError

TASK = TaskToPlace(Need(100, 100), "family:web")
ZONE = "attribute:ecs.availability-zone"


def host(name: str, *, web: int = 0, other: int = 0, zone: str = "a", **changes) -> HostState:
    groups = ["family:web"] * web + ["family:other"] * other
    tasks = tuple(
        PlacedTask(f"{name}-{n}", group, Need(100, 100)) for n, group in enumerate(groups)
    )
    free = 400 - 100 * len(tasks)
    state = HostState(
        id=name,
        cpu=400,
        memory=400,
        free_cpu=free,
        free_memory=free,
        tasks=tasks,
        attributes={"ecs.availability-zone": zone},
        provider="hosts",
    )
    return replace(state, **changes)


def causes(task: TaskToPlace = TASK, rules: Rules = Rules(), **changes) -> list[Cause]:  # noqa: B008
    (one,) = explain(task, rules, [host("h", **changes)]).considered
    return [obstacle.cause for obstacle in one.obstacles]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"free_cpu": 99}, Cause.CPU),
        ({"free_memory": 99}, Cause.MEMORY),
        ({"status": "DRAINING"}, Cause.DRAINING),
        ({"status": "REGISTERING"}, Cause.STATUS),
        ({"is_connected": False}, Cause.AGENT),
    ],
)
def test_each_reason_of_a_host_is_named(changes, cause: Cause) -> None:
    assert causes(**changes) == [cause]


def test_all_that_is_in_the_way_is_said_at_once_with_numbers() -> None:
    full = host("h", free_cpu=10, free_memory=20, status="DRAINING")
    (one,) = explain(TASK, Rules(), [full]).considered
    assert [obstacle.detail for obstacle in one.obstacles] == [
        "it drains, and takes no more tasks",
        "100 units wanted, 10 free",
        "100 MiB wanted, 20 free",
    ]


def test_ports_attributes_tasks_and_providers() -> None:
    fixed = replace(TASK, need=Need(100, 100, frozenset({80})))
    assert causes(fixed, used_ports=frozenset({80, 81})) == [Cause.PORTS]
    assert causes(rules=Rules(constraints=(f"{ZONE} == b",))) == [Cause.ATTRIBUTE]
    apart = Rules(constraints=("not(task:group == family:other)",))
    assert causes(rules=apart, other=1) == [Cause.CONSTRAINT]
    assert causes(rules=apart) == []
    assert causes(rules=Rules(provider="others")) == [Cause.PROVIDER]


def test_spread_then_binpack() -> None:
    hosts = [host("a1", web=1), host("a2", other=2), host("b1", web=3, zone="b")]
    by_zone = Rules(spread=(ZONE,), binpack="memory")
    assert explain(TASK, by_zone, hosts).best == ("a2",)
    by_host = Rules(spread=("instanceId",))
    assert explain(TASK, by_host, hosts).best == ("a2",)


def test_a_plugin_decides_by_its_fitness_among_those_that_its_constraints_allow() -> None:
    plugin = Plugin(
        fitness=lambda _, one, __: -one.free_cpu,
        constraints={"not-in-c": lambda _, one, __: one.zone != "c"},
    )
    hosts = [host("a", web=1), host("b", web=2), host("c", web=3, zone="c")]
    found = explain(TASK, Rules(spread=("host",), plugin=plugin), hosts)
    assert found.best == ("b",)
    assert [one.fitness for one in found.considered] == [-300, -200, None]
    assert found.causes == {Cause.PLUGIN: 1}


def test_a_dry_run_says_where_more_would_go_and_what_is_missing() -> None:
    hosts = [host("a", web=2), host("b", status="DRAINING")]
    dry = simulate(TASK, Rules(spread=("host",)), hosts, 5)
    assert dry.placed == {"a": 2}
    assert dry.missing == 3
    assert dry.missing_causes == {Cause.CPU: 1, Cause.MEMORY: 1, Cause.DRAINING: 1}
    enough = simulate(TASK, Rules(), hosts, 1)
    assert (enough.missing, enough.missing_causes) == (0, {})


HOSTS = st.lists(
    st.builds(
        lambda web, other, zone, status, connected, cpu: (
            web, other, zone, status, connected, cpu
        ),
        st.integers(0, 2),
        st.integers(0, 2),
        st.sampled_from("abc"),
        st.sampled_from(["ACTIVE", "ACTIVE", "DRAINING"]),
        st.booleans(),
        st.integers(0, 400),
    ),
    max_size=6,
)  # fmt: skip
RULES = st.builds(
    Rules,
    spread=st.lists(st.sampled_from([ZONE, "host"]), max_size=2).map(tuple),
    binpack=st.sampled_from([None, "cpu", "memory"]),
    constraints=st.lists(
        st.sampled_from(
            [f"{ZONE} in [a, b]", f"{ZONE} != b", "not(task:group == family:other)"]
        ), max_size=2
    ).map(tuple),
)  # fmt: skip


def as_ecs(state: HostState) -> ecs.Instance:
    return ecs.Instance(
        arn=state.id,
        name=state.id,
        ec2_instance_id="i-1",
        attributes=state.attributes,
        cpu=400,
        memory=400,
        registered_at=0.0,
        used_cpu=400 - state.free_cpu,
        used_memory=400 - state.free_memory,
        status=state.status,
        agent_connected=state.is_connected,
    )


@given(HOSTS, RULES)
def test_the_explanation_is_what_ecs_decides(drawn, rules: Rules) -> None:
    """The embedded cloud's ECS was written by itself: both follow AWS's documentation."""
    hosts = [
        host(
            f"h{number}",
            web=web,
            other=other,
            zone=zone,
            status=status,
            is_connected=connected,
            free_cpu=cpu,
        )
        for number, (web, other, zone, status, connected, cpu) in enumerate(drawn)
    ]
    strategies = [ecs.Strategy("spread", name) for name in rules.spread]
    if rules.binpack:
        strategies.append(ecs.Strategy("binpack", rules.binpack))
    equal: list[str] = []

    def choose(instances):
        equal.extend(one.arn for one in instances)
        return instances[0]

    try:
        ecs.place(
            ecs.Need(100, 100),
            [as_ecs(state) for state in hosts],
            constraints=ecs.Constraints(
                member_of=tuple(parse_expression(text) for text in rules.constraints)
            ),
            strategies=strategies,
            tasks_of_group={state.id: state.groups()["family:web"] for state in hosts},
            groups_on={state.id: set(state.groups()) for state in hosts},
            choose=choose,
        )
    except EcsApiError:
        assert not [state for state in hosts if state.status == "ACTIVE"]
    assert explain(TASK, rules, hosts).best == tuple(sorted(equal))


@given(HOSTS, RULES, st.integers(0, 12))
def test_a_dry_run_places_as_many_as_fit_and_over_commits_nothing(
    drawn, rules: Rules, count: int
) -> None:
    hosts = [
        host(
            f"h{number}",
            web=web,
            other=other,
            zone=zone,
            status=status,
            is_connected=connected,
            free_cpu=cpu,
        )
        for number, (web, other, zone, status, connected, cpu) in enumerate(drawn)
    ]
    dry = simulate(TASK, rules, hosts, count)
    fitting = {one.host.id for one in explain(TASK, rules, hosts).considered if one.fits}
    places = {state.id: state.places(TASK.need) for state in hosts if state.id in fitting}
    assert sum(dry.placed.values()) + dry.missing == count
    assert all(number <= places[name] for name, number in dry.placed.items())
    assert dry.missing == max(0, count - sum(places.values()))


@pytest.mark.parametrize("fitness", [lambda *_: 1 / 0, lambda *_: "high", lambda *_: float("nan")])
def test_a_plugin_that_fails_on_a_host_loses_that_host_alone(fitness) -> None:
    def only_first(task, one, hosts):
        return 1.0 if one.id == "a" else fitness(task, one, hosts)

    found = explain(TASK, Rules(plugin=Plugin(only_first)), [host("a"), host("b")])
    assert found.best == ("a",)
    assert found.causes == {Cause.PLUGIN_FAILED: 1}
