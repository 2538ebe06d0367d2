"""Plans for hosts: which to drain, take back, end and add."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.capacity.cluster_state import (
    ACTIVE,
    DRAINING,
    ClusterState,
    HostState,
    Need,
    PlacedTask,
    TaskKind,
)
from chalicelib.capacity.hosts import (
    Budget,
    Demand,
    Drained,
    DrainReason,
    HostPlan,
    HostPolicy,
    Memory,
    plan_hosts,
    plan_summary,
)

NEED = Need(100, 100)
POLICY = HostPolicy(place=NEED, scale_in_after_seconds=0, expected_seconds=1_000)
NOW = 1_000_000.0


def task(name: str, kind: TaskKind = TaskKind.SESSION, **changes) -> PlacedTask:
    return PlacedTask(id=name, group="family:x", need=NEED, kind=kind, **changes)


def host(name: str, *tasks: PlacedTask, size: int = 400, zone: str = "a", **changes) -> HostState:
    used = 100 * len(tasks)
    state = HostState(
        id=name,
        cpu=size,
        memory=size,
        free_cpu=size - used,
        free_memory=size - used,
        tasks=tasks,
        attributes={"ecs.availability-zone": zone},
        registered_at=NOW - 1_000,
    )
    return replace(state, **changes)


def sessions(name: str, count: int, **changes) -> tuple[PlacedTask, ...]:
    return tuple(task(f"{name}{number}", **changes) for number in range(count))


def plan(
    *hosts: HostState,
    demand: Demand = Demand(),  # noqa: B008 - frozen
    policy: HostPolicy = POLICY,
    memory: Memory = Memory(),  # noqa: B008 - frozen
    desired: int | None = None,
    maximum: int = 10,
    minimum: int = 0,
) -> HostPlan:
    wanted = len(hosts) if desired is None else desired
    state = ClusterState(list(hosts), desired=wanted, maximum=maximum, minimum=minimum)
    return plan_hosts(state, demand, policy, memory, now=NOW)


def by_us(*names: str, reason: DrainReason = DrainReason.SCALE_IN) -> Memory:
    return Memory({name: Drained(reason, NOW - 60) for name in names})


def test_the_emptiest_host_is_drained() -> None:
    chosen = plan(host("full", *sessions("f", 4)), host("one", *sessions("o", 1)), host("half"))
    assert list(chosen.drain) == ["half", "one"]
    assert chosen.end == ()  # what is drained now may get a task still


def test_of_two_with_as_many_tasks_the_one_whose_tasks_end_first_is_drained() -> None:
    late = host("late", *sessions("l", 2, ends_by=NOW + 900))
    soon = host("soon", *sessions("s", 2, ends_by=NOW + 60))
    chosen = plan(late, soon, policy=replace(POLICY, least_free_places=2))
    assert list(chosen.drain) == ["soon"]


def test_of_two_alike_the_one_with_the_older_image_then_the_older_host_is_drained() -> None:
    policy = replace(POLICY, least_free_places=4)
    older = host("older", registered_at=NOW - 9_000)
    outdated = host("outdated", image_outdated=True)
    assert list(plan(host("new"), older, policy=policy).drain) == ["older"]
    assert list(plan(older, outdated, policy=policy).drain) == ["outdated"]


def test_a_full_host_is_not_drained_because_no_free_place_is_lost_by_it() -> None:
    """Draining would keep the host for as long as four sessions last and free no place."""
    chosen = plan(
        host("full", *sessions("f", 4)),
        host("half", *sessions("h", 2)),
        policy=replace(POLICY, least_free_places=1),
    )
    assert chosen.drain == {}


def test_hosts_must_have_been_too_many_for_a_while() -> None:
    policy = replace(POLICY, scale_in_after_seconds=300)
    first = plan(host("a"), policy=policy)
    assert first.drain == {}
    assert first.memory.surplus_since == NOW
    later = plan(host("a"), policy=policy, memory=Memory(surplus_since=NOW - 300))
    assert list(later.drain) == ["a"]
    busy = plan(
        host("a"),
        policy=policy,
        demand=Demand(waiting=4),
        memory=Memory(surplus_since=NOW - 200),
    )
    assert busy.memory.surplus_since is None


def test_the_minimum_of_the_group_stays() -> None:
    assert len(plan(host("a"), host("b"), host("c"), minimum=2).drain) == 1
    draining = host("a", status=DRAINING)
    kept = plan(draining, host("b"), minimum=2, memory=by_us("a"))
    assert kept.end == ()
    assert plan(draining, host("b"), minimum=1, memory=by_us("a")).end == ("a",)


def test_warm_containers_are_moved_off_a_draining_host_and_sessions_are_not() -> None:
    draining = host(
        "a", task("warm", TaskKind.WARM), task("s"), task("j", TaskKind.JOB), status=DRAINING
    )
    chosen = plan(draining, host("b"), memory=by_us("a"))
    assert chosen.move == ("warm",)
    assert chosen.end == ()


def test_warm_containers_need_room_elsewhere_before_their_host_is_drained() -> None:
    loaded = host("a", task("w1", TaskKind.WARM), task("w2", TaskKind.WARM))
    tight = host("b", *sessions("b", 3))
    assert plan(loaded, tight).drain == {}
    assert "a" in plan(loaded, host("b", *sessions("b", 2))).drain


def test_a_drain_is_taken_back_when_demand_returns_and_before_a_host_is_added() -> None:
    full = host("full", *sessions("f", 4))
    draining = host("d", *sessions("d", 1), status=DRAINING)
    back = plan(full, draining, memory=by_us("d"), demand=Demand(waiting=2))
    assert back.take_back == ("d",)
    assert back.add == 0
    assert back.memory.drained == {}
    more = plan(full, draining, memory=by_us("d"), demand=Demand(waiting=6))
    assert (more.take_back, more.add) == (("d",), 1)


def test_the_drain_that_would_last_longest_is_taken_back_first() -> None:
    soon = host("soon", *sessions("s", 1), status=DRAINING)
    late = host("late", *sessions("l", 2), status=DRAINING)
    back = plan(soon, late, memory=by_us("soon", "late"), demand=Demand(waiting=1))
    assert back.take_back == ("late",)


def test_an_empty_host_that_is_taken_back_is_not_ended_in_the_same_plan() -> None:
    back = plan(host("d", status=DRAINING), memory=by_us("d"), demand=Demand(waiting=1))
    assert (back.take_back, back.end) == (("d",), ())


def test_a_drain_of_somebody_else_is_neither_taken_back_nor_ended() -> None:
    chosen = plan(host("d", status=DRAINING), demand=Demand(waiting=1))
    assert (chosen.take_back, chosen.end, chosen.add) == ((), (), 1)


def test_what_ecs_counts_on_a_host_keeps_it_whatever_the_list_of_tasks_says() -> None:
    unseen = host("d", status=DRAINING, pending_or_running=1)
    assert plan(unseen, memory=by_us("d")).end == ()
    foreign = host("d", task("x", TaskKind.OTHER), status=DRAINING)
    assert plan(foreign, memory=by_us("d")).end == ()


def test_hosts_on_their_way_count_so_that_none_is_asked_for_twice() -> None:
    full = host("a", *sessions("a", 4))
    assert plan(full, demand=Demand(waiting=4)).add == 1
    assert plan(full, demand=Demand(waiting=4), desired=2).add == 0
    assert plan(full, demand=Demand(waiting=5), desired=2).add == 1


def test_the_maximum_of_the_group_is_kept_and_said() -> None:
    chosen = plan(host("a", *sessions("a", 4)), demand=Demand(waiting=40), maximum=3)
    assert chosen.add == 2
    assert any("maximum of 3" in note for note in chosen.notes)


def test_a_host_is_added_ahead_of_need_by_the_net_starts_of_the_time_a_host_takes() -> None:
    growing = Demand(starts_per_second=0.10, ends_per_second=0.05, host_seconds=200)
    assert growing.ahead == 15 + 9 - 0  # 0.05 * 200 * 1.5 and 2 * sqrt(20)
    steady = replace(growing, ends_per_second=0.10)
    assert steady.ahead == 9
    assert plan(host("a", *sessions("a", 4)), demand=growing).add == 6


def test_a_host_beyond_its_maximum_age_is_drained_when_its_replacement_is_there() -> None:
    policy = replace(POLICY, maximum_age_seconds=3_600, least_free_places=3)
    old = host("old", *sessions("o", 1), registered_at=NOW - 4_000)
    first = plan(old, policy=policy)
    assert (first.drain, first.add) == ({}, 1)
    assert plan(old, policy=policy, desired=2).add == 0  # one is on its way
    second = plan(old, host("new"), policy=policy)
    assert second.drain == {"old": DrainReason.AGE}


def test_outdated_images_are_recycled_only_where_asked_for() -> None:
    outdated = host("o", *sessions("o", 2), image_outdated=True)
    policy = replace(POLICY, least_free_places=4)
    assert plan(outdated, host("new"), policy=policy).drain == {}
    asked = replace(policy, recycles_images=True)
    assert plan(outdated, host("new"), policy=asked).drain == {"o": DrainReason.IMAGE}


OLD = {"registered_at": NOW - 9_000}
AGED = replace(POLICY, maximum_age_seconds=3_600, least_free_places=1)


@pytest.mark.parametrize(
    ("budget", "drained"),
    [
        (Budget(hosts=1), 1),
        (Budget(hosts=2), 2),
        (Budget(hosts=None, per_zone=1), 2),
        (Budget(hosts=None, per_capacity_group=1), 1),
        (Budget(hosts=None), 3),
    ],
)
def test_only_so_many_hosts_are_away_at_once_for_recycling(budget: Budget, drained: int) -> None:
    mine = {"capacity_group": "web"}
    old = [
        host("a1", *sessions("x", 3, **mine), zone="a", **OLD),
        host("a2", *sessions("y", 3, **mine), zone="a", **OLD),
        host("b1", *sessions("z", 3, **mine), zone="b", **OLD),
    ]
    fresh = [host("n1"), host("n2")]
    policy = replace(AGED, budget=budget, least_free_places=8)
    chosen = plan(*old, *fresh, policy=policy)
    assert sum(reason is DrainReason.AGE for reason in chosen.drain.values()) == drained


def test_a_host_that_is_out_of_reach_counts_as_away() -> None:
    gone = host("gone", is_connected=False)
    due = host("due", *sessions("d", 1), **OLD)
    chosen = plan(gone, due, host("n"), policy=replace(AGED, least_free_places=4))
    assert chosen.drain == {}
    assert any("budget is 1" in note for note in chosen.notes)


def test_warm_containers_of_one_pool_are_moved_a_few_at_a_time() -> None:
    def warm(name: str) -> HostState:
        tasks = [task(f"{name}{n}", TaskKind.WARM, pool="app") for n in range(2)]
        return host(name, *tasks)

    policy = replace(POLICY, budget=Budget(warm_per_pool=2))
    spare = [host("s", *sessions("s", 16), size=2_000)]
    assert len({"a", "b"} & set(plan(warm("a"), warm("b"), *spare, policy=policy).drain)) == 1
    assert {"a", "b"} <= set(plan(warm("a"), warm("b"), *spare).drain)


def test_a_lost_write_or_call_does_no_harm_the_next_plan_says_it_again() -> None:
    first = plan(host("a"))
    assert list(first.drain) == ["a"]
    # The memory was written, the call to ECS was not made: the host is active still.
    second = plan(host("a"), memory=first.memory)
    assert list(second.drain) == ["a"]
    # The call was made: it is ended, once it is empty.
    assert plan(host("a", status=DRAINING), memory=first.memory).end == ("a",)


def test_the_summary_names_each_step() -> None:
    draining = host("d", status=DRAINING)
    text = plan_summary(plan(draining, host("a"), memory=by_us("d")))
    assert text == ["drain a (scale-in)", "end d"]


TASKS = st.lists(
    st.tuples(st.sampled_from(list(TaskKind)), st.none() | st.floats(NOW, NOW + 9_000)), max_size=4
)
HOSTS = st.lists(
    st.tuples(
        TASKS,
        st.sampled_from([ACTIVE, DRAINING]),
        st.booleans(),
        st.booleans(),
        st.sampled_from("ab"),
        st.sampled_from([100.0, 9_000.0]),
    ),
    max_size=6,
)


@given(HOSTS, st.integers(0, 12), st.integers(0, 12), st.integers(0, 3), st.integers(0, 8))
def test_whatever_the_state_nobody_is_ended_and_room_is_kept(
    drawn, waiting: int, least: int, minimum: int, more_desired: int
) -> None:
    hosts, ours = [], {}
    for number, (tasks, status, connected, is_ours, zone, age) in enumerate(drawn):
        name = f"h{number}"
        placed = [
            task(f"{name}-{n}", kind, ends_by=ends_by) for n, (kind, ends_by) in enumerate(tasks)
        ]
        changes = {"status": status, "is_connected": connected, "registered_at": NOW - age}
        hosts.append(host(name, *placed, zone=zone, **changes))
        if is_ours:
            ours[name] = Drained(DrainReason.SCALE_IN, NOW)
    policy = replace(POLICY, least_free_places=least, maximum_age_seconds=3_600)
    desired = min(8, len(hosts) + more_desired)
    chosen = plan(
        *hosts,
        policy=policy,
        memory=Memory(ours),
        demand=Demand(waiting=waiting),
        desired=max(desired, len(hosts)),
        maximum=8,
        minimum=minimum,
    )
    by_id = {state.id: state for state in hosts}
    for name in chosen.end:
        state = by_id[name]
        assert state.tasks == ()
        assert state.status == DRAINING
        assert name in ours
    for name in chosen.drain:
        assert by_id[name].takes_tasks
    for name in chosen.take_back:
        assert by_id[name].status == DRAINING
        assert name in ours
    assert not set(chosen.take_back) & set(chosen.end)
    warm = {one.id for state in hosts for one in state.tasks if one.kind is TaskKind.WARM}
    assert set(chosen.move) <= warm
    assert max(desired, len(hosts)) + chosen.add <= 8
    assert len(hosts) - len(chosen.end) >= min(minimum, len(hosts))
    if chosen.drain:  # what is left has the room that is wanted
        left = sum(
            state.places(NEED)
            for state in hosts
            if state.takes_tasks and state.id not in chosen.drain
        )
        assert left >= waiting + least
    if chosen.add:
        free = sum(state.places(NEED) for state in hosts if state.takes_tasks)
        aged = any(state.registered_at < NOW - 3_600 for state in hosts)
        assert free < waiting + least or len(hosts) < minimum or aged
