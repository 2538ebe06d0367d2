"""The order of invocations: by priority, then by age; the first one is passed a bounded number of
times.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.jobs import policy
from chalicelib.jobs.model import Priority
from chalicelib.jobs.owners import OwnersRunning
from chalicelib.jobs.quotas import running_quota
from tests.unit.chalicelib.jobs.examples import CREATED, accepted, waiting

NOW = CREATED + 100


def turn(line, *, capacity_freed=False, on_fargate=(), blocked=()):
    """The ids of those that may be launched; `on_fargate` are ids, all others are of EC2."""
    candidates = policy.candidates(
        line,
        NOW,
        capacity_freed=capacity_freed,
        launch_type_of=lambda i: "FARGATE" if i.id in on_fargate else "EC2",
        blocked=set(blocked),
    )
    return [i.id for i in candidates]


def resting(number, refusals, seconds=5.0):
    return waiting(number, refusals=refusals, next_try_at=NOW + seconds)


def test_the_critical_come_first_and_the_low_last():
    assert policy.ORDER == (Priority.CRITICAL, Priority.NORMAL, Priority.LOW)
    assert set(policy.ORDER) == set(Priority)


def test_all_whose_turn_may_be_now_come_in_their_order():
    line = [waiting(n) for n in range(5)]
    assert turn(line) == [i.id for i in line]


def test_nobody_passes_the_head_that_found_no_room_a_moment_ago():
    line = [waiting(0), resting(1, refusals=1), waiting(2)]
    assert turn(line) == [line[0].id]
    assert turn(line, capacity_freed=True) == [i.id for i in line]


def test_one_that_never_fits_is_passed_after_some_tries():
    last = resting(0, refusals=policy.HEAD_TRIES)
    assert turn([last, waiting(1)]) == [waiting(1).id]
    tries = range(1, 2 * policy.HEAD_TRIES)
    stops = [policy.blocks_its_launch_type(waiting(0, refusals=n)) for n in tries]
    assert stops == [n <= policy.HEAD_TRIES for n in tries]


def test_one_that_fails_to_start_rests_and_holds_up_nobody():
    failing = waiting(0, start_failures=2, next_try_at=NOW + 2)
    assert turn([failing, waiting(1)]) == [waiting(1).id]
    assert turn([failing, waiting(1)], capacity_freed=True) == [waiting(1).id]
    assert turn([replace(failing, next_try_at=NOW), waiting(1)]) == [failing.id, waiting(1).id]


OWNERS = st.sampled_from("abc")


@given(
    st.lists(st.tuples(OWNERS, st.booleans(), st.integers(0, 3)), max_size=20),
    st.dictionaries(OWNERS, st.integers(0, 4)),
    st.integers(0, 3),
    st.booleans(),
)
def test_no_owner_runs_more_than_its_quota_and_nobody_waits_for_another_owners(
    line, running, most, capacity_freed
):
    everybody = [
        waiting(n, owner=owner, is_limited=limited, refusals=refusals,
                next_try_at=NOW + 5 if refusals else None)
        for n, (owner, limited, refusals) in enumerate(line)
    ]  # fmt: skip

    def launched(of_these):
        reads = []
        keys = {running_quota(accepted(owner=o, is_limited=True), 9, NOW).key: o for o in "abc"}

        def read(key):
            reads.append(key)
            return running.get(keys[key], 0)

        owners = OwnersRunning(read, most, NOW)
        chosen = []
        for one in policy.candidates(
            of_these,
            NOW,
            capacity_freed=capacity_freed,
            launch_type_of=lambda _: "EC2",
            blocked=set(),
            owner_is_full=owners.is_full,
        ):
            chosen.append(one)
            owners.launched(one)
        assert len(reads) == len(set(reads)), "each counter is read once a round"
        return chosen

    chosen = launched(everybody)
    assert chosen == [one for one in everybody if one in chosen], "the order is kept"
    for owner in "abc":
        limited = sum(one.owner == owner and one.is_limited for one in chosen)
        assert not most or not limited or running.get(owner, 0) + limited <= most
    for owner in "abc":
        if most and running.get(owner, 0) >= most:  # its limited ones are as if they were not there
            others = [one for one in everybody if one.owner != owner or not one.is_limited]
            assert launched(others) == chosen
    if not most:
        plain = policy.candidates(
            everybody,
            NOW,
            capacity_freed=capacity_freed,
            launch_type_of=lambda _: "EC2",
            blocked=set(),
        )
        assert chosen == list(plain)


def test_one_whose_time_is_over_is_a_candidate_for_its_end_whoever_is_full():
    late = waiting(0, not_after=NOW)
    found = policy.candidates(
        [late],
        NOW,
        capacity_freed=False,
        launch_type_of=lambda _: "EC2",
        blocked=set(),
        owner_is_full=lambda _: True,
    )
    assert list(found) == [late]


@pytest.mark.parametrize(
    ("capacity", "kept", "critical", "others"),
    [(0, 10, None, None), (200, 10, 200, 190), (10, 10, 10, 0), (5, 10, 5, 0), (5, 0, 5, 5)],
)
def test_places_are_kept_for_the_critical(capacity, kept, critical, others):
    assert policy.slots_for(Priority.CRITICAL, capacity, kept) == critical
    for priority in (Priority.NORMAL, Priority.LOW):
        assert policy.slots_for(priority, capacity, kept) == others


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-3, 3)), max_size=8), st.booleans())
def test_candidates_keep_their_order_and_whoever_rests_is_no_candidate(line, capacity_freed):
    all_of_them = [
        waiting(n, refusals=refusals, next_try_at=NOW + rest)
        for n, (refusals, rest) in enumerate(line)
    ]
    ids = [i.id for i in all_of_them]
    chosen = turn(all_of_them, capacity_freed=capacity_freed)
    assert chosen == [one for one in ids if one in chosen]
    for invocation in all_of_them:
        if invocation.id in chosen and invocation.next_try_at > NOW:
            assert capacity_freed
            assert invocation.refusals


def test_a_launch_type_without_room_holds_up_nobody_of_another():
    head, behind, far, last = resting(0, refusals=1), waiting(1), waiting(2), waiting(3)
    assert turn([head, behind, far, last], on_fargate={far.id}) == [far.id]
    far_head = resting(2, refusals=1)
    line = [head, far_head, behind, last]
    assert turn(line, on_fargate={far_head.id}) == []
    assert turn([behind, far], on_fargate={far.id}, blocked={"EC2"}) == [far.id]


def test_a_bounded_number_is_passed_over():
    passed = [waiting(n) for n in range(policy.MAX_PASSED_OVER)]
    far = waiting(9_999)
    assert turn([*passed[:-1], far], on_fargate={far.id}, blocked={"EC2"}) == [far.id]
    assert turn([*passed, far], on_fargate={far.id}, blocked={"EC2"}) == []
