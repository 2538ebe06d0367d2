"""The size of the pool, its change at a deployment, and the rejection of a revision."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.apps import PoolSize
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.pool import (
    AppState,
    asks_for_refill,
    plan_pool,
    start_seconds,
    target,
)
from chalicelib.tasks.revisions import (
    FAILURES_TO_OPEN,
    OPEN_SECONDS,
    Open,
    choose_revision,
    fold_failure,
    fold_rollback,
    fold_success,
    serves,
)
from tests.unit.chalicelib.test_lifecycle import START, queued

OLD, NEW = (f"arn:aws:ecs:us-east-1:1:task-definition/usher-chat:{n}" for n in (9, 10))
NOW = 2_000.0


def member(revision: str = NEW, *, ready: bool = True, created_at: float = 1_990.0) -> Session:
    session = replace(queued(owner=None), task_definition=revision, created_at=created_at)
    for fold in START if ready else ():
        session = fold(session, created_at + 2)
    return replace(session, task_definition=revision)


def plan(members, size, state=None, claims_per_second=0.0, starts_on=NEW):
    return plan_pool(
        members,
        size,
        state or AppState("chat", proven=NEW),
        newest=NEW,
        starts_on=starts_on,
        claims_per_second=claims_per_second,
        now=NOW,
    )


def test_where_a_pool_tries_the_newest_no_user_has_to():
    unproven, proven = AppState("chat", proven=OLD), AppState("chat", proven=NEW)
    assert choose_revision(unproven, NEW, NOW) == NEW
    assert choose_revision(unproven, NEW, NOW, by_pool=True) == OLD
    assert choose_revision(proven, NEW, NOW, by_pool=True) == NEW
    assert choose_revision(AppState("chat"), NEW, NOW, by_pool=True) == NEW


def test_while_the_newest_keeps_failing_the_one_before_fills_the_pool():
    state = AppState("chat", proven=OLD)
    waiting = [member(OLD)]
    refill = plan(waiting, PoolSize(3, 5), state, starts_on=OLD)
    assert (refill.start, refill.drain) == (2, ())


def test_an_empty_pool_is_filled_to_its_minimum():
    assert plan([], PoolSize(3, 5)).start == 3


def test_those_on_their_way_count():
    assert plan([member(), member(ready=False)], PoolSize(3, 5)).start == 1


def test_a_pool_of_its_size_is_left_alone():
    told = plan([member()] * 3, PoolSize(3, 5))
    assert (told.start, told.drain) == (0, ())


def test_demand_grows_it_up_to_the_maximum():
    members = [member()] * 3  # a start takes two seconds
    assert plan(members, PoolSize(3, 5), claims_per_second=1.0).start == 0
    assert plan(members, PoolSize(3, 5), claims_per_second=1.3).start == 1
    assert plan(members, PoolSize(3, 5), claims_per_second=100.0).start == 2


def test_without_demand_it_shrinks_down_to_nothing_where_the_minimum_is_nothing():
    members = [member(created_at=1_990.0), member(created_at=1_980.0), member(ready=False)]
    assert len(plan(members, PoolSize(0, 5)).drain) == 3
    first = plan(members, PoolSize(2, 5)).drain
    assert [session.state for session in first] == [State.QUEUED]
    assert [s.created_at for s in plan(members, PoolSize(1, 5)).drain] == [1_990.0, 1_980.0]


def test_the_old_are_replaced():
    aged = member(created_at=NOW - 61)
    told = plan([aged], PoolSize(1, 2, max_age_seconds=60))
    assert (told.start, told.drain) == (1, (aged,))


def test_a_deploy_fills_the_new_before_it_drains_the_old():
    old = [member(OLD)] * 2
    unproven = plan(old, PoolSize(2, 2), AppState("chat", proven=OLD))
    assert (unproven.start, unproven.drain) == (2, ())
    proven = plan([*old, member()], PoolSize(2, 2), AppState("chat", proven=NEW))
    assert proven.start == 1
    assert set(proven.drain) == set(old)


def test_a_revision_that_was_taken_back_is_drained():
    told = plan_pool(
        [member(NEW)], PoolSize(1, 1), AppState("chat", proven=NEW),
        newest=OLD,
        starts_on=OLD, claims_per_second=0, now=NOW,
    )  # fmt: skip
    assert (told.start, len(told.drain)) == (1, 1)


@given(
    st.lists(st.builds(member, st.sampled_from([OLD, NEW]), ready=st.booleans()), max_size=12),
    st.integers(0, 8),
    st.integers(0, 8),
    st.floats(0, 1000),
    st.sampled_from([None, OLD, NEW]),
)
def test_a_plan_stays_within_the_bounds(members, minimum, more, claims_per_second, proven):
    size = PoolSize(minimum, minimum + more)
    told = plan(members, size, AppState("chat", proven=proven), claims_per_second)
    current = sum(1 for m in members if m.task_definition == NEW)
    drained = sum(1 for m in told.drain if m.task_definition == NEW)
    left = current + told.start - drained
    assert told.start == 0 or drained == 0
    assert left <= max(size.maximum, minimum)
    assert left >= minimum
    assert {id(m) for m in told.drain} <= {id(m) for m in members}


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0, 1e4), st.floats(0, 600))
def test_the_target_is_within_the_bounds(minimum, more, rate, seconds):
    assert minimum <= target(PoolSize(minimum, minimum + more), rate, seconds) <= minimum + more


def test_start_times_are_those_seen():
    assert start_seconds([member(), member(ready=False)]) == 2
    assert start_seconds([]) > 0


def failed(times: int, revision: str = NEW, state: AppState | None = None) -> AppState:
    state = state or AppState("chat")
    for _ in range(times):
        state = fold_failure(state, revision, "no such image", NOW)
    return state


def test_five_failures_in_a_row_open_the_breaker_and_tell_why():
    assert choose_revision(failed(FAILURES_TO_OPEN - 1), NEW, NOW) == NEW
    told = choose_revision(failed(FAILURES_TO_OPEN), NEW, NOW + 1)
    assert isinstance(told, Open)
    assert "no such image" in told.reason
    assert told.retry_after_seconds == OPEN_SECONDS - 1


def test_a_success_in_between_starts_the_count_anew():
    state = fold_success(failed(FAILURES_TO_OPEN - 1), NEW, NEW)
    assert choose_revision(failed(1, state=state), NEW, NOW) == NEW


def test_after_a_while_one_start_may_try_again_and_a_failure_closes_the_door():
    state = failed(FAILURES_TO_OPEN)
    later = NOW + OPEN_SECONDS + 1
    assert choose_revision(state, NEW, later) == NEW
    again = fold_failure(state, NEW, "no such image", later)
    assert isinstance(choose_revision(again, NEW, later + 1), Open)


def test_the_proven_revision_serves_while_the_new_one_is_broken():
    state = failed(FAILURES_TO_OPEN, NEW, AppState("chat", proven=OLD))
    assert choose_revision(state, NEW, NOW) == OLD
    assert serves(state, OLD, NEW)


def test_after_a_rollback_a_function_that_remembers_the_new_revision_proves_the_old_one():
    """Each function caches the newest revision for a while."""
    state = fold_success(fold_success(AppState("chat"), OLD, OLD), NEW, NEW)
    back = fold_success(fold_rollback(state, NEW), OLD, newest=NEW)
    assert back.proven == OLD
    failing = fold_rollback(failed(FAILURES_TO_OPEN), NEW)
    assert not failing.failing


def test_a_proven_new_revision_retires_the_old():
    state = fold_success(AppState("chat", proven=OLD), NEW, NEW)
    assert state.proven == NEW
    assert not serves(state, OLD, NEW)
    straggler = fold_success(state, OLD, NEW)
    assert straggler is state


def test_a_revision_above_the_newest_is_nothing_to_fall_back_to():
    state = failed(FAILURES_TO_OPEN, OLD, AppState("chat", proven=NEW))
    assert isinstance(choose_revision(state, OLD, NOW), Open)
    assert not serves(state, NEW, OLD)


def test_what_is_remembered_of_failures_is_bounded():
    state = AppState("chat")
    for n in range(40):
        state = fold_failure(state, f"arn:task-definition/chat:{n}", "x" * 999, NOW)
    assert len(state.failing) == 5
    assert f"arn:task-definition/chat:{39}" in state.failing
    assert all(len(told.reason) <= 300 for told in state.failing.values())


def test_a_claim_asks_for_a_refill_at_each_halving_of_the_pool():
    def steps(minimum: int) -> list[int]:
        size = PoolSize(minimum=minimum, maximum=1_000)
        return [left for left in range(minimum, -1, -1) if asks_for_refill(left, size)]

    assert steps(1) == [0]
    assert steps(2) == [1, 0]
    assert steps(3) == [1, 0]
    assert steps(8) == [4, 2, 1, 0]
    assert steps(16) == [8, 4, 2, 1, 0]
    assert steps(17) == [8, 4, 2, 1, 0]
    assert steps(100) == [50, 25, 12, 6, 3, 1, 0]
    assert steps(0) == [0], "a pool that follows demand alone asks when it is empty"
